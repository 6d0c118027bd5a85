"""The clients of a crash loop: real libraries that go on through every kill. Each function is the life of one thread."""

import botocore.exceptions
import confluent_kafka

from crash_history import head_of, record

UNREACHABLE = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
# Kafka records for each message that SQS accepts, and how many more may be ahead: so that both work at every kill.
KAFKA_PER_SQS = 4
AHEAD = 3000
# Messages of a queue that are not worked yet; senders wait beyond it.
BACKLOG = 3000
# Being killed is no news.
RECONNECT = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100, "log_level": 2}
KEYS = 32


def produce(told, bootstrap, streams, queues):
    """One idempotent producer through all kills, for all topics: each record must end up at exactly one offset."""
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 2,
            "message.timeout.ms": 900_000,
            "retry.backoff.ms": 20,
            "queue.buffering.max.messages": 2000,
            **RECONNECT,
        }
    )

    def delivered(error, message):
        with told.lock:
            if error is not None:
                told.failures.append(f"a record was not delivered: {error}")
                return
            topic, head = message.topic(), head_of(message.value().decode())
            streams[topic].produced((message.partition(), message.offset()), head)
            if topic in queues:
                queues[topic].promised(head)
            told.acknowledged("kafka")

    numbers = {}
    turn = 0
    while not told.stop.is_set():
        producer.poll(0)
        with told.lock:
            ahead = told.acked["kafka"] + len(producer) - KAFKA_PER_SQS * told.acked["sqs"]
            # One of four to the topics that are queues too, as long as they are worked.
            also = [name for name in streams if name in queues and len(queues[name].open) < BACKLOG]
        if ahead > AHEAD:
            producer.poll(0.02)
            continue
        for _ in range(50):
            turn += 1
            topic = also[turn // 4 % len(also)] if also and turn % 4 == 0 else "stream"
            key = f"k{turn * 7 % KEYS}"
            number = numbers.setdefault((topic, key), 0)
            try:
                producer.produce(topic, key=key, value=record(key, number), on_delivery=delivered)
            except BufferError:
                producer.poll(0.02)
                break
            numbers[topic, key] = number + 1
    if producer.flush(600) != 0:
        told.failures.append("records stayed unacknowledged")


def consume(told, bootstrap, streams):
    """Reads all topics along, and commits now and then: a cursor must be where an acknowledged commit has put it, or later."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "along", "enable.auto.commit": False, **RECONNECT}
    )
    at = [(name, p) for name, stream in streams.items() for p in range(stream.partitions)]
    consumer.assign([confluent_kafka.TopicPartition(name, p, 0) for name, p in at])
    acked, asked, commits = {}, {}, 0
    while not told.stop.is_set():
        for message in consumer.consume(1000, timeout=0.1):
            if message.error() is None:
                with told.lock:
                    place = (message.partition(), message.offset())
                    streams[message.topic()].saw(place, head_of(message.value().decode()))
        try:
            if commits % 10 == 0:
                for found in consumer.committed([confluent_kafka.TopicPartition(*it) for it in at], timeout=5):
                    it = (found.topic, found.partition)
                    most, least = asked.get(it, 0), acked.get(it, 0)
                    streams[found.topic].cursor_back += not least <= max(found.offset, 0) <= most
            for name, partition in at:
                asked[name, partition] = streams[name].position[partition]
            moves = [confluent_kafka.TopicPartition(*it, asked[it]) for it in at]
            for done in consumer.commit(offsets=moves, asynchronous=False):
                if done.error is None:
                    acked[done.topic, done.partition] = done.offset
            commits += 1
        except confluent_kafka.KafkaException:
            # Killed meanwhile: it happened or not.
            pass
    consumer.close()


def send(told, sqs, url, queue, stream=None):
    """Sends batches; one that is not answered may have been accepted, and is not sent again."""
    batch = 0
    while not told.stop.is_set():
        with told.lock:
            is_full = len(queue.open) > BACKLOG
        if is_full:
            told.stop.wait(0.02)
            continue
        batch += 1
        texts = [record(f"s{i}", batch) for i in range(10)]
        try:
            answer = sqs.send_message_batch(
                QueueUrl=url, Entries=[{"Id": str(i), "MessageBody": text} for i, text in enumerate(texts)]
            )
        except UNREACHABLE:
            told.stop.wait(0.02)
            continue
        accept(told, queue, stream, texts, answer)


def send_by_key(told, sqs, url, queue, stream):
    """Sends batches to a FIFO queue, each again and again until it is accepted: each message must be there once, in order."""
    batch = 0
    while True:
        keys = [f"s{(batch * 5 + i // 2) % KEYS}" for i in range(10)]
        rounds = [(batch * 5 + i // 2) // KEYS * 2 + i % 2 for i in range(10)]
        texts = [record(key, number) for key, number in zip(keys, rounds, strict=True)]
        entries = [
            {"Id": str(i), "MessageBody": text, "MessageGroupId": key, "MessageDeduplicationId": head_of(text)}
            for i, (key, text) in enumerate(zip(keys, texts, strict=True))
        ]
        while True:
            with told.lock:
                is_full = len(queue.open) > BACKLOG
            if told.stop.is_set():
                return
            try:
                answer = None if is_full else sqs.send_message_batch(QueueUrl=url, Entries=entries)
            except UNREACHABLE:
                answer = None
            if answer is not None:
                break
            told.stop.wait(0.02)
        if "Failed" in answer:
            told.failures.append(answer["Failed"])
            return
        accept(told, queue, stream, texts, answer)
        batch += 1


def accept(told, queue, stream, texts, answer):
    with told.lock:
        for entry in answer.get("Successful", []):
            head = head_of(texts[int(entry["Id"])])
            queue.sent += 1
            queue.promised(head)
            if stream is not None:
                stream.accepted.add(head)
            told.acknowledged("sqs")


def work(told, sqs, url, queue):
    """Receives and deletes. Some are left, to come back after their visibility timeout."""
    turn = 0
    while not told.stop.is_set():
        turn += 1
        try:
            take(told, sqs, url, queue, wait_s=1, leaves_one_in=16 if turn % 4 == 0 else None)
        except UNREACHABLE:
            told.stop.wait(0.02)


def take(told, sqs, url, queue, wait_s=0, leaves_one_in=None):
    """One receive and the deletion of what came; gives how much came."""
    with told.lock:
        asked = told.tells()
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_s).get("Messages", [])
    heads = [head_of(message["Body"]) for message in got]
    with told.lock:
        told.tells()
        receives = queue.received(asked, heads)
        chosen = [i for i in range(len(got)) if leaves_one_in is None or (queue.delivered + i) % leaves_one_in]
        queue.asks_delete(heads[i] for i in chosen)
    if chosen:
        entries = [{"Id": str(i), "ReceiptHandle": got[i]["ReceiptHandle"]} for i in chosen]
        answer = sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        with told.lock:
            moment = told.tells()
            for entry in answer.get("Successful", []):
                queue.deletes(moment, heads[int(entry["Id"])], receives[int(entry["Id"])])
    return len(got)


def drain(told, sqs, url, queue):
    """Works a queue until it says that nothing is left; whoever holds leases on it waits out."""
    while True:
        if take(told, sqs, url, queue):
            continue
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        if counts["ApproximateNumberOfMessages"] == counts["ApproximateNumberOfMessagesNotVisible"] == "0":
            return
        take(told, sqs, url, queue, wait_s=5)


def read_topic(bootstrap, stream):
    """Every record of a topic as a list of (place, head)."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "check", "enable.partition.eof": True, "enable.auto.commit": False}
    )
    consumer.assign([confluent_kafka.TopicPartition(stream.name, p, 0) for p in range(stream.partitions)])
    records, ended = [], set()
    idle = 0
    while len(ended) < stream.partitions:
        messages = consumer.consume(1000, timeout=0.2)
        idle = 0 if messages else idle + 1
        assert idle < 1000, "the topic cannot be read to its end"
        for message in messages:
            if message.error() is None:
                records.append(((message.partition(), message.offset()), head_of(message.value().decode())))
            elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise AssertionError(message.error())
    consumer.close()
    return records

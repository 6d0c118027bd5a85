"""kill -9 in a loop, with the real binary and real clients, and a count of what came of it.

    python tests/clients/crash_loop.py --kills 300 [--seed 7] [--data-dir DIR]

One idempotent Kafka producer lives through all kills; a consumer reads along; SQS senders and workers work a queue beside
it. The broker is killed after a random number of acknowledgements, so the moment is one of traffic, not of idleness.
Then everything is read again and compared with what was acknowledged:

    lost                 acknowledged, and not there any more (or there with another value)
    duplicated offsets   two acknowledgements, or two records, for one offset; or one value stored twice
    re-read differently  read once at an offset, and something else there later
    deleted, delivered   a message whose deletion was acknowledged came again
"""

import argparse
import collections
import pathlib
import random
import sys
import tempfile
import threading

import botocore.exceptions
import confluent_kafka

from conftest import sqs_client
from server import Server
from streams import LIBRARIES

TOPIC = "crash"
QUEUE = "crash-work"
PARTITIONS = 4
UNREACHABLE = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)


class History:
    """What clients were told, under one lock."""

    def __init__(self):
        self.lock = threading.Condition()
        self.acks = 0
        self.produced = {}
        self.acked_twice = 0
        self.read = {}
        self.read_differently = 0
        self.sent = set()
        self.deleted = set()
        # Asked to delete, and the broker was killed before the answer: it may have happened or not.
        self.in_doubt = set()
        self.delivered_after_delete = 0
        self.stop = threading.Event()

    def acked(self):
        self.acks += 1
        self.lock.notify_all()

    def wait_for_acks(self, more):
        with self.lock:
            goal = self.acks + more
            assert self.lock.wait_for(lambda: self.acks >= goal, timeout=60), "no acknowledgement came for a minute"

    def saw(self, place, value):
        if self.read.setdefault(place, value) != value:
            self.read_differently += 1


def produce(history, bootstrap):
    """One idempotent producer through all kills: each value must end up at exactly one offset."""
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 2,
            "message.timeout.ms": 300_000,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 100,
            "retry.backoff.ms": 20,
            "queue.buffering.max.messages": 2000,
        }
    )

    def delivered(error, message):
        if error is not None:
            raise AssertionError(f"a record was not delivered: {error}")
        with history.lock:
            place = (message.partition(), message.offset())
            if place in history.produced:
                history.acked_twice += 1
            history.produced[place] = message.value()
            history.acked()

    number = 0
    while not history.stop.is_set():
        try:
            producer.produce(TOPIC, key=b"%d" % (number % 97), value=b"%d" % number, on_delivery=delivered)
            number += 1
        except BufferError:
            producer.poll(0.05)
        producer.poll(0)
    assert producer.flush(120) == 0, "records stayed unacknowledged"


def consume(history, bootstrap):
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "along",
            "enable.auto.commit": False,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 100,
        }
    )
    consumer.assign([confluent_kafka.TopicPartition(TOPIC, p, 0) for p in range(PARTITIONS)])
    while not history.stop.is_set():
        for message in consumer.consume(500, timeout=0.2):
            if message.error() is None:
                with history.lock:
                    history.saw((message.partition(), message.offset()), message.value())
    consumer.close()


def send(history, endpoint, url, worker):
    sqs = sqs_client(endpoint)
    number = 0
    while not history.stop.is_set():
        bodies = [f"{worker}-{number + i}" for i in range(10)]
        number += 10
        try:
            answer = sqs.send_message_batch(
                QueueUrl=url, Entries=[{"Id": str(i), "MessageBody": body} for i, body in enumerate(bodies)]
            )
        except UNREACHABLE:
            history.stop.wait(0.02)
            continue
        with history.lock:
            for entry in answer.get("Successful", []):
                history.sent.add(bodies[int(entry["Id"])])
                history.acked()


def work(history, endpoint, url):
    sqs = sqs_client(endpoint)
    while not history.stop.is_set():
        try:
            got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
            with history.lock:
                history.delivered_after_delete += sum(m["Body"] in history.deleted for m in got)
            # Two thirds are deleted; the rest must come back after its visibility timeout.
            entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(got) if i % 3]
            if not entries:
                continue
        except UNREACHABLE:
            history.stop.wait(0.02)
            continue
        try:
            answer = sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        except UNREACHABLE:
            with history.lock:
                history.in_doubt.update(got[int(entry["Id"])]["Body"] for entry in entries)
            history.stop.wait(0.02)
            continue
        with history.lock:
            for entry in answer.get("Successful", []):
                history.deleted.add(got[int(entry["Id"])]["Body"])
                history.acked()


def read_topic(bootstrap):
    """Every record of the topic as a list of (place, value)."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "check", "enable.partition.eof": True, "enable.auto.commit": False}
    )
    consumer.assign([confluent_kafka.TopicPartition(TOPIC, p, 0) for p in range(PARTITIONS)])
    records, ended = [], set()
    while len(ended) < PARTITIONS:
        message = consumer.poll(30)
        assert message is not None, "the topic cannot be read to its end"
        if message.error() is None:
            records.append(((message.partition(), message.offset()), message.value()))
        elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
            ended.add(message.partition())
        else:
            raise AssertionError(message.error())
    consumer.close()
    return records


def drain_queue(sqs, url):
    """Every body that the queue still holds, whoever holds leases on it waits out."""
    bodies = collections.Counter()
    while True:
        got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0).get("Messages", [])
        if not got:
            counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            if counts["ApproximateNumberOfMessages"] == counts["ApproximateNumberOfMessagesNotVisible"] == "0":
                return bodies
            got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5).get("Messages", [])
        bodies.update(message["Body"] for message in got)
        if got:
            entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(got)]
            sqs.delete_message_batch(QueueUrl=url, Entries=entries)


def run(directory, kills, seed, report=print):
    """Runs the loop; gives back the counts."""
    chance = random.Random(seed)
    broker = Server(directory).start()
    LIBRARIES["confluent-kafka"].create(broker.kafka, TOPIC, partitions=PARTITIONS)
    sqs = sqs_client(broker.aws)
    url = sqs.create_queue(QueueName=QUEUE, Attributes={"VisibilityTimeout": "3"})["QueueUrl"]
    history = History()
    failures = []

    def guarded(target, *arguments):
        def body():
            try:
                target(*arguments)
            except Exception as error:
                failures.append(f"{target.__name__}: {error!r}")

        return threading.Thread(target=body, daemon=True)

    threads = [
        guarded(produce, history, broker.kafka),
        guarded(consume, history, broker.kafka),
        guarded(send, history, broker.aws, url, 0),
        guarded(work, history, broker.aws, url),
        guarded(work, history, broker.aws, url),
    ]
    for thread in threads:
        thread.start()
    recoveries = []
    for kill in range(kills):
        history.wait_for_acks(chance.randint(1, 3000))
        broker.kill()
        broker.start()
        recoveries.append(broker.ready_after_s)
        if (kill + 1) % 10 == 0:
            report(f"  {kill + 1} kills, {history.acks} acknowledgements, last start {recoveries[-1] * 1000:.0f} ms")
    history.wait_for_acks(100)
    history.stop.set()
    for thread in threads:
        thread.join(180)
        assert not thread.is_alive(), "a client did not come to its end"
    broker.kill()
    broker.start()

    stored = read_topic(broker.kafka)
    at = dict(stored)
    values = collections.Counter(value for _, value in stored)
    lost = sum(at.get(place) != value for place, value in history.produced.items())
    duplicated = history.acked_twice + (len(stored) - len(at)) + sum(count - 1 for count in values.values())
    differently = history.read_differently + sum(at.get(place) != value for place, value in history.read.items())
    left = drain_queue(sqs, url)
    lost_messages = sum(body not in left for body in history.sent - history.deleted - history.in_doubt)
    again = history.delivered_after_delete + sum(body in history.deleted for body in left)
    assert broker.stop() == 0
    recoveries.sort()
    return {
        "seed": seed,
        "kills": kills,
        "records acked": len(history.produced),
        "messages acked": len(history.sent),
        "deletions acked": len(history.deleted),
        "lost": lost + lost_messages,
        "duplicated offsets": duplicated,
        "re-read differently": differently,
        "deleted, delivered": again,
        "start after kill, median ms": round(recoveries[len(recoveries) // 2] * 1000),
        "start after kill, max ms": round(recoveries[-1] * 1000),
        "failures": failures,
    }


def main():
    parser = argparse.ArgumentParser(description="kill -9 in a loop; counts what was lost")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--data-dir", help="kept afterwards; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(options.data_dir or temporary) / "data"
        counts = run(directory, options.kills, options.seed)
    for what, count in counts.items():
        print(f"{what:32} {count}")
    wrong = ("lost", "duplicated offsets", "re-read differently", "deleted, delivered")
    sys.exit(1 if counts["failures"] or any(counts[what] for what in wrong) else 0)


if __name__ == "__main__":
    main()

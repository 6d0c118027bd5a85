"""One topic, read as a stream and worked as a queue at once."""

import json
import threading

import kafka
import pytest

from conftest import sqs_client
from streams import LIBRARIES

pytestmark = pytest.mark.timeout(120)
CONFLUENT = LIBRARIES["confluent-kafka"]


def work_off(sqs, url, count):
    """Receives and deletes until `count` bodies were won."""
    bodies = []
    while len(bodies) < count:
        got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=10).get("Messages", [])
        assert got, f"only {len(bodies)} of {count} messages came"
        bodies += [message["Body"] for message in got]
        entries = [{"Id": m["MessageId"], "ReceiptHandle": m["ReceiptHandle"]} for m in got]
        assert "Failed" not in sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    return bodies


def test_orders_is_a_stream_and_a_queue_and_can_be_replayed(server, sqs, name):
    CONFLUENT.create(server.kafka, name, partitions=3)
    values = [f"order {i}".encode() for i in range(120)]
    CONFLUENT.produce(server.kafka, name, [(b"k%d" % (i % 5), value, []) for i, value in enumerate(values)])
    for group in ("billing", "search"):
        seen = CONFLUENT.consume(server.kafka, name, f"{name}-{group}", 120)
        assert sorted(value for *_, value, _ in seen) == sorted(values)

    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    expected = sorted(value.decode() for value in values)
    assert sorted(work_off(sqs, url, 120)) == expected
    assert "Messages" not in sqs.receive_message(QueueUrl=url)

    replayed = CONFLUENT.consume(server.kafka, name, f"{name}-late", 120)
    assert sorted(value for *_, value, _ in replayed) == sorted(values)

    server.cli("queue", "replay", name, "--from", "earliest")
    assert sorted(work_off(sqs, url, 120)) == expected
    server.cli("queue", "replay", name, "--from", "0")
    assert sorted(work_off(sqs, url, 120)) == expected
    server.cli("queue", "replay", name, "--from", "1h")
    assert sorted(work_off(sqs, url, 120)) == expected


def test_what_sqs_sends_a_kafka_consumer_reads(server, sqs, name):
    CONFLUENT.create(server.kafka, name)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    sqs.send_message(
        QueueUrl=url,
        MessageBody="from sqs",
        MessageAttributes={"trace": {"DataType": "String", "StringValue": "abc"}},
    )
    (seen,) = CONFLUENT.consume(server.kafka, name, name, 1)
    _, offset, _, value, headers = seen
    assert (offset, value) == (0, b"from sqs")
    assert any(b"abc" in (content or b"") for _, content in headers)
    assert work_off(sqs, url, 1) == ["from sqs"]


def test_kafka_headers_arrive_as_message_attributes(server, sqs, name):
    CONFLUENT.create(server.kafka, name)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    CONFLUENT.produce(server.kafka, name, [(b"key", b"body", [("trace", b"abc")])])
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10, MessageAttributeNames=["All"])["Messages"]
    assert message["Body"] == "body"
    assert message["MessageAttributes"]["trace"] == {"StringValue": "abc", "DataType": "String"}


def test_a_receive_waits_for_a_kafka_producer(server, sqs, name):
    CONFLUENT.create(server.kafka, name)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    got = []
    poll = threading.Thread(
        target=lambda: got.extend(
            sqs_client(server.aws).receive_message(QueueUrl=url, WaitTimeSeconds=20).get("Messages", [])
        )
    )
    poll.start()
    CONFLUENT.produce(server.kafka, name, [(None, b"wake", [])])
    poll.join()
    assert [message["Body"] for message in got] == ["wake"]


def test_a_queue_of_another_name_is_attached_by_the_command_line(server, sqs, name):
    CONFLUENT.create(server.kafka, name)
    CONFLUENT.produce(server.kafka, name, [(None, b"%d" % i, []) for i in range(10)])
    server.cli("queue", "create", name + "-workers", "--topic", name)
    url = sqs.get_queue_url(QueueName=name + "-workers")["QueueUrl"]
    assert work_off(sqs, url, 10) == [str(i) for i in range(10)]
    described = json.loads(server.cli("queue", "describe", name + "-workers", "--json").stdout)
    assert described["topic"] == name


def test_deleting_the_topic_takes_its_queue_along(server, sqs, name):
    CONFLUENT.create(server.kafka, name)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    admin = kafka.KafkaAdminClient(bootstrap_servers=server.kafka)
    admin.delete_topics([name])
    admin.close()
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.receive_message(QueueUrl=url)


def test_a_lease_a_cursor_and_an_ack_survive_kill_9(fresh, name):
    sqs = sqs_client(fresh.aws)
    CONFLUENT.create(fresh.kafka, name)
    CONFLUENT.produce(fresh.kafka, name, [(None, b"%d" % i, []) for i in range(20)])
    CONFLUENT.consume(fresh.kafka, name, name, 10)
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "600"})["QueueUrl"]
    assert len(work_off(sqs, url, 10)) == 10
    (held,) = sqs.receive_message(QueueUrl=url)["Messages"]
    # A settlement is awaited and carries with it the lease that came before.
    (acked,) = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=acked["ReceiptHandle"])
    fresh.kill()
    fresh.start()
    assert fresh.ready_after_s < 1.0
    sqs = sqs_client(fresh.aws)
    rest = work_off(sqs, url, 8)
    assert held["Body"] not in rest and acked["Body"] not in rest
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=held["ReceiptHandle"])
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "0"
    resumed = CONFLUENT.consume(fresh.kafka, name, name, 10)
    assert [offset for _, offset, *_ in resumed] == list(range(10, 20))

"""One message in three protocols: published with AMQP 0-9-1, sent with SQS, produced with Kafka, and taken by the others."""

import pika
import pytest

from amqp_raw import closes_channel
from conftest import amqp_connection
from streams import LIBRARIES

pytestmark = pytest.mark.timeout(120)
CONFLUENT = LIBRARIES["confluent-kafka"]


@pytest.fixture
def channel(server):
    connection = amqp_connection(server.addresses["amqp"])
    yield connection.channel()
    connection.close()


def receive(sqs, name, count, **more):
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    got = []
    while len(got) < count:
        answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10, MaxNumberOfMessages=10, **more)
        assert answer.get("Messages"), f"only {len(got)} of {count} messages came"
        got += answer["Messages"]
        for message in answer["Messages"]:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return got


def test_what_is_published_sqs_receives(channel, sqs, name):
    channel.queue_declare(name, durable=True)
    channel.confirm_delivery()
    headers = {"text": "hällo", "number": 5, "large": 1 << 40, "yes": True, "bytes": b"\x00\xff"}
    properties = pika.BasicProperties(content_type="text/plain", message_id="m-1", headers=headers)
    channel.basic_publish("", name, "körper".encode(), properties)
    channel.basic_publish("", name, b"\x00\xff")
    ask = {"MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["All"]}
    text, binary = receive(sqs, name, 2, **ask)
    assert text["Body"] == "körper"
    assert text["MessageAttributes"] == {
        "text": {"DataType": "String", "StringValue": "hällo"},
        "number": {"DataType": "Number.int32", "StringValue": "5"},
        "large": {"DataType": "Number.int64", "StringValue": str(1 << 40)},
        "yes": {"DataType": "String.boolean", "StringValue": "true"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    assert text["Attributes"]["MessageGroupId"] == name
    assert (binary["Body"], binary["MessageAttributes"]["duolog.body"]["StringValue"]) == ("AP8=", "base64")
    channel.basic_publish("", name, b"x", properties)
    (message,) = receive(sqs, name, 1, MessageAttributeNames=["duolog-amqp-.*"])
    attributes = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert attributes == {"duolog-amqp-content-type": "text/plain", "duolog-amqp-message-id": "m-1"}
    assert channel.basic_get(name)[0] is None


def test_what_is_published_a_kafka_consumer_reads(server, channel, name):
    CONFLUENT.create(server.kafka, name, partitions=1)
    channel.queue_declare(name, durable=True)
    channel.exchange_declare(f"{name}.x", "topic")
    channel.queue_bind(name, f"{name}.x", "orders.*")
    channel.confirm_delivery()
    for i in range(3):
        headers = {"h": "v", "n": i, "none": None}
        channel.basic_publish(f"{name}.x", f"orders.{i}", b"%d" % i, pika.BasicProperties(headers=headers, priority=3))
    seen = CONFLUENT.consume(server.kafka, name, name, 3)
    assert [(offset, key, value) for _, offset, key, value, _ in seen] == [
        (i, b"orders.%d" % i, b"%d" % i) for i in range(3)
    ]
    headers = dict(seen[1][4])
    assert headers == {
        "h": b"v",
        "duolog-type.n": b"Number.int32",
        "n": b"1",
        "none": None,
        "duolog-priority": b"3",
        "duolog-exchange": f"{name}.x".encode(),
    }
    # It is a queue still.
    assert [channel.basic_get(name, auto_ack=True)[2] for _ in range(3)] == [b"0", b"1", b"2"]


def test_what_is_produced_amqp_consumes(server, channel, name):
    CONFLUENT.create(server.kafka, name, partitions=3)
    channel.queue_declare(name, durable=True)
    CONFLUENT.produce(server.kafka, name, [(b"key", b"value", [("h", b"v"), ("raw", b"\xff"), ("none", None)])])
    CONFLUENT.produce(server.kafka, name, [(None, b"", [])])
    CONFLUENT.produce(server.kafka, name, [(b"k" * 300, None, [("twice", b"1"), ("twice", b"2")])])
    got = {}
    for _ in range(3):
        method, properties, body = channel.basic_get(name, auto_ack=True)
        got[properties.headers is not None and "h" in properties.headers, body == b"" and properties.headers is None] = (
            method,
            properties,
            body,
        )
    method, properties, body = got[True, False]
    assert (method.exchange, method.routing_key, body) == ("", "key", b"value")
    assert properties.headers == {"h": "v", "raw": b"\xff", "none": None}
    method, properties, body = got[False, True]
    assert (method.exchange, method.routing_key, body) == ("", name, b"")
    method, properties, body = got[False, False]
    assert (method.routing_key, body, properties.headers["twice"]) == (name, b"", "1")
    assert properties.headers["duolog-overflow"] == [{"name": "twice", "value": "2"}]
    assert channel.basic_get(name)[0] is None


def test_what_sqs_sends_amqp_gets(channel, sqs, name):
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    attributes = {
        "text": {"DataType": "String", "StringValue": "hällo"},
        "whole": {"DataType": "Number", "StringValue": "5"},
        "part": {"DataType": "Number", "StringValue": "1.5"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        "own": {"DataType": "String.own", "StringValue": "x"},
    }
    sqs.send_message(QueueUrl=url, MessageBody="körper", MessageAttributes=attributes)
    method, properties, body = channel.basic_get(name)
    assert (method.exchange, method.routing_key, method.redelivered, body) == ("", name, False, "körper".encode())
    headers = properties.headers
    assert headers == {"text": "hällo", "whole": 5, "part": "1.5", "bytes": b"\x00\xff", "own": "x"}
    # One lease, whichever protocol holds it.
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    channel.basic_nack(method.delivery_tag, requeue=True)
    (message,) = receive(sqs, name, 1, MessageSystemAttributeNames=["ApproximateReceiveCount"])
    assert message["Attributes"]["ApproximateReceiveCount"] == "2"


def test_sqs_s_dead_letter_queue_takes_what_amqp_rejects(channel, sqs, name):
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}-dead"}
    channel.queue_declare(name, durable=True, arguments=arguments)
    channel.basic_publish("", name, b"bad")
    channel.basic_reject(channel.basic_get(name)[0].delivery_tag, requeue=False)
    (message,) = receive(sqs, f"{name}-dead", 1)
    assert message["Body"] == "bad"
    sqs.delete_queue(QueueUrl=dead)
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])
    with closes_channel(404):
        channel.queue_declare(name, passive=True)

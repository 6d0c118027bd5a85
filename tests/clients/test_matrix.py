"""Every way in and every way out, as docs/mapping.md says: what a client of one protocol publishes is what those of all others get.

A way in publishes a message and tells the record that the documentation makes of it; a way out gets a message and is told what the
documentation makes of that record. Kafka shows the record as it is, so it stands between the two."""

import asyncio
import base64
import contextlib
import dataclasses
import datetime
import json
import re
import socket

import confluent_kafka
import nats
import pika
import pytest
import redis

from conftest import amqp_connection, sqs_client
from streams import LIBRARIES
from test_sns import sns_client, subscribe
from waits import eventually, poll_until

pytestmark = pytest.mark.timeout(120)
CONFLUENT = LIBRARIES["confluent-kafka"]
ALL_BYTES = bytes(range(256))
TEXT = "tab\t line\n äöü \U0001f980 <&>\"'"


@dataclasses.dataclass
class Record:
    key: bytes | None
    value: bytes | None
    headers: list

    def header(self, name):
        """`False` if there is none: a header may be null."""
        return next((value for is_, value in self.headers if is_ == name), False)


class Place:
    """A topic with a queue for each protocol that has queues, a captured subject, and one that it is heard on."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.captured, self.heard = f"{name}.in", f"{name}.out"
        CONFLUENT.create(server.kafka, name)
        for protocol in ("sqs", "amqp"):
            server.cli("queue", "create", self.queue(protocol), "--topic", name)
        server.cli("binding", "capture", self.captured, "--topic", name)
        server.cli("binding", "echo", name, "--subject", self.heard)
        self.sqs = sqs_client(server.aws)
        self.url = self.sqs.get_queue_url(QueueName=self.queue("sqs"))["QueueUrl"]

    def queue(self, protocol):
        return f"{self.name}-{protocol}"

    def amqp(self):
        return amqp_connection(self.server.addresses["amqp"]).channel()

    def redis(self):
        host, port = self.server.addresses["redis"].rsplit(":", 1)
        return redis.Redis(host=host, port=int(port))

    def record(self):
        """The one that is there."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.server.kafka, "group.id": "none"})
        consumer.assign([confluent_kafka.TopicPartition(self.name, 0, 0)])
        # One without a value is false.
        message = poll_until(lambda: consumer.poll(5), lambda it: it is not None, "a record")
        assert message.error() is None, message.error()
        assert consumer.poll(0.05) is None, "there is one"
        consumer.close()
        return Record(message.key(), message.value(), message.headers() or [])


@pytest.fixture
def place(server, name):
    return Place(server, name)


@contextlib.contextmanager
def nats_listener(place):
    """Gives a function that waits for the next message and gives its headers, as lines, and its body."""
    host, port = place.server.addresses["nats"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=20) as stream, stream.makefile("rb") as lines:
        stream.sendall(b'CONNECT {"verbose":false,"headers":true,"no_responders":false}\r\nSUB %s 1\r\nPING\r\n' % place.heard.encode())
        assert lines.readline().startswith(b"INFO ") and lines.readline() == b"PONG\r\n"

        def heard():
            verb, subject, _, *sizes = lines.readline().split()
            assert subject == place.heard.encode()
            head, whole = map(int, sizes) if verb == b"HMSG" else (0, int(sizes[0]))
            content = lines.read(whole + 2)
            return content[:head].split(b"\r\n")[1:-2], content[head:whole]

        yield heard


# Ways in: each gives back the record that is to be there; `...` is what the broker makes up.


def kafka_in(place):
    headers = [("text", TEXT.encode()), ("bytes", b"\xff\x00"), ("none", None), ("empty", b"")]
    CONFLUENT.produce(place.server.kafka, place.name, [(b"a key", ALL_BYTES, headers)])
    return Record(b"a key", ALL_BYTES, headers)


def kafka_in_without(place):
    """As little as a record can have."""
    CONFLUENT.produce(place.server.kafka, place.name, [(None, None, [])])
    return Record(None, None, [])


def kafka_in_much(place):
    """What other protocols have no room for."""
    headers = [(f"h{number:02}", b"%d" % number) for number in range(12)]
    headers += [("h00", b"again"), ("n" * 256, b"long name"), ("not a name!", b"x")]
    CONFLUENT.produce(place.server.kafka, place.name, [(b"\xfe\xff", TEXT.encode(), headers)])
    return Record(b"\xfe\xff", TEXT.encode(), headers)


ATTRIBUTES = {
    "text": {"DataType": "String", "StringValue": TEXT},
    "count": {"DataType": "Number", "StringValue": "-12"},
    "bytes": {"DataType": "Binary", "BinaryValue": ALL_BYTES},
    "kind": {"DataType": "String.mine", "StringValue": "own"},
}
OF_ATTRIBUTES = [
    ("text", TEXT.encode()),
    ("count", b"-12"), ("duolog-type.count", b"Number"),
    ("bytes", ALL_BYTES), ("duolog-type.bytes", b"Binary"),
    ("kind", b"own"), ("duolog-type.kind", b"String.mine"),
]  # fmt: skip


def sqs_in(place):
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-2-3"}}
    place.sqs.send_message(
        QueueUrl=place.url, MessageBody=TEXT, MessageAttributes=ATTRIBUTES, MessageGroupId="group",
        MessageSystemAttributes=trace,
    )  # fmt: skip
    return Record(b"group", TEXT.encode(), [*OF_ATTRIBUTES, ("duolog-aws-trace-header", b"Root=1-2-3")])


def sns_in(place, raw):
    sns = sns_client(place.server.aws)
    topic = sns.create_topic(Name=f"{place.name}-sns")["TopicArn"]
    arn = place.sqs.get_queue_attributes(QueueUrl=place.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    subscribe(sns, topic, arn, RawMessageDelivery="true" if raw else "false")
    done = sns.publish(
        TopicArn=topic, Message=TEXT, Subject="a subject", MessageAttributes=ATTRIBUTES, MessageGroupId="group"
    )
    told = [
        ("duolog-sns-topic", topic.encode()),
        ("duolog-sns-message-id", done["MessageId"].encode()),
        ("duolog-sns-subject", b"a subject"),
        ("duolog-sns-timestamp", ...),
    ]
    enveloped = [] if raw else [("duolog-sns-envelope", ...), ("duolog-sns-signature", ...)]
    return Record(b"group", TEXT.encode(), [*OF_ATTRIBUTES, *told, *enveloped])


def sns_in_raw(place):
    return sns_in(place, raw=True)


def sns_in_enveloped(place):
    return sns_in(place, raw=False)


def amqp_in(place):
    channel = place.amqp()
    channel.confirm_delivery()
    at = datetime.datetime(2026, 1, 2, 3, 4, 5)
    headers = {
        "text": TEXT, "bytes": b"\xff\x00", "whole": -5, "large": 2**40, "yes": True, "none": None, "at": at,
        "list": [1, "two"], "table": {"n": 1},
    }  # fmt: skip
    properties = pika.BasicProperties(
        content_type="application/x-all", content_encoding="none", headers=headers, delivery_mode=2, priority=3,
        correlation_id="c", reply_to="r", expiration="3600000", message_id="m", timestamp=1_700_000_000, type="t",
        user_id="guest", app_id="a", cluster_id="i",
    )  # fmt: skip
    channel.basic_publish("", place.queue("amqp"), ALL_BYTES, properties)
    channel.connection.close()
    named = {
        "content-type": b"application/x-all", "content-encoding": b"none", "delivery-mode": b"2", "correlation-id": b"c",
        "reply-to": b"r", "message-id": b"m", "timestamp": b"1700000000", "type": b"t", "user-id": b"guest", "app-id": b"a",
        "cluster-id": b"i",
    }  # fmt: skip
    seconds = int(at.replace(tzinfo=datetime.timezone.utc).timestamp())
    return Record(place.queue("amqp").encode(), ALL_BYTES, [
        *((f"duolog-amqp-{key}", value) for key, value in named.items()),
        ("duolog-ttl", b"3600000"), ("duolog-priority", b"3"),
        ("text", TEXT.encode()),
        ("bytes", b"\xff\x00"), ("duolog-type.bytes", b"Binary"),
        ("whole", b"-5"), ("duolog-type.whole", b"Number.int32"),
        ("large", b"1099511627776"), ("duolog-type.large", b"Number.int64"),
        ("yes", b"true"), ("duolog-type.yes", b"String.boolean"),
        ("none", None),
        ("at", b"%d" % seconds), ("duolog-type.at", b"Number.timestamp"),
        ("list", ...), ("duolog-type.list", b"Binary.amqp-array"),
        ("table", ...), ("duolog-type.table", b"Binary.amqp-table"),
    ])  # fmt: skip


def amqp_in_through_an_exchange(place):
    channel = place.amqp()
    channel.confirm_delivery()
    channel.exchange_declare(f"{place.name}.x", "topic")
    channel.queue_bind(place.queue("amqp"), f"{place.name}.x", "#.key")
    channel.basic_publish(f"{place.name}.x", "a.key", b"", pika.BasicProperties(headers={}))
    channel.connection.close()
    headers = [("duolog-exchange", f"{place.name}.x".encode()), ("duolog-amqp-headers", b"")]
    return Record(b"a.key", b"", headers)


def nats_in(place):
    async def publish():
        client = await nats.connect(place.server.nats)
        done = await client.request(place.captured, ALL_BYTES, headers={"trace": "t ä", "Nats-Msg-Id": "id"}, timeout=20)
        assert json.loads(done.data) == {"stream": place.name, "seq": 1}
        await client.close()

    asyncio.run(asyncio.wait_for(publish(), 60))
    subject = place.captured.encode()
    headers = [("trace", "t ä".encode()), ("Nats-Msg-Id", b"id"), ("duolog-subject", subject)]
    return Record(subject, ALL_BYTES, headers)


def redis_in(place):
    assert place.redis().publish(place.captured, ALL_BYTES) == 1
    subject = place.captured.encode()
    return Record(subject, ALL_BYTES, [("duolog-subject", subject)])


# Ways out: each compares what its client gets with what the record is to become.

SQS_LEGAL = re.compile(r"[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*\Z")
GROUP = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}\Z")


def legal(value):
    """The text, if SQS can say it; else `None`."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if SQS_LEGAL.match(text) else None


def as_attribute(record, name, value):
    told = record.header(f"duolog-type.{name}")
    if value is None:
        return {"DataType": "String.null", "StringValue": ""}
    if told and told.startswith(b"Binary") or legal(value) is None:
        return {"DataType": told.decode() if told and told.startswith(b"Binary") else "Binary", "BinaryValue": value}
    return {"DataType": told.decode() if told else "String", "StringValue": legal(value)}


def sqs_out(place, record, envelope=False):
    if envelope:
        message = received(place, ["All"])
        told = json.loads(message["Body"])
        assert (told["Type"], told["Message"], told["Subject"]) == ("Notification", record.value.decode(), "a subject")
        assert told["MessageId"].encode() == record.header("duolog-sns-message-id")
        assert told["MessageAttributes"]["bytes"] == {"Type": "Binary", "Value": base64.b64encode(ALL_BYTES).decode()}
        assert "MessageAttributes" not in message
        return
    # The broker's own for who asks for them alone.
    own = lambda name: name.startswith("duolog-")
    check_received(received(place, ["All"]), record, [it for it in record.headers if not own(it[0])])
    check_received(received(place, ["All", "duolog-.*"]), record, record.headers)


def received(place, names):
    (message,) = place.sqs.receive_message(
        QueueUrl=place.url, WaitTimeSeconds=10, VisibilityTimeout=0, MessageAttributeNames=names, AttributeNames=["All"]
    )["Messages"]
    return message


def check_received(message, record, headers):
    attributes = dict(message.get("MessageAttributes", {}))
    body, marker = legal(record.value or b""), None
    if record.value is None:
        marker = "null"
    elif body is None:
        body, marker = base64.b64encode(record.value).decode(), "base64"
    assert message["Body"] == body
    assert attributes.pop("duolog.body", {}).get("StringValue") == marker
    key = record.key
    is_group = key is not None and legal(key) is not None and GROUP.match(legal(key))
    assert message["Attributes"].get("MessageGroupId") == (key.decode() if is_group else None)
    if key is not None and not is_group:
        text = legal(key)
        told = {"DataType": "Binary", "BinaryValue": key} if text is None else {"DataType": "String", "StringValue": text}
        assert attributes.pop("duolog.key") == told
    folded = json.loads(attributes.pop("duolog.overflow", {"StringValue": "[]"})["StringValue"])
    assert len(attributes) <= 10
    got = list(attributes.items())
    for it in folded:
        value = {key: it[key] for key in ("DataType", "StringValue") if key in it}
        if "BinaryValue" in it:
            value["BinaryValue"] = base64.b64decode(it["BinaryValue"])
        got.append((it["Name"], value))
    expected = [(name, as_attribute(record, name, value)) for name, value in headers]
    in_order = lambda pairs: sorted((name, sorted(value.items(), key=repr)) for name, value in pairs)
    assert in_order(got) == in_order(expected)


def amqp_value(record, name, value):
    """A header, as the library shows one of its type."""
    told = record.header(f"duolog-type.{name}")
    if value is None:
        return None
    if told in (b"Number", b"Number.int32", b"Number.int64"):
        return int(value)
    if told == b"String.boolean":
        return value == b"true"
    if told == b"Number.timestamp":
        return datetime.datetime.fromtimestamp(int(value), datetime.timezone.utc)
    if told == b"Binary":
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def amqp_out(place, record, lists=None):
    channel = place.amqp()
    method, properties, body = eventually(lambda: got_from(channel, place.queue("amqp")), what="a message comes")
    assert body == (record.value or b"")
    exchange = (record.header("duolog-exchange") or b"").decode()
    key = place.queue("amqp").encode() if record.key is None else record.key
    method_key = method.routing_key if isinstance(method.routing_key, bytes) else method.routing_key.encode()
    assert (method.exchange, method_key) == (exchange, key)
    for name in ("content-type", "content-encoding", "correlation-id", "reply-to", "message-id", "type", "user-id", "app-id", "cluster-id"):
        value = record.header(f"duolog-amqp-{name}")
        assert getattr(properties, name.replace("-", "_")) == (value.decode() if value else None), name
    for name, attribute in [("duolog-amqp-delivery-mode", "delivery_mode"), ("duolog-priority", "priority"), ("duolog-amqp-timestamp", "timestamp")]:
        value = record.header(name)
        assert getattr(properties, attribute) == (int(value) if value else None), name
    assert properties.expiration == (record.header("duolog-ttl").decode() if record.header("duolog-ttl") else None)
    got = dict(properties.headers or {})
    overflow = got.pop("duolog-overflow", [])
    told, seen = [], set()
    for name, value in record.headers:
        if name.startswith(("duolog-amqp-", "duolog-type.")) or name in ("duolog-exchange", "duolog-priority", "duolog-ttl"):
            continue
        if len(name) > 255 or name in seen:
            told.append({"name": name, "value": amqp_value(record, name, value)})
            continue
        seen.add(name)
        assert got.pop(name) == ((lists or {}).get(name) or amqp_value(record, name, value)), name
    assert got == {}
    assert [{"name": text(it["name"]), "value": it["value"]} for it in overflow] == told


def text(it):
    return it.decode() if isinstance(it, bytes) else it


def got_from(channel, queue):
    message = channel.basic_get(queue, auto_ack=True)
    return message[0] and message


NAME_OF_LINE = re.compile(rb"[!-9;-~]+\Z")
VALUE_OF_LINE = re.compile(rb"[^\0\r\n]*\Z")


def is_text(value):
    try:
        return value.decode() is not None
    except UnicodeDecodeError:
        return False


def nats_out(heard, record):
    lines, body = heard()
    assert body == (record.value or b"")
    expected = [] if record.value is not None else [b"duolog-body: null"]
    for name, value in record.headers:
        name, value = name.encode(), value or b""
        if NAME_OF_LINE.match(name) and VALUE_OF_LINE.match(value) and is_text(value) and value == value.strip():
            expected.append(name + b": " + value)
        else:
            expected.append(b"duolog-header-base64: " + base64.b64encode(name) + b" " + base64.b64encode(value))
    assert sorted(lines) == sorted(expected)


def redis_out(listener, record):
    message = listener.get_message(timeout=20)
    assert (message["type"], message["data"]) == ("message", record.value or b"")


WAYS_IN = [
    kafka_in, kafka_in_without, kafka_in_much, sqs_in, sns_in_raw, sns_in_enveloped, amqp_in, amqp_in_through_an_exchange,
    nats_in, redis_in,
]  # fmt: skip


def compared(record, expected):
    """The record, once it is what it was to be."""
    assert (record.key, record.value) == (expected.key, expected.value)
    made_up = {name for name, value in expected.headers if value is ...}
    shown = lambda of: sorted((name, "..." if name in made_up else repr(value)) for name, value in of.headers)
    assert shown(record) == shown(expected)
    return record


@pytest.mark.parametrize("way_in", WAYS_IN, ids=lambda it: it.__name__)
def test_what_goes_in_comes_out_everywhere(place, way_in):
    with nats_listener(place) as heard, place.redis().pubsub() as listener:
        listener.subscribe(place.heard)
        assert listener.get_message(timeout=20)["type"] == "subscribe"
        expected = way_in(place)
        record = compared(place.record(), expected)
        sqs_out(place, record, envelope=way_in is sns_in_enveloped)
        lists = {"list": [1, "two"], "table": {"n": 1}} if way_in is amqp_in else None
        amqp_out(place, record, lists)
        nats_out(heard, record)
        redis_out(listener, record)

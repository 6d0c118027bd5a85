"""AMQP 0-9-1: queues of type `stream`, which are read from an offset and keep what was read.

Every scenario runs against a real RabbitMQ too, where one is installed: what passes only here is a mistake of the test. What concerns
the other protocols is at the end."""

import datetime

import pika
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from amqp_raw import bodies, closes_channel, closes_connection, consume, take
from conftest import amqp_connection
from waits import eventually

pytestmark = pytest.mark.timeout(120)

# Tests take all that is sent to them: pika rejects what it has left when a consumer is cancelled, which closes the connection.

STREAM = {"x-queue-type": "stream"}


@pytest.fixture
def stream(connect, name):
    channel = connect().channel()
    channel.queue_declare(name, durable=True, arguments=STREAM)
    yield name
    connect().channel().queue_delete(name)


def numbered(first, count):
    return [b"%03d" % n for n in range(first, first + count)]


def publish(connect, queue, *messages, exchange="", properties=None):
    """They are in the stream when it returns."""
    channel = connect().channel()
    channel.confirm_delivery()
    for body in messages:
        channel.basic_publish(exchange, queue, body, properties)


def reader(connect, queue, offset=None, prefetch=100):
    channel = connect().channel()
    channel.basic_qos(prefetch_count=prefetch)
    arguments = {} if offset is None else {"x-stream-offset": offset}
    channel.tag = consume(channel, queue, arguments=arguments)
    return channel


def offsets(heard):
    return [properties.headers["x-stream-offset"] for _, properties, _ in heard]


def ack(channel, heard):
    for delivery, _, _ in heard:
        channel.basic_ack(delivery.delivery_tag)


def test_all_who_read_get_everything_as_often_as_they_like(connect, stream):
    publish(connect, stream, *numbered(0, 20))
    readers = [reader(connect, stream, "first") for _ in range(3)]
    for channel in readers:
        heard = take(channel, 20)
        assert bodies(heard) == numbered(0, 20)
        assert offsets(heard) == list(range(20))
        assert not any(delivery.redelivered for delivery, _, _ in heard)
        ack(channel, heard)
    again = take(reader(connect, stream, "first"), 20)
    assert bodies(again) == numbered(0, 20)


def test_without_an_offset_one_gets_what_comes_next(connect, stream):
    publish(connect, stream, b"before")
    readers = [reader(connect, stream), reader(connect, stream, "next")]
    publish(connect, stream, b"behind")
    assert [bodies(take(it, 1)) for it in readers] == [[b"behind"], [b"behind"]]


def test_an_offset_is_a_number(connect, stream):
    publish(connect, stream, *numbered(0, 10))
    seven = reader(connect, stream, 7)
    heard = take(seven, 3)
    assert (bodies(heard), offsets(heard)) == (numbered(7, 3), [7, 8, 9])
    # One that is not there yet is waited for.
    ahead = reader(connect, stream, 12)
    publish(connect, stream, *numbered(10, 4))
    assert offsets(take(ahead, 2)) == [12, 13]
    assert offsets(take(seven, 4)) == [10, 11, 12, 13]


def test_an_offset_is_a_time(connect, stream):
    publish(connect, stream, b"x")
    before = datetime.datetime.now() - datetime.timedelta(hours=1)
    earlier = [reader(connect, stream, before), reader(connect, stream, "1h")]
    assert [bodies(take(it, 1)) for it in earlier] == [[b"x"], [b"x"]]
    later = reader(connect, stream, datetime.datetime.now() + datetime.timedelta(hours=1))
    publish(connect, stream, b"y")
    assert [bodies(take(it, 1)) for it in [later, *earlier]] == [[b"y"]] * 3


def test_the_last_is_what_came_last(connect, stream):
    publish(connect, stream, *numbered(0, 5))
    heard = take(reader(connect, stream, "last"), 1)
    assert bodies(heard) == [b"004"]


def test_credit_comes_with_the_acknowledgement(connect, stream):
    publish(connect, stream, *numbered(0, 10))
    channel = reader(connect, stream, "first", prefetch=3)
    heard = take(channel, 3)
    channel.queue_declare(stream, passive=True)
    assert channel.heard == []
    ack(channel, heard[:2])
    assert bodies(take(channel, 2)) == numbered(3, 2)


@pytest.mark.parametrize("how", ["nack", "reject"])
def test_nothing_is_given_back(connect, stream, how):
    publish(connect, stream, b"x")
    channel = reader(connect, stream, "first")
    (delivery, _, _) = take(channel, 1)[0]
    with closes_connection(540, "basic.nack and basic.reject not supported by stream queues"):
        getattr(channel, f"basic_{how}")(delivery.delivery_tag, requeue=True)
        channel.queue_declare(stream, passive=True)


def test_acknowledging_several_gives_credit_for_all(connect, stream):
    publish(connect, stream, *numbered(0, 9))
    channel = reader(connect, stream, "first", prefetch=3)
    for first in (0, 3, 6):
        heard = take(channel, 3)
        assert bodies(heard) == numbered(first, 3)
        channel.basic_ack(heard[-1][0].delivery_tag, multiple=True)


def test_bound_like_a_queue(connect, stream, name):
    channel = connect().channel()
    exchange = f"{name}.x"
    channel.exchange_declare(exchange, "topic", auto_delete=True)
    channel.queue_bind(stream, exchange, "orders.#")
    publish(connect, "orders.paid", b"yes", exchange=exchange)
    publish(connect, "other", b"no", exchange=exchange)
    publish(connect, "orders", b"too", exchange=exchange)
    heard = take(reader(connect, stream, "first"), 2)
    assert bodies(heard) == [b"yes", b"too"]
    assert [(d.exchange, d.routing_key) for d, _, _ in heard] == [(exchange, "orders.paid"), (exchange, "orders")]
    channel.queue_unbind(stream, exchange, "orders.#")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        channel.exchange_declare(exchange, passive=True)


def test_properties_and_large_bodies_come_through(connect, stream):
    properties = pika.BasicProperties(
        content_type="text/plain", headers={"n": 1, "t": "text"}, message_id="m", priority=3, delivery_mode=2
    )
    big = bytes(range(256)) * 8192
    publish(connect, stream, big, b"", properties=properties)
    heard = take(reader(connect, stream, "first"), 2)
    assert bodies(heard) == [big, b""]
    for _, got, _ in heard:
        headers = {key: value for key, value in got.headers.items() if key != "x-stream-offset"}
        assert (got.content_type, got.message_id, headers) == ("text/plain", "m", {"n": 1, "t": "text"})


def test_declared_again_as_it_is(connect, stream):
    publish(connect, stream, b"a", b"b")
    channel = connect().channel()
    for declared in (
        channel.queue_declare(stream, durable=True, arguments=STREAM),
        channel.queue_declare(stream, passive=True),
    ):
        assert (declared.method.queue, declared.method.consumer_count) == (stream, 0)
    count = lambda: channel.queue_declare(stream, passive=True).method.message_count
    eventually(lambda: count() == 2, what="both are counted")


def test_a_cancelled_reader_gets_nothing_more(connect, stream):
    publish(connect, stream, *numbered(0, 5))
    channel = reader(connect, stream, "first", prefetch=2)
    heard = take(channel, 2)
    channel.basic_cancel(channel.tag)
    ack(channel, heard)
    channel.queue_declare(stream, passive=True)
    assert channel.heard == []


def test_a_reader_hears_that_its_stream_is_gone(connect, stream):
    gone = reader(connect, stream)
    heard = []
    gone.add_on_cancel_callback(lambda frame: heard.append(frame.method.consumer_tag))
    connect().channel().queue_delete(stream)

    def told():
        gone.connection.process_data_events(time_limit=0.2)
        return heard == [gone.tag]

    eventually(told, what="the consumer is cancelled")
    with closes_channel(404):
        connect().channel().queue_declare(stream, passive=True)


REFUSED = {
    "not durable": ({"durable": False}, STREAM, 406, "non-durable"),
    "exclusive": ({"exclusive": True}, STREAM, 406, "exclusive"),
    "auto-delete": ({"auto_delete": True}, STREAM, 406, "auto-delete"),
    "with a time to live": ({}, STREAM | {"x-message-ttl": 1000}, 406, "x-message-ttl"),
    "with an expiry": ({}, STREAM | {"x-expires": 1000}, 406, "x-expires"),
    "with dead letters": ({}, STREAM | {"x-dead-letter-exchange": "amq.fanout"}, 406, "x-dead-letter-exchange"),
    "with priorities": ({}, STREAM | {"x-max-priority": 3}, 406, "x-max-priority"),
    "with a length": ({}, STREAM | {"x-max-length": 3}, 406, "x-max-length"),
    "with an age without unit": ({}, STREAM | {"x-max-age": 7}, 406, "x-max-age"),
    "with bytes of nonsense": ({}, STREAM | {"x-max-length-bytes": "many"}, 406, "x-max-length-bytes"),
    "with fewer bytes than none": ({}, STREAM | {"x-max-length-bytes": -1}, 406, "x-max-length-bytes"),
    "an age of another queue": ({}, {"x-max-age": "7D"}, 406, "x-max-age"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_declarations_that_are_refused(channel, name, case):
    options, arguments, code, text = REFUSED[case]
    with closes_channel(code, text):
        channel.queue_declare(name, arguments=arguments, **({"durable": True} | options))


OTHERWISE = {
    "a classic queue": ({}, "x-queue-type"),
    "a quorum queue": ({"x-queue-type": "quorum"}, "x-queue-type"),
    "with an age": (STREAM | {"x-max-age": "7D"}, "x-max-age"),
    "with a limit": (STREAM | {"x-max-length-bytes": 1_000_000}, "x-max-length-bytes"),
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_declared_otherwise(connect, stream, case):
    arguments, text = OTHERWISE[case]
    with closes_channel(406, text):
        connect().channel().queue_declare(stream, durable=True, arguments=arguments)


def test_a_queue_is_no_stream(connect, channel, name):
    channel.queue_declare(name, durable=True)
    with closes_channel(406, "x-queue-type"):
        connect().channel().queue_declare(name, durable=True, arguments=STREAM)
    channel.queue_delete(name)


def test_a_reader_needs_a_prefetch(connect, stream):
    with closes_channel(406, "prefetch"):
        consume(connect().channel(), stream)


def test_a_reader_acknowledges(connect, stream):
    channel = connect().channel()
    channel.basic_qos(prefetch_count=1)
    with closes_connection(540, "automatic acknowledgement"):
        consume(channel, stream, auto_ack=True)


def test_a_reader_has_a_prefetch_of_its_own(connect, stream):
    channel = connect().channel()
    channel.basic_qos(prefetch_count=1)
    channel.basic_qos(prefetch_count=1, global_qos=True)
    with closes_connection(540, "global qos"):
        consume(channel, stream)


def test_nothing_is_got_from_a_stream(connect, stream):
    with closes_connection(540, "basic.get"):
        connect().channel().basic_get(stream)


def test_a_stream_is_not_purged(connect, stream):
    with closes_connection(540):
        connect().channel().queue_purge(stream)


# Where it differs from RabbitMQ, and what concerns the other protocols


@pytest.fixture
def only_duolog(kind):
    if kind != "duolog":
        pytest.skip("RabbitMQ does otherwise")


@pytest.mark.parametrize("offset", ["middle", "", -1, True, {"n": 1}, [1], "5x"], ids=str)
def test_offsets_that_are_refused(only_duolog, connect, stream, offset):
    """RabbitMQ closes the connection with 541 for most of them."""
    channel = connect().channel()
    channel.basic_qos(prefetch_count=1)
    with closes_channel(406, "x-stream-offset"):
        consume(channel, stream, arguments={"x-stream-offset": offset})


def test_an_age_of_nonsense_is_refused(only_duolog, channel, name):
    with closes_channel(406, "x-max-age"):
        channel.queue_declare(name, durable=True, arguments=STREAM | {"x-max-age": "soon"})


def test_who_reads_is_counted(only_duolog, connect, stream):
    publish(connect, stream, *numbered(0, 5))
    channel = reader(connect, stream, "first", prefetch=5)
    ack(channel, take(channel, 5))
    assert channel.queue_declare(stream, passive=True).method.consumer_count == 1
    channel.basic_cancel(channel.tag)
    assert channel.queue_declare(stream, passive=True).method.consumer_count == 0


def produce(server, topic, *messages, partition=0):
    producer = Producer({"bootstrap.servers": server.kafka})
    for key, value in messages:
        producer.produce(topic, value, key=key, partition=partition, headers={"h": b"1"})
    assert producer.flush(30) == 0


def test_kafka_reads_and_writes_the_same_stream(only_duolog, server, connect, stream):
    publish(connect, stream, b"from amqp")
    produce(server, stream, (b"key", b"from kafka"))
    heard = take(reader(connect, stream, "first"), 2)
    assert bodies(heard) == [b"from amqp", b"from kafka"]
    assert [delivery.routing_key for delivery, _, _ in heard] == [stream, "key"]
    assert heard[1][1].headers == {"h": "1", "x-stream-offset": 1}
    consumer = Consumer({"bootstrap.servers": server.kafka, "group.id": stream})
    consumer.assign([TopicPartition(stream, 0, 0)])
    got = eventually(lambda: (message := consumer.poll(1)) and message.value(), what="a record")
    consumer.close()
    assert got == b"from amqp"


def test_a_topic_of_kafka_becomes_a_stream_by_its_declaration(only_duolog, server, connect, name):
    server.cli("topic", "create", name, "--partitions", "3")
    for partition in range(3):
        produce(server, name, *((b"%d" % partition, body) for body in numbered(0, 5)), partition=partition)
    channel = connect().channel()
    with closes_channel(404):
        channel.queue_declare(name, passive=True)
    channel = connect().channel()
    assert channel.queue_declare(name, durable=True, arguments=STREAM).method.message_count == 15
    heard = take(reader(connect, name, "first"), 15)
    for partition in range(3):
        own = [it for it in heard if it[0].routing_key == str(partition)]
        assert (bodies(own), offsets(own)) == (numbered(0, 5), list(range(5)))
    # What it keeps is not for a declaration to say, and deleting the stream leaves the topic.
    with closes_channel(406, "x-max-age"):
        connect().channel().queue_declare(name, durable=True, arguments=STREAM | {"x-max-age": "1h"})
    channel.queue_delete(name)
    with closes_channel(404):
        channel.queue_declare(name, passive=True)
    produce(server, name, (b"0", b"still there"))
    assert connect().channel().queue_declare(name, durable=True, arguments=STREAM).method.message_count == 16


def test_a_queue_of_sqs_works_off_what_a_stream_keeps(only_duolog, sqs, connect, stream):
    publish(connect, stream, b"job")
    url = sqs.create_queue(QueueName=stream)["QueueUrl"]
    publish(connect, stream, b"another")
    got = []

    def all_came():
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            got.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return sorted(got) == ["another", "job"]

    eventually(all_came, what="both are worked off")
    assert bodies(take(reader(connect, stream, "first"), 2)) == [b"job", b"another"]


def test_a_stream_survives_a_kill(only_duolog, fresh):
    connections = []

    def connect():
        connections.append(amqp_connection(fresh.addresses["amqp"]))
        return connections[-1]

    connect().channel().queue_declare("log", durable=True, arguments=STREAM)
    connect().channel().queue_bind("log", "amq.fanout")
    publish(connect, "log", *numbered(0, 50))
    publish(connect, "", b"through the exchange", exchange="amq.fanout")
    fresh.kill()
    fresh.start()
    heard = take(reader(connect, "log", 40), 11)
    assert bodies(heard) == [*numbered(40, 10), b"through the exchange"]
    assert offsets(heard) == list(range(40, 51))


def test_readers_are_told_when_kafka_deletes_the_topic(only_duolog, server, connect, stream):
    gone = reader(connect, stream)
    heard = []
    gone.add_on_cancel_callback(lambda frame: heard.append(frame.method.consumer_tag))
    server.cli("topic", "delete", stream)

    def told():
        gone.connection.process_data_events(time_limit=0.2)
        return heard == [gone.tag]

    eventually(told, what="the consumer is cancelled")


def test_what_is_delayed_comes_to_a_stream_when_it_is_due(only_duolog, connect, stream, name):
    channel = connect().channel()
    exchange = f"{name}.late"
    channel.exchange_declare(exchange, "x-delayed-message", arguments={"x-delayed-type": "fanout"})
    channel.queue_bind(stream, exchange)
    properties = pika.BasicProperties(headers={"x-delay": 300})
    publish(connect, "", b"later", exchange=exchange, properties=properties)
    publish(connect, "", b"now", exchange=exchange)
    assert bodies(take(reader(connect, stream, "first"), 2)) == [b"now", b"later"]
    channel.exchange_delete(exchange)

"""AMQP 0-9-1: whose turn it is: consumers with priorities, and queues with one active consumer.

Every scenario runs against a real RabbitMQ too, where one is installed: what passes only here is a mistake of the test."""

import socket

import pika
import pytest

from pika import spec

from amqp_raw import Raw, bodies, closes_channel, consume, take
from management import Management
from waits import eventually

ROOT = "/"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def queue(channel, name):
    channel.queue_declare(name)
    yield name
    channel.connection.channel().queue_delete(name)


@pytest.fixture
def single(channel, name):
    """A queue of whose consumers one is active."""
    channel.queue_declare(name, arguments={"x-single-active-consumer": True})
    yield name
    channel.connection.channel().queue_delete(name)


@pytest.fixture
def publish(connect):
    """On a channel of its own; the messages are in the queue when it returns."""
    channel = connect().channel()
    channel.confirm_delivery()

    def publish(queue, *bodies):
        for body in bodies:
            channel.basic_publish("", queue, body)

    return publish


def numbered(first, count):
    return [b"%03d" % n for n in range(first, first + count)]


def consumer(connect, queue, prefetch=0, priority=None, **options):
    """A channel of a connection of its own that consumes."""
    channel = connect().channel()
    channel.basic_qos(prefetch_count=prefetch)
    arguments = {} if priority is None else {"x-priority": priority}
    channel.tag = consume(channel, queue, arguments=arguments, **options)
    return channel


def ack(channel, heard):
    for delivery, _, _ in heard:
        channel.basic_ack(delivery.delivery_tag)


def break_off(channel, end):
    """Ends it without a `basic.cancel`, which the library would send first."""
    if end == "channel":
        channel.basic_ack(12345)
        with pytest.raises((pika.exceptions.ChannelClosedByBroker, pika.exceptions.ChannelWrongStateError)):
            channel.connection.process_data_events(time_limit=20)
            channel.queue_declare("", exclusive=True)
    else:
        channel.connection._impl._transport._sock.shutdown(socket.SHUT_RDWR)
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            while True:
                channel.connection.process_data_events(time_limit=1)


def hears_nothing(channel):
    """What a consumer was to have got is with another: a round trip brings nothing."""
    channel.queue_declare("", exclusive=True)
    channel.connection.process_data_events(time_limit=0)
    return channel.heard == []


# Priorities


def test_the_highest_priority_gets_what_comes_one_by_one(connect, queue, publish):
    low, middle, high = [consumer(connect, queue, priority=it, auto_ack=True) for it in (-1, None, 10)]
    for channel in (high, middle, low):
        messages = numbered(0, 50)
        publish(queue, *messages)
        assert bodies(take(channel, 50)) == messages
        channel.basic_cancel(channel.tag)
    assert all(hears_nothing(channel) for channel in (low, middle, high))


def test_a_lower_priority_gets_what_the_higher_has_no_credit_for(connect, queue, publish):
    low, high = consumer(connect, queue, 100, -5), consumer(connect, queue, 2, 5)
    publish(queue, *numbered(0, 6))
    held = take(high, 2)
    assert bodies(held) == numbered(0, 2)
    assert bodies(take(low, 4)) == numbered(2, 4)
    # With credit again, it goes first again.
    ack(high, held[:1])
    high.queue_declare(queue, passive=True)
    publish(queue, *numbered(6, 2))
    assert bodies(take(high, 1)) == numbered(6, 1)
    assert bodies(take(low, 1)) == numbered(7, 1)


def test_what_a_higher_priority_leaves_behind_comes_to_the_lower(connect, queue, publish):
    low, high = consumer(connect, queue, priority=1), consumer(connect, queue, priority=2)
    publish(queue, *numbered(0, 5))
    take(high, 5)
    high.connection.close()
    heard = take(low, 5)
    assert bodies(heard) == numbered(0, 5)
    assert all(delivery.redelivered for delivery, _, _ in heard)


def test_equal_priorities_share(connect, queue, publish):
    consumers = [consumer(connect, queue, 1, 7) for _ in range(3)]
    publish(queue, *numbered(0, 3))
    assert sorted(b for it in consumers for b in bodies(take(it, 1))) == numbered(0, 3)


def test_a_consumer_with_a_priority_does_not_starve_basic_get(connect, channel, queue, publish):
    high = consumer(connect, queue, 1, 9)
    publish(queue, *numbered(0, 2))
    take(high, 1)
    assert channel.basic_get(queue, auto_ack=True)[2] == b"001"


@pytest.mark.parametrize("value", ["high", True, None, [1]], ids=str)
def test_a_priority_is_a_number(channel, queue, value):
    with closes_channel(406, "x-priority"):
        channel.basic_consume(queue, lambda *_: None, arguments={"x-priority": value})


# One active consumer


def test_one_consumer_gets_all_though_it_has_no_credit(connect, single, publish):
    first, second = consumer(connect, single, 1), consumer(connect, single, 10)
    publish(single, *numbered(0, 3))
    for body in numbered(0, 3):
        held = take(first, 1)
        assert bodies(held) == [body]
        assert hears_nothing(second)
        ack(first, held)


def test_the_next_goes_on_when_the_active_one_is_cancelled(connect, single, publish):
    first, second, third = [consumer(connect, single) for _ in range(3)]
    publish(single, *numbered(0, 2))
    held = take(first, 2)
    first.basic_cancel(first.tag)
    publish(single, *numbered(2, 2))
    # What the first holds it may still acknowledge.
    assert bodies(take(second, 2)) == numbered(2, 2)
    ack(first, held)
    assert hears_nothing(third) and hears_nothing(first)


@pytest.mark.parametrize("end", ["channel", "connection"])
def test_the_next_finds_what_the_active_one_held_in_its_order(connect, single, publish, end):
    first, second = consumer(connect, single, 4), consumer(connect, single, 100)
    publish(single, *numbered(0, 10))
    held = take(first, 4)
    ack(first, held[:1])
    first.queue_declare(single, passive=True)
    break_off(first, end)
    assert bodies(take(second, 9)) == numbered(1, 9)


def test_one_that_waits_may_go(connect, single, publish):
    first, second, third = [consumer(connect, single, 1) for _ in range(3)]
    second.basic_cancel(second.tag)
    publish(single, b"a", b"b")
    take(first, 1)
    break_off(first, "channel")
    held = take(third, 1)
    assert bodies(held) == [b"a"]
    ack(third, held)
    assert bodies(take(third, 1)) == [b"b"] and hears_nothing(second)


def test_several_consumers_of_a_channel_take_turns(amqp, single, publish):
    raw = Raw(amqp).opened(1)
    tags = ["first", "second", "third"]
    for tag in tags:
        raw.call(1, spec.Basic.Consume(queue=single, consumer_tag=tag, no_ack=True), spec.Basic.ConsumeOk)
    for tag in tags:
        publish(single, *numbered(0, 5))
        for _ in range(5):
            assert raw.expect(spec.Basic.Deliver).consumer_tag == tag
            raw.frame(), raw.frame()
        raw.call(1, spec.Basic.Cancel(tag), spec.Basic.CancelOk)
    raw.close()


def test_a_queue_with_one_active_consumer_takes_no_exclusive_one(connect, single):
    with closes_channel(403, "exclusive use"):
        connect().channel().basic_consume(single, lambda *_: None, exclusive=True)


@pytest.mark.parametrize("arguments", [None, {"x-single-active-consumer": False}], ids=["none", "false"])
def test_it_is_part_of_the_declaration(connect, single, arguments):
    with closes_channel(406, "x-single-active-consumer"):
        connect().channel().queue_declare(single, arguments=arguments)


def test_it_is_true_or_false(channel, name):
    with closes_channel(406, "x-single-active-consumer"):
        channel.queue_declare(name, arguments={"x-single-active-consumer": "yes"})


def test_the_management_api_tells_whose_turn_it_is(connect, api, single):
    management = Management(api)
    channels = [consumer(connect, single, 7) for _ in range(2)]
    tags = [it.tag for it in channels]

    def states():
        consumers = [it for it in management.get("consumers", ROOT) if it["consumer_tag"] in tags]
        return {it["consumer_tag"]: (it["active"], it["activity_status"]) for it in consumers}

    eventually(lambda: states() == {tags[0]: (True, "single_active"), tags[1]: (False, "waiting")}, what="both")
    channels[0].basic_cancel(tags[0])
    eventually(lambda: states() == {tags[1]: (True, "single_active")}, what="the second is active")

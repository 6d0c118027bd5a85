"""AMQP 0-9-1: what the arguments of queues and messages make of those that wait: times to live, dead letters, lengths, priorities.

Every scenario runs against a real RabbitMQ too, where one is installed: what passes only here is a mistake of the test."""

import time

import pika
import pytest

from amqp_raw import bodies, closes_channel, consume, get_all, take
from waits import eventually

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def dead(channel, name):
    """A queue behind a fanout exchange, both of the same name."""
    dead = f"{name}.dead"
    channel.exchange_declare(dead, "fanout")
    channel.queue_declare(dead)
    channel.queue_bind(dead, dead)
    yield dead
    channel.queue_delete(dead)
    channel.exchange_delete(dead)


@pytest.fixture
def declare(channel, name):
    """Declares the queue of the test; it goes with the test."""

    def declare(**arguments):
        named = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
        channel.queue_declare(name, arguments=named)
        channel.confirm_delivery()
        return name

    yield declare
    channel.connection.channel().queue_delete(name)


def publish(channel, queue, *messages, **properties):
    for body in messages:
        channel.basic_publish("", queue, body, pika.BasicProperties(**properties))


def refused(channel, queue, body):
    try:
        channel.basic_publish("", queue, body)
    except pika.exceptions.NackError:
        return True
    return False


def ready(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def arrives(channel, queue):
    """The next message."""

    def get():
        message = channel.basic_get(queue, auto_ack=True)
        return message[0] and message

    return eventually(get, what=f"a message comes to {queue}")


# Times to live


def test_a_message_expires_by_its_own_time(channel, declare):
    queue = declare()
    publish(channel, queue, b"brief", expiration="50")
    publish(channel, queue, b"lasting")
    publish(channel, queue, b"long", expiration="3600000")
    eventually(lambda: ready(channel, queue) == 2, what="the brief one expires")
    got = [arrives(channel, queue) for _ in range(2)]
    assert [it[2] for it in got] == [b"lasting", b"long"]
    assert [it[1].expiration for it in got] == [None, "3600000"]


def test_the_lesser_of_two_times_holds(channel, declare):
    queue = declare(message_ttl=60)
    publish(channel, queue, b"by the queue", expiration="3600000")
    publish(channel, queue, b"by itself", expiration="20")
    eventually(lambda: ready(channel, queue) == 0, what="both expire")


def test_a_brief_one_behind_a_lasting_one_is_never_delivered(channel, declare):
    queue = declare()
    publish(channel, queue, b"lasting")
    publish(channel, queue, b"brief", expiration="1")
    assert arrives(channel, queue)[2] == b"lasting"
    eventually(lambda: ready(channel, queue) == 0, what="the brief one expires")
    assert get_all(channel, queue) == []


@pytest.mark.parametrize("how", ["of the queue", "of the message"])
def test_what_expires_goes_to_the_dead_letter_exchange_though_nobody_consumes(channel, declare, dead, how):
    queue = declare(dead_letter_exchange=dead, **({"message_ttl": 100} if how == "of the queue" else {}))
    ttl = {} if how == "of the queue" else {"expiration": "100"}
    begun = time.monotonic()
    for n in range(50):
        publish(channel, queue, b"%d" % n, headers={"n": n}, message_id=f"m{n}", **ttl)
    got = [arrives(channel, dead) for _ in range(50)]
    assert time.monotonic() - begun < 10
    assert [it[2] for it in got] == [b"%d" % n for n in range(50)]
    method, properties, _ = got[7]
    assert (method.exchange, method.routing_key) == (dead, queue)
    assert (properties.message_id, properties.headers["n"], properties.expiration) == ("m7", 7, None)
    (death,) = properties.headers["x-death"]
    expected = {"count": 1, "reason": "expired", "queue": queue, "exchange": "", "routing-keys": [queue]}
    assert {key: death[key] for key in expected} == expected
    assert death.get("original-expiration") == ttl.get("expiration")
    assert properties.headers["x-first-death-reason"] == "expired"
    assert ready(channel, queue) == 0


def test_what_was_requeued_expires_too(channel, declare, dead):
    queue = declare(dead_letter_exchange=dead)
    publish(channel, queue, b"x", expiration="300")
    channel.basic_nack(channel.basic_get(queue)[0].delivery_tag)
    assert arrives(channel, dead)[2] == b"x"


@pytest.mark.parametrize("expiration", ["soon", "-1", "1.5", ""])
def test_an_expiration_is_a_number_of_milliseconds(channel, declare, expiration):
    queue = declare()
    with closes_channel(406):
        channel.basic_publish("", queue, b"x", pika.BasicProperties(expiration=expiration))


# Dead letters


def test_dead_letters_go_through_an_exchange_with_another_key(channel, declare, name):
    exchange, queue = f"{name}.x", declare(dead_letter_exchange=f"{name}.x", dead_letter_routing_key="late.order")
    channel.exchange_declare(exchange, "topic")
    found = [channel.queue_declare("", exclusive=True).method.queue for _ in range(3)]
    for bound, key in zip(found, ["late.#", "*.order", "early.*"]):
        channel.queue_bind(bound, exchange, key)
    publish(channel, queue, b"x")
    channel.basic_reject(channel.basic_get(queue)[0].delivery_tag, requeue=False)
    for bound in found[:2]:
        method, properties, body = arrives(channel, bound)
        assert (method.exchange, method.routing_key, body) == (exchange, "late.order", b"x")
        assert properties.headers["x-death"][0]["routing-keys"] == [queue]
    assert ready(channel, found[2]) == 0
    channel.exchange_delete(exchange)


def test_an_exchange_that_is_missing_or_leads_nowhere_drops_them(channel, declare, name):
    queue = declare(dead_letter_exchange=f"{name}.missing", message_ttl=50)
    publish(channel, queue, b"x", b"y")
    eventually(lambda: ready(channel, queue) == 0, what="they are dropped")
    channel.exchange_declare(f"{name}.missing", "direct")
    publish(channel, queue, b"z")
    eventually(lambda: ready(channel, queue) == 0, what="it is dropped")
    channel.exchange_delete(f"{name}.missing")


def test_the_story_of_a_message_that_goes_round(channel, declare, name):
    """A retry: rejected, it waits in another queue until it expires, and comes back."""
    waiting, queue = f"{name}.waiting", declare(dead_letter_exchange="", dead_letter_routing_key=f"{name}.waiting")
    back = {"x-message-ttl": 30, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
    channel.queue_declare(waiting, arguments=back)
    publish(channel, queue, b"x")
    for round in range(4):
        method, properties, _ = eventually(lambda: _first(channel, queue), what="it comes back")
        deaths = (properties.headers or {}).get("x-death", [])
        told = {(it["queue"], it["reason"]): it["count"] for it in deaths}
        assert told == ({(queue, "rejected"): round, (waiting, "expired"): round} if round else {})
        if round:
            assert deaths[0]["queue"] == waiting
            assert properties.headers["x-first-death-reason"] == "rejected"
        channel.basic_reject(method.delivery_tag, requeue=False)
    channel.queue_delete(waiting)


def _first(channel, queue):
    message = channel.basic_get(queue)
    return message[0] and message


def test_a_message_that_would_go_round_for_ever_is_dropped(channel, declare, name):
    other = f"{name}.other"
    queue = declare(message_ttl=20, dead_letter_exchange="", dead_letter_routing_key=other)
    channel.queue_declare(other, arguments={
        "x-message-ttl": 20, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue})
    publish(channel, queue, b"x")
    eventually(lambda: ready(channel, queue) + ready(channel, other) == 0, what="it is dropped")
    channel.queue_delete(other)


def test_it_goes_round_as_often_as_it_is_rejected(channel, declare, name):
    queue = declare(dead_letter_exchange="", dead_letter_routing_key=name)
    publish(channel, queue, b"x")
    for _ in range(5):
        method, _, _ = eventually(lambda: _first(channel, queue), what="it comes back")
        channel.basic_reject(method.delivery_tag, requeue=False)
    assert arrives(channel, queue)[1].headers["x-death"][0]["count"] == 5


# Lengths


def test_the_oldest_leave_a_queue_that_is_too_long(channel, declare):
    queue = declare(max_length=3)
    publish(channel, queue, *[b"%d" % n for n in range(10)])
    eventually(lambda: ready(channel, queue) == 3, what="the oldest leave")
    assert get_all(channel, queue) == [b"7", b"8", b"9"]


def test_they_go_to_the_dead_letter_exchange(channel, declare, dead):
    queue = declare(max_length=2, dead_letter_exchange=dead)
    publish(channel, queue, *[b"%d" % n for n in range(6)])
    got = [arrives(channel, dead) for _ in range(4)]
    assert [it[2] for it in got] == [b"0", b"1", b"2", b"3"]
    assert {it[1].headers["x-death"][0]["reason"] for it in got} == {"maxlen"}
    assert get_all(channel, queue) == [b"4", b"5"]


def test_what_is_unacknowledged_does_not_count(channel, declare):
    queue = declare(max_length=2)
    publish(channel, queue, b"0", b"1")
    tag = consume(channel, queue)
    assert bodies(take(channel, 2)) == [b"0", b"1"]
    channel.basic_cancel(tag)
    publish(channel, queue, b"2", b"3", b"4")
    assert get_all(channel, queue)[-2:] == [b"3", b"4"]


def test_bytes_are_limited_too(channel, declare):
    queue = declare(max_length_bytes=100)
    for n in range(10):
        publish(channel, queue, b"%d" % n * 30)
    eventually(lambda: ready(channel, queue) == 3, what="the oldest leave")
    publish(channel, queue, b"x" * 100)
    eventually(lambda: ready(channel, queue) == 1, what="the oldest leave")
    assert get_all(channel, queue) == [b"x" * 100]


@pytest.mark.parametrize("limit", [{"max_length": 3}, {"max_length_bytes": 30}])
def test_a_full_queue_refuses(channel, declare, limit):
    queue = declare(overflow="reject-publish", **limit)
    assert [refused(channel, queue, b"%d" % n * 10) for n in range(5)] == [False] * 3 + [True] * 2
    assert arrives(channel, queue)[2] == b"0" * 10
    assert [refused(channel, queue, b"%d" % n * 10) for n in range(5, 7)] == [False, True]
    assert get_all(channel, queue) == [b"%d" % n * 10 for n in (1, 2, 5)]


def test_a_full_queue_keeps_nothing_from_the_others(channel, declare, name):
    queue, other = declare(max_length=1, overflow="reject-publish"), f"{name}.other"
    channel.queue_declare(other)
    for bound in (queue, other):
        channel.queue_bind(bound, "amq.fanout")
    channel.basic_publish("amq.fanout", "", b"0")
    with pytest.raises(pika.exceptions.NackError):
        channel.basic_publish("amq.fanout", "", b"1")
    assert get_all(channel, queue) == [b"0"]
    assert get_all(channel, other) == [b"0", b"1"]
    channel.queue_delete(other)


def test_without_confirms_what_is_refused_is_dropped(channel, declare):
    queue = declare(max_length=1, overflow="reject-publish")
    silent = channel.connection.channel()
    publish(silent, queue, b"0", b"1", b"2")
    assert get_all(silent, queue) == [b"0"]


def test_what_is_refused_goes_to_the_dead_letter_exchange(channel, declare, dead):
    queue = declare(max_length=1, overflow="reject-publish-dlx", dead_letter_exchange=dead)
    assert [refused(channel, queue, b"%d" % n) for n in range(2)] == [False, True]
    _, properties, body = arrives(channel, dead)
    assert body == b"1"
    assert (properties.headers["x-death"][0]["reason"], properties.headers["x-death"][0]["queue"]) == ("maxlen", queue)


# Priorities


def test_those_of_a_higher_priority_come_first(channel, declare):
    queue = declare(max_priority=9)
    for n, priority in enumerate([0, 5, 9, None, 5, 200, 1]):
        publish(channel, queue, b"%d:%s" % (n, str(priority).encode()), priority=priority)
    assert get_all(channel, queue) == [b"2:9", b"5:200", b"1:5", b"4:5", b"6:1", b"0:0", b"3:None"]


def test_a_requeued_message_keeps_its_place_among_those_of_its_priority(channel, declare):
    queue = declare(max_priority=3)
    publish(channel, queue, b"low", priority=1)
    publish(channel, queue, b"a", b"b", priority=3)
    method, _, body = channel.basic_get(queue)
    assert body == b"a"
    channel.basic_nack(method.delivery_tag)
    assert get_all(channel, queue) == [b"a", b"b", b"low"]


@pytest.mark.parametrize("arguments", [
    {"x-max-length": -1},
    {"x-max-length": "many"},
    {"x-max-length-bytes": -5},
    {"x-overflow": "explode"},
    {"x-max-priority": 256},
    {"x-max-priority": -1},
    {"x-message-ttl": -1},
    {"x-dead-letter-routing-key": "alone"},
])
def test_arguments_that_make_no_sense_are_refused(channel, name, arguments):
    with closes_channel(406):
        channel.queue_declare(name, arguments=arguments)

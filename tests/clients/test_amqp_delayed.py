"""The exchange type `x-delayed-message` of AMQP 0-9-1, which RabbitMQ has as a plugin that Debian has not: only here."""

import time

import pika
import pytest

from amqp_raw import bodies, closes_channel, consume, get_all, take
from conftest import amqp_connection
from waits import eventually

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def delayed(server, name):
    """A channel, and an exchange that delays with a queue behind it."""
    connection = amqp_connection(server.addresses["amqp"])
    channel = connection.channel()
    channel.exchange_declare(name, "x-delayed-message", durable=True, arguments={"x-delayed-type": "topic"})
    channel.queue_declare(name, durable=True)
    channel.queue_bind(name, name, "a.#")
    channel.confirm_delivery()
    yield channel
    connection.close()


def after(ms, **headers):
    return pika.BasicProperties(headers={"x-delay": ms, **headers}, delivery_mode=2)


def test_messages_come_in_the_order_of_their_times(delayed, name):
    begun = time.monotonic()
    for ms in (900, 600, 0, 300):
        delayed.basic_publish(name, "a.b", b"%d" % ms, after(ms, n=ms))
    delayed.basic_publish(name, "a.b", b"none")
    consume(delayed, name, auto_ack=True)
    heard = take(delayed, 5)
    assert time.monotonic() - begun >= 0.9
    assert sorted(bodies(heard)[:2]) == [b"0", b"none"] and bodies(heard)[2:] == [b"300", b"600", b"900"]
    method, properties, _ = heard[-1]
    assert (method.exchange, method.routing_key) == (name, "a.b")
    # So that it is not delayed once more where it is sent on.
    assert properties.headers == {"x-delay": -900, "n": 900}


def test_what_is_delayed_is_routed_when_it_is_published(delayed, name):
    delayed.basic_publish(name, "b", b"nowhere", after(100))
    other = f"{name}.other"
    delayed.basic_publish(name, "a", b"one", after(100))
    delayed.queue_declare(other, exclusive=True)
    delayed.queue_bind(other, name, "#")
    eventually(lambda: delayed.queue_declare(name, passive=True).method.message_count == 1, what="it comes")
    assert (get_all(delayed, name), get_all(delayed, other)) == ([b"one"], [])
    # In each of its queues.
    delayed.basic_publish(name, "a", b"both", after(50))
    for queue in (name, other):
        eventually(lambda: delayed.queue_declare(queue, passive=True).method.message_count == 1, what="it comes")


def test_what_is_mandatory_and_delayed_comes_back_and_comes(delayed, name):
    delayed.basic_publish(name, "a", b"now", mandatory=True)
    with pytest.raises(pika.exceptions.UnroutableError):
        delayed.basic_publish(name, "a", b"later", after(50), mandatory=True)
    eventually(lambda: delayed.queue_declare(name, passive=True).method.message_count == 2, what="it comes")
    assert get_all(delayed, name) == [b"now", b"later"]


def test_a_delay_is_part_of_a_transaction(delayed, name):
    channel = delayed.connection.channel()
    channel.tx_select()
    channel.basic_publish(name, "a", b"no", after(10))
    channel.tx_rollback()
    channel.basic_publish(name, "a", b"yes", after(10))
    channel.tx_commit()
    eventually(lambda: delayed.queue_declare(name, passive=True).method.message_count == 1, what="it comes")
    assert get_all(delayed, name) == [b"yes"]


def test_an_exchange_that_delays_is_declared_as_one(delayed, name):
    connection = delayed.connection
    text = "PRECONDITION_FAILED - Invalid argument, 'x-delayed-type' must be an existing exchange type"
    for arguments in (None, {"x-delayed-type": "nothing"}, {"x-delayed-type": 5}):
        with closes_channel(406, text):
            connection.channel().exchange_declare(f"{name}.x", "x-delayed-message", arguments=arguments)
    with closes_channel(406, f"inequivalent arg 'type' for exchange '{name}' in vhost '/': received 'topic'"):
        connection.channel().exchange_declare(name, "topic", durable=True)
    connection.channel().exchange_declare(
        name, "x-delayed-message", durable=True, arguments={"x-delayed-type": "topic"}
    )


def test_what_is_delayed_comes_after_a_kill(fresh, name):
    channel = amqp_connection(fresh.addresses["amqp"]).channel()
    channel.exchange_declare(name, "x-delayed-message", durable=True, arguments={"x-delayed-type": "fanout"})
    channel.queue_declare(name, durable=True)
    channel.queue_bind(name, name)
    channel.confirm_delivery()
    for ms in (3_600_000, 500, 1):
        channel.basic_publish(name, "", b"%d" % ms, after(ms))
    fresh.kill()
    fresh.start()
    channel = amqp_connection(fresh.addresses["amqp"]).channel()
    consume(channel, name, auto_ack=True)
    assert bodies(take(channel, 2)) == [b"1", b"500"]
    channel.exchange_declare(name, "x-delayed-message", durable=True, arguments={"x-delayed-type": "fanout"})

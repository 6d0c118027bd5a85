"""kill -9 amid AMQP 0-9-1: what was confirmed is there, what nobody acknowledged comes back, what was durable is declared."""

import collections
import threading

import pika
import pika.exceptions
import pytest
from pika import spec

from amqp_raw import (
    KILLS,
    KILLS_TIMEOUT_S,
    Raw,
    UntilKilled,
    closes_channel,
    closes_connection,
    consume,
    get_all,
    published,
    take,
)
from conftest import amqp_connection

pytestmark = pytest.mark.timeout(KILLS_TIMEOUT_S)
BATCH = 50
UNREACHABLE = (OSError, AssertionError, pika.exceptions.AMQPError)


class Traffic:
    """A publisher and a consumer that go on through every kill, and what they were told."""

    def __init__(self, address, queue, mode):
        self.address, self.queue = address, queue
        self.properties = spec.BasicProperties(delivery_mode=mode)
        self.lock = threading.Condition()
        self.confirmed = set()
        self.received = collections.Counter()
        self.stop, self.drained = threading.Event(), threading.Event()

    def publish(self):
        """Each batch again until it is confirmed."""
        number, batch = 0, []
        while not self.stop.is_set():
            raw = None
            try:
                raw = Raw(self.address).opened(1)
                raw.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
                tag = 1
                while not self.stop.is_set():
                    while len(batch) < BATCH:
                        batch.append(b"%d" % number)
                        number += 1
                    raw.send_frames(*(part for body in batch for part in self.message(body)))
                    tag, batch = self.confirm(raw, tag, batch)
            except UNREACHABLE:
                self.stop.wait(0.02)
            finally:
                if raw:
                    raw.close()

    def message(self, body):
        return published(1, self.queue, body, properties=self.properties)

    def confirm(self, raw, tag, batch):
        open_ones = dict(enumerate(batch, tag))
        while open_ones:
            it = raw.frame()
            if it is None:
                raise ConnectionError("killed")
            assert isinstance(it.method, spec.Basic.Ack), it
            upto = it.method.delivery_tag
            tags = [tag for tag in open_ones if tag <= upto] if it.method.multiple else [upto]
            with self.lock:
                self.confirmed.update(open_ones.pop(tag) for tag in tags)
                self.lock.notify_all()
        return tag + len(batch), []

    def work(self):
        """Acknowledges each in its turn, some of them long after they came."""
        while not self.drained.is_set():
            try:
                channel = amqp_connection(self.address).channel()
                channel.basic_qos(prefetch_count=40)
                consume(channel, self.queue)
                while not self.drained.is_set():
                    channel.connection.process_data_events(time_limit=0.1)
                    heard, channel.heard = channel.heard, []
                    for delivery, _, body in heard:
                        with self.lock:
                            self.received[body] += 1
                            self.lock.notify_all()
                        channel.basic_ack(delivery.delivery_tag)
                channel.connection.close()
            except UNREACHABLE:
                self.drained.wait(0.02)

    def wait_for(self, holds, what):
        with self.lock:
            seen = lambda: f"{what}: {len(self.confirmed)} confirmed, {len(self.received)} received"
            assert self.lock.wait_for(holds, timeout=60), seen()


@pytest.mark.parametrize("mode", [1, 2], ids=["transient", "persistent"])
def test_what_is_confirmed_is_received_through_kills(fresh, name, mode):
    address = fresh.addresses["amqp"]
    amqp_connection(address).channel().queue_declare(name, durable=True)
    traffic = Traffic(address, name, mode)
    threads = [threading.Thread(target=it, daemon=True) for it in (traffic.publish, traffic.work)]
    for thread in threads:
        thread.start()
    for kill in range(KILLS):
        goal = len(traffic.confirmed) + 300 + 70 * (kill % 5)
        traffic.wait_for(lambda: len(traffic.confirmed) >= goal, f"traffic before kill {kill}")
        fresh.kill()
        fresh.start()
    goal = len(traffic.confirmed) + 300
    traffic.wait_for(lambda: len(traffic.confirmed) >= goal, "traffic after the last kill")
    traffic.stop.set()
    threads[0].join(60)
    traffic.wait_for(lambda: traffic.confirmed <= traffic.received.keys(), "all that is confirmed is received")
    traffic.drained.set()
    threads[1].join(60)
    # What was published but not confirmed may be there twice or not at all; that which is there is worked off.
    channel = amqp_connection(address).channel()
    rest = get_all(channel, name)
    assert len(rest) <= BATCH


def test_what_a_consumer_held_comes_back_after_a_kill(fresh, name):
    channel = amqp_connection(fresh.addresses["amqp"]).channel()
    channel.queue_declare(name, durable=True)
    channel.confirm_delivery()
    for i in range(6):
        channel.basic_publish("", name, b"%d" % i, pika.BasicProperties(delivery_mode=2, headers={"i": i}))
    channel.basic_qos(prefetch_count=3)
    consume(channel, name)
    assert [body for _, _, body in take(channel, 3)] == [b"0", b"1", b"2"]
    # Its leases are written with what comes after them.
    channel.basic_publish("", name, b"6")
    fresh.kill()
    fresh.start()
    channel = amqp_connection(fresh.addresses["amqp"]).channel()
    got = [channel.basic_get(name, auto_ack=True) for _ in range(7)]
    assert [it[2] for it in got] == [b"%d" % i for i in range(7)]
    assert [it[0].redelivered for it in got] == [True] * 3 + [False] * 4
    assert [it[1].headers["i"] for it in got[:6]] == list(range(6))


def test_what_is_durable_is_there_after_a_kill(fresh, name):
    connection = amqp_connection(fresh.addresses["amqp"])
    channel = connection.channel()
    channel.exchange_declare(name, "topic", durable=True)
    channel.exchange_declare(f"{name}.passing", "fanout")
    channel.exchange_declare(f"{name}.all", "fanout", durable=True)
    channel.exchange_bind(f"{name}.all", name, "#.all")
    channel.queue_declare(name, durable=True, arguments={"x-message-ttl": 60_000})
    channel.queue_declare(f"{name}.passing")
    channel.queue_declare(f"{name}.mine", durable=True, exclusive=True)
    channel.queue_bind(name, name, "a.*")
    channel.queue_bind(name, f"{name}.all")
    channel.queue_bind(f"{name}.passing", name, "a.*")
    channel.confirm_delivery()
    channel.basic_publish(name, "a.b", b"before", pika.BasicProperties(delivery_mode=2))
    fresh.kill()
    fresh.start()
    connection = amqp_connection(fresh.addresses["amqp"])
    for gone in (f"{name}.passing", f"{name}.mine"):
        with closes_channel(404):
            connection.channel().queue_declare(gone, passive=True)
    with closes_channel(404):
        connection.channel().exchange_declare(f"{name}.passing", passive=True)
    channel = connection.channel()
    assert channel.queue_declare(name, durable=True, arguments={"x-message-ttl": 60_000}).method.message_count == 1
    channel.exchange_declare(name, "topic", durable=True)
    channel.confirm_delivery()
    channel.basic_publish(name, "a.c", b"after", mandatory=True)
    channel.basic_publish(name, "x.all", b"around", mandatory=True)
    assert get_all(channel, name) == [b"before", b"after", b"around"]


def test_a_broker_that_goes_says_so(fresh, name):
    connection = amqp_connection(fresh.addresses["amqp"])
    channel = connection.channel()
    channel.queue_declare(name, durable=True)
    channel.confirm_delivery()
    for i in range(3):
        channel.basic_publish("", name, b"%d" % i)
    channel.basic_qos(prefetch_count=2)
    consume(channel, name)
    take(channel, 2)
    fresh.process.terminate()
    with closes_connection(320, "CONNECTION_FORCED"):
        while True:
            connection.process_data_events(time_limit=20)
    assert fresh.process.wait(20) == 0
    fresh.start()
    channel = amqp_connection(fresh.addresses["amqp"]).channel()
    got = [channel.basic_get(name, auto_ack=True) for _ in range(3)]
    assert [(it[2], it[0].redelivered) for it in got] == [(b"0", True), (b"1", True), (b"2", False)]


def test_what_is_not_persistent_is_not_synced(fresh, name):
    channel = amqp_connection(fresh.addresses["amqp"]).channel()
    channel.confirm_delivery()
    strict = f"{name}.quorum"
    channel.queue_declare(name, durable=True)
    channel.queue_declare(strict, durable=True, arguments={"x-queue-type": "quorum"})

    def syncs(queue, mode, count=100):
        before = fresh.metric("duolog_log_fsyncs_total")
        for n in range(count):
            channel.basic_publish("", queue, b"%d" % n, pika.BasicProperties(delivery_mode=mode))
        return fresh.metric("duolog_log_fsyncs_total") - before

    assert syncs(name, 2) >= 100
    assert syncs(name, 1) < 50
    assert syncs(name, None) < 50
    assert syncs(strict, 1) >= 100
    fresh.kill()
    fresh.start()
    channel = amqp_connection(fresh.addresses["amqp"]).channel()
    assert get_all(channel, name) == [b"%d" % n for _ in range(3) for n in range(100)]


class Rejecter(UntilKilled):
    """Rejects what it is delivered, and notes it."""

    def work(self, address, queue):
        raw = Raw(address).opened(1)
        raw.call(1, spec.Basic.Qos(0, 20, False), spec.Basic.QosOk)
        raw.call(1, spec.Basic.Consume(queue=queue), spec.Basic.ConsumeOk)
        while True:
            tag = raw.expect(spec.Basic.Deliver).delivery_tag
            _, body = raw.frame(), raw.frame()
            raw.send(1, spec.Basic.Reject(tag, requeue=False))
            self.note([body.fragment])


def test_a_dead_letter_is_in_one_place_through_kills(fresh, name):
    dead = [f"{name}.dead.{n}" for n in range(3)]
    channel = amqp_connection(fresh.addresses["amqp"]).channel()
    channel.exchange_declare(name, "fanout", durable=True)
    for queue in dead:
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, name)
    channel.queue_declare(name, durable=True, arguments={"x-dead-letter-exchange": name})
    channel.confirm_delivery()
    bodies = [b"%05d" % n for n in range(200 * KILLS)]
    for body in bodies:
        channel.basic_publish("", name, body, pika.BasicProperties(delivery_mode=2))
    for kill in range(KILLS):
        rejecter = Rejecter(fresh.addresses["amqp"], name)
        rejecter.wait_for(50 + 17 * (kill % 5))
        fresh.kill()
        rejecter.join()
        fresh.start()
    channel = amqp_connection(fresh.addresses["amqp"]).channel()
    left = get_all(channel, name)
    moved = [get_all(channel, queue) for queue in dead]
    assert 0 < len(left) < len(bodies)
    # In its queue or in all those of the exchange, and once.
    assert sorted(left + moved[0]) == bodies
    assert all(sorted(it) == sorted(moved[0]) for it in moved)

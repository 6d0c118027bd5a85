"""One message to twenty queues: in all of them or in none, through `kill -9`, and stored about once."""

import pytest
from pika import spec

from amqp_raw import KILLS, KILLS_TIMEOUT_S, Raw, UntilKilled, get_all, published
from conftest import amqp_connection

pytestmark = pytest.mark.timeout(KILLS_TIMEOUT_S)
QUEUES = 20
BATCH = 20


def bound(address, name):
    """A fanout exchange with twenty queues behind it."""
    channel = amqp_connection(address).channel()
    channel.exchange_declare(name, "fanout", durable=True)
    queues = [f"{name}-{index}" for index in range(QUEUES)]
    for queue in queues:
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, name)
    return queues


class Publisher(UntilKilled):
    """Publishes batches, and notes what is confirmed."""

    def work(self, address, exchange, number):
        raw = Raw(address).opened(1)
        raw.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
        tag = 0
        while True:
            bodies = [b"%d" % (number + index) for index in range(BATCH)]
            raw.send_frames(*(part for body in bodies for part in published(1, "", body, exchange)))
            done = 0
            while done < BATCH:
                upto = raw.expect(spec.Basic.Ack).delivery_tag - tag
                self.note(bodies[done:upto])
                done = upto
            number, tag = number + BATCH, tag + BATCH


def test_a_fanout_is_all_or_none_through_kills(fresh, name):
    queues = bound(fresh.addresses["amqp"], name)
    for kill in range(KILLS):
        publisher = Publisher(fresh.addresses["amqp"], name, 1_000_000 * kill)
        publisher.wait_for(100 + 33 * (kill % 5))
        fresh.kill()
        publisher.join()
        fresh.start()
        channel = amqp_connection(fresh.addresses["amqp"]).channel()
        bodies, *others = [get_all(channel, queue) for queue in queues]
        assert bodies[: len(publisher.stored)] == publisher.stored
        assert len(bodies) <= len(publisher.stored) + BATCH
        for other in others:
            assert other == bodies


def test_a_fanout_is_stored_once(fresh, name):
    address = fresh.addresses["amqp"]
    bound(address, name)

    appended = lambda: fresh.metric("duolog_log_written_bytes_total")
    raw = Raw(address).opened(1)
    raw.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    before = appended()
    for tag in range(1, 101):
        raw.publish(1, "", b"x" * 1024, name)
        acknowledged = raw.frame().method
        assert (type(acknowledged), acknowledged.delivery_tag) == (spec.Basic.Ack, tag)
    written = (appended() - before) / 100
    assert 1024 < written < 2 * 1024, f"{written} bytes for one message of 1 KiB to {QUEUES} queues"

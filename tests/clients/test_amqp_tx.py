"""Transactions of AMQP 0-9-1: what is published and acknowledged between `tx.select` and `tx.commit`.

Every scenario but the last runs against a real RabbitMQ too, where one is installed."""

import pika
import pytest
from pika import frame, spec

from amqp_raw import KILLS, KILLS_TIMEOUT_S, Raw, UntilKilled, bodies, closes_channel, consume, get_all, published, take
from conftest import amqp_connection
from waits import eventually

pytestmark = pytest.mark.timeout(KILLS_TIMEOUT_S)


def ready(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


@pytest.fixture
def pair(connect, name):
    """A channel in a transaction, another one beside it, and two queues."""
    queues = [name, f"{name}.other"]
    beside = connect().channel()
    for queue in queues:
        beside.queue_declare(queue, durable=True)
    channel = connect().channel()
    channel.tx_select()
    yield channel, beside, *queues
    fresh = connect().channel()
    for queue in queues:
        fresh.queue_delete(queue)


def test_what_is_published_is_there_once_it_is_committed(pair):
    channel, beside, one, two = pair
    for i in range(3):
        channel.basic_publish("", one, b"%d" % i)
        channel.basic_publish("", two, b"%d" % i)
    assert (ready(beside, one), ready(beside, two)) == (0, 0)
    channel.tx_commit()
    assert get_all(beside, one) == get_all(beside, two) == [b"0", b"1", b"2"]
    # The next one has begun.
    channel.basic_publish("", one, b"3")
    assert ready(beside, one) == 0
    channel.tx_commit()
    channel.tx_commit()
    assert get_all(beside, one) == [b"3"]


def test_what_is_rolled_back_was_never_there(pair):
    channel, beside, one, _ = pair
    channel.basic_publish("", one, b"no")
    channel.tx_rollback()
    channel.basic_publish("", one, b"yes")
    channel.tx_commit()
    channel.basic_publish("", one, b"left")
    channel.close()
    assert get_all(beside, one) == [b"yes"]


def test_acknowledgements_count_once_they_are_committed(pair):
    channel, beside, one, _ = pair
    for i in range(4):
        beside.basic_publish("", one, b"%d" % i)
    eventually(lambda: ready(beside, one) == 4, what="the messages are there")
    consume(channel, one)
    take(channel, 4)
    channel.basic_ack(1)
    channel.basic_nack(2, requeue=True)
    channel.basic_reject(3, requeue=False)
    channel.tx_commit()
    (again,) = take(channel, 1)
    assert (again[0].delivery_tag, again[0].redelivered, again[2]) == (5, True, b"1")
    channel.basic_ack(4, multiple=True)
    channel.tx_rollback()
    # Nothing comes again by itself; it can be acknowledged another time.
    channel.basic_qos(prefetch_count=0)
    assert not channel.heard
    channel.basic_ack(4)
    channel.basic_ack(5)
    channel.tx_commit()
    channel.close()
    assert get_all(beside, one) == []


def test_what_is_not_committed_comes_back_with_the_channel(pair):
    channel, beside, one, two = pair
    for i in range(2):
        beside.basic_publish("", one, b"%d" % i)
    eventually(lambda: ready(beside, one) == 2, what="the messages are there")
    for _ in range(2):
        channel.basic_get(one)
    channel.basic_ack(0, multiple=True)
    channel.basic_publish("", two, b"x")
    channel.close()
    eventually(lambda: ready(beside, one) == 2, what="the messages come back")
    got = [beside.basic_get(one, auto_ack=True) for _ in range(2)]
    assert [(it[2], it[0].redelivered) for it in got] == [(b"0", True), (b"1", True)]
    assert ready(beside, two) == 0


def test_an_acknowledgement_of_what_is_acknowledged_already(pair):
    channel, beside, one, _ = pair
    beside.basic_publish("", one, b"x")
    eventually(lambda: ready(beside, one) == 1, what="the message is there")
    channel.basic_get(one)
    channel.basic_ack(1)
    channel.basic_ack(1)
    with closes_channel(406, "PRECONDITION_FAILED - unknown delivery tag 1"):
        channel.tx_commit()
    eventually(lambda: ready(beside, one) == 1, what="the message comes back")


def test_a_prefetch_counts_until_the_commit(pair):
    channel, beside, one, _ = pair
    for i in range(3):
        beside.basic_publish("", one, b"%d" % i)
    channel.basic_qos(prefetch_count=1)
    consume(channel, one)
    assert bodies(take(channel, 1)) == [b"0"]
    channel.basic_ack(1)
    channel.basic_qos(prefetch_count=1)
    assert not channel.heard
    channel.tx_commit()
    assert bodies(take(channel, 1)) == [b"1"]


def test_what_no_queue_takes_comes_back_at_the_commit(amqp, name):
    raw = Raw(amqp).opened(1)
    raw.call(1, spec.Tx.Select(), spec.Tx.SelectOk)
    raw.publish(1, f"{name}.nowhere", b"back", mandatory=True)
    raw.publish(1, f"{name}.nowhere", b"gone")
    # Nothing is said of it before.
    raw.call(1, spec.Basic.Qos(prefetch_count=1), spec.Basic.QosOk)
    raw.send(1, spec.Tx.Commit())
    returned = raw.expect(spec.Basic.Return)
    assert (returned.reply_code, returned.routing_key) == (312, f"{name}.nowhere")
    assert isinstance(raw.frame(), frame.Header) and raw.frame().fragment == b"back"
    raw.expect(spec.Tx.CommitOk)
    raw.publish(1, f"{name}.nowhere", b"back", mandatory=True)
    raw.call(1, spec.Tx.Rollback(), spec.Tx.RollbackOk)
    raw.call(1, spec.Tx.Commit(), spec.Tx.CommitOk)
    raw.close()


def test_transactions_and_confirms_exclude_one_another(connect):
    connection = connect()
    channel = connection.channel()
    channel.tx_select()
    channel.tx_select()
    with closes_channel(406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode"):
        channel.confirm_delivery()
    channel = connection.channel()
    channel.confirm_delivery()
    with closes_channel(406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode"):
        channel.tx_select()
    for end in ("tx_commit", "tx_rollback"):
        with closes_channel(406, "PRECONDITION_FAILED - channel is not transactional"):
            getattr(connection.channel(), end)()


def test_an_exchange_that_is_not_there_ends_the_transaction(pair):
    channel, beside, one, _ = pair
    channel.basic_publish("", one, b"x")
    channel.basic_publish("nowhere", one, b"x")
    with closes_channel(404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'"):
        channel.tx_commit()
    assert get_all(beside, one) == []


def test_large_messages_in_a_transaction(pair):
    channel, beside, one, two = pair
    sent = [bytes([i]) * size for i, size in enumerate((3 << 20, 10, 4 << 20, 0))]
    for body in sent:
        channel.basic_publish("", one, body, pika.BasicProperties(delivery_mode=2))
    channel.basic_publish("", two, b"x")
    channel.tx_commit()
    assert get_all(beside, one) == sent and get_all(beside, two) == [b"x"]


# Here alone: RabbitMQ promises nothing for transactions that touch several queues.


class Committer(UntilKilled):
    """Commits transactions that put numbers into several queues."""

    def work(self, address, queues, number):
        raw = Raw(address).opened(1)
        raw.call(1, spec.Tx.Select(), spec.Tx.SelectOk)
        while True:
            sent = [b"%d" % (number + i) for i in range(5)]
            for queue in queues:
                raw.send_frames(*(part for body in sent for part in published(1, queue, body)))
            raw.call(1, spec.Tx.Commit(), spec.Tx.CommitOk)
            self.note(sent)
            number += 5


def test_a_transaction_is_in_all_queues_or_in_none_after_a_kill(fresh, name):
    queues = [f"{name}.{i}" for i in range(3)]
    channel = amqp_connection(fresh.addresses["amqp"]).channel()
    for queue in queues:
        channel.queue_declare(queue, durable=True)
    for kill in range(KILLS):
        committer = Committer(fresh.addresses["amqp"], queues, 1_000_000 * kill)
        committer.wait_for(60 + 35 * (kill % 5))
        fresh.kill()
        committer.join()
        fresh.start()
        channel = amqp_connection(fresh.addresses["amqp"]).channel()
        first, *others = [get_all(channel, queue) for queue in queues]
        assert first[: len(committer.stored)] == committer.stored
        assert len(first) % 5 == 0 and len(first) <= len(committer.stored) + 5
        for other in others:
            assert other == first

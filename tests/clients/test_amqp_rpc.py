"""Direct reply-to of AMQP 0-9-1: answers that go straight to who asked.

Every scenario runs against a real RabbitMQ too, where one is installed: what passes only here is a mistake of the test."""

import asyncio
import threading

import aio_pika
import aio_pika.exceptions
import aio_pika.patterns
import pika
import pytest
from pika import frame, spec

from amqp_raw import Raw, bodies, closes_channel, consume, take
from waits import eventually

pytestmark = pytest.mark.timeout(120)
REPLY_TO = "amq.rabbitmq.reply-to"


def asking(**more):
    return pika.BasicProperties(reply_to=REPLY_TO, **more)


@pytest.fixture
def service(connect, name):
    """A queue whose messages are answered with what they said, in capitals, by another connection."""
    channel = connect().channel()
    channel.queue_declare(name, exclusive=True)
    seen = []

    def answer(channel, method, properties, body):
        seen.append(properties)
        reply = pika.BasicProperties(correlation_id=properties.correlation_id, headers={"n": 1})
        channel.basic_publish("", properties.reply_to, body.upper(), reply)
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(name, answer)
    thread = threading.Thread(target=channel.start_consuming, daemon=True)
    thread.start()
    yield name, seen
    channel.connection.add_callback_threadsafe(channel.stop_consuming)
    thread.join(20)


def test_a_question_is_answered(channel, service):
    name, seen = service
    tag = consume(channel, REPLY_TO, auto_ack=True)
    for i in range(50):
        channel.basic_publish("", name, b"hello %d" % i, asking(correlation_id=f"{i}"))
    heard = take(channel, 50)
    assert bodies(heard) == [b"HELLO %d" % i for i in range(50)]
    addresses = {it.reply_to for it in seen}
    assert len(addresses) == 1 and addresses.pop().startswith(f"{REPLY_TO}.")
    method, properties, _ = heard[3]
    assert (method.consumer_tag, method.exchange, method.redelivered) == (tag, "", False)
    assert method.routing_key == seen[0].reply_to
    assert (properties.correlation_id, properties.headers) == ("3", {"n": 1})


def test_each_channel_has_its_own_answers(connect, service):
    name, seen = service
    connection = connect()
    channels = [connection.channel() for _ in range(3)]
    for i, channel in enumerate(channels):
        consume(channel, REPLY_TO, auto_ack=True, consumer_tag=f"tag{i}")
    for i, channel in enumerate(channels):
        channel.basic_publish("amq.direct", "nowhere", b"lost", asking())
        channel.basic_publish("", name, b"of %d" % i, asking())
    for i, channel in enumerate(channels):
        ((method, _, body),) = take(channel, 1)
        assert (method.consumer_tag, body) == (f"tag{i}", b"OF %d" % i)
    assert len({it.reply_to for it in seen}) == 3


def test_a_large_answer(channel, service):
    name, _ = service
    consume(channel, REPLY_TO, auto_ack=True)
    channel.basic_publish("", name, b"x" * 3_000_000, asking())
    channel.basic_publish("", name, b"", asking())
    assert bodies(take(channel, 2)) == [b"X" * 3_000_000, b""]


def test_who_waits_for_an_answer_can_be_seen(connect, name):
    asker, other = connect().channel(), connect().channel()
    other.queue_declare(name, exclusive=True)
    consume(asker, REPLY_TO, auto_ack=True, consumer_tag="mine")
    asker.basic_publish("", name, b"x", asking())
    address = eventually(lambda: other.basic_get(name, auto_ack=True)[1], what="the question comes").reply_to
    # RabbitMQ cannot be asked by the one itself: 541.
    declared = other.queue_declare(address, passive=True).method
    assert (declared.queue, declared.message_count, declared.consumer_count) == (address, 0, 1)
    assert other.queue_declare(REPLY_TO, passive=True).method.consumer_count == 1
    # Once it waits no longer, what is sent to it is nobody's.
    asker.basic_cancel("mine")
    with closes_channel(404, "NOT_FOUND - no queue 'amq.rabbitmq.reply-to."):
        other.queue_declare(address, passive=True)
    other = other.connection.channel()
    other.confirm_delivery()
    other.basic_publish("", address, b"too late")
    asker.basic_qos(prefetch_count=0)
    assert not asker.heard
    # It may wait again, at another address.
    consume(asker, REPLY_TO, auto_ack=True)
    asker.close()
    other.basic_publish("", address, b"too late")


def test_an_answer_counts_as_routed_nowhere(amqp, connect, name):
    raw = Raw(amqp).opened(1)
    other = connect().channel()
    other.queue_declare(name, exclusive=True)
    raw.call(1, spec.Basic.Consume(queue=REPLY_TO, no_ack=True, consumer_tag="t"), spec.Basic.ConsumeOk)
    raw.publish(1, name, b"x", properties=asking())
    address = eventually(lambda: other.basic_get(name, auto_ack=True)[1], what="the question comes").reply_to
    other.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError):
        other.basic_publish("", address, b"answer", mandatory=True)
    delivered = raw.expect(spec.Basic.Deliver)
    assert (delivered.consumer_tag, delivered.routing_key) == ("t", address)
    assert isinstance(raw.frame(), frame.Header) and raw.frame().fragment == b"answer"
    raw.close()


def test_what_is_refused(connect, name):
    connection = connect()
    with closes_channel(406, "PRECONDITION_FAILED - reply consumer cannot acknowledge"):
        consume(connection.channel(), REPLY_TO)
    channel = connection.channel()
    consume(channel, REPLY_TO, auto_ack=True)
    with closes_channel(406, "PRECONDITION_FAILED - reply consumer already set"):
        consume(channel, REPLY_TO, auto_ack=True)
    channel = connection.channel()
    channel.queue_declare(name, exclusive=True)
    channel.basic_publish("", name, b"x", asking())
    with closes_channel(406, "PRECONDITION_FAILED - fast reply consumer does not exist"):
        channel.queue_declare(name, passive=True)
    with closes_channel(404, "NOT_FOUND - no queue 'amq.rabbitmq.reply-to.gone' in vhost '/'"):
        connection.channel().queue_declare("amq.rabbitmq.reply-to.gone", passive=True)
    with closes_channel(404):
        connection.channel().basic_get(REPLY_TO)


def test_an_answer_to_one_that_has_gone_harms_nobody(connect, name):
    asker, other = connect().channel(), connect().channel()
    other.queue_declare(name, exclusive=True)
    consume(asker, REPLY_TO, auto_ack=True)
    asker.basic_publish("", name, b"x", asking())
    address = eventually(lambda: other.basic_get(name, auto_ack=True)[1], what="the question comes").reply_to
    asker.connection.close()
    other.confirm_delivery()
    for _ in range(3):
        other.basic_publish("", address, b"answer")
    assert other.queue_declare(name, passive=True).method.message_count == 0


def test_rpc_with_aio_pika(amqp, service):
    name, _ = service
    host, port = amqp.split(":")

    async def run():
        connection = await aio_pika.connect(host=host, port=int(port))
        async with connection:
            channel = await connection.channel()
            loop, open_ones = asyncio.get_running_loop(), {}
            replies = await channel.get_queue(REPLY_TO, ensure=False)

            async def take(message):
                open_ones.pop(message.correlation_id).set_result(message.body)

            await replies.consume(take, no_ack=True)

            async def call(body, number):
                open_ones[number] = loop.create_future()
                message = aio_pika.Message(body, correlation_id=number, reply_to=REPLY_TO)
                waits = open_ones[number]
                await channel.default_exchange.publish(message, name)
                return await asyncio.wait_for(waits, 20)

            answers = await asyncio.gather(*(call(b"call %d" % i, f"{i}") for i in range(30)))
            assert answers == [b"CALL %d" % i for i in range(30)]

    asyncio.run(run())


def test_the_pattern_of_aio_pika(amqp, name):
    """Calls over queues of its own: answers, exceptions, methods that there are not, and calls that nobody takes in time."""
    host, port = amqp.split(":")

    async def multiply(*, x, y):
        return x * y

    async def fail(*, why):
        raise ValueError(why)

    async def never():
        raise AssertionError("it is not called")

    async def run():
        connections = [await aio_pika.connect(host=host, port=int(port)) for _ in range(2)]
        server, client = [await aio_pika.patterns.RPC.create(await it.channel()) for it in connections]
        for method in (multiply, fail, never):
            await server.register(f"{name}.{method.__name__}", method, auto_delete=method is not never)
        wait = lambda call: asyncio.wait_for(call, 20)
        call = lambda method, **arguments: wait(client.call(f"{name}.{method}", arguments))
        products = await asyncio.gather(*(call("multiply", x=number, y="ab") for number in range(40)))
        assert products == ["ab" * number for number in range(40)]
        assert await wait(getattr(client.proxy, name).multiply(x=6, y=7)) == 42
        with pytest.raises(ValueError, match="so it is"):
            await call("fail", why="so it is")
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            await call("multiply", z=1)
        with pytest.raises(aio_pika.exceptions.MessageProcessError, match="returned"):
            await call("unheard-of")
        # Its call comes back through the dead-letter exchange.
        await server.unregister(never)
        with pytest.raises(asyncio.TimeoutError, match="timed-out"):
            await wait(client.call(f"{name}.never", expiration=0.05))
        assert await call("multiply", x=1, y=1) == 1
        await (await connections[0].channel()).queue_delete(f"{name}.never")
        for rpc in (client, server):
            await rpc.close()
        for connection in connections:
            await connection.close()

    asyncio.run(run())

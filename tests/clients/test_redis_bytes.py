"""What goes over the wire, byte for byte as a real redis-server has it: rows of requests, and random ones of which the seed is shown.

Where no redis-server of version 7 is installed there is nothing to compare with, and the tests are skipped."""

import os
import random
import re
import shutil
import socket

import pytest
import redis

from redis_peer import Peer


@pytest.fixture(scope="module")
def peers(server, new_directory):
    """The addresses of Duolog and of redis-server."""
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    peer = Peer(new_directory("peer"))
    yield [server.addresses["redis"], peer.address]
    peer.stop()


@pytest.fixture(scope="module", autouse=True)
def is_comparable(peers):
    host, port = peers[1].split(":")
    version = redis.Redis(host=host, port=int(port)).info("server")["redis_version"]
    if not version.startswith("7."):
        pytest.skip(f"redis-server is {version}: texts of errors differ between major versions")


def request(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Connection:
    def __init__(self, address):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.read = b""

    def send(self, data):
        try:
            self.socket.sendall(data)
        except ConnectionError:
            # It may be closed before all is read.
            pass

    def through(self, marker):
        """Waits until `marker` has come."""
        while marker not in self.read:
            data = self.socket.recv(1 << 16)
            assert data, self.read
            self.read += data

    def rest(self, marker):
        """All up to `marker`, or until the other side closes."""
        try:
            while not self.read.endswith(marker) and (data := self.socket.recv(1 << 16)):
                self.read += data
        except ConnectionError:
            pass
        self.socket.close()
        return self.read


def plain(answer):
    """Without what differs from run to run and by version."""
    answer = re.sub(rb"\$2\r\nid\r\n:\d+", rb"id", answer)
    return re.sub(rb"\$\d+\r\n\d+\.\d+\.\d+\r\n", rb"version\r\n", answer)


# Out of any state, with replies again, and then a sign that all is answered.
END = request("RESET") + request("RESET") + request("ECHO", "the end")


def answered(address, data, end=END):
    connection = Connection(address)
    # In one piece: what a server has not read when it closes makes the system throw away what it has sent.
    connection.send(data + end)
    return plain(connection.rest(b"the end\r\n"))


ROWS = [
    # Requests and what is none.
    b"*-1\r\n*0\r\n\r\nPING\r\n",
    b"*x\r\n", b"*\r\n", b"*+1\r\n$4\r\nPING\r\n", b"*01\r\n$4\r\nPING\r\n", b"*1 \r\n$4\r\nPING\r\n", b"*2147483648\r\n",
    b"*99999999999999999999\r\n", b"*1\nx$4\r\nPING\r\n", b"*1\rx$4\rxPING\r\n", b"*-9223372036854775808\r\nPING\r\n",
    b"*1\r\n+PING\r\n", b"*1\r\n*1\r\n$4\r\nPING\r\n", b"*1\r\n\r\n\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$x\r\n", b"*1\r\n$04\r\nPING\r\n",
    b"*1\r\n$ 4\r\nPING\r\n", b"*1\r\n$-0\r\n", b"*1\r\n$+4\r\nPING\r\n", b"*1\r\n$536870913\r\n", b"*1\r\n$4\r\nPINGxx",
    b"PING\n", b"  PING \t x  \r\n", b'PING "a b"\r\n', b"PING 'it\\'s'\r\n", b'PING "\\x41\\n\\r\\t\\a\\b\\q\\\\\\"\\x4"\r\n',
    b'PING "a\r\n', b"PING 'a\r\n", b'PING "a"b\r\n', b"PING 'a'b\r\n", b'PING a"b c"\r\n', b'PING ""\r\n', b'""\r\n',
    b"ping\x0bx\r\n", b'PING "a\\\r\n', b"%1\r\n", b"~1\r\n",
    # Commands that are none, and wrong numbers of arguments.
    b"foo\r\n", b"foo a b\r\n", b"foo " + b"a" * 200 + b"\r\n", b"foo " + b"b " * 80 + b"\r\n", request("foo\r\nbar", "a\r\nb"), request(""),
    request("z" * 300, "y" * 100, "x" * 100), request("FOO", b"\xff\x00\x01", "x"), request("CLIENT", "foo\r\nbar"), request("CLIENT"),
    request("CLIENT", "ID", "x"), request("PUBSUB"), request("PUBSUB", "foo"), request("PUBSUB", "CHANNELS", "a", "b"), request("PUBLISH"),
    request("PUBLISH", "a", "b", "c"), request("SUBSCRIBE"), request("PSUBSCRIBE"), request("SPUBLISH", "a"), request("RESET", "a"),
    request("ECHO"), request("PING", "a", "b"), request("TIME", "x"), request("CONFIG", "GET"), request("CONFIG", "SET", "a"),
    # Connection.
    request("AUTH", "x"), request("AUTH", "default", "x"), request("AUTH", "bob", "x"), request("AUTH", "a", "b", "c"), request("AUTH"),
    request("HELLO"), request("HELLO", "2"), request("HELLO", "3"), request("HELLO", "4"), request("HELLO", "x"), request("HELLO", "03"),
    request("HELLO", "3", "AUTH", "default", "x", "SETNAME", "n") + request("CLIENT", "GETNAME"),
    request("HELLO", "3", "AUTH", "bob", "x", "SETNAME", "n") + request("CLIENT", "GETNAME"),
    request("HELLO", "3", "SETNAME", "a b"), request("HELLO", "3", "foo"), request("HELLO", "3", "AUTH", "default"),
    request("HELLO", "3", "SETNAME"), request("SELECT", "15"), request("SELECT", "16"), request("SELECT", "-1"), request("SELECT", "x"),
    request("SELECT", "99999999999"), request("QUIT", "a") + request("PING"), request("HELLO", "3") + request("RESET") + request("PING"),
    # Clients.
    request("CLIENT", "GETNAME"), request("HELLO", "3") + request("CLIENT", "GETNAME"), request("CLIENT", "SETNAME", "a b"),
    request("CLIENT", "SETNAME", "n") + request("CLIENT", "GETNAME"), request("CLIENT", "SETNAME", "") + request("CLIENT", "GETNAME"),
    request("CLIENT", "LIST", "TYPE", "foo"), request("CLIENT", "LIST", "TYPE"), request("CLIENT", "LIST", "ID"),
    request("CLIENT", "LIST", "ID", "x"), request("CLIENT", "LIST", "ID", "999999"), request("CLIENT", "LIST", "foo"),
    request("CLIENT", "LIST", "TYPE", "master"), request("CLIENT", "LIST", "TYPE", "normal", "x"),
    request("CLIENT", "KILL"), request("CLIENT", "KILL", "1.1.1.1:1"), request("CLIENT", "KILL", "ID", "x"), request("CLIENT", "KILL", "ID", "0"),
    request("CLIENT", "KILL", "ID", "999999"), request("CLIENT", "KILL", "TYPE", "foo"), request("CLIENT", "KILL", "TYPE", "pubsub"),
    request("CLIENT", "KILL", "USER", "bob"), request("CLIENT", "KILL", "SKIPME", "maybe"), request("CLIENT", "KILL", "foo", "bar"),
    request("CLIENT", "KILL", "ADDR", "1.1.1.1:1", "LADDR"), request("CLIENT", "KILL", "ADDR", "1.1.1.1:1", "LADDR", "2"),
    request("CLIENT", "REPLY"), request("CLIENT", "REPLY", "foo"), request("CLIENT", "UNBLOCK"), request("CLIENT", "UNBLOCK", "x"),
    request("CLIENT", "UNBLOCK", "999999", "TIMEOUT"), request("CLIENT", "UNBLOCK", "1", "foo"), request("CLIENT", "UNBLOCK", "1", "ERROR", "x"),
    request("CLIENT", "NO-EVICT", "ON"), request("CLIENT", "NO-EVICT", "x"), request("CLIENT", "GETREDIR"),
    # Server.
    request("COMMAND", "INFO", "publish", "ping", "foo"), request("HELLO", "3") + request("COMMAND", "INFO", "publish", "client|id", "client|foo"),
    request("COMMAND", "INFO", "select", "hello", "auth", "echo", "quit", "reset", "info", "time", "publish", "subscribe", "unsubscribe",
            "psubscribe", "punsubscribe"),
    request("COMMAND", "DOCS", "foo"), request("COMMAND", "LIST", "foo"), request("COMMAND", "LIST", "FILTERBY", "ACLCAT", "foo"),
    request("COMMAND", "LIST", "FILTERBY", "MODULE", "foo"), request("COMMAND", "LIST", "FILTERBY", "foo", "x"),
    request("COMMAND", "COUNT", "x"), request("COMMAND", "GETKEYS"), request("COMMAND", "GETKEYS", "publish", "a", "b"), request("COMMAND", "foo"),
    request("INFO", "foo"), request("HELLO", "3") + request("INFO", "cluster"), request("INFO", "cluster"),
    request("CONFIG", "GET", "timeout"), request("HELLO", "3") + request("CONFIG", "GET", "timeout"), request("CONFIG", "GET", "foo"),
    request("CONFIG", "SET", "foo", "bar"), request("CONFIG", "SET", "timeout", "0"), request("CONFIG", "SET", "databases", "16"),
    request("CONFIG", "SET", "timeout", "0", "timeout", "0"), request("CONFIG", "SET", "timeout", "0", "foo"),
    request("CONFIG", "SET", "client-output-buffer-limit", "foo"), request("CONFIG", "SET", "client-output-buffer-limit", "pubsub x 8mb 60"),
    request("CONFIG", "SET", "client-output-buffer-limit", "foo 1 1 60"), request("CONFIG", "RESETSTAT"), request("CONFIG", "REWRITE"),
    request("CONFIG", "foo"), request("CONFIG", "GET", "client-output-buffer-limit"),
    request("CLUSTER"), request("CLUSTER", "INFO"), request("CLUSTER", "SLOTS"), request("CLUSTER", "foo"), request("CLUSTER", "NODES", "x"),
    request("CLUSTER", "HELP"), request("ASKING"), request("READONLY"), request("READWRITE"), request("SENTINEL", "masters"),
    # Publish and subscribe.
    request("SUBSCRIBE", "a", "b", "a"), request("SUBSCRIBE", "a") + request("PUBLISH", "a", "b"), request("SUBSCRIBE", "a") + request("HELLO", "3"),
    request("SUBSCRIBE", "a") + request("CLIENT", "LIST"), request("SUBSCRIBE", "a") + request("foo"), request("SUBSCRIBE", "a") + request("ECHO"),
    request("SUBSCRIBE", "a") + request("CLIENT", "foo"), request("SUBSCRIBE", "a") + request("PING") + request("PING", "x"),
    request("HELLO", "3") + request("SUBSCRIBE", "a") + request("HELLO", "2") + request("ECHO", "x"),
    request("UNSUBSCRIBE") + request("PUNSUBSCRIBE") + request("SUNSUBSCRIBE"), request("UNSUBSCRIBE", "a", "b"),
    request("HELLO", "3") + request("UNSUBSCRIBE") + request("PUNSUBSCRIBE", "a") + request("SUNSUBSCRIBE"),
    request("HELLO", "3") + request("SSUBSCRIBE", "s") + request("PUBSUB", "SHARDNUMSUB", "s", "a") + request("PUBSUB", "NUMSUB", "s"),
    request("PUBSUB", "NUMSUB"), request("PUBSUB", "NUMPAT", "x"), request("PUBSUB", "CHANNELS", "nosuch*"), request("PUBSUB", "SHARDCHANNELS", "nosuch*"),
]


# Nothing may follow these: the rest of a line is part of it.
ENDLESS = [b"*" + b"1" * 65_600, b"*1\r\n$" + b"1" * 65_600, b"a" * 65_600]


def test_rows(peers):
    wrong = []
    for row in ROWS + ENDLESS:
        end = b"" if row in ENDLESS else END
        ours, theirs = (answered(address, row, end) for address in peers)
        if ours != theirs:
            wrong.append(f"{row[:200]}\n  here:         {ours[:300]}\n  redis-server: {theirs[:300]}")
    assert not wrong, "\n".join(wrong)


CHANNELS, PATTERNS = ["a1", "a2", "b1"], ["a*", "b?"]


def listening(rng):
    """A command about subscriptions, never one that would end several in an order of its own."""
    names = {"": CHANNELS, "P": PATTERNS, "S": CHANNELS}
    kind = rng.choice(list(names))
    verb = rng.choice(["SUBSCRIBE", "SUBSCRIBE", "UNSUBSCRIBE"])
    return request(kind + verb, *rng.choices(names[kind], k=rng.randint(1, 3)))


def anything(rng, heard):
    """Any command. What a connection hears of its own messages comes at another place than in Redis 7.0, so with `heard` it publishes
    elsewhere."""
    return rng.choice([
        lambda: listening(rng),
        lambda: listening(rng),
        lambda: request("PUBLISH", f"{heard}c1", "x" * rng.randint(0, 50)),
        lambda: request("PING", rng.randint(0, 99)),
        lambda: b'PING "in line" \r\n',
        lambda: request("ECHO", b"\r\n" * rng.randint(0, 20)),
        lambda: request("SELECT", rng.randint(-1, 17)),
        lambda: request("CLIENT", "SETNAME", rng.choice(["n", "a b", ""])),
        lambda: request("CLIENT", "GETNAME"),
        lambda: request("HELLO", rng.choice([2, 3, 3, 4])),
        lambda: request("RESET"),
        lambda: request("NOSUCH", rng.choice(["", "a", "a\nb"])),
        lambda: request("CONFIG", "GET", rng.choice(["timeout", "databases", "nosuch"])),
        lambda: request("PUBSUB", "NUMSUB", *CHANNELS),
        lambda: request("PUBSUB", "SHARDNUMSUB", *CHANNELS),
        lambda: request("PUBSUB", "NUMPAT"),
        lambda: request("COMMAND", "INFO", "ping"),
    ])()


def seeds():
    first = int(os.environ.get("DUOLOG_TEST_SEED", 1))
    return range(first, first + (2_000 if os.environ.get("DUOLOG_TEST_FULL") else 300))


def test_random_pipelines_of_one_client(peers):
    for seed in seeds():
        rng = random.Random(seed)
        commands = [
            request("CLIENT", "REPLY", rng.choice(["ON", "OFF", "SKIP"])) if rng.random() < 0.1 else anything(rng, "x")
            for _ in range(rng.randint(1, 60))
        ]
        ours, theirs = (answered(address, b"".join(commands)) for address in peers)
        assert ours == theirs, f"seed {seed}: {commands}"


def play(address, seed):
    """A client and others who publish, each step after the one before; what the client was sent, and what the others were told."""
    rng = random.Random(seed)
    client, other = Connection(address), Connection(address)
    for step in range(40):
        if rng.random() < 0.5:
            command = anything(rng, "x")
            client.send(command)
            # Answered in any state of the connection, and behind everything else.
            client.send(request("PING", f"mark{step}"))
            client.through(b"mark%d" % step)
        else:
            mark = b"told%d" % step
            other.send(request(rng.choice(["PUBLISH", "PUBLISH", "SPUBLISH"]), rng.choice(CHANNELS), f"message {step}"))
            other.send(request("ECHO", mark))
            other.through(mark)
    client.send(END)
    other.send(END)
    return plain(client.rest(b"the end\r\n")), plain(other.rest(b"the end\r\n"))


def test_random_histories_of_clients_and_publishers(peers):
    for seed in seeds():
        ours, theirs = (play(address, seed) for address in peers)
        assert ours == theirs, f"seed {seed}"

"""Where live subjects and topics meet: captured NATS and Redis messages read by Kafka and SQS, Kafka records heard by both."""

import asyncio
import json
import socket

import nats
import pytest
import redis

from conftest import sqs_client
from nats_peers import settled
from server import Server
from streams import LIBRARIES
from waits import eventually

pytestmark = pytest.mark.timeout(120)
CONFLUENT = LIBRARIES["confluent-kafka"]


def run(work):
    return asyncio.run(asyncio.wait_for(work, 60))


def redis_client(server, **options):
    host, port = server.addresses["redis"].rsplit(":", 1)
    return redis.Redis(host=host, port=int(port), **options)


async def heard(subscription, count):
    return [await subscription.next_msg(20) for _ in range(count)]


def test_what_nats_publishes_kafka_reads_and_sqs_works(server, name):
    server.cli("topic", "create", name)
    server.cli("binding", "capture", f"{name}.>", "--topic", name)

    async def publish():
        client = await nats.connect(server.nats)
        # The JetStream publisher of the library: it awaits an acknowledgement and reads it.
        stream = client.jetstream()
        for number in range(10):
            ack = await stream.publish(f"{name}.new", b"order %d" % number, headers={"trace": f"t{number}"})
            assert (ack.stream, ack.seq, ack.duplicate) == (name, number + 1, None)
        plain = await client.request(f"{name}.paid", b"order 10", timeout=10)
        assert json.loads(plain.data) == {"stream": name, "seq": 11}
        await client.publish(f"{name}.paid", b"order 11")
        await settled(client)
        await client.close()

    run(publish())
    seen = CONFLUENT.consume(server.kafka, name, name, 12)
    assert [value for *_, value, _ in seen] == [b"order %d" % number for number in range(12)]
    (_, _, key, value, headers) = seen[3]
    assert (key, value) == (f"{name}.new".encode(), b"order 3")
    assert headers == [("trace", b"t3"), ("duolog-subject", f"{name}.new".encode())]
    sqs = sqs_client(server.aws)
    server.cli("queue", "create", name, "--topic", name)
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1, WaitTimeSeconds=10)["Messages"]
    assert got[0]["Body"] == "order 0"


def test_what_redis_publishes_is_kept_and_its_number_says_so(server, name):
    server.cli("topic", "create", name)
    server.cli("binding", "capture", name, "--topic", name)
    client = redis_client(server)
    with client.pipeline(transaction=False) as pipeline:
        for number in range(500):
            pipeline.publish(name, f"{number}")
        assert pipeline.execute() == [1] * 500
    seen = CONFLUENT.consume(server.kafka, name, name, 500)
    assert [value for *_, value, _ in seen] == [b"%d" % number for number in range(500)]
    server.cli("topic", "delete", name)

    def is_unbound():
        try:
            return client.publish(name, "x") == 0
        except redis.RedisError:
            # Until the binding has gone with its topic, what is published is refused.
            return False

    eventually(is_unbound, what="the binding's end")


def test_what_kafka_produces_is_heard_by_nats_and_redis(server, name):
    CONFLUENT.create(server.kafka, name)
    CONFLUENT.produce(server.kafka, name, [(b"old", b"before", [])])
    server.cli("binding", "echo", name, "--subject", f"{name}.{{key}}")

    async def listen():
        client = await nats.connect(server.nats)
        subscription = await client.subscribe(f"{name}.*")
        # The library may send the PING of a flush ahead of what it has queued, and that of the next one behind it.
        await settled(client)
        listener = redis_client(server).pubsub()
        listener.psubscribe(f"{name}.a*")
        assert listener.get_message(timeout=10)["type"] == "psubscribe"
        records = [(b"a", b"1", [("trace", b"x")]), (b"b", b"\x00\xff", []), (b"ab", b"3", [])]
        await asyncio.to_thread(CONFLUENT.produce, server.kafka, name, records)
        got = await heard(subscription, 3)
        assert [(it.subject, it.data) for it in got] == [
            (f"{name}.a", b"1"), (f"{name}.b", b"\x00\xff"), (f"{name}.ab", b"3"),
        ]
        assert [it.headers for it in got] == [{"trace": "x"}, None, None]
        by_redis = [listener.get_message(timeout=10) for _ in range(2)]
        assert [(it["channel"], it["data"]) for it in by_redis] == [
            (f"{name}.a".encode(), b"1"), (f"{name}.ab".encode(), b"3"),
        ]
        await client.close()

    run(listen())


def test_bindings_are_listed_survive_a_restart_and_end(fresh, name):
    fresh.cli("topic", "create", name)
    fresh.cli("binding", "capture", f"{name}.>", "--topic", name)
    fresh.cli("binding", "echo", name, "--subject", "heard", "--catch-up")
    fresh.kill()
    fresh.start()
    listed = json.loads(fresh.cli("binding", "list", "--json").stdout)
    capture = {"kind": "capture", "subject": f"{name}.>", "topic": name, "configured": False}
    assert listed == [
        capture, {"kind": "echo", "topic": name, "subject": "heard", "catch_up": True, "configured": False},
    ]

    async def ask():
        client = await nats.connect(fresh.nats)
        assert (await client.jetstream().publish(f"{name}.a", b"kept")).seq == 1
        fresh.cli("binding", "delete", "capture", "--subject", f"{name}.>", "--topic", name)
        with pytest.raises(nats.errors.NoRespondersError):
            await client.request(f"{name}.a", b"not kept", timeout=10)
        await client.close()

    run(ask())
    refused = fresh.cli("binding", "delete", "capture", "--subject", f"{name}.>", "--topic", name, check=False)
    assert refused.returncode == 1 and "there is no such binding" in refused.stderr
    refused = fresh.cli("binding", "capture", "a..b", "--topic", name, check=False)
    assert refused.returncode == 1 and "none may be empty" in refused.stderr
    refused = fresh.cli("binding", "capture", "a", "--topic", "nowhere", check=False)
    assert refused.returncode == 1 and "there is no topic" in refused.stderr
    refused = fresh.cli("binding", "echo", name, "--subject", "heard", check=False)
    assert refused.returncode == 1 and "already" in refused.stderr
    refused = fresh.cli("binding", "echo", name, "--subject", "{id}", check=False)
    assert refused.returncode == 1 and "there is no {id}" in refused.stderr
    fresh.cli("topic", "delete", name)
    assert json.loads(fresh.cli("binding", "list", "--json").stdout) == []


def test_bindings_of_the_configuration_hold_and_make_their_topic(tmp_path, name):
    path = tmp_path / "duolog.toml"
    path.write_text(f'capture = ["{name}.>={name}"]\necho = ["{name}=again.{{key}} catch-up"]\n')
    broker = Server(tmp_path / "data", "--config", str(path)).start()
    try:
        listed = json.loads(broker.cli("binding", "list", "--json").stdout)
        assert [it["configured"] for it in listed] == [True, True]

        async def ask():
            client = await nats.connect(broker.nats)
            subscription = await client.subscribe("again.>")
            await settled(client)
            assert (await client.jetstream().publish(f"{name}.a", b"1")).seq == 1
            (got,) = await heard(subscription, 1)
            assert (got.subject, got.data) == (f"again.{name}.a", b"1")
            await client.close()

        run(ask())
        refused = broker.cli("binding", "delete", "capture", "--subject", f"{name}.>", "--topic", name, check=False)
        assert refused.returncode == 1 and "in the configuration" in refused.stderr
    finally:
        assert broker.stop() == 0


@pytest.mark.parametrize("catch_up", [False, True])
def test_a_slow_listener_of_an_echo(tmp_path, name, catch_up):
    """It reads nothing until far more has come than may wait for it; then it gets everything, in order and once, or was cut off."""
    broker = Server(tmp_path / "data", "--nats-pending-bytes-max", "1MiB").start()
    try:
        CONFLUENT.create(broker.kafka, name)
        broker.cli("binding", "echo", name, "--subject", "x", *(["--catch-up"] if catch_up else []))
        host, port = broker.addresses["nats"].rsplit(":", 1)
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 10)
        slow.connect((host, int(port)))
        slow.settimeout(30)
        slow.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB x 1\r\nPING\r\n')
        reader = slow.makefile("rb")
        while reader.readline() != b"PONG\r\n":
            pass
        # Records of 1 KiB; what sockets and outbox hold together is less than a fifth of it.
        count = 60_000
        values = [b"%06d" % number + b"." * 1018 for number in range(count)]
        CONFLUENT.produce(broker.kafka, name, [(None, value, []) for value in values])
        for number in range(count):
            head = reader.readline()
            if head == b"PING\r\n":
                if catch_up:
                    slow.sendall(b"PONG\r\n")
                head = reader.readline()
            if not catch_up and not head.startswith(b"MSG"):
                assert head in (b"-ERR 'Slow Consumer'\r\n", b""), head
                assert number < count - 1
                return
            assert head == b"MSG x 1 1024\r\n", head
            assert reader.read(1026) == values[number] + b"\r\n"
        assert catch_up, "it was not cut off"
    finally:
        assert broker.stop() == 0


def test_a_binding_that_cannot_be_in_force_is_refused_and_not_kept(tmp_path):
    server = Server(tmp_path / "data").start()
    server.cli("topic", "create", "orders")
    long = ".".join(["a"] * 3_000) + ".*"
    refused = server.cli("binding", "capture", long, "--topic", "orders", check=False)
    assert refused.returncode != 0 and "tokens" in refused.stderr
    assert json.loads(server.get("/api/bindings")) == []
    server.stop()
    server.start()
    assert json.loads(server.get("/api/bindings")) == []
    server.stop()

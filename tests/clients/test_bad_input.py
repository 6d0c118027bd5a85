"""What no client should send, over both protocols, against the real binary: it lives, stays small, and serves others."""

import json
import os
import pathlib
import random
import socket
import struct
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from conftest import sqs_client
from server import Server
from waits import eventually

CHANCE = random.Random(5)


def frame(body: bytes, length: int | None = None) -> bytes:
    return struct.pack(">i", len(body) if length is None else length) + body


def request(key: int, version: int, body: bytes) -> bytes:
    return frame(struct.pack(">hhi", key, version, 7) + b"\x00\x01c" + body)


def post(body: bytes, target: str = "AmazonSQS.SendMessage", length: int | None = None) -> bytes:
    head = (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-amz-json-1.0\r\n"
        f"X-Amz-Target: {target}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


KAFKA = {
    "largest length": frame(b"", 2**31 - 1),
    "negative length": frame(b"", -1),
    "zero length": frame(b""),
    "truncated frame": frame(b"\x00\x03", 100),
    "unknown api": request(999, 0, b""),
    "negative api": request(-5, 0, b""),
    "version too new": request(3, 99, b""),
    "half a header": frame(b"\x00\x03\x00"),
    "client id longer than the frame": frame(struct.pack(">hhih", 3, 1, 7, 32000) + b"c"),
    "metadata with 2^31-1 topics": request(3, 1, struct.pack(">i", 2**31 - 1)),
    "metadata with -7 topics": request(3, 1, struct.pack(">i", -7)),
    "produce with 2^31-1 topics": request(0, 3, struct.pack(">hhii", -1, -1, 1000, 2**31 - 1)),
    "produce with records of 2 GiB": request(
        0, 3, struct.pack(">hhii", -1, -1, 1000, 1) + b"\x00\x01t" + struct.pack(">iii", 1, 0, 2**31 - 1)
    ),
    "produce with nonsense for a batch": request(
        0, 3, struct.pack(">hhii", -1, -1, 1000, 1) + b"\x00\x01t" + struct.pack(">iii", 1, 0, 80) + CHANCE.randbytes(80)
    ),
    "fetch with a negative size": request(1, 4, struct.pack(">iiiibi", -1, 100, -1, -1, 0, 0)),
    "join without an end": request(11, 2, b"\x7f\xff"),
    "create 2^31-1 topics": request(19, 2, struct.pack(">i", 2**31 - 1)),
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + CHANCE.randbytes(64),
    "random bytes": CHANCE.randbytes(4096),
}

def form(body: bytes, length: int | None = None) -> bytes:
    head = (
        "POST /0/q HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


SQS = {
    "a form without an action": form(b"MessageBody=x"),
    "a form that is no text": form(b"Action=SendMessage&MessageBody=\xff%ff"),
    "a form of fifty thousand parameters": form(b"a&" * 50_000),
    "a form with paths without end": form(b"Action=SendMessage&" + b"&".join(b"A.%d.%s=1" % (i, b"B." * 100) for i in range(2000))),
    "half a form": form(b"Action=", length=1000),
    "a form with a huge number": form(b"Action=ReceiveMessage&WaitTimeSeconds=" + b"9" * 5000),
    "a form of another site's page": b"GET /?Action=ListQueues HTTP/1.1\r\nHost: h\r\nOrigin: http://evil\r\n\r\n",
    "not HTTP": CHANCE.randbytes(2048),
    "a frame of the other protocol": request(18, 0, b""),
    "a body of 2^62 bytes": post(b"{}", length=2**62),
    "a negative length": post(b"{}", length=-5),
    "no JSON": post(b"{" * 2000),
    "nested without end": post(b"[" * 100_000),
    "a list for a request": post(b"[]"),
    "a number for a name": post(json.dumps({"QueueUrl": 5, "MessageBody": {}}).encode()),
    "an unknown action": post(b"{}", "AmazonSQS.Explode"),
    "no target": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
    "another method": b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a header without end": b"POST / HTTP/1.1\r\nX: " + b"a" * 100_000,
    "ten thousand headers": b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000,
    "a bad chunk": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    "illegal UTF-8": post(b'{"QueueUrl":"\xff\xfe"}'),
    "half a body": post(b'{"QueueUrl":', length=1000),
    "a huge wait": post(json.dumps({"QueueUrl": "http://h/0/q", "WaitTimeSeconds": 10**18}).encode(), "AmazonSQS.ReceiveMessage"),
    "a false handle": post(json.dumps({"QueueUrl": "http://h/0/q", "ReceiptHandle": "x" * 5000}).encode(), "AmazonSQS.DeleteMessage"),
    "random text": CHANCE.randbytes(500).hex().encode() + b"\r\n\r\n",
    "an empty line": b"\r\n\r\n\r\n",
}

ROWS = [("kafka", what, sent) for what, sent in KAFKA.items()] + [("aws", what, sent) for what, sent in SQS.items()]


def resident_bytes(pid: int) -> int:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the process has no memory")


def send(address: str, sent: bytes) -> bytes:
    host, port = address.rsplit(":", 1)
    got = b""
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                got += chunk
        except TimeoutError:
            raise
        except OSError:
            # Closed on us, which is an answer too.
            pass
    return got


def ask(address: str, sent: bytes) -> bytes:
    """Sends a whole request and leaves the connection open: who hangs up need not be answered."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(sent)
        return connection.recv(65536)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc")
def test_no_row_kills_swells_or_blocks_the_broker(server, sqs):
    admin = AdminClient({"bootstrap.servers": server.kafka})
    sqs.create_queue(QueueName="healthy")
    queue = sqs.get_queue_url(QueueName="healthy")["QueueUrl"]
    # Once through, so that threads, buffers and caches are there before anything is measured.
    for protocol, _, sent in ROWS:
        send(server.addresses[protocol], sent)
    for protocol, what, sent in ROWS:
        before = resident_bytes(server.process.pid)
        for _ in range(5):
            send(server.addresses[protocol], sent)
        assert server.process.poll() is None, f"{protocol}: {what} ended the broker\n{server.stderr()}"
        grown = resident_bytes(server.process.pid) - before
        assert grown < 1 << 20, f"{protocol}: {what} cost {grown} bytes"
        if protocol == "kafka":
            assert admin.list_topics(timeout=10).brokers, what
        else:
            sqs.send_message(QueueUrl=queue, MessageBody=what)


@pytest.mark.parametrize("what", ["an unknown action", "no JSON", "a number for a name", "a list for a request"])
def test_sqs_answers_its_own_error(server, what):
    answer = ask(server.aws.removeprefix("http://"), SQS[what])
    assert answer.startswith(b"HTTP/1.1 400"), answer[:200]
    assert b"__type" in answer, answer[:400]


def test_kafka_names_the_versions_it_has(server):
    answer = send(server.kafka, request(18, 99, b""))
    assert struct.unpack(">ih", answer[4:10]) == (7, 35), answer[:40]


def deaf(address: str, sent: bytes) -> socket.socket:
    """A client that asks and never reads the answer."""
    host, port = address.rsplit(":", 1)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((host, int(port)))
    connection.sendall(sent)
    return connection


def reserved_bytes(server: Server) -> int:
    for line in server.get("/metrics").splitlines():
        if line.startswith("duolog_memory_reserved_bytes"):
            return int(float(line.split()[-1]))
    raise AssertionError("the metric is not there")


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc")
def test_clients_that_never_read_keep_nobody_waiting_and_nothing_for_ever(tmp_path):
    patience_s, budget = 8, 128 << 20
    flags = ("--request-timeout", f"{patience_s}s", "--memory-budget", str(budget), "--request-bytes-max", "64MiB")
    server = Server(tmp_path / "data", *flags).start()
    sqs = sqs_client(server.aws)
    # Given to all of them: what was received is visible again at once.
    large = sqs.create_queue(QueueName="large", Attributes={"VisibilityTimeout": "0"})["QueueUrl"]
    small = sqs.create_queue(QueueName="small")["QueueUrl"]
    for _ in range(10):
        sqs.send_message(QueueUrl=large, MessageBody="x" * 1_000_000)
    sqs.send_message(QueueUrl=small, MessageBody="one")

    def received_at_once() -> int:
        return len(sqs.receive_message(QueueUrl=large, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []))

    # The first receive wakes the queue, which has not read all of it yet.
    eventually(lambda: received_at_once() == 10, what="all of it is received at once")
    before = resident_bytes(server.process.pid)
    ask = json.dumps({"QueueUrl": large, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 20}).encode()
    begun = time.monotonic()
    clients = [deaf(server.addresses["aws"], post(ask, "AmazonSQS.ReceiveMessage")) for _ in range(24)]
    eventually(lambda: reserved_bytes(server) > budget // 2, patience_s, "their answers wait for them")

    def timed(what, work):
        at = time.monotonic()
        result = work()
        assert time.monotonic() - at < 2, f"{what} took {time.monotonic() - at:.1f} s"
        return result

    received = timed("a receive", lambda: sqs.receive_message(QueueUrl=small))
    assert [it["Body"] for it in received["Messages"]] == ["one"]
    producer = Producer({"bootstrap.servers": server.kafka})
    producer.produce("small", b"two")
    assert timed("a produce", lambda: producer.flush(10)) == 0
    settings = {"bootstrap.servers": server.kafka, "group.id": "g", "auto.offset.reset": "earliest"}
    consumer = Consumer(settings)
    consumer.assign([TopicPartition("small", 0, 0)])
    assert timed("a fetch", lambda: consumer.poll(10)).value() == b"one"
    consumer.close()
    # All the while they were there.
    assert time.monotonic() - begun < patience_s and reserved_bytes(server) > budget // 2
    grown = resident_bytes(server.process.pid) - before
    assert grown < 2 * budget, f"it grew by {grown >> 20} MiB"
    eventually(lambda: reserved_bytes(server) < 1 << 20, 6 * patience_s, "nobody waits for them any more")
    for client in clients:
        client.close()
    assert server.stop() == 0, server.stderr()


def test_a_look_at_large_records_is_cut(server, sqs, name):
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    for _ in range(20):
        sqs.send_message(QueueUrl=queue, MessageBody="x" * 1_000_000)
    producer = Producer({"bootstrap.servers": server.kafka, "compression.type": "gzip", "message.max.bytes": 10_000_000})
    producer.produce(name, b"\x01" * 3_000_000)
    producer.produce(name, b"small")
    assert producer.flush(10) == 0

    def look(count: int, offset: int = 0):
        return json.loads(server.get(f"/api/topics/{name}/records?count={count}&offset={offset}"))

    assert [len(it["value"]) for it in look(2)] == [1_000_000] * 2
    assert len(look(40)) == 17, "sixteen MiB and the one that reaches them"
    large, small = look(2, 20)
    assert (len(large["value"]), large["cut"]) == (1 << 20, True)
    assert (small["value"], "cut" in small) == ("small", False)

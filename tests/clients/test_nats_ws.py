"""The NATS libraries through a WebSocket: the scenarios of test_nats.py again, and what only a WebSocket has, with raw frames."""

import base64
import json
import os
import socket
import struct

import pytest

import test_nats
from nats_peers import DuologWs, PeerWs
from test_nats import (  # noqa: F401: pytest finds them here and gives them the servers of this file
    test_a_client_comes_back_after_a_crash,
    test_a_queue_group_shares,
    test_a_subscription_that_ends_by_itself,
    test_a_verbose_and_pedantic_client,
    test_clients_are_told_that_the_server_goes,
    test_draining_loses_nothing,
    test_everybody_who_listens_hears,
    test_headers,
    test_javascript,
    test_order_and_number_of_many_messages,
    test_request_and_reply,
    test_services_are_found,
    test_without_echo,
)

PEERS = [DuologWs, PeerWs]
CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}\r\n'
UNKNOWN, PAYLOAD = b"-ERR 'Unknown Protocol Operation'\r\n", b"-ERR 'Maximum Payload Violation'\r\n"


@pytest.fixture(scope="module", params=PEERS, ids=lambda kind: kind.name)
def peer(request, new_directory):
    server = test_nats.made(request.param, new_directory("nats")).start()
    yield server
    server.stop()


@pytest.fixture(params=PEERS, ids=lambda kind: kind.name)
def own(request, tmp_path):
    server = test_nats.made(request.param, tmp_path)
    yield server
    server.stop()


def frame(first, payload=b"", masked=True, announced=None):
    """A frame of a client: `first` is the first byte."""
    length = len(payload) if announced is None else announced
    if length < 126:
        head = bytes([length])
    elif length < 1 << 16:
        head = b"\x7e" + struct.pack(">H", length)
    else:
        head = b"\x7f" + struct.pack(">Q", length)
    if not masked:
        return bytes([first]) + head + payload
    mask = os.urandom(4)
    body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([first, head[0] | 0x80]) + head[1:] + mask + body


class RawWs:
    """A client that sends frames and reads frames."""

    def __init__(self, peer, **headers):
        self.host = peer.url.removeprefix("ws://")
        name, port = self.host.split(":")
        self.socket = socket.create_connection((name, int(port)), timeout=20)
        self.file = self.socket.makefile("rb")
        usual = {
            "Host": self.host,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Version": "13",
        }
        asked = {**usual, **{name.replace("_", "-"): value for name, value in headers.items()}}
        lines = "".join(f"{name}: {value}\r\n" for name, value in asked.items() if value)
        self.send(f"GET /any/path HTTP/1.1\r\n{lines}\r\n".encode())
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, value = line.decode().split(":", 1)
            self.headers[name.lower()] = value.strip()
        self.info = json.loads(self.frame()[1].removeprefix(b"INFO ")) if self.status == 101 else None

    def send(self, data):
        self.socket.sendall(data)

    def frame(self):
        """The next frame: its first byte and its payload; None at the end."""
        head = self.file.read(2)
        if len(head) < 2:
            return None
        first, length = head
        assert not length & 0x80, "a server does not mask"
        if length == 126:
            (length,) = struct.unpack(">H", self.file.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.file.read(8))
        return first, self.file.read(length)

    def rest(self):
        """The frames until the end, which comes: the data in one, then the control frames."""
        data, control = b"", []
        try:
            while (got := self.frame()) is not None:
                if got[0] & 8:
                    control.append(got)
                else:
                    data += got[1]
        except ConnectionError:
            pass
        return data, control

    def settles(self):
        self.send(frame(0x82, b"PING\r\n"))
        assert self.frame() == (0x82, b"PONG\r\n")

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.fixture
def raw(peer):
    made = []

    def make(**headers):
        made.append(RawWs(peer, **headers))
        return made[-1]

    yield make
    for client in made:
        client.close()


def test_what_is_asked_for_decides(raw):
    for headers, status in [
        ({}, 101),
        ({"Connection": "keep-alive, Upgrade"}, 101),
        ({"Sec_WebSocket_Protocol": "nats"}, 101),
        ({"Upgrade": None}, 400),
        ({"Connection": None}, 400),
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Sec_WebSocket_Version": "8"}, 400),
        ({"Host": None}, 400),
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
    ]:
        assert raw(**headers).status == status, headers
    client = raw()
    assert raw(Origin=f"http://{client.host}").status == 101


def test_nothing_is_compressed(raw):
    client = raw(Sec_WebSocket_Extensions="permessage-deflate; client_no_context_takeover")
    assert client.status == 101 and "sec-websocket-extensions" not in client.headers
    client.settles()


def test_frames_cut_the_stream_anywhere(raw):
    client = raw()
    for byte in CONNECT + b"PING\r\n":
        client.send(frame(0x82, bytes([byte])))
    assert client.frame() == (0x82, b"PONG\r\n")
    # In parts, with a ping between them; and as text.
    client.send(frame(0x02, b"PI") + frame(0x00) + frame(0x89, b"there?"))
    assert client.frame() == (0x8A, b"there?")
    client.send(frame(0x80, b"NG\r\n"))
    assert client.frame() == (0x82, b"PONG\r\n")
    client.send(frame(0x81, b"PING\r\n") + frame(0x8A, b"unasked") + frame(0x82))
    assert client.frame() == (0x82, b"PONG\r\n")
    client.settles()


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(frame(0x82, b"PING\r\n", masked=False), id="not masked"),
        pytest.param(frame(0xC2, b"PING\r\n"), id="compressed"),
        pytest.param(frame(0x80, b"PING\r\n"), id="continues nothing"),
        pytest.param(frame(0x02, b"PI") + frame(0x82, b"NG\r\n"), id="is not continued"),
        pytest.param(frame(0x83, b"PING\r\n"), id="opcode 3"),
        pytest.param(frame(0x8B, b""), id="opcode 11"),
        pytest.param(frame(0x89, b"x" * 126), id="large ping"),
        pytest.param(frame(0x09, b"x"), id="ping in parts"),
        pytest.param(frame(0x88, b"\x03"), id="half a status"),
        pytest.param(frame(0x88, b"\x03\xe8\xff"), id="reason that is no text"),
    ],
)
def test_what_breaks_the_rules_ends_the_connection(raw, peer, bad):
    client, other = raw(), raw()
    client.send(frame(0x82, CONNECT))
    client.settles()
    client.send(bad)
    data, control = client.rest()
    assert b"PONG" not in data
    if isinstance(peer, DuologWs):
        ((first, payload),) = control
        status = 1007 if bad[0] == 0x88 and len(bad) > 8 else 1002
        assert (first, struct.unpack(">H", payload[:2])) == (0x88, (status,))
    other.settles()


@pytest.mark.parametrize(
    "bad, text",
    [
        pytest.param(b"NONSENSE\r\n", UNKNOWN, id="unknown"),
        pytest.param(b"PUB a 2000000\r\n", PAYLOAD, id="too large"),
        pytest.param(b"PUB a" + b" " * 5000, b"-ERR 'maximum control line exceeded'\r\n", id="too long"),
    ],
)
def test_what_is_wrong_inside_is_said_and_then_closed(raw, bad, text):
    client = raw()
    client.send(frame(0x82, CONNECT) + frame(0x82, bad))
    data, control = client.rest()
    assert data == text
    assert [first for first, _ in control] == [0x88]


def test_a_client_that_closes_is_answered(raw):
    client = raw()
    client.send(frame(0x88, b"\x03\xe8bye"))
    data, ((first, payload),) = client.rest()
    assert (data, first, payload[:2]) == (b"", 0x88, b"\x03\xe8")


def test_a_frame_larger_than_any_message_is_just_a_frame(raw, peer, name):
    client = raw()
    subject = name.encode()
    client.send(frame(0x82, CONNECT + b"SUB %s 1\r\nPING\r\n" % subject))
    assert client.frame() == (0x82, b"PONG\r\n")
    message = b"PUB %s 100000\r\n" % subject + b"x" * 100_000 + b"\r\n"
    client.send(frame(0x82, message * 30))
    expected = (b"MSG %s 1 100000\r\n" % subject + b"x" * 100_000 + b"\r\n") * 30
    heard = b""
    while len(heard) < len(expected):
        first, payload = client.frame()
        assert first & 0x0F in (0, 2)
        heard += payload
    assert heard == expected


def test_the_monitor_tells_what_it_is(raw, peer):
    client = raw()
    connections = peer.monitor("/connz")["connections"]
    (mine,) = [it for it in connections if it["cid"] == client.info["client_id"]]
    assert mine["type"] == "websocket"


def test_the_end_of_the_server_is_said(own):
    own.start()
    client = RawWs(own)
    client.send(frame(0x82, CONNECT))
    client.settles()
    own.leave()
    client.socket.settimeout(60)
    data, ((first, payload),) = client.rest()
    assert (first, payload[:2]) == (0x88, struct.pack(">H", 1001))
    if isinstance(own, DuologWs):
        assert b'"ldm":true' in data
    client.close()

"""AMQP 0-9-1 frame by frame, for what no library does, and what libraries do with the answers of all tests."""

import contextlib
import os
import socket
import threading

import pika
import pika.exceptions
import pytest
from pika import frame, spec

# Of each test that kills the broker; all of them together kill it 25 times, or 200.
KILLS = 40 if os.environ.get("DUOLOG_TEST_FULL") else 5
# What those tests may take, in seconds.
KILLS_TIMEOUT_S = 60 + 30 * KILLS


class Raw:
    """A connection whose every frame is written and read by the test."""

    def __init__(self, address, frame_max=131_072, heartbeat=0, channel_max=2047, capabilities=("basic.nack",)):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.buffer = b""
        self.socket.sendall(b"AMQP\0\0\x09\x01")
        self.start = self.expect(spec.Connection.Start)
        properties = {"capabilities": dict.fromkeys(capabilities, True)}
        self.send(0, spec.Connection.StartOk(properties, "PLAIN", "\0guest\0guest", "en_US"))
        self.tune = self.expect(spec.Connection.Tune)
        self.send(0, spec.Connection.TuneOk(channel_max, frame_max, heartbeat))
        self.send(0, spec.Connection.Open("/"))

    def opened(self, *channels):
        self.expect(spec.Connection.OpenOk)
        for channel in channels:
            self.call(channel, spec.Channel.Open(), spec.Channel.OpenOk)
        return self

    def send(self, channel, method):
        self.socket.sendall(frame.Method(channel, method).marshal())

    def send_frames(self, *frames):
        self.socket.sendall(b"".join(it.marshal() for it in frames))

    def publish(self, channel, key, body, exchange="", **more):
        self.send_frames(*published(channel, key, body, exchange, **more))

    def frame(self):
        """The next one; `None` at the end."""
        while True:
            used, it = frame.decode_frame(self.buffer)
            if it is not None:
                self.buffer = self.buffer[used:]
                return it
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not more:
                return None
            self.buffer += more

    def expect(self, kind):
        it = self.frame()
        if it is None:
            raise ConnectionAbortedError(f"the end where {kind.NAME} was expected")
        assert isinstance(it, frame.Method) and isinstance(it.method, kind), f"{it} where {kind.NAME} was expected"
        return it.method

    def call(self, channel, method, kind):
        self.send(channel, method)
        return self.expect(kind)

    def close(self):
        self.socket.close()


class UntilKilled:
    """Stores bodies, in a thread and as `work` of a subclass says, until the broker is killed."""

    def __init__(self, *arguments):
        # Those that the broker has said it has.
        self.stored, self.changed = [], threading.Condition()
        self.error = None
        self.thread = threading.Thread(target=self.run, args=arguments, daemon=True)
        self.thread.start()

    def run(self, *arguments):
        try:
            self.work(*arguments)
        except OSError:
            pass
        except Exception as error:
            self.error = error

    def note(self, bodies):
        with self.changed:
            self.stored += bodies
            self.changed.notify_all()

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.stored) >= count, timeout=60), self.error

    def join(self):
        """Once the broker is gone: nothing but that has ended it."""
        self.thread.join(30)
        assert not self.thread.is_alive() and self.error is None, self.error


def published(channel, key, body, exchange="", mandatory=False, properties=None):
    """The frames of a message whose body fits into one."""
    properties = properties or spec.BasicProperties()
    parts = [
        frame.Method(channel, spec.Basic.Publish(exchange=exchange, routing_key=key, mandatory=mandatory)),
        frame.Header(channel, len(body), properties),
    ]
    return [*parts, frame.Body(channel, body)] if body else parts


@contextlib.contextmanager
def closes_channel(code, text=""):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
        yield
    assert (caught.value.reply_code, text in caught.value.reply_text) == (code, True), caught.value


@contextlib.contextmanager
def closes_connection(code, text=""):
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as caught:
        yield
    assert (caught.value.reply_code, text in caught.value.reply_text) == (code, True), caught.value


def get_all(channel, queue):
    """All that is in a queue, acknowledged."""
    got = []
    while (message := channel.basic_get(queue, auto_ack=True))[0]:
        got.append(message[2])
    return got


def take(channel, count, patience_s=20):
    """The next so many messages of the consumers of a channel that put theirs into `channel.heard`."""
    while len(channel.heard) < count:
        before = len(channel.heard)
        channel.connection.process_data_events(time_limit=patience_s)
        assert len(channel.heard) > before, f"only {before} of {count} messages came"
    heard, channel.heard = channel.heard[:count], channel.heard[count:]
    return heard


def consume(channel, queue, **options):
    """Consumes; what comes is put into `channel.heard` as (consumer tag, delivery, properties, body)."""
    if not hasattr(channel, "heard"):
        channel.heard = []
    note = lambda _, delivery, properties, body: channel.heard.append((delivery, properties, body))
    return channel.basic_consume(queue, note, **options)


def bodies(heard):
    return [body for _, _, body in heard]

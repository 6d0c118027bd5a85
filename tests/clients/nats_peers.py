"""The two servers that the NATS tests run against: Duolog, and nats-server where it is installed, so that the tests
say what NATS does and not only what we do."""

import json
import shutil
import signal
import socket
import subprocess
import urllib.request

from server import Server
from waits import eventually


async def settled(client):
    """Waits until the server has heard what a client of nats-py asked for. Its PING may overtake what is not written yet, so the
    first answer says only that this is on its way."""
    await client.flush()
    await client.flush()


class Duolog:
    name = "duolog"

    def __init__(self, directory):
        self.server = Server(directory / "duolog")

    def start(self, max_payload=None, max_pending=None):
        flags = []
        if max_payload:
            flags += ["--nats-max-payload", str(max_payload)]
        if max_pending:
            flags += ["--nats-pending-bytes-max", str(max_pending)]
        self.server.flags = tuple(flags)
        self.server.start()
        return self

    @property
    def url(self):
        return self.server.nats

    def monitor(self, path):
        return json.loads(self.server.get(path))

    def leave(self):
        """Tells its clients that it goes, and goes."""
        self.server.process.send_signal(signal.SIGTERM)

    def restart(self):
        self.server.kill()
        self.server.start()

    def stop(self):
        if self.server.process.poll() is None:
            self.server.stop()


class DuologWs(Duolog):
    """The same through a WebSocket."""

    name = "duolog-ws"

    @property
    def url(self):
        return self.server.nats_ws


class Peer:
    name = "nats-server"

    def __init__(self, directory):
        self.directory = directory
        self.ports = [free_port(), free_port(), free_port()]
        self.process = None

    @staticmethod
    def binary():
        return shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")

    def start(self, max_payload=1 << 20, max_pending=64 << 20):
        port, monitor, ws_port = self.ports
        self.config = self.directory / "nats-server.conf"
        self.config.write_text(
            f'listen: "127.0.0.1:{port}"\nhttp: "127.0.0.1:{monitor}"\nmax_payload: {max_payload}\n'
            f'max_pending: {max_pending}\nwrite_deadline: "10s"\nlame_duck_duration: "30s"\nlame_duck_grace_period: "1s"\n'
            f'websocket {{ listen: "127.0.0.1:{ws_port}", no_tls: true, same_origin: true }}\n'
        )
        return self._start()

    def _start(self):
        log = self.directory / "nats-server.log"
        self.process = subprocess.Popen([self.binary(), "-c", self.config, "-l", log])
        eventually(self.answers, what="nats-server listens")
        return self

    def answers(self):
        try:
            return bool(self.monitor("/varz"))
        except OSError:
            return False

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.ports[0]}"

    def monitor(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[1]}{path}", timeout=10) as answer:
            return json.load(answer)

    def leave(self):
        self.process.send_signal(signal.SIGUSR2)

    def restart(self):
        self.process.kill()
        self.process.wait()
        self._start()

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class PeerWs(Peer):
    name = "nats-server-ws"

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.ports[2]}"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Raw:
    """A client that sends bytes and reads lines, for what no library does."""

    def __init__(self, peer):
        host, port = peer.url.removeprefix("nats://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.file = self.socket.makefile("rb")
        self.info = json.loads(self.line().removeprefix(b"INFO "))

    def send(self, text):
        self.socket.sendall(text)

    def line(self):
        return self.file.readline()

    def rest(self):
        """What comes until the server closes."""
        try:
            return self.file.read()
        except ConnectionError:
            return b""

    def close(self):
        self.file.close()
        self.socket.close()

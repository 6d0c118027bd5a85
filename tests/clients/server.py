"""The broker under test: the real binary, free ports, a directory of its own."""

import os
import pathlib
import signal
import subprocess
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROTOCOLS = ("kafka", "aws", "nats", "nats-ws", "redis", "amqp", "admin")


def binary() -> str:
    return os.environ.get("DUOLOG_BIN") or str(ROOT / "target" / "debug" / "duolog")


class Server:
    """Starts, kills and restarts one broker. Ports are free ones, and the same again after a restart."""

    def __init__(self, directory, *flags, env=None):
        self.directory = pathlib.Path(directory)
        self.flags = flags
        self.env = env or {}
        self.addresses = {}
        self.process = None
        self.ready_after_s = None

    def spawn(self):
        """Starts the process, and does not wait until it serves."""
        listen = []
        for protocol in PROTOCOLS:
            listen += ["--listen", f"{protocol}={self.addresses.get(protocol, '127.0.0.1:0')}"]
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log = open(self.directory.parent / f"{self.directory.name}.log", "ab")
        begun = time.monotonic()
        self.process = subprocess.Popen(
            [binary(), "serve", "--data-dir", str(self.directory), *listen, *self.flags],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, **self.env},
        )
        return begun

    def start(self):
        begun = self.spawn()
        for line in self.process.stdout:
            words = line.split()
            if words == ["ready"]:
                break
            if words and words[0] == "listening":
                fields = dict(word.split("=", 1) for word in words[1:])
                self.addresses[fields["protocol"]] = fields["addr"]
        else:
            raise AssertionError(f"the broker ended before it was ready:\n{self.stderr()}")
        self.ready_after_s = time.monotonic() - begun
        return self

    def stderr(self) -> str:
        return (self.directory.parent / f"{self.directory.name}.log").read_text(errors="replace")[-4000:]

    def kill(self):
        """kill -9, no farewell."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def stop(self):
        """SIGTERM; gives back the exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=15)
        self.process.stdout.close()
        self.log.close()
        return status

    @property
    def kafka(self) -> str:
        return self.addresses["kafka"]

    @property
    def aws(self) -> str:
        return "http://" + self.addresses["aws"]

    @property
    def nats(self) -> str:
        return "nats://" + self.addresses["nats"]

    @property
    def nats_ws(self) -> str:
        return "ws://" + self.addresses["nats-ws"]

    @property
    def admin(self) -> str:
        return "http://" + self.addresses["admin"]

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.admin + path, timeout=10) as answer:
            return answer.read().decode()

    def metric(self, name: str) -> float:
        """The figure of a metric without labels."""
        lines = self.get("/metrics").splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    def cli(self, *arguments, check=True) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [binary(), *arguments, "--admin", self.addresses["admin"]],
            capture_output=True,
            text=True,
            timeout=60,
        )
        if check:
            assert done.returncode == 0, f"duolog {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done

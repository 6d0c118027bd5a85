"""A real redis-server beside the broker, where one is installed."""

import shutil
import socket
import subprocess

import redis

from waits import eventually


class Peer:
    """A redis-server on a free port, which keeps nothing."""

    def __init__(self, directory):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [shutil.which("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
             "--dir", str(directory)],
            stdout=subprocess.DEVNULL,
        )
        eventually(lambda: self.process.poll() is None and answers(port), what="redis-server")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def answers(port):
    try:
        return redis.Redis(port=port).ping()
    except redis.ConnectionError:
        return False

"""A real RabbitMQ beside the broker, where one is installed."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess

import pika
import pika.exceptions

from waits import eventually

# The script in the PATH of Debian changes the user, which a test cannot.
PLACES = "/usr/lib/rabbitmq/bin:/usr/local/sbin:/usr/sbin:/opt/rabbitmq/sbin"


def binary():
    return shutil.which("rabbitmq-server", path=f"{PLACES}:{os.environ.get('PATH', '')}")


def started(new_directory):
    """A node that runs. A port that was free may be somebody's connection by the time that the node opens it: then it ends, and another
    is started with other ports."""
    for _ in range(2):
        try:
            return Peer(new_directory())
        except Ended:
            pass
    return Peer(new_directory())


class Ended(AssertionError):
    """The node has ended by itself."""


class Peer:
    """A node on a free port, which keeps its things in `directory`."""

    def __init__(self, directory):
        directory = pathlib.Path(directory)
        port, dist, epmd, api = free_ports(4)
        self.address = f"127.0.0.1:{port}"
        self.api = f"http://127.0.0.1:{api}"
        (directory / "plugins").write_text("[rabbitmq_management].\n")
        listens = f'-rabbitmq_management tcp_config [{{port,{api}}},{{ip,"127.0.0.1"}}]'
        self.environment = {
            **os.environ,
            "HOME": str(directory),
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(dist),
            "RABBITMQ_NODENAME": f"peer{port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_LOGS": str(directory / "rabbit.log"),
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "no-environment.conf"),
            "RABBITMQ_CONFIG_FILE": str(directory / "no-configuration"),
            # Waiting schedulers would take the time of the tests.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"+sbwt none {listens}",
        }
        cookie = directory / ".erlang.cookie"
        cookie.write_text("of-this-test")
        cookie.chmod(0o400)
        self.output = open(directory / "output", "wb")
        # The daemon that knows the nodes would be started by the node, and stay: this one is ended with it.
        self.names = subprocess.Popen(
            ["epmd", "-port", str(epmd), "-address", "127.0.0.1"], stdout=self.output, stderr=self.output
        )
        eventually(lambda: answers_at(epmd), what="epmd answers")
        self.process = subprocess.Popen(
            [binary()], cwd=directory, env=self.environment, stdout=self.output, stderr=self.output, start_new_session=True
        )
        try:
            eventually(self.answers, timeout_s=90, what="RabbitMQ answers")
        except BaseException:
            self.stop()
            raise

    def answers(self):
        if self.process.poll() is not None:
            raise Ended("rabbitmq-server ended")
        host, port = self.address.split(":")
        try:
            pika.BlockingConnection(pika.ConnectionParameters(host, int(port))).close()
            return True
        except pika.exceptions.AMQPError:
            return False

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.names.terminate()
        self.names.wait()
        self.output.close()


def answers_at(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except ConnectionError:
        return False


def free_ports(count):
    """Different ones."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [it.getsockname()[1] for it in held]
    for it in held:
        it.close()
    return ports

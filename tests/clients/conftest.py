"""Fixtures: a broker shared by the tests of one file, and clients for it."""

import os
import shutil
import uuid

import boto3
import pika
import pytest
from botocore.config import Config

import rabbit_peer
from server import Server


def pytest_collection_modifyitems(config, items):
    if os.environ.get("DUOLOG_TEST_FULL"):
        return
    skip = pytest.mark.skip(reason="only with ./scripts/test --full")
    for item in items:
        if "full" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="module")
def new_directory(request, tmp_path_factory):
    """Makes directories for what the tests of one file share. They go with the last of them, as a broker sets 200 MB aside, unless a
    test of the file failed."""
    failed, made = request.session.testsfailed, []

    def make(name):
        made.append(tmp_path_factory.mktemp(name))
        return made[-1]

    yield make
    if request.session.testsfailed == failed:
        for directory in made:
            shutil.rmtree(directory)


@pytest.fixture(scope="module")
def server(new_directory):
    broker = Server(new_directory("broker") / "data").start()
    yield broker
    if broker.process.poll() is None:
        assert broker.stop() == 0, broker.stderr()


@pytest.fixture
def fresh(tmp_path):
    """A broker for one test that kills or restarts it."""
    broker = Server(tmp_path / "data").start()
    yield broker
    if broker.process.poll() is None:
        broker.kill()


@pytest.fixture
def name():
    return f"t{uuid.uuid4().hex[:12]}"


def sqs_client(endpoint: str):
    return boto3.client(
        "sqs",
        endpoint_url=endpoint,
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, read_timeout=40),
    )


@pytest.fixture
def sqs(server):
    return sqs_client(server.aws)


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory):
    """One for all, because it takes its time to start."""
    if not rabbit_peer.binary():
        pytest.skip("rabbitmq-server is not installed")
    peer = rabbit_peer.started(lambda: tmp_path_factory.mktemp("rabbit"))
    yield peer
    peer.stop()


@pytest.fixture(scope="module", params=["duolog", "rabbitmq"])
def kind(request):
    """What passes only on Duolog is a mistake of the test."""
    return request.param


@pytest.fixture(scope="module")
def amqp(request, kind):
    """Address of a listener for AMQP 0-9-1."""
    if kind == "duolog":
        return request.getfixturevalue("server").addresses["amqp"]
    # One that runs already spares its start, while tests are written.
    if running := os.environ.get("DUOLOG_RABBITMQ"):
        return running
    return request.getfixturevalue("rabbit").address


@pytest.fixture(scope="module")
def api(request, kind):
    """Where its management API is."""
    if kind == "duolog":
        return request.getfixturevalue("server").admin
    return os.environ.get("DUOLOG_RABBITMQ_API") or request.getfixturevalue("rabbit").api


def amqp_connection(address, **options):
    host, port = address.split(":")
    options = {"heartbeat": 0, "blocked_connection_timeout": 30, "socket_timeout": 20, **options}
    return pika.BlockingConnection(pika.ConnectionParameters(host, int(port), **options))


@pytest.fixture
def connect(amqp):
    """Makes connections with pika, and closes them."""
    made = []

    def make(**options):
        made.append(amqp_connection(amqp, **options))
        return made[-1]

    yield make
    for connection in made:
        if connection.is_open:
            connection.close()


@pytest.fixture
def channel(connect):
    return connect().channel()

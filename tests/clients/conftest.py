"""Fixtures: a broker shared by the tests of one file, and clients for it."""

import os
import uuid

import boto3
import pytest
from botocore.config import Config

from server import Server


def pytest_collection_modifyitems(config, items):
    if os.environ.get("DUOLOG_TEST_FULL"):
        return
    skip = pytest.mark.skip(reason="only with ./scripts/test --full")
    for item in items:
        if "full" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    broker = Server(tmp_path_factory.mktemp("broker") / "data").start()
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

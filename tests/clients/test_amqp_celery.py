"""Celery with an AMQP broker: tasks, results, remote control, and a worker that is killed amid a task."""

import json
import os
import signal
import subprocess
import sys

from celery_workers import HERE, kill_amid_a_task


def test_a_killed_celery_worker_loses_nothing(server, name, tmp_path):
    broker = f"amqp://guest:guest@{server.addresses['amqp']}//"

    def after(wait_for):
        def left():
            queue = json.loads(server.cli("queue", "describe", name, "--json").stdout)
            return queue["available"] + queue["in_flight"] == 0

        wait_for(left, "an empty queue")

    kill_amid_a_task({"DUOLOG_BROKER_URL": broker, "DUOLOG_QUEUE": name}, tmp_path, after)


REMOTE = """
from celery import Celery

app = Celery("remote", broker={broker!r}, backend="rpc://")
app.conf.task_default_queue = {name!r}


@app.task(name="double")
def double(number):
    return 2 * number
"""


def test_results_and_remote_control(server, name, tmp_path):
    """Replies come over an exclusive queue of the caller; a ping goes through a fanout exchange to queues that expire."""
    broker = f"amqp://guest:guest@{server.addresses['amqp']}//"
    (tmp_path / "remote_app.py").write_text(REMOTE.format(broker=broker, name=name))
    command = [sys.executable, "-m", "celery", "-A", "remote_app", "worker", "--pool", "solo", "--loglevel", "INFO"]
    with open(tmp_path / "worker.log", "wb") as log:
        worker = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
    ask = "import remote_app as it; print(it.double.delay(21).get(timeout=60), len(it.app.control.ping(timeout=20, limit=1)))"
    try:
        done = subprocess.run([sys.executable, "-c", ask], cwd=tmp_path, capture_output=True, text=True, timeout=90)
        assert done.stdout.split() == ["42", "1"], done.stderr + (tmp_path / "worker.log").read_text()
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

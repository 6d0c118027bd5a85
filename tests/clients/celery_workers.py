"""Celery workers that can be killed, and tasks that tell by files what became of them."""

import os
import pathlib
import signal
import subprocess
import sys

from waits import eventually

HERE = pathlib.Path(__file__).parent


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


def kill_amid_a_task(environment, tmp_path, after):
    """Sends twenty tasks, kills the worker in the middle of one, and sees that a second worker does all of them. `after` is
    called with `wait_for` while that one runs."""
    tasks, log = tmp_path / "tasks", tmp_path / "worker.log"
    tasks.mkdir()
    environment = {**os.environ, **environment, "DUOLOG_TASKS": str(tasks), "PYTHONDONTWRITEBYTECODE": "1"}
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
        after(lambda condition, what: wait_for(condition, what, log))
    finally:
        second.kill()

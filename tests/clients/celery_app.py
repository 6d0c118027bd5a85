"""A Celery application whose broker is the queue under test. Tasks leave files behind, so that nothing else tells."""

import os
import pathlib
import threading

from celery import Celery

DIRECTORY = pathlib.Path(os.environ["DUOLOG_TASKS"])

BROKER = os.environ["DUOLOG_BROKER_URL"]

app = Celery("tasks", broker=BROKER)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"region": "eu-central-1", "visibility_timeout": 5, "wait_time_seconds": 1}
    if BROKER.startswith("sqs:")
    else {},
    task_acks_late=True,
    task_default_queue=os.environ["DUOLOG_QUEUE"],
    task_ignore_result=True,
    worker_enable_remote_control=False,
    worker_prefetch_multiplier=1,
)


@app.task
def work(number, hold):
    """Leaves `begun-N` and `done-N`. A task that holds is done only if another began it before."""
    again = (DIRECTORY / f"begun-{number}").exists()
    (DIRECTORY / f"begun-{number}").touch()
    if hold and not again:
        # Until the worker is killed.
        threading.Event().wait()
    (DIRECTORY / f"done-{number}").touch()

"""A queue's time to live: what it ends, and for whom. docs/mapping.md, "Retention"."""

import json
import time

import pytest

from conftest import sqs_client
from streams import LIBRARIES
from waits import eventually

pytestmark = pytest.mark.timeout(120)
CONFLUENT = LIBRARIES["confluent-kafka"]


def counts(server, queue):
    told = json.loads(server.cli("queue", "describe", queue, "--json").stdout)
    return told["available"], told["in_flight"], told["dead_lettered"]


def receive(sqs, url, wait=0):
    return sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait).get("Messages", [])


def produce(server, topic, *values):
    return CONFLUENT.produce(server.kafka, topic, [(None, value, []) for value in values])


def test_what_has_outlived_its_queue_is_settled_there_and_stays_for_others(server, sqs, name):
    CONFLUENT.create(server.kafka, name)
    short, long, dead = f"{name}-short", f"{name}-long", f"{name}-dead"
    server.cli("queue", "create", dead)
    limits = ("--attempts-max", "1", "--dead-letter", dead)
    server.cli("queue", "create", short, "--topic", name, "--message-ttl", "4s", *limits)
    server.cli("queue", "create", long, "--topic", name)
    produce(server, name, b"1", b"2", b"3")
    began = time.monotonic()
    url = sqs.get_queue_url(QueueName=short)["QueueUrl"]
    assert counts(server, short) == (3, 0, 0)
    eventually(lambda: time.monotonic() - began > 6, what="time passes")
    assert receive(sqs, url) == []
    eventually(lambda: counts(server, short) == (0, 0, 0), what="the messages have outlived the queue's time")
    assert counts(server, dead) == (0, 0, 0), "too old is not failed"
    # Everybody else has them still.
    assert counts(server, long) == (3, 0, 0)
    assert [value for *_, value, _ in CONFLUENT.consume(server.kafka, name, name, 3)] == [b"1", b"2", b"3"]
    # Replayed they live once more, from then on.
    server.cli("queue", "replay", short, "--from", "earliest")
    assert sorted(m["Body"] for m in receive(sqs, url)) == ["1", "2", "3"]


def test_who_holds_a_message_may_finish_it_and_given_back_it_has_ended(server, sqs, name):
    server.cli("queue", "create", name, "--message-ttl", "4s", "--visibility-timeout", "6s")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    for body in ("acked", "left"):
        sqs.send_message(QueueUrl=url, MessageBody=body)
    sent = time.monotonic()
    got = []
    while len(got) < 2:
        got += receive(sqs, url, 5)
    eventually(lambda: time.monotonic() - sent > 4.2, what="time passes")
    sqs.delete_message(QueueUrl=url, ReceiptHandle=got[0]["ReceiptHandle"])
    # The visibility timeout of the other ends meanwhile.
    assert receive(sqs, url, 5) == []
    eventually(lambda: counts(server, name) == (0, 0, 0), what="nothing is left")


def test_the_time_to_live_goes_on_over_kill_9_and_frees_what_a_queue_made(fresh, name):
    fresh.cli("queue", "create", name, "--message-ttl", "5s")
    sqs = sqs_client(fresh.aws)
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    began = time.monotonic()
    sqs.send_message(QueueUrl=url, MessageBody="old")
    fresh.kill()
    # The age goes on while nobody serves.
    eventually(lambda: time.monotonic() - began > 5.2, what="time passes")
    fresh.start()
    sqs = sqs_client(fresh.aws)
    assert receive(sqs, url) == []
    sqs.send_message(QueueUrl=url, MessageBody="new")
    assert [m["Body"] for m in receive(sqs, url, 5)] == ["new"]


def test_a_delayed_message_lives_from_when_it_enters_the_queue(server, sqs, name):
    server.cli("queue", "create", name, "--message-ttl", "4s")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=5)
    assert [m["Body"] for m in receive(sqs, url, 20)] == ["later"]

"""The deduplication window of a topic, through each of its doors: command line, admin API, Kafka, SQS."""

import json
import time
import urllib.error
import urllib.request

import confluent_kafka
import confluent_kafka.admin as admin_api
import pytest

from conftest import sqs_client
from streams import LIBRARIES

pytestmark = pytest.mark.timeout(120)

CONFLUENT = LIBRARIES["confluent-kafka"]
WINDOW = "duolog.dedup.window.ms"
TOPIC = admin_api.ConfigResource.Type.TOPIC
SET, DELETE = admin_api.AlterConfigOpType.SET, admin_api.AlterConfigOpType.DELETE
DYNAMIC = admin_api.ConfigSource.DYNAMIC_TOPIC_CONFIG.value
DEFAULT = admin_api.ConfigSource.DEFAULT_CONFIG.value


def ask(server, path, body=None):
    """Status and answer of the admin API."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.admin + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def alter(server, topic, operation, value="", setting=WINDOW):
    admin = admin_api.AdminClient({"bootstrap.servers": server.kafka})
    entry = admin_api.ConfigEntry(setting, value, incremental_operation=operation)
    resource = admin_api.ConfigResource(TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(30)


def described(server, topic):
    """Value and source in Kafka's words, then window and scope in the admin API's."""
    admin = admin_api.AdminClient({"bootstrap.servers": server.kafka})
    resource = admin_api.ConfigResource(TOPIC, topic)
    entry = admin.describe_configs([resource])[resource].result(30)[WINDOW]
    assert not entry.is_read_only and not entry.is_sensitive
    assert entry.is_default == (entry.source == DEFAULT)
    _, told = ask(server, f"/api/topics/{topic}")
    return entry.value, entry.source, told["dedup_window_ms"], told["dedup_scope"]


def send(server, topic, *records):
    """Produces (record key, idempotency key or None, value), one batch; gives back the offsets that were told."""
    headers = lambda key: [] if key is None else [("duolog-idempotency-key", key)]
    return [
        offset
        for _, offset in CONFLUENT.produce(
            server.kafka, topic, [(key, value, headers(once)) for key, once, value in records]
        )
    ]


def stored(server, topic):
    """The values in the topic, up to its end."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": server.kafka, "group.id": "look", "enable.partition.eof": True}
    )
    consumer.assign([confluent_kafka.TopicPartition(topic, 0, 0)])
    values = []
    try:
        while True:
            message = consumer.poll(30)
            assert message is not None, "the topic cannot be read to its end"
            if message.error() is None:
                values.append(message.value())
            elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                return values
            else:
                raise AssertionError(message.error())
    finally:
        consumer.close()


# Each door: (server, topic, window in ms or None) -> None


def by_kafka(server, topic, window_ms):
    alter(server, topic, SET, str(window_ms or 0))


def by_kafka_deleted(server, topic, window_ms):
    alter(server, topic, *((SET, str(window_ms)) if window_ms else (DELETE,)))


def by_admin_api(server, topic, window_ms):
    status, told = ask(server, f"/api/topics/{topic}/settings", {"dedup_window_ms": window_ms})
    assert (status, told["dedup_window_ms"]) == (200, window_ms)


def by_command_line(server, topic, window_ms):
    shown = server.cli("topic", "set", topic, "--dedup-window", f"{window_ms}ms" if window_ms else "none").stdout
    assert ("10m" if window_ms else "none") in shown.split("deduplication")[1].splitlines()[0]


@pytest.mark.parametrize("door", [by_kafka, by_kafka_deleted, by_admin_api, by_command_line])
def test_a_window_is_set_seen_in_effect_and_taken_away_again(server, name, door):
    CONFLUENT.create(server.kafka, name)
    off, on = ("0", DEFAULT, None, None), ("600000", DYNAMIC, 600_000, "topic")
    assert described(server, name) == off
    # Without a window a key is a header like others.
    send(server, name, (None, b"k", b"before"))
    send(server, name, (None, b"k", b"before"))
    door(server, name, 600_000)
    assert described(server, name) == on
    first = send(server, name, (None, b"k", b"first"))
    assert first == [2], "what was sent before the window was set is not in it"
    assert send(server, name, (None, b"k", b"again")) == first
    assert send(server, name, (None, b"other", b"other"), (None, None, b"without")) == [3, 4]
    door(server, name, None)
    value, _, *rest = described(server, name)
    assert (value, *rest) == ("0", None, None)
    send(server, name, (None, b"k", b"after"))
    send(server, name, (None, b"k", b"after"))
    assert stored(server, name) == [b"before", b"before", b"first", b"other", b"without", b"after", b"after"]


def test_each_door_shows_what_another_has_set_last(server, name):
    CONFLUENT.create(server.kafka, name, config={WINDOW: "60000"})
    assert described(server, name)[::2] == ("60000", 60_000)
    for window_ms, door in [(600_000, by_command_line), (90_000, by_kafka), (70_000, by_admin_api), (80_000, by_kafka)]:
        door(server, name, window_ms)
        assert described(server, name) == (str(window_ms), DYNAMIC, window_ms, "topic")
    by_command_line(server, name, None)
    assert described(server, name) == ("0", DEFAULT, None, None)
    # A change of another setting by Kafka does not bring it back.
    alter(server, name, SET, "3600000", setting="retention.ms")
    assert described(server, name) == ("0", DEFAULT, None, None)


def test_a_topic_is_created_with_a_window_through_each_door(server, name):
    kafka, admin, cli = (f"{name}-{door}" for door in ("kafka", "admin", "cli"))
    CONFLUENT.create(server.kafka, kafka, config={WINDOW: "600000"})
    assert ask(server, "/api/topics", {"name": admin, "dedup_window_ms": 600_000})[0] == 201
    server.cli("topic", "create", cli, "--dedup-window", "10m")
    for topic in (kafka, admin, cli):
        assert described(server, topic) == ("600000", DYNAMIC, 600_000, "topic"), topic
        # In one batch and over several, whatever the producer.
        assert send(server, topic, (None, b"a", b"1"), (None, b"b", b"2"), (None, b"a", b"3"))[:1] == [0]
        assert send(server, topic, (b"key", b"b", b"4")) == [1]
        assert stored(server, topic) == [b"1", b"2"]


def test_by_key_an_idempotency_key_counts_among_records_of_one_key(server, name):
    other = f"{name}-other"
    server.cli("topic", "create", name, "--dedup-window", "10m", "--dedup-scope", "key")
    server.cli("topic", "create", other, "--dedup-window", "10m")
    server.cli("topic", "set", other, "--dedup-scope", "key")
    for topic in (name, other):
        assert described(server, topic) == ("600000", DYNAMIC, 600_000, "key")
        for _ in range(2):
            send(server, topic, (b"x", b"k", b"x"))
            send(server, topic, (b"y", b"k", b"y"))
            send(server, topic, (None, b"k", b"none"))
        assert stored(server, topic) == [b"x", b"y", b"none"]
    # Kafka's setting is the window's length; the scope stays.
    alter(server, name, SET, "1200000")
    assert described(server, name) == ("1200000", DYNAMIC, 1_200_000, "key")


@pytest.mark.parametrize("door", [by_kafka, by_kafka_deleted, by_admin_api, by_command_line])
def test_the_scope_is_kept_while_the_window_is_switched_off(server, name, door):
    server.cli("topic", "create", name, "--dedup-window", "10m", "--dedup-scope", "key")
    door(server, name, None)
    value, _, *rest = described(server, name)
    assert (value, *rest) == ("0", None, None)
    door(server, name, 600_000)
    assert described(server, name)[2:] == (600_000, "key")


def test_a_fifo_queue_whose_window_was_switched_off_stays_so(server, sqs, name):
    url = sqs.create_queue(QueueName=f"{name}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    by_command_line(server, f"{name}.fifo", None)
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7"})
    message = {"QueueUrl": url, "MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "once"}
    assert sqs.send_message(**message)["MessageId"] != sqs.send_message(**message)["MessageId"]


def test_a_window_ends_and_a_shorter_one_holds_for_what_comes_then(server, name):
    CONFLUENT.create(server.kafka, name, config={WINDOW: "600000"})
    assert send(server, name, (None, b"long", b"long")) == [0]
    alter(server, name, SET, "300")
    began = time.monotonic()
    (first,) = send(server, name, (None, b"short", b"short"))
    deadline = began + 30
    while (told := send(server, name, (None, b"short", b"again"))) == [first]:
        assert time.monotonic() < deadline, "the window does not end"
    assert time.monotonic() - began >= 0.3, "it ended early"
    assert told == [2]
    assert send(server, name, (None, b"long", b"long")) == [0], "sent under the longer one"


def test_the_window_and_its_keys_survive_kill_9(fresh, name):
    CONFLUENT.create(fresh.kafka, name)
    alter(fresh, name, SET, "600000")
    records = [(None, b"%d" % i, b"%d" % i) for i in range(50)]
    places = send(fresh, name, *records)
    fresh.kill()
    fresh.start()
    assert described(fresh, name) == ("600000", DYNAMIC, 600_000, "topic")
    for record, place in zip(records[::10], places[::10], strict=True):
        assert send(fresh, name, record) == [place]
    assert stored(fresh, name) == [value for *_, value in records]


def test_one_key_counts_whichever_protocol_brings_it(server, sqs, name):
    CONFLUENT.create(server.kafka, f"{name}.fifo")
    url = sqs.create_queue(QueueName=f"{name}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    assert described(server, f"{name}.fifo") == ("300000", DYNAMIC, 300_000, "topic")
    send(server, f"{name}.fifo", (b"g", b"by-kafka", b"first"))
    by_sqs = lambda key: sqs.send_message(
        QueueUrl=url, MessageBody="from sqs", MessageGroupId="g", MessageDeduplicationId=key
    )["MessageId"]
    assert by_sqs("by-sqs") == by_sqs("by-sqs")
    send(server, f"{name}.fifo", (b"g", b"by-sqs", b"again"))
    assert stored(server, f"{name}.fifo") == [b"first", b"from sqs"]


def test_a_replacement_of_kafkas_settings_leaves_a_fifo_queue_its_window(server, sqs, name):
    url = sqs.create_queue(QueueName=f"{name}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    resource = admin_api.ConfigResource(TOPIC, f"{name}.fifo", set_config={"retention.ms": "3600000"})
    admin = admin_api.AdminClient({"bootstrap.servers": server.kafka})
    admin.alter_configs([resource])[resource].result(30)
    assert described(server, f"{name}.fifo") == ("300000", DYNAMIC, 300_000, "topic")
    message = {"QueueUrl": url, "MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "once"}
    assert sqs.send_message(**message)["MessageId"] == sqs.send_message(**message)["MessageId"]


def test_what_cannot_be_is_refused_by_name_at_each_door(server, name):
    CONFLUENT.create(server.kafka, name)
    week = 7 * 24 * 3600 * 1000
    for value in ("-1", "soon", "1.5", "", str(week + 1), "99999999999999999999"):
        for attempt in (
            lambda: alter(server, name, SET, value),
            lambda: CONFLUENT.create(server.kafka, f"{name}-new", config={WINDOW: value}),
        ):
            with pytest.raises(confluent_kafka.KafkaException) as error:
                attempt()
            assert error.value.args[0].code() == confluent_kafka.KafkaError.INVALID_CONFIG
            assert WINDOW in error.value.args[0].str(), value
    for body in (
        {"dedup_window_ms": 0},
        {"dedup_window_ms": -1},
        {"dedup_window_ms": "soon"},
        {"dedup_window_ms": week + 1},
        {"dedup_scope": "key"},
        {"dedup_window_ms": 1000, "dedup_scope": "queue"},
        {"dedup_window_ms": None, "dedup_scope": "key"},
    ):
        for path, more in ((f"/api/topics/{name}/settings", {}), ("/api/topics", {"name": f"{name}-new"})):
            status, told = ask(server, path, {**more, **body})
            assert (status, told["error"]) in ((400, "invalid"), (422, "invalid")), (body, told)
            assert "dedup" in told["message"], (body, told)
    for words in (
        ("--dedup-window", "0s"),
        ("--dedup-window", "soon"),
        ("--dedup-window", "8d"),
        ("--dedup-window", "300"),
        ("--dedup-scope", "key"),
        ("--dedup-window", "5m", "--dedup-scope", "queue"),
    ):
        for command in (("topic", "set", name), ("topic", "create", f"{name}-new")):
            done = server.cli(*command, *words, check=False)
            assert done.returncode != 0, (command, words)
            assert "dedup" in done.stderr, (words, done.stderr)
    assert described(server, name) == ("0", DEFAULT, None, None), "nothing of it was kept"
    assert ask(server, f"/api/topics/{name}-new")[0] == 404


def test_a_key_that_is_none_is_refused_only_where_there_is_a_window(server, name):
    CONFLUENT.create(server.kafka, name)
    producer = confluent_kafka.Producer({"bootstrap.servers": server.kafka, "message.timeout.ms": 20_000})
    outcomes = []

    def attempt(key):
        header = [("duolog-idempotency-key", key)]
        producer.produce(name, b"x", headers=header, on_delivery=lambda error, _: outcomes.append(error))
        assert producer.flush(30) == 0
        return outcomes.pop()

    bad = (b"", b"k" * 1025)
    assert [attempt(key) for key in bad] == [None, None]
    alter(server, name, SET, "600000")
    for key in bad:
        assert attempt(key).code() == 87, "INVALID_RECORD"
    assert attempt(b"k" * 1024) is None

"""Settings of topics through unmodified admin clients: changed, described, refused, and seen to take effect."""

import confluent_kafka
import confluent_kafka.admin as admin_api
import kafka
import kafka.admin
import kafka.errors
import pytest

from server import Server
from streams import LIBRARIES
from waits import eventually

pytestmark = pytest.mark.timeout(120)

TOPIC = admin_api.ConfigResource.Type.TOPIC
SET, DELETE = admin_api.AlterConfigOpType.SET, admin_api.AlterConfigOpType.DELETE
APPEND, SUBTRACT = admin_api.AlterConfigOpType.APPEND, admin_api.AlterConfigOpType.SUBTRACT


@pytest.fixture(scope="module")
def server(new_directory):
    """Looks at age and size every 50 ms, so that retention is seen without waiting for it."""
    broker = Server(new_directory("broker") / "data", "--retention-check", "50ms").start()
    yield broker
    assert broker.stop() == 0, broker.stderr()


@pytest.fixture(scope="module")
def admin(server):
    return admin_api.AdminClient({"bootstrap.servers": server.kafka})


def change(admin, topic, *changes):
    entries = [
        admin_api.ConfigEntry(name, value, incremental_operation=operation) for name, operation, value in changes
    ]
    resource = admin_api.ConfigResource(TOPIC, topic, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(30)


def settings(admin, topic):
    resource = admin_api.ConfigResource(TOPIC, topic)
    return admin.describe_configs([resource])[resource].result(30)


def start_of(server, topic):
    consumer = kafka.KafkaConsumer(bootstrap_servers=server.kafka)
    partition = kafka.TopicPartition(topic, 0)
    try:
        return consumer.beginning_offsets([partition])[partition]
    finally:
        consumer.close()


def test_settings_are_set_deleted_and_described(server, admin, name):
    LIBRARIES["confluent-kafka"].create(server.kafka, name, config={"segment.ms": "5000"})
    throttled = "leader.replication.throttled.replicas"
    change(
        admin,
        name,
        ("retention.ms", SET, "3600000"),
        ("segment.ms", DELETE, ""),
        ("min.insync.replicas", SET, "2"),
        (throttled, APPEND, "0:1"),
    )
    change(admin, name, (throttled, APPEND, "1:1"))
    change(admin, name, (throttled, SUBTRACT, "0:1"))
    shown = settings(admin, name)
    assert shown["retention.ms"].value == "3600000"
    assert shown["retention.ms"].source == admin_api.ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    assert not shown["retention.ms"].is_default and not shown["retention.ms"].is_read_only
    assert "log.retention.ms" in shown["retention.ms"].synonyms
    assert shown["segment.ms"].value == "604800000" and shown["segment.ms"].is_default
    assert shown["min.insync.replicas"].value == "2"
    assert shown[throttled].value == "1:1"
    assert len(shown) == 35, "33 of Kafka 4.2, duolog.durability and duolog.dedup.window.ms"


def test_a_replacement_forgets_what_it_does_not_name(server, admin, name):
    LIBRARIES["confluent-kafka"].create(server.kafka, name, config={"segment.ms": "5000", "retention.ms": "1000000"})
    resource = admin_api.ConfigResource(TOPIC, name, set_config={"retention.bytes": "1000000"})
    admin.alter_configs([resource])[resource].result(30)
    shown = settings(admin, name)
    assert shown["retention.bytes"].value == "1000000"
    assert shown["segment.ms"].is_default and shown["retention.ms"].is_default


def test_what_cannot_be_is_refused_with_the_reason(server, admin, name):
    LIBRARIES["confluent-kafka"].create(server.kafka, name)
    for setting, operation, value, why in [
        ("cleanup.policy", SET, "compact", "compaction is not supported"),
        ("cleanup.policy", APPEND, "compact", "compaction is not supported"),
        ("retention.ms", SET, "soon", "whole number"),
        ("retention.ms", APPEND, "1", "not a list"),
        ("no.such.setting", SET, "1", "no.such.setting"),
    ]:
        with pytest.raises(confluent_kafka.KafkaException) as error:
            change(admin, name, (setting, operation, value))
        assert error.value.args[0].code() == confluent_kafka.KafkaError.INVALID_CONFIG
        assert why in error.value.args[0].str()
    broker = admin_api.ConfigResource(
        admin_api.ConfigResource.Type.BROKER,
        "1",
        incremental_configs=[admin_api.ConfigEntry("num.partitions", "3", incremental_operation=SET)],
    )
    with pytest.raises(confluent_kafka.KafkaException) as error:
        admin.incremental_alter_configs([broker])[broker].result(30)
    assert "read-only" in error.value.args[0].str()


def test_kafka_python_changes_and_describes(server, name):
    LIBRARIES["kafka-python"].create(server.kafka, name, config={"segment.ms": "5000"})
    admin = kafka.KafkaAdminClient(bootstrap_servers=server.kafka)
    topic = kafka.admin.ConfigResourceType.TOPIC
    resource = kafka.admin.ConfigResource(topic, name, configs={"retention.ms": "123456"})
    admin.alter_configs([resource])
    shown = admin.describe_configs([kafka.admin.ConfigResource(topic, name)])["topic"][name]
    assert shown["retention.ms"]["value"] == "123456"
    assert shown["segment.ms"]["value"] == "5000", "the change was incremental"
    admin.close()


def test_records_past_retention_ms_go(server, admin, name):
    library = LIBRARIES["confluent-kafka"]
    library.create(server.kafka, name)
    library.produce(server.kafka, name, [(b"k", b"old", []) for _ in range(10)])
    assert start_of(server, name) == 0
    change(admin, name, ("retention.ms", SET, "1"))
    eventually(lambda: start_of(server, name) == 10, what="what is old has gone")
    # What comes from now on is kept again.
    change(admin, name, ("retention.ms", DELETE, ""))
    library.produce(server.kafka, name, [(b"k", b"new", [])])
    seen = library.consume(server.kafka, name, name, 1)
    assert [(offset, value) for _, offset, _, value, _ in seen] == [(10, b"new")]


def test_the_oldest_past_retention_bytes_go(server, admin, name):
    library = LIBRARIES["confluent-kafka"]
    library.create(server.kafka, name)
    # One batch each, so that the size is told batch by batch.
    for i in range(20):
        library.produce(server.kafka, name, [(b"%d" % i, b"x" * 10_000, [])])
    change(admin, name, ("retention.bytes", SET, "55000"))
    eventually(lambda: start_of(server, name) == 14, what="five batches of ten thousand bytes are too few, six are not")
    seen = library.consume(server.kafka, name, name, 6)
    assert [key for _, _, key, _, _ in seen] == [b"%d" % i for i in range(14, 20)]


def test_what_a_queue_holds_unsettled_outlives_retention(server, admin, name):
    library = LIBRARIES["confluent-kafka"]
    library.create(server.kafka, name)
    server.cli("queue", "create", name, "--topic", name)
    library.produce(server.kafka, name, [(b"k", b"held", [])])
    other = f"{name}-other"
    library.create(server.kafka, other)
    library.produce(server.kafka, other, [(b"k", b"not held", [])])
    for topic in (name, other):
        change(admin, topic, ("retention.ms", SET, "1"))
    # Once the other topic's record has gone, a round has passed over both.
    eventually(lambda: start_of(server, other) == 1, what="nobody holds it")
    assert start_of(server, name) == 0, "the queue still needs it"


def test_a_smaller_largest_batch_holds_at_once(server, admin, name):
    LIBRARIES["confluent-kafka"].create(server.kafka, name)
    producer = confluent_kafka.Producer({"bootstrap.servers": server.kafka})
    outcomes = []
    produce = lambda: producer.produce(name, b"x" * 5000, on_delivery=lambda error, _: outcomes.append(error))
    produce()
    producer.flush(30)
    change(admin, name, ("max.message.bytes", SET, "2000"))
    produce()
    producer.flush(30)
    assert outcomes[0] is None
    assert outcomes[1].code() == confluent_kafka.KafkaError.MSG_SIZE_TOO_LARGE


def test_the_brokers_time_replaces_the_producers_once_asked(server, admin, name):
    LIBRARIES["confluent-kafka"].create(server.kafka, name)
    producer = kafka.KafkaProducer(bootstrap_servers=server.kafka)
    assert producer.send(name, value=b"x", timestamp_ms=1_000).get(30).timestamp == 1_000
    change(admin, name, ("message.timestamp.type", SET, "LogAppendTime"))
    assert producer.send(name, value=b"x", timestamp_ms=1_000).get(30).timestamp > 1_700_000_000_000
    producer.close()


def test_settings_survive_a_crash(fresh, name):
    LIBRARIES["confluent-kafka"].create(fresh.kafka, name)
    change(admin_api.AdminClient({"bootstrap.servers": fresh.kafka}), name, ("retention.ms", SET, "77777"))
    fresh.kill()
    fresh.start()
    assert settings(admin_api.AdminClient({"bootstrap.servers": fresh.kafka}), name)["retention.ms"].value == "77777"

"""Unmodified Kafka clients against a topic read as a stream."""

import confluent_kafka
import confluent_kafka.admin as admin_api
import kafka
import pytest

from streams import LIBRARIES

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=LIBRARIES, ids=str)
def library(request):
    return LIBRARIES[request.param]


def in_partition_order(seen):
    last = {}
    for partition, offset, *_ in seen:
        assert offset == last.get(partition, -1) + 1, "a gap or a step back within a partition"
        last[partition] = offset
    return True


def test_two_groups_each_read_all_in_order_and_resume(server, name, library):
    library.create(server.kafka, name, partitions=3)
    records = [(f"k{i % 7}".encode(), f"v{i}".encode(), []) for i in range(500)]
    places = library.produce(server.kafka, name, records)
    assert len(set(places)) == 500
    for group in (f"{name}-a", f"{name}-b"):
        seen = library.consume(server.kafka, name, group, 500)
        assert in_partition_order(seen)
        assert sorted(value for _, _, _, value, _ in seen) == sorted(value for _, value, _ in records)
    more = library.produce(server.kafka, name, [(b"k", b"later", [])])
    resumed = library.consume(server.kafka, name, f"{name}-a", 1)
    assert [(p, o) for p, o, *_ in resumed] == more
    assert resumed[0][3] == b"later"


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_compression_round_trips(server, name, library, compression):
    library.create(server.kafka, name)
    records = [(b"key%d" % i, b"value " * 40 + b"%d" % i, []) for i in range(200)]
    library.produce(server.kafka, name, records, compression)
    seen = library.consume(server.kafka, name, name, 200)
    assert [(key, value) for _, _, key, value, _ in seen] == [(key, value) for key, value, _ in records]


def test_null_empty_and_repeated_headers_survive(server, name, library):
    library.create(server.kafka, name)
    records = [
        (None, b"no key", []),
        (b"", b"empty key", []),
        (b"tombstone", None, []),
        (b"empty", b"", []),
        (b"headers", b"x", [("a", b"1"), ("a", b"2"), ("b", b"")]),
    ]
    library.produce(server.kafka, name, records)
    seen = library.consume(server.kafka, name, name, len(records))
    assert [(key, value, headers) for _, _, key, value, headers in seen] == records


def test_one_library_reads_what_another_wrote(server, name):
    for index, (writer, library) in enumerate(LIBRARIES.items()):
        topic = f"{name}-{index}"
        library.create(server.kafka, topic)
        library.produce(server.kafka, topic, [(b"k", writer.encode(), [("by", writer.encode())])])
        for reader in LIBRARIES.values():
            seen = reader.consume(server.kafka, topic, f"{topic}-{id(reader)}", 1)
            assert seen[0][3] == writer.encode()


def test_a_topic_is_made_on_first_use(server, name):
    producer = confluent_kafka.Producer({"bootstrap.servers": server.kafka})
    errors = []
    producer.produce(name, b"hello", on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(30) == 0
    assert errors == [None]


def test_offsets_are_found_by_time(server, name):
    library = LIBRARIES["kafka-python"]
    library.create(server.kafka, name)
    producer = kafka.KafkaProducer(bootstrap_servers=server.kafka)
    for i in range(10):
        producer.send(name, value=b"x", timestamp_ms=1_700_000_000_000 + i * 1000).get(30)
    producer.close()
    consumer = kafka.KafkaConsumer(bootstrap_servers=server.kafka)
    partition = kafka.TopicPartition(name, 0)
    found = consumer.offsets_for_times({partition: 1_700_000_000_000 + 4500})
    assert found[partition].offset == 5
    assert found[partition].timestamp == 1_700_000_005_000
    assert consumer.offsets_for_times({partition: 1_800_000_000_000})[partition] is None
    assert consumer.beginning_offsets([partition])[partition] == 0
    assert consumer.end_offsets([partition])[partition] == 10
    consumer.close()


def test_log_append_time_is_the_brokers(server, name):
    LIBRARIES["confluent-kafka"].create(server.kafka, name, config={"message.timestamp.type": "LogAppendTime"})
    producer = kafka.KafkaProducer(bootstrap_servers=server.kafka)
    place = producer.send(name, value=b"x", timestamp_ms=1_000).get(30)
    producer.close()
    assert place.timestamp > 1_700_000_000_000
    consumer = kafka.KafkaConsumer(name, bootstrap_servers=server.kafka, auto_offset_reset="earliest", group_id=None)
    message = next(consumer)
    assert message.timestamp == place.timestamp
    assert message.timestamp_type == 1
    consumer.close()


def test_an_oversized_record_is_refused_as_kafka_refuses_it(server, name):
    LIBRARIES["confluent-kafka"].create(server.kafka, name, config={"max.message.bytes": "2000"})
    producer = confluent_kafka.Producer({"bootstrap.servers": server.kafka})
    errors = []
    producer.produce(name, b"x" * 5000, on_delivery=lambda error, _: errors.append(error))
    producer.flush(30)
    assert errors[0].code() == confluent_kafka.KafkaError.MSG_SIZE_TOO_LARGE


def test_groups_and_configs_are_described_and_deleted(server, name):
    library = LIBRARIES["confluent-kafka"]
    library.create(server.kafka, name, partitions=2, config={"retention.ms": "12345678"})
    library.produce(server.kafka, name, [(b"a", b"b", [])])
    library.consume(server.kafka, name, name, 1)
    admin = admin_api.AdminClient({"bootstrap.servers": server.kafka})

    resource = admin_api.ConfigResource(admin_api.ConfigResource.Type.TOPIC, name)
    config = admin.describe_configs([resource])[resource].result(30)
    assert config["retention.ms"].value == "12345678"
    assert config["cleanup.policy"].value == "delete"

    assert name in [group.group_id for group in admin.list_consumer_groups().result(30).valid]
    described = admin.describe_consumer_groups([name])[name].result(30)
    assert described.state == confluent_kafka.ConsumerGroupState.EMPTY
    asked = confluent_kafka.ConsumerGroupTopicPartitions(name)
    offsets = admin.list_consumer_group_offsets([asked])[name].result(30).topic_partitions
    assert sum(place.offset for place in offsets if place.offset > 0) == 1
    admin.delete_consumer_groups([name])[name].result(30)
    assert name not in [group.group_id for group in admin.list_consumer_groups().result(30).valid]

    admin.delete_topics([name])[name].result(30)
    assert name not in admin.list_topics(timeout=30).topics


def test_a_topic_that_exists_and_one_that_cannot_be_are_refused(server, name):
    library = LIBRARIES["confluent-kafka"]
    library.create(server.kafka, name)
    with pytest.raises(confluent_kafka.KafkaException) as error:
        library.create(server.kafka, name)
    assert error.value.args[0].code() == confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS
    with pytest.raises(confluent_kafka.KafkaException) as error:
        library.create(server.kafka, name + "-c", config={"cleanup.policy": "compact"})
    assert "compact" in error.value.args[0].str()


def test_transactions_are_refused_clearly(server):
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": server.kafka, "transactional.id": "t", "transaction.timeout.ms": 5000}
    )
    with pytest.raises(confluent_kafka.KafkaException):
        producer.init_transactions(5)


def test_members_share_the_partitions_and_a_dead_one_is_replaced(server, name):
    LIBRARIES["confluent-kafka"].create(server.kafka, name, partitions=4)
    settings = {
        "bootstrap.servers": server.kafka,
        "group.id": name,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": 6000,
        "partition.assignment.strategy": "cooperative-sticky",
    }
    first, second = confluent_kafka.Consumer(settings), confluent_kafka.Consumer(settings)
    first.subscribe([name])
    second.subscribe([name])
    while not (len(first.assignment()) == 2 and len(second.assignment()) == 2):
        first.poll(0.05)
        second.poll(0.05)
    second.close()
    while len(first.assignment()) != 4:
        first.poll(0.05)
    first.close()


def test_a_static_member_comes_back_to_its_partitions(server, name):
    LIBRARIES["confluent-kafka"].create(server.kafka, name, partitions=2)
    settings = {
        "bootstrap.servers": server.kafka,
        "group.id": name,
        "group.instance.id": "one",
        "auto.offset.reset": "earliest",
    }
    for _ in range(2):
        consumer = confluent_kafka.Consumer(settings)
        consumer.subscribe([name])
        while len(consumer.assignment()) != 2:
            assert consumer.poll(0.05) is None
        consumer.close()


def test_a_thousand_partitions_are_read_in_a_fetch_session(server, name):
    """kafka-python names its partitions once and then what has changed."""
    LIBRARIES["confluent-kafka"].create(server.kafka, name, partitions=1000)
    partitions = [kafka.TopicPartition(name, i) for i in range(1000)]
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=server.kafka, group_id=None, auto_offset_reset="earliest", enable_incremental_fetch_sessions=True
    )
    consumer.assign(partitions)
    producer = confluent_kafka.Producer({"bootstrap.servers": server.kafka})
    seen = []
    for i in range(50):
        producer.produce(name, b"%d" % i, partition=(i * 37) % 1000)
        assert producer.flush(30) == 0
        while len(seen) <= i:
            for records in consumer.poll(timeout_ms=1000).values():
                seen += [(record.partition, record.value) for record in records]
    consumer.close()
    assert seen == [((i * 37) % 1000, b"%d" % i) for i in range(50)]

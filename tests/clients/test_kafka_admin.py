"""What operators do with unmodified admin clients: records and offsets deleted, topics grown, sizes and epochs looked at."""

import confluent_kafka
import confluent_kafka.admin as admin_api
import kafka
import kafka.admin
import kafka.errors
import pytest

from streams import LIBRARIES

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def admin(server):
    return admin_api.AdminClient({"bootstrap.servers": server.kafka})


@pytest.fixture(scope="module")
def python_admin(server):
    client = kafka.KafkaAdminClient(bootstrap_servers=server.kafka)
    yield client
    client.close()


def filled(server, topic, partitions=1, records=10):
    library = LIBRARIES["confluent-kafka"]
    library.create(server.kafka, topic, partitions=partitions)
    return library.produce(server.kafka, topic, [(b"%d" % i, b"v%d" % i, []) for i in range(records)])


def delete_to(admin, topic, offset):
    asked = confluent_kafka.TopicPartition(topic, 0, offset)
    return list(admin.delete_records([asked]).values())[0].result(30).low_watermark


def test_records_are_deleted_below_an_offset_and_to_the_end(server, admin, name):
    filled(server, name)
    assert delete_to(admin, name, 4) == 4
    seen = LIBRARIES["confluent-kafka"].consume(server.kafka, name, name, 6)
    assert [offset for _, offset, *_ in seen] == [4, 5, 6, 7, 8, 9]
    assert delete_to(admin, name, confluent_kafka.OFFSET_END) == 10
    with pytest.raises(confluent_kafka.KafkaException) as error:
        delete_to(admin, name, 11)
    assert error.value.args[0].code() == confluent_kafka.KafkaError.OFFSET_OUT_OF_RANGE


def test_kafka_python_deletes_records(server, python_admin, name):
    filled(server, name)
    partition = kafka.TopicPartition(name, 0)
    python_admin.delete_records({partition: 7})
    consumer = kafka.KafkaConsumer(bootstrap_servers=server.kafka)
    assert consumer.beginning_offsets([partition])[partition] == 7
    consumer.close()


def test_records_that_a_queue_holds_are_not_deleted(server, admin, sqs, name):
    filled(server, name)
    server.cli("queue", "create", name, "--topic", name)
    with pytest.raises(confluent_kafka.KafkaException) as error:
        delete_to(admin, name, 5)
    assert error.value.args[0].code() == confluent_kafka.KafkaError.POLICY_VIOLATION
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    bodies = []
    while len(bodies) < 10:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5)["Messages"]:
            bodies.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert sorted(bodies) == sorted(f"v{i}" for i in range(10))
    assert delete_to(admin, name, 5) == 5, "once settled they may go"


def test_a_topic_grows_and_its_group_reads_the_new_partitions(server, admin, name):
    filled(server, name)
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": server.kafka,
            "group.id": name,
            "auto.offset.reset": "earliest",
            "topic.metadata.refresh.interval.ms": 200,
        }
    )
    consumer.subscribe([name])
    while len(consumer.assignment()) != 1:
        consumer.poll(0.05)
    admin.create_partitions([admin_api.NewPartitions(name, 3)])[name].result(30)
    producer = confluent_kafka.Producer({"bootstrap.servers": server.kafka})
    producer.produce(name, b"to the new one", partition=2)
    assert producer.flush(30) == 0
    # The group finds out by its metadata, and gathers anew.
    seen = set()
    while b"to the new one" not in seen:
        message = consumer.poll(30)
        assert message is not None, f"only {seen}"
        if message.error() is None:
            seen.add(message.value())
    assert len(consumer.assignment()) == 3
    consumer.close()
    with pytest.raises(confluent_kafka.KafkaException) as error:
        admin.create_partitions([admin_api.NewPartitions(name, 3)])[name].result(30)
    assert error.value.args[0].code() == confluent_kafka.KafkaError.INVALID_PARTITIONS
    admin.create_partitions([admin_api.NewPartitions(name, 5)], validate_only=True)[name].result(30)
    assert len(admin.list_topics(name, timeout=30).topics[name].partitions) == 3, "it was only checked"


def test_offsets_of_a_group_are_deleted_unless_it_reads_the_topic(server, python_admin, name):
    filled(server, name)
    LIBRARIES["confluent-kafka"].consume(server.kafka, name, name, 10)
    partition = kafka.TopicPartition(name, 0)
    assert python_admin.list_group_offsets(name)[name][partition].offset == 10
    python_admin.delete_group_offsets(name, [partition])
    assert partition not in python_admin.list_group_offsets(name).get(name, {})

    consumer = confluent_kafka.Consumer({"bootstrap.servers": server.kafka, "group.id": name})
    consumer.subscribe([name])
    while len(consumer.assignment()) != 1:
        consumer.poll(0.05)
    answers = python_admin.delete_group_offsets(name, [partition])
    assert answers[partition] is kafka.errors.GroupSubscribedToTopicError
    consumer.close()


def test_sizes_are_told(server, python_admin, name):
    LIBRARIES["confluent-kafka"].create(server.kafka, name)
    LIBRARIES["confluent-kafka"].produce(server.kafka, name, [(b"k", b"x" * 100_000, [])])
    (broker,) = python_admin.describe_log_dirs()
    (directory,) = broker["log_dirs"]
    (topic,) = [topic for topic in directory["topics"] if topic["name"] == name]
    assert 100_000 <= topic["partitions"][0]["partition_size"] <= 101_000
    assert 0 < directory["usable_bytes"] < directory["total_bytes"]


def test_producers_are_told(server, python_admin, name):
    LIBRARIES["confluent-kafka"].create(server.kafka, name)
    producer = confluent_kafka.Producer({"bootstrap.servers": server.kafka, "enable.idempotence": True})
    for number in range(10):
        producer.produce(name, str(number))
    assert producer.flush(30) == 0
    partition = kafka.TopicPartition(name, 0)
    told = python_admin.describe_producers([partition])[partition]
    (known,) = told.active_producers
    assert (known.producer_epoch, known.last_sequence) == (0, 9)


def test_topics_are_described_in_pages(server, python_admin, admin, name):
    filled(server, name, partitions=3)
    described = python_admin.describe_topic_partitions([name])
    assert name in str(described)
    topic = admin.describe_topics(confluent_kafka.TopicCollection([name]))[name].result(30)
    assert [partition.id for partition in topic.partitions] == [0, 1, 2]


def test_there_is_nothing_to_elect_and_nothing_moves(server, admin, python_admin, name):
    filled(server, name)
    asked = [confluent_kafka.TopicPartition(name, 0)]
    answers = admin.elect_leaders(confluent_kafka.ElectionType.PREFERRED, asked).result(30)
    assert answers[asked[0]].code() == confluent_kafka.KafkaError.ELECTION_NOT_NEEDED
    assert not python_admin.list_partition_reassignments()


def test_what_has_settings_is_listed(server, python_admin, name):
    filled(server, name)
    assert name in str(python_admin.list_config_resources())


def test_what_is_advertised_is_that_of_one_release(python_admin):
    """kafka-python infers the release from the versions of single apis."""
    assert python_admin.get_broker_version_data(1).broker_version == (4, 2)


def test_a_position_holds_after_an_unclean_restart(fresh, name):
    """The epoch is raised; a consumer checks its position by the old one and reads on."""
    filled(fresh, name)
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": fresh.kafka, "group.id": name, "auto.offset.reset": "error"}
    )
    consumer.assign([confluent_kafka.TopicPartition(name, 0, 0)])
    seen = []
    while len(seen) < 10:
        message = consumer.poll(30)
        assert message is not None
        if message.error() is None:
            seen.append(message.value())
    fresh.kill()
    fresh.start()
    LIBRARIES["confluent-kafka"].produce(fresh.kafka, name, [(b"k", b"after", [])])
    while len(seen) < 11:
        message = consumer.poll(30)
        assert message is not None
        if message.error() is None:
            seen.append(message.value())
        else:
            assert message.error().retriable() or message.error().code() < 0, message.error()
    consumer.close()
    assert seen == [b"v%d" % i for i in range(10)] + [b"after"]

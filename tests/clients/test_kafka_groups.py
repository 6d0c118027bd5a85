"""Consumer groups with unmodified clients: who joins, leaves, dies and comes back, and what becomes of offsets."""

import confluent_kafka
import confluent_kafka.admin as admin_api
import kafka
import kafka.admin
import pytest

from members import MEMBERS, SESSION_MS, ConfluentMember, Process
from server import Server
from streams import LIBRARIES
from waits import eventually

pytestmark = pytest.mark.timeout(120)

CONFLUENT = LIBRARIES["confluent-kafka"]


# A new group waits this long for company: short here, as the members of a test come at once.
QUICK = ("--kafka-rebalance-delay", "100ms")


@pytest.fixture(scope="module")
def server(new_directory):
    broker = Server(new_directory("broker") / "data", *QUICK).start()
    yield broker
    if broker.process.poll() is None:
        assert broker.stop() == 0, broker.stderr()


@pytest.fixture
def fresh(tmp_path):
    broker = Server(tmp_path / "data", *QUICK).start()
    yield broker
    if broker.process.poll() is None:
        broker.kill()


@pytest.fixture(params=MEMBERS, ids=str)
def library(request):
    return request.param


@pytest.fixture
def members():
    """Started members, stopped at the end whatever happens."""
    started = []
    yield started
    for member in started:
        member.ending.set()
    for member in started:
        member.thread.join(30)


def admin(server):
    return admin_api.AdminClient({"bootstrap.servers": server.kafka})


def records(count):
    return [(f"k{i}".encode(), b"v", []) for i in range(count)]


def shared(members, partitions):
    """True once the members hold all partitions, each one somewhere, no member more than one above another."""
    for member in members:
        if member.error:
            raise member.error
    held = [partition for member in members for partition in member.assigned]
    sizes = [len(member.assigned) for member in members]
    return sorted(held) == list(range(partitions)) and max(sizes) - min(sizes) <= 1


def committed(server, group):
    asked = confluent_kafka.ConsumerGroupTopicPartitions(group)
    operator = admin(server)
    places = operator.list_consumer_group_offsets([asked])[group].result(30).topic_partitions
    return {(place.topic, place.partition): place.offset for place in places}


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_three_members_join_and_leave_and_every_record_is_read_once(server, name, members, strategy):
    CONFLUENT.create(server.kafka, name, partitions=6)
    places = []
    for count in (1, 2, 3):
        members.append(ConfluentMember(server.kafka, name, name, strategy=strategy))
        eventually(lambda: shared(members, 6), what=f"sharing among {count}")
        places += CONFLUENT.produce(server.kafka, name, records(200))
    eventually(lambda: sum(len(member.seen) for member in members) >= len(places), what="reading")
    for left in (1, 2):
        members[left - 1].stop()
        eventually(lambda: shared(members[left:], 6), what=f"taking over from {left}")
        places += CONFLUENT.produce(server.kafka, name, records(200))
    eventually(lambda: sum(len(member.seen) for member in members) >= len(places), what="reading on")
    members[2].stop()
    seen = [place for member in members for place in member.seen]
    assert sorted(seen) == sorted(places), "read exactly once, as each member committed before it gave up its partitions"
    ends = {partition: 0 for partition in range(6)}
    for partition, offset in places:
        ends[partition] = max(ends[partition], offset + 1)
    assert committed(server, name) == {(name, partition): end for partition, end in ends.items() if end}


def test_members_of_each_library_share_and_take_over(server, name, library, members):
    CONFLUENT.create(server.kafka, name, partitions=4)
    for _ in range(2):
        members.append(MEMBERS[library](server.kafka, name, name))
    eventually(lambda: shared(members, 4), what="sharing")
    places = CONFLUENT.produce(server.kafka, name, records(100))
    eventually(lambda: sum(len(member.seen) for member in members) >= 100, what="reading")
    members[0].stop()
    eventually(lambda: shared(members[1:], 4), what="taking over")
    places += CONFLUENT.produce(server.kafka, name, records(100))
    eventually(lambda: sum(len(member.seen) for member in members) >= 200, what="reading on")
    members[1].stop()
    assert sorted(place for member in members for place in member.seen) == sorted(places)


def test_members_of_different_libraries_share_one_group(server, name, members):
    CONFLUENT.create(server.kafka, name, partitions=6)
    # The one assignor that all three know.
    members += [kind(server.kafka, name, name, strategy="roundrobin") for kind in MEMBERS.values()]
    eventually(lambda: shared(members, 6), what="sharing")
    places = CONFLUENT.produce(server.kafka, name, records(300))
    eventually(lambda: sum(len(member.seen) for member in members) >= 300, what="reading")
    assert sorted(place for member in members for place in member.seen) == sorted(places)
    for member in members:
        member.stop()


def test_a_killed_member_is_replaced_when_its_session_ends(server, name, library, members):
    CONFLUENT.create(server.kafka, name, partitions=4)
    victim = Process(library, server.kafka, name, name)
    try:
        assert len(victim.holds_some()) == 4
        members.append(MEMBERS[library](server.kafka, name, name))
        eventually(lambda: len(members[0].assigned) == 2, what="sharing")
    finally:
        victim.kill()
    eventually(lambda: len(members[0].assigned) == 4, SESSION_MS / 1000 + 10, "taking over")
    members[0].stop()


def test_a_static_member_comes_back_and_nobody_notices(server, name, library, members):
    CONFLUENT.create(server.kafka, name, partitions=4)
    kind = MEMBERS[library]
    one = kind(server.kafka, name, name, instance="one")
    two = kind(server.kafka, name, name, instance="two")
    members += [one, two]
    eventually(lambda: shared(members, 4), what="sharing")
    held, rebalances = one.assigned, two.rebalances
    one.stop()
    back = kind(server.kafka, name, name, instance="one")
    members.append(back)
    eventually(lambda: back.assigned == held, what="coming back")
    places = CONFLUENT.produce(server.kafka, name, records(40))
    eventually(lambda: len(back.seen) + len(two.seen) == 40, what="reading")
    assert sorted(back.seen + two.seen) == sorted(places)
    assert two.rebalances == rebalances, "the other member was disturbed"
    back.stop()
    two.stop()


def test_a_second_holder_of_an_instance_id_fences_the_first(server, name, members):
    CONFLUENT.create(server.kafka, name, partitions=2)
    first = ConfluentMember(server.kafka, name, name, instance="one")
    members.append(first)
    eventually(lambda: len(first.assigned) == 2, what="joining")
    second = ConfluentMember(server.kafka, name, name, instance="one")
    members.append(second)
    eventually(lambda: len(second.assigned) == 2, what="taking over")
    error = eventually(lambda: first.error, what="fencing")
    assert error.args[0].code() in (confluent_kafka.KafkaError._FATAL, confluent_kafka.KafkaError.FENCED_INSTANCE_ID)
    second.stop()


def test_offsets_without_a_membership_are_kept_with_their_metadata(server, name):
    CONFLUENT.create(server.kafka, name, partitions=2)
    CONFLUENT.produce(server.kafka, name, records(10))
    settings = {"bootstrap.servers": server.kafka, "group.id": name}
    consumer = confluent_kafka.Consumer(settings)
    consumer.commit(
        offsets=[confluent_kafka.TopicPartition(name, 0, 3, metadata="note"), confluent_kafka.TopicPartition(name, 1, 1)],
        asynchronous=False,
    )
    consumer.close()
    again = confluent_kafka.Consumer(settings)
    found = again.committed([confluent_kafka.TopicPartition(name, p) for p in range(2)], timeout=10)
    assert [(place.offset, place.metadata or "") for place in found] == [(3, "note"), (1, "")]
    with pytest.raises(confluent_kafka.KafkaException) as refused:
        long = confluent_kafka.TopicPartition(name, 0, 5, metadata="x" * 4097)
        again.commit(offsets=[long], asynchronous=False)
    assert refused.value.args[0].code() == confluent_kafka.KafkaError.OFFSET_METADATA_TOO_LARGE
    again.close()

    python = kafka.KafkaConsumer(bootstrap_servers=server.kafka, group_id=name, enable_auto_commit=False)
    partition = kafka.TopicPartition(name, 0)
    python.assign([partition])
    # confluent-kafka counts the zero byte at the end of a C string in.
    assert python.committed(partition, metadata=True).metadata.rstrip("\0") == "note"
    python.commit({partition: kafka.structs.OffsetAndMetadata(4, "by hand", -1)})
    assert python.committed(partition) == 4
    python.close(autocommit=False)


def test_an_operator_sees_moves_and_deletes_groups(server, name, members):
    CONFLUENT.create(server.kafka, name, partitions=2)
    CONFLUENT.produce(server.kafka, name, records(10))
    members.append(ConfluentMember(server.kafka, name, name))
    eventually(lambda: len(members[0].seen) == 10, what="reading")
    operator = admin(server)
    group = operator.describe_consumer_groups([name], include_authorized_operations=True)[name].result(30)
    assert group.state == confluent_kafka.ConsumerGroupState.STABLE
    assert group.partition_assignor == "range"
    assert group.authorized_operations
    [member] = group.members
    assert sorted(place.partition for place in member.assignment.topic_partitions) == [0, 1]
    stable = operator.list_consumer_groups(states={confluent_kafka.ConsumerGroupState.STABLE}).result(30).valid
    assert name in [group.group_id for group in stable]
    empty = operator.list_consumer_groups(states={confluent_kafka.ConsumerGroupState.EMPTY}).result(30).valid
    assert name not in [group.group_id for group in empty]
    with pytest.raises(confluent_kafka.KafkaException) as refused:
        operator.delete_consumer_groups([name])[name].result(30)
    assert refused.value.args[0].code() == confluent_kafka.KafkaError.NON_EMPTY_GROUP

    back = confluent_kafka.ConsumerGroupTopicPartitions(name, [confluent_kafka.TopicPartition(name, 0, 1)])
    refused = operator.alter_consumer_group_offsets([back])[name].result(30).topic_partitions[0]
    assert refused.error.code() == confluent_kafka.KafkaError.UNKNOWN_MEMBER_ID, "the group is in use"
    members[0].stop()
    moved = operator.alter_consumer_group_offsets([back])[name].result(30).topic_partitions[0]
    assert moved.error is None
    assert committed(server, name)[name, 0] == 1

    python = kafka.KafkaAdminClient(bootstrap_servers=server.kafka)
    assert name in str(python.list_groups())
    python.close()

    operator.delete_consumer_groups([name])[name].result(30)
    with pytest.raises(confluent_kafka.KafkaException) as refused:
        operator.delete_consumer_groups([name])[name].result(30)
    assert refused.value.args[0].code() == confluent_kafka.KafkaError.GROUP_ID_NOT_FOUND
    assert committed(server, name) == {}


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_a_group_goes_on_where_it_was_after_a_restart_of_the_broker(fresh, name, library, ending):
    CONFLUENT.create(fresh.kafka, name, partitions=2)
    CONFLUENT.produce(fresh.kafka, name, records(50))
    assert len(LIBRARIES[library].consume(fresh.kafka, name, name, 50)) == 50
    getattr(fresh, ending)()
    fresh.start()
    later = CONFLUENT.produce(fresh.kafka, name, records(10))
    seen = LIBRARIES[library].consume(fresh.kafka, name, name, 10)
    assert sorted((partition, offset) for partition, offset, *_ in seen) == sorted(later)


def test_members_outlive_a_restart_of_the_broker(fresh, name, members):
    CONFLUENT.create(fresh.kafka, name, partitions=2)
    members += [kind(fresh.kafka, name, name, strategy="roundrobin") for kind in MEMBERS.values()]
    places = CONFLUENT.produce(fresh.kafka, name, records(20))
    eventually(lambda: sum(len(member.seen) for member in members) >= 20, what="reading")
    fresh.stop()
    fresh.start()
    places += CONFLUENT.produce(fresh.kafka, name, records(20))
    eventually(lambda: set(places) <= {place for member in members for place in member.seen}, 60, "reading on")
    for member in members:
        member.stop()

"""Ordered topics of SNS: what is published twice, what is archived, what is replayed."""

import json

import pytest
from confluent_kafka.admin import AdminClient

from conftest import sqs_client
from test_sns import is_empty, make_queue, receive, refused, sns_client, subscribe
from waits import eventually

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def sns(server):
    return sns_client(server.aws)


def fifo(sns, name, **attributes):
    return sns.create_topic(Name=name + ".fifo", Attributes={"FifoTopic": "true", **attributes})["TopicArn"]


def publish(sns, topic, message, dedup, group="g", **more):
    return sns.publish(TopicArn=topic, Message=message, MessageGroupId=group, MessageDeduplicationId=dedup, **more)


def bodies(sqs, url, count):
    return [it["Body"] for it in receive(sqs, url, count)]


def logs(server):
    return [it["name"] for it in json.loads(server.cli("topic", "list", "--json").stdout) if it["name"].startswith("sns:log:")]


def test_what_is_published_twice_reaches_nobody_the_second_time(fresh, name):
    sns, sqs = sns_client(fresh.aws), sqs_client(fresh.aws)
    topic = fifo(sns, name)
    url, queue = make_queue(sqs, name + ".fifo", FifoQueue="true")
    plain_url, plain = make_queue(sqs, name)
    # Before anybody is there.
    publish(sns, topic, "unheard", "0")
    subscribe(sns, topic, queue, RawMessageDelivery="true")
    subscribe(sns, topic, plain, RawMessageDelivery="true")
    numbers = [publish(sns, topic, message, dedup)["SequenceNumber"] for message, dedup in [("again", "0"), ("a", "1"), ("again", "1")]]
    assert numbers == sorted(set(numbers))
    late_url, late = make_queue(sqs, name + "-late.fifo", FifoQueue="true")
    subscribe(sns, topic, late, RawMessageDelivery="true")
    publish(sns, topic, "again", "1")
    fresh.kill()
    fresh.start()
    sns, sqs = sns_client(fresh.aws), sqs_client(fresh.aws)
    publish(sns, topic, "again", "1")
    entries = [
        {"Id": str(index), "Message": message, "MessageGroupId": "g", "MessageDeduplicationId": dedup}
        for index, (message, dedup) in enumerate([("b", "2"), ("again", "2"), ("again", "1"), ("c", "3")])
    ]
    assert len(sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)["Successful"]) == 4
    assert bodies(sqs, url, 3) == ["a", "b", "c"] and is_empty(sqs, url)
    assert sorted(bodies(sqs, plain_url, 3)) == ["a", "b", "c"] and is_empty(sqs, plain_url)
    assert bodies(sqs, late_url, 2) == ["b", "c"] and is_empty(sqs, late_url)


def test_the_scope_is_the_topic_or_the_group(sns, sqs, name):
    topic = fifo(sns, name, FifoThroughputScope="MessageGroup")
    url, queue = make_queue(sqs, name)
    subscribe(sns, topic, queue, RawMessageDelivery="true")
    publish(sns, topic, "a", "1", group="g")
    publish(sns, topic, "again", "1", group="g")
    publish(sns, topic, "b", "1", group="h")
    sns.set_topic_attributes(TopicArn=topic, AttributeName="FifoThroughputScope", AttributeValue="Topic")
    publish(sns, topic, "c", "2", group="g")
    publish(sns, topic, "again", "2", group="h")
    assert sorted(bodies(sqs, url, 3)) == ["a", "b", "c"] and is_empty(sqs, url)


def test_bodies_by_protocol_go_together(server, sns, sqs, name):
    topic = fifo(sns, name)
    url, queue = make_queue(sqs, name + ".fifo", FifoQueue="true")
    subscribe(sns, topic, queue, RawMessageDelivery="true")
    server.cli("topic", "create", name + "-log")
    server.cli("exchange", "bind", name + ".fifo", "--to-topic", name + "-log")
    message = json.dumps({"default": "d", "sqs": "q"})
    for _ in range(2):
        publish(sns, topic, message, "1", MessageStructure="json")
    assert bodies(sqs, url, 1) == ["q"] and is_empty(sqs, url)
    peeked = [it["value"] for it in json.loads(server.cli("topic", "peek", name + "-log", "--json").stdout)]
    assert peeked == ["d"]


def test_the_log_is_nobodys_topic_and_goes_with_its_own(server, sns, sqs, name):
    before = logs(server)
    topic = fifo(sns, name)
    assert len(logs(server)) == len(before) + 1
    assert not [it for it in AdminClient({"bootstrap.servers": server.kafka}).list_topics(timeout=20).topics if it.startswith("sns:")]
    publish(sns, topic, "a", "1")
    sns.delete_topic(TopicArn=topic)
    assert logs(server) == before
    # The topic that follows knows nothing of it.
    topic = fifo(sns, name)
    url, queue = make_queue(sqs, name)
    subscribe(sns, topic, queue, RawMessageDelivery="true")
    publish(sns, topic, "a", "1")
    assert bodies(sqs, url, 1) == ["a"]


def archived(sns, name, **attributes):
    topic = fifo(sns, name, ArchivePolicy='{"MessageRetentionPeriod":"30"}', **attributes)
    return topic, sns.get_topic_attributes(TopicArn=topic)["Attributes"]["BeginningArchiveTime"]


def replay(start, end=None):
    return json.dumps({"PointType": "Timestamp", "StartingPoint": start, **({"EndingPoint": end} if end else {})})


def status(sns, subscription):
    return sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"].get("ReplayStatus")


def in_envelopes(sqs, url, count):
    envelopes = [json.loads(body) for body in bodies(sqs, url, count)]
    return [(it["Message"], it.get("Replayed", False)) for it in envelopes]


def test_an_archive_is_kept_and_stands_in_the_way_of_deletion(server, sns, name):
    before = logs(server)
    topic, beginning = archived(sns, name)
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert json.loads(attributes["ArchivePolicy"]) == {"MessageRetentionPeriod": "30"} and beginning.endswith("Z")
    (log,) = set(logs(server)) - set(before)
    retention = lambda: json.loads(server.cli("topic", "describe", log, "--json").stdout)["retention_ms"]
    assert retention() == 30 * 24 * 60 * 60 * 1000
    assert refused(sns.delete_topic, TopicArn=topic)[:2] == (400, "InvalidState")
    # A longer one counts from the same time.
    sns.set_topic_attributes(TopicArn=topic, AttributeName="ArchivePolicy", AttributeValue='{"MessageRetentionPeriod":"365"}')
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["BeginningArchiveTime"] == beginning
    sns.set_topic_attributes(TopicArn=topic, AttributeName="ArchivePolicy", AttributeValue="{}")
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert "ArchivePolicy" not in attributes and "BeginningArchiveTime" not in attributes
    assert retention() == 5 * 60 * 1000
    sns.delete_topic(TopicArn=topic)
    assert log not in logs(server)


def test_who_subscribes_late_gets_what_was_archived_and_then_what_is_new(sns, sqs, name):
    topic, beginning = archived(sns, name)
    numbers = [publish(sns, topic, f"m{index}", str(index))["SequenceNumber"] for index in range(5)]
    url, queue = make_queue(sqs, name + ".fifo", FifoQueue="true")
    subscription = subscribe(sns, topic, queue, ReplayPolicy=replay(beginning))
    publish(sns, topic, "new", "new")
    assert in_envelopes(sqs, url, 6) == [(f"m{index}", True) for index in range(5)] + [("new", False)]
    eventually(lambda: status(sns, subscription) == "Completed")
    attributes = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert json.loads(attributes["ReplayPolicy"])["StartingPoint"] == beginning
    # Once more, for who has had all of it.
    sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="ReplayPolicy", AttributeValue=replay(beginning))
    envelopes = [json.loads(body) for body in bodies(sqs, url, 6)]
    assert [it["Message"] for it in envelopes] == [f"m{index}" for index in range(5)] + ["new"]
    assert [it["SequenceNumber"] for it in envelopes[:5]] == numbers and all(it["Replayed"] for it in envelopes)
    publish(sns, topic, "newer", "newer")
    assert in_envelopes(sqs, url, 1) == [("newer", False)]
    assert is_empty(sqs, url)
    sns.unsubscribe(SubscriptionArn=subscription)
    publish(sns, topic, "too late", "late")
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == [] and is_empty(sqs, url)


def test_a_replay_is_chosen_by_filter_and_time_and_may_be_ended(sns, sqs, name):
    topic, beginning = archived(sns, name)
    url, queue = make_queue(sqs, name + ".fifo", FifoQueue="true")
    subscription = subscribe(sns, topic, queue, RawMessageDelivery="true", FilterPolicy='{"kind": ["wanted"]}')
    kind = lambda value: {"kind": {"DataType": "String", "StringValue": value}}
    for index in range(4):
        publish(sns, topic, f"m{index}", str(index), MessageAttributes=kind("wanted" if index % 2 else "other"))
    assert bodies(sqs, url, 2) == ["m1", "m3"]
    again = lambda policy: sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="ReplayPolicy", AttributeValue=policy)
    again(replay(beginning))
    messages = receive(sqs, url, 2)
    assert [it["Body"] for it in messages] == ["m1", "m3"]
    assert {it["MessageAttributes"]["Replayed"]["StringValue"] for it in messages} == {"true"}
    # Nothing is that old.
    again(replay(beginning, beginning))
    eventually(lambda: status(sns, subscription) == "Completed")
    publish(sns, topic, "new", "new", MessageAttributes=kind("wanted"))
    assert bodies(sqs, url, 1) == ["new"]
    again("{}")
    assert status(sns, subscription) is None
    publish(sns, topic, "newer", "newer", MessageAttributes=kind("wanted"))
    assert bodies(sqs, url, 1) == ["newer"] and is_empty(sqs, url)
    # The queue may come again.
    sqs.delete_queue(QueueUrl=url)
    publish(sns, topic, "nobody is there", "n", MessageAttributes=kind("wanted"))


def test_a_replay_goes_on_after_a_crash(fresh, name):
    sns, sqs = sns_client(fresh.aws), sqs_client(fresh.aws)
    topic, beginning = archived(sns, name)
    expected = [f"m{index}" for index in range(300)]
    for start in range(0, 300, 10):
        entries = [
            {"Id": str(index), "Message": f"m{index}", "MessageGroupId": "g", "MessageDeduplicationId": str(index)}
            for index in range(start, start + 10)
        ]
        assert len(sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)["Successful"]) == 10
    url, queue = make_queue(sqs, name + ".fifo", FifoQueue="true")
    subscription = subscribe(sns, topic, queue, ReplayPolicy=replay(beginning))
    fresh.kill()
    fresh.start()
    sns, sqs = sns_client(fresh.aws), sqs_client(fresh.aws)
    publish(sns, topic, "new", "new")
    assert in_envelopes(sqs, url, 301) == [(body, True) for body in expected] + [("new", False)]
    eventually(lambda: status(sns, subscription) == "Completed")
    fresh.kill()
    fresh.start()
    sns, sqs = sns_client(fresh.aws), sqs_client(fresh.aws)
    publish(sns, topic, "newer", "newer")
    assert in_envelopes(sqs, url, 1) == [("newer", False)] and is_empty(sqs, url)

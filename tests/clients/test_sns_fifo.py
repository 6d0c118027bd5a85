"""Ordered topics of SNS: what is published twice, what is archived, what is replayed."""

import json

import pytest
from confluent_kafka.admin import AdminClient

from conftest import sqs_client
from test_sns import is_empty, make_queue, receive, refused, sns_client, subscribe

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

"""Unmodified SNS clients (boto3): topics, subscriptions of queues, publishes."""

import base64
import hashlib
import json
import subprocess
import urllib.parse
import urllib.request

import boto3
import botocore.exceptions
import pika
import pytest
from botocore.config import Config
from confluent_kafka import Consumer

from conftest import amqp_connection, sqs_client
from server import Server

pytestmark = pytest.mark.timeout(120)


def sns_client(endpoint, region="eu-central-1", key="test"):
    return boto3.client(
        "sns",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, read_timeout=40),
    )


@pytest.fixture
def sns(server):
    return sns_client(server.aws)


def refused(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as error:
        call(**arguments)
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def make_queue(sqs, name, **attributes):
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def subscribe(sns, topic, queue_arn, **attributes):
    return sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=queue_arn, Attributes=attributes, ReturnSubscriptionArn=True
    )["SubscriptionArn"]


def receive(sqs, url, count=1, wait=10):
    got = []
    while len(got) < count:
        more = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait, AttributeNames=["All"], MessageAttributeNames=["All"]
        ).get("Messages", [])
        assert more, f"only {len(got)} of {count} messages came"
        for message in more:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            assert message["MD5OfBody"] == hashlib.md5(message["Body"].encode()).hexdigest()
        got += more
    return got


def is_empty(sqs, url):
    return "Messages" not in sqs.receive_message(QueueUrl=url)


def verify(envelope, tmp_path):
    """As a subscriber does it, with OpenSSL."""
    names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    text = "".join(f"{name}\n{envelope[name]}\n" for name in names if name in envelope)
    with urllib.request.urlopen(envelope["SigningCertURL"], timeout=10) as answer:
        (tmp_path / "cert.pem").write_bytes(answer.read())
    (tmp_path / "text").write_bytes(text.encode())
    (tmp_path / "signature").write_bytes(base64.b64decode(envelope["Signature"]))
    run = lambda *words: subprocess.run(["openssl", *words], cwd=tmp_path, capture_output=True, text=True)
    (tmp_path / "key.pem").write_text(run("x509", "-in", "cert.pem", "-pubkey", "-noout").stdout)
    digest = {"1": "-sha1", "2": "-sha256"}[envelope["SignatureVersion"]]
    return run("dgst", digest, "-verify", "key.pem", "-signature", "signature", "text").stdout.strip() == "Verified OK"


def test_a_topic_lives(sns, name):
    arn = sns.create_topic(Name=name, Attributes={"DisplayName": "Shown"}, Tags=[{"Key": "a", "Value": "ä"}])["TopicArn"]
    assert arn == f"arn:aws:sns:eu-central-1:000000000000:{name}"
    assert sns.create_topic(Name=name)["TopicArn"] == arn, "made again it is the same"
    assert refused(sns.create_topic, Name=name, Attributes={"DisplayName": "Other"})[1] == "InvalidParameter"
    assert "different tags" in refused(sns.create_topic, Name=name, Tags=[{"Key": "b", "Value": ""}])[2]
    attributes = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert (attributes["TopicArn"], attributes["DisplayName"], attributes["Owner"]) == (arn, "Shown", "000000000000")
    assert json.loads(attributes["Policy"])["Statement"][0]["Resource"] == arn
    assert attributes["SubscriptionsConfirmed"] == attributes["SubscriptionsPending"] == "0"
    sns.set_topic_attributes(TopicArn=arn, AttributeName="SignatureVersion", AttributeValue="2")
    sns.set_topic_attributes(TopicArn=arn, AttributeName="DisplayName", AttributeValue="")
    attributes = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert (attributes["SignatureVersion"], attributes["DisplayName"]) == ("2", "")
    sns.tag_resource(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    sns.untag_resource(ResourceArn=arn, TagKeys=["a"])
    assert sns.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    sns.add_permission(TopicArn=arn, Label="l", AWSAccountId=["123456789012"], ActionName=["Publish"])
    statements = json.loads(sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"])["Statement"]
    assert statements[1]["Sid"] == "l" and statements[1]["Action"] == "SNS:Publish"
    sns.remove_permission(TopicArn=arn, Label="l")
    sns.put_data_protection_policy(ResourceArn=arn, DataProtectionPolicy='{"Name":"p"}')
    assert sns.get_data_protection_policy(ResourceArn=arn)["DataProtectionPolicy"] == '{"Name":"p"}'
    sns.delete_topic(TopicArn=arn)
    sns.delete_topic(TopicArn=arn)
    assert refused(sns.get_topic_attributes, TopicArn=arn)[:2] == (404, "NotFound")
    assert refused(sns.list_tags_for_resource, ResourceArn=arn)[:2] == (404, "ResourceNotFound")


def test_account_and_region_are_echoed_and_separate_nothing(server, sns, name):
    sns.create_topic(Name=name)
    other = sns_client(server.aws, region="us-west-2", key="123456789012")
    arn = f"arn:aws:sns:us-west-2:123456789012:{name}"
    assert other.get_topic_attributes(TopicArn=arn)["Attributes"]["Owner"] == "123456789012"


def test_lists_come_in_pages(tmp_path):
    server = Server(tmp_path / "data").start()
    try:
        sns = sns_client(server.aws)
        arns = [sns.create_topic(Name=f"t{index:03}")["TopicArn"] for index in range(101)]
        first = sns.list_topics()
        assert len(first["Topics"]) == 100
        second = sns.list_topics(NextToken=first["NextToken"])
        assert "NextToken" not in second
        assert [topic["TopicArn"] for topic in first["Topics"] + second["Topics"]] == arns
        for index in range(60):
            for topic in arns[:2]:
                subscribe(sns, topic, f"arn:aws:sqs:eu-central-1:000000000000:q{index}")
        pages = list(sns.get_paginator("list_subscriptions").paginate())
        assert [len(page["Subscriptions"]) for page in pages] == [100, 20]
        found = [it["SubscriptionArn"] for page in pages for it in page["Subscriptions"]]
        assert len(set(found)) == 120
        of_one = sns.list_subscriptions_by_topic(TopicArn=arns[1])["Subscriptions"]
        assert len(of_one) == 60 and {it["TopicArn"] for it in of_one} == {arns[1]}
        assert refused(sns.list_topics, NextToken="!")[1] == "InvalidParameter"
    finally:
        server.kill()


def test_a_subscription_lives(sns, sqs, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    _, queue = make_queue(sqs, name)
    arn = subscribe(sns, topic, queue)
    assert arn.startswith(topic + ":")
    assert subscribe(sns, topic, queue) == arn, "made again it is the same"
    differs = refused(
        sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"}
    )
    assert differs[1:] == (
        "InvalidParameter",
        "Invalid parameter: Attributes Reason: Subscription already exists with different attributes",
    )
    attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert attributes["Endpoint"] == queue and attributes["RawMessageDelivery"] == "false"
    assert attributes["PendingConfirmation"] == "false" and "FilterPolicy" not in attributes
    policy = '{"a": ["b"]}'
    dead = json.dumps({"deadLetterTargetArn": queue})
    for attribute, value in {"FilterPolicy": policy, "RawMessageDelivery": "true", "RedrivePolicy": dead}.items():
        sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName=attribute, AttributeValue=value)
    attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert (attributes["FilterPolicy"], attributes["FilterPolicyScope"]) == (policy, "MessageAttributes")
    assert (attributes["RawMessageDelivery"], attributes["RedrivePolicy"]) == ("true", dead)
    sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="FilterPolicy", AttributeValue="")
    assert "FilterPolicy" not in sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsConfirmed"] == "1"
    sns.unsubscribe(SubscriptionArn=arn)
    sns.unsubscribe(SubscriptionArn=arn)
    assert refused(sns.get_subscription_attributes, SubscriptionArn=arn)[:2] == (404, "NotFound")
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


def test_a_message_comes_in_an_envelope_that_can_be_verified(sns, sqs, name, tmp_path):
    topic = sns.create_topic(Name=name)["TopicArn"]
    url, queue = make_queue(sqs, name)
    subscription = subscribe(sns, topic, queue)
    for version in ("1", "2"):
        sns.set_topic_attributes(TopicArn=topic, AttributeName="SignatureVersion", AttributeValue=version)
        attributes = {
            "s": {"DataType": "String", "StringValue": "x"},
            "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
            "n": {"DataType": "Number", "StringValue": "5"},
        }
        text = 'hällo "quoted"\n\\ 😀'
        sent = sns.publish(TopicArn=topic, Message=text, Subject="Ünderlined", MessageAttributes=attributes)
        (message,) = receive(sqs, url)
        assert "MessageAttributes" not in message and "MD5OfMessageAttributes" not in message
        envelope = json.loads(message["Body"])
        assert list(envelope) == [
            "Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "SignatureVersion", "Signature",
            "SigningCertURL", "UnsubscribeURL", "MessageAttributes",
        ]
        assert (envelope["Type"], envelope["MessageId"]) == ("Notification", sent["MessageId"])
        assert (envelope["TopicArn"], envelope["Message"], envelope["Subject"]) == (topic, text, "Ünderlined")
        assert envelope["MessageAttributes"] == {
            "s": {"Type": "String", "Value": "x"},
            "b": {"Type": "Binary", "Value": "AP8="},
            "n": {"Type": "Number", "Value": "5"},
        }
        assert envelope["SignatureVersion"] == version and verify(envelope, tmp_path)
        assert not verify({**envelope, "Message": "forged"}, tmp_path)
    assert urllib.parse.unquote(envelope["UnsubscribeURL"]).endswith(f"SubscriptionArn={subscription}")
    with urllib.request.urlopen(envelope["UnsubscribeURL"], timeout=10) as answer:
        assert answer.status == 200
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


def test_raw_and_wrapped_side_by_side_and_in_a_dead_letter_queue(sns, sqs, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    wrapped_url, wrapped = make_queue(sqs, name + "-w")
    dead_url, dead = make_queue(sqs, name + "-dead")
    redrive = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 1})
    raw_url, raw = make_queue(sqs, name + "-r", RedrivePolicy=redrive, VisibilityTimeout="0")
    subscribe(sns, topic, wrapped)
    subscription = subscribe(sns, topic, raw, RawMessageDelivery="true")
    attributes = {"a": {"DataType": "String.Array", "StringValue": '["x"]'}}
    sns.publish(TopicArn=topic, Message="bare", MessageAttributes=attributes)
    assert json.loads(receive(sqs, wrapped_url)[0]["Body"])["Message"] == "bare"
    # What becomes of the subscription does not change what was sent.
    sns.unsubscribe(SubscriptionArn=subscription)
    ask = {"QueueUrl": raw_url, "WaitTimeSeconds": 10, "MessageAttributeNames": ["All"]}
    (message,) = sqs.receive_message(**ask)["Messages"]
    assert (message["Body"], message["MessageAttributes"]["a"]["StringValue"]) == ("bare", '["x"]')
    assert message["MessageAttributes"]["a"]["DataType"] == "String.Array"
    assert "Messages" not in sqs.receive_message(QueueUrl=raw_url), "it has gone to the dead-letter queue"
    assert receive(sqs, dead_url)[0]["Body"] == "bare"


def test_bodies_by_protocol(sns, sqs, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    url, queue = make_queue(sqs, name)
    subscribe(sns, topic, queue, RawMessageDelivery="true")
    for message, expected in [({"default": "d", "sqs": "q", "http": "h"}, "q"), ({"default": "d", "sqs": 5}, "d")]:
        sns.publish(TopicArn=topic, Message=json.dumps(message), MessageStructure="json")
        assert receive(sqs, url)[0]["Body"] == expected
    bad = refused(sns.publish, TopicArn=topic, Message="{}", MessageStructure="json")
    assert bad[2] == "Invalid parameter: Message Structure - No default entry in JSON message body"


def test_a_batch(sns, sqs, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    url, queue = make_queue(sqs, name)
    subscribe(sns, topic, queue, RawMessageDelivery="true")
    entries = [{"Id": str(index), "Message": f"m{index}"} for index in range(9)] + [{"Id": "bad", "Message": "x", "Subject": "\n"}]
    answer = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert [it["Id"] for it in answer["Successful"]] == [str(index) for index in range(9)]
    (failed,) = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("bad", "InvalidParameter", True)
    assert sorted(it["Body"] for it in receive(sqs, url, 9)) == [f"m{index}" for index in range(9)]

    def batch(entries):
        return refused(sns.publish_batch, TopicArn=topic, PublishBatchRequestEntries=entries)[1]

    assert batch([{"Id": "a", "Message": "x"}] * 2) == "BatchEntryIdsNotDistinct"
    assert batch([{"Id": str(index), "Message": "x"} for index in range(11)]) == "TooManyEntriesInBatchRequest"
    assert batch([{"Id": "a b", "Message": "x"}]) == "InvalidBatchEntryId"
    assert batch([{"Id": str(index), "Message": "x" * 140_000} for index in range(2)]) == "BatchRequestTooLong"
    assert is_empty(sqs, url)


def test_a_queue_may_come_later_and_come_again(sns, sqs, server, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    arn = f"arn:aws:sqs:eu-central-1:000000000000:{name}"
    subscription = subscribe(sns, topic, arn, RawMessageDelivery="true")
    sns.publish(TopicArn=topic, Message="nobody is there")
    url, _ = make_queue(sqs, name)
    sns.publish(TopicArn=topic, Message="first")
    assert receive(sqs, url)[0]["Body"] == "first"
    sqs.delete_queue(QueueUrl=url)
    assert [it["SubscriptionArn"] for it in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]] == [subscription]
    sns.publish(TopicArn=topic, Message="nobody is there")
    # Also if another than SQS makes it.
    server.cli("queue", "create", name)
    sns.publish(TopicArn=topic, Message="second")
    assert receive(sqs, url)[0]["Body"] == "second"
    assert sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]["RawMessageDelivery"] == "true"


def test_other_protocols_meet_at_a_topic(sns, sqs, server, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    url, queue = make_queue(sqs, name)
    subscribe(sns, topic, queue, FilterPolicy='{"kind": ["wanted"]}')
    body_url, body_queue = make_queue(sqs, name + "-b")
    subscribe(sns, topic, body_queue, FilterPolicyScope="MessageBody", FilterPolicy='{"n": [{"numeric": [">", 5]}]}')
    server.cli("topic", "create", name + "-log")
    server.cli("exchange", "bind", name, "--to-topic", name + "-log")
    shown = server.cli("bindings", "--exchange", name).stdout
    assert f"queue {name} " in shown and '{"kind": ["wanted"]}' in shown and f"topic {name}-log" in shown
    connection = amqp_connection(server.addresses["amqp"])
    channel = connection.channel()
    channel.confirm_delivery()
    channel.exchange_declare(name, "fanout", durable=True)
    for body, kind in [(b'{"n": 6}', "wanted"), (b'{"n": 5}', "other")]:
        channel.basic_publish(name, "", body, pika.BasicProperties(headers={"kind": kind}))
    connection.close()
    wanted = {"kind": {"DataType": "String", "StringValue": "wanted"}}
    sns.publish(TopicArn=topic, Message='{"n": 7}', MessageAttributes=wanted)
    # What others publish comes as it is.
    bare, wrapped = [it["Body"] for it in receive(sqs, url, 2)]
    assert (bare, json.loads(wrapped)["Message"]) == ('{"n": 6}', '{"n": 7}')
    assert len(receive(sqs, body_url, 2)) == 2 and is_empty(sqs, body_url)
    consumer = Consumer({"bootstrap.servers": server.kafka, "group.id": name, "auto.offset.reset": "earliest"})
    consumer.subscribe([name + "-log"])
    records = [consumer.poll(20) for _ in range(3)]
    assert [record.value() for record in records] == [b'{"n": 6}', b'{"n": 5}', b'{"n": 7}']
    assert dict(records[2].headers())["duolog-sns-topic"].decode() == topic
    consumer.close()


def test_protocols_that_are_not_served_are_accepted(sns, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    pending = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="a@b.example")["SubscriptionArn"]
    assert pending == "pending confirmation"
    endpoints = {
        "sms": "+4912345",
        "lambda": "arn:aws:lambda:us-east-1:000000000000:function:f",
        "firehose": "arn:aws:firehose:us-east-1:000000000000:deliverystream/d",
    }
    for protocol, endpoint in endpoints.items():
        sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint)
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert (attributes["SubscriptionsConfirmed"], attributes["SubscriptionsPending"]) == ("3", "1")
    listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [it["SubscriptionArn"] for it in listed if it["Protocol"] == "email"] == ["PendingConfirmation"]
    sns.publish(TopicArn=topic, Message="dropped")
    assert refused(sns.confirm_subscription, TopicArn=topic, Token="guessed")[1] == "InvalidParameter"
    assert refused(sns.get_sms_attributes)[1] == "InvalidParameter"


def test_a_fifo_topic(sns, sqs, name):
    fifo = {"FifoTopic": "true", "ContentBasedDeduplication": "true"}
    topic = sns.create_topic(Name=name + ".fifo", Attributes=fifo)["TopicArn"]
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["FifoTopic"] == "true"
    url, queue = make_queue(sqs, name + ".fifo", FifoQueue="true")
    plain_url, plain = make_queue(sqs, name)
    subscribe(sns, topic, queue)
    subscribe(sns, topic, plain, RawMessageDelivery="true")
    answers = [sns.publish(TopicArn=topic, Message=f"m{index}", MessageGroupId="g") for index in range(5)]
    numbers = [it["SequenceNumber"] for it in answers]
    assert numbers == sorted(numbers) and all(len(number) == 20 for number in numbers)
    sns.publish(TopicArn=topic, Message="m4", MessageGroupId="g")
    got = []
    while len(got) < 5:
        got += receive(sqs, url)
    assert is_empty(sqs, url), "the repeated one is stored once"
    envelopes = [json.loads(it["Body"]) for it in got]
    assert [it["Message"] for it in envelopes] == [f"m{index}" for index in range(5)]
    assert [it["SequenceNumber"] for it in envelopes] == numbers and "Signature" not in envelopes[0]
    assert {it["Attributes"]["MessageGroupId"] for it in got} == {"g"}
    assert got[0]["Attributes"]["MessageDeduplicationId"] == hashlib.sha256(b"m0").hexdigest()
    assert receive(sqs, plain_url)[0]["Body"].startswith("m")
    entries = [{"Id": str(index), "Message": f"b{index}", "MessageGroupId": "h"} for index in range(3)]
    assert len(sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)["Successful"]) == 3
    assert [json.loads(it["Body"])["Message"] for it in receive(sqs, url, 3)] == ["b0", "b1", "b2"]
    assert "MessageGroupId" in refused(sns.publish, TopicArn=topic, Message="x")[2]
    standard = sns.create_topic(Name=name)["TopicArn"]
    assert "FIFO SQS Queues" in refused(sns.subscribe, TopicArn=standard, Protocol="sqs", Endpoint=queue)[2]
    assert refused(sns.subscribe, TopicArn=topic, Protocol="email", Endpoint="a@b")[1] == "InvalidParameter"
    assert refused(sns.publish, TopicArn=standard, Message="x", MessageDeduplicationId="d")[1] == "InvalidParameter"
    # A tenant of a fair queue.
    subscribe(sns, standard, plain, RawMessageDelivery="true")
    sqs.purge_queue(QueueUrl=plain_url)
    sns.publish(TopicArn=standard, Message="fair", MessageGroupId="tenant")
    assert receive(sqs, plain_url)[0]["Attributes"]["MessageGroupId"] == "tenant"


def test_all_is_there_after_a_kill(fresh, name, tmp_path):
    sns, sqs = sns_client(fresh.aws), sqs_client(fresh.aws)
    topic = sns.create_topic(Name=name, Tags=[{"Key": "k", "Value": "v"}])["TopicArn"]
    url, queue = make_queue(sqs, name)
    subscription = subscribe(sns, topic, queue, FilterPolicy='{"a": ["x"]}')
    later = subscribe(sns, topic, queue + "-later", FilterPolicyScope="MessageBody", FilterPolicy='{"b": {"c": [1]}}')
    wanted = {"a": {"DataType": "String", "StringValue": "x"}}
    sns.publish(TopicArn=topic, Message="before", MessageAttributes=wanted)
    fresh.kill()
    fresh.start()
    sns, sqs = sns_client(fresh.aws), sqs_client(fresh.aws)
    assert sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == [{"Key": "k", "Value": "v"}]
    listed = {it["SubscriptionArn"] for it in sns.list_subscriptions()["Subscriptions"]}
    assert listed == {subscription, later}
    attributes = sns.get_subscription_attributes(SubscriptionArn=later)["Attributes"]
    assert (attributes["FilterPolicy"], attributes["FilterPolicyScope"]) == ('{"b": {"c": [1]}}', "MessageBody")
    sns.publish(TopicArn=topic, Message="after", MessageAttributes=wanted)
    sns.publish(TopicArn=topic, Message="filtered out")
    envelopes = [json.loads(it["Body"]) for it in receive(sqs, url, 2)]
    assert [it["Message"] for it in envelopes] == ["before", "after"]
    assert all(verify(it, tmp_path) for it in envelopes), "the key is the same"
    assert len({it["SigningCertURL"] for it in envelopes}) == 1

"""Unmodified SQS clients (boto3, the AWS CLI) against a queue."""

import collections
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import botocore.exceptions
import pytest

from conftest import sqs_client

pytestmark = pytest.mark.timeout(120)


def receive_all(sqs, url, count, **more):
    seen = []
    while len(seen) < count:
        got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5, **more).get("Messages", [])
        assert got, f"only {len(seen)} of {count} messages came"
        seen += got
    return seen


def error_code(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as error:
        call(**arguments)
    return error.value.response["Error"]["Code"]


def test_a_message_is_sent_received_and_deleted(sqs, name):
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    assert sqs.get_queue_url(QueueName=name)["QueueUrl"] == url
    sent = sqs.send_message(
        QueueUrl=url,
        MessageBody="hällo",
        MessageAttributes={
            "s": {"DataType": "String", "StringValue": "text"},
            "n": {"DataType": "Number.int", "StringValue": "42"},
            "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        },
    )
    (message,) = receive_all(sqs, url, 1, MessageAttributeNames=["All"], AttributeNames=["All"])
    assert message["Body"] == "hällo"
    assert message["MessageId"] == sent["MessageId"]
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["MessageAttributes"]["n"] == {"DataType": "Number.int", "StringValue": "42"}
    assert message["MessageAttributes"]["b"]["BinaryValue"] == b"\x00\xff"
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_each_message_is_won_by_one_of_eight_workers(server, name):
    sqs = sqs_client(server.aws)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    for start in range(0, 400, 10):
        entries = [{"Id": str(i), "MessageBody": str(start + i)} for i in range(10)]
        assert len(sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == 10
    won = collections.Counter()
    lock = threading.Lock()

    def work(_):
        mine = sqs_client(server.aws)
        while True:
            got = mine.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages")
            if not got:
                return
            with lock:
                won.update(message["Body"] for message in got)
            entries = [{"Id": m["MessageId"], "ReceiptHandle": m["ReceiptHandle"]} for m in got]
            assert len(mine.delete_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == len(got)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert won == collections.Counter(str(i) for i in range(400))


def test_an_unacknowledged_message_comes_back_with_a_higher_count(sqs, name):
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="again")
    (first,) = receive_all(sqs, url, 1, AttributeNames=["All"])
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    (second,) = receive_all(sqs, url, 1, AttributeNames=["All"])
    assert second["MessageId"] == first["MessageId"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    assert second["ReceiptHandle"] != first["ReceiptHandle"]


def test_visibility_is_extended_and_ended_by_hand(sqs, name):
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (message,) = receive_all(sqs, url, 1)
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=600)
    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert receive_all(sqs, url, 1)[0]["MessageId"] == message["MessageId"]


def test_after_n_receives_a_message_lies_in_the_dead_letter_queue(sqs, name):
    dead = sqs.create_queue(QueueName=name + "-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "2"})
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "0", "RedrivePolicy": policy})["QueueUrl"]
    sent = sqs.send_message(QueueUrl=url, MessageBody="poison", MessageAttributes={
        "kept": {"DataType": "String", "StringValue": "yes"}
    })
    for count in ("1", "2"):
        (message,) = receive_all(sqs, url, 1, AttributeNames=["All"])
        assert message["Attributes"]["ApproximateReceiveCount"] == count
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    (message,) = receive_all(sqs, dead, 1, AttributeNames=["All"], MessageAttributeNames=["All"])
    assert message["Body"] == "poison"
    assert message["MessageId"] == sent["MessageId"]
    assert message["MessageAttributes"]["kept"]["StringValue"] == "yes"
    assert message["Attributes"]["DeadLetterQueueSourceArn"].endswith(":" + name)

    # And back again.
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "30"})
    sqs.change_message_visibility(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]
    sqs.start_message_move_task(SourceArn=arn)
    (back,) = receive_all(sqs, url, 1, AttributeNames=["All"])
    assert (back["Body"], back["MessageId"]) == ("poison", sent["MessageId"])
    assert back["Attributes"]["ApproximateReceiveCount"] == "1"
    deadline = time.monotonic() + 20
    while (task := sqs.list_message_move_tasks(SourceArn=arn)["Results"][0])["Status"] == "RUNNING":
        assert time.monotonic() < deadline, task
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)


def test_a_move_by_filter_reaches_all_of_a_message_group(server, sqs, name):
    """Also what stands behind messages of its group that do not match, or that somebody works on."""
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "600"}
    source, target = (sqs.create_queue(QueueName=f"{name}-{which}.fifo", Attributes=fifo)["QueueUrl"] for which in "ab")
    kind = lambda i: "rare" if i % 7 == 0 else "common"
    for start in range(0, 700, 10):
        entries = [
            {"Id": str(i), "MessageBody": str(i), "MessageGroupId": "g",
             "MessageAttributes": {"kind": {"DataType": "String", "StringValue": kind(i)}}}
            for i in range(start, start + 10)
        ]
        assert "Failed" not in sqs.send_message_batch(QueueUrl=source, Entries=entries)
    assert [m["Body"] for m in sqs.receive_message(QueueUrl=source)["Messages"]] == ["0"]
    move = ["queue", "redrive", f"{name}-a.fifo", "--to", f"{name}-b.fifo", "--filter", "header.kind=rare"]
    assert "would be moved: 99" in server.cli(*move, "--dry-run").stdout
    assert "messages moved: 99" in server.cli(*move).stdout
    shown = server.cli("queue", "moves", f"{name}-a.fifo").stdout
    assert shown.count("completed") == 2 and shown.count("completed (dry run)") == 1
    got = []
    while len(got) < 99:
        messages = receive_all(sqs, target, 1)
        got += [m["Body"] for m in messages]
        entries = [{"Id": m["Body"], "ReceiptHandle": m["ReceiptHandle"]} for m in messages]
        assert "Failed" not in sqs.delete_message_batch(QueueUrl=target, Entries=entries)
    assert got == [str(i) for i in range(7, 700, 7)]


def test_a_long_poll_is_woken_by_the_send(server, sqs, name):
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        poll = pool.submit(sqs_client(server.aws).receive_message, QueueUrl=url, WaitTimeSeconds=20)
        sqs.send_message(QueueUrl=url, MessageBody="wake")
        assert poll.result()["Messages"][0]["Body"] == "wake"
        assert time.monotonic() - began < 15


def test_attributes_are_kept_and_counts_are_told(sqs, name):
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "7"})["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"ReceiveMessageWaitTimeSeconds": "1", "MessageRetentionPeriod": "60"})
    for body in "abc":
        sqs.send_message(QueueUrl=url, MessageBody=body)
    receive_all(sqs, url, 1)
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["VisibilityTimeout"] == "7"
    assert attributes["ReceiveMessageWaitTimeSeconds"] == "1"
    assert attributes["MessageRetentionPeriod"] == "60"
    visible = int(attributes["ApproximateNumberOfMessages"])
    hidden = int(attributes["ApproximateNumberOfMessagesNotVisible"])
    assert visible + hidden == 3 and hidden >= 1


def test_a_fifo_queue_keeps_the_order_of_each_group(server, name):
    sqs = sqs_client(server.aws)
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    url = sqs.create_queue(QueueName=name + ".fifo", Attributes=attributes)["QueueUrl"]
    groups, each = 5, 20
    for start in range(0, groups * each, 10):
        entries = [
            {"Id": str(i), "MessageBody": f"{i % groups} {i // groups}", "MessageGroupId": str(i % groups)}
            for i in range(start, start + 10)
        ]
        assert len(sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == 10
    again = sqs.send_message(QueueUrl=url, MessageBody="0 0", MessageGroupId="0")
    seen, lock, numbers = collections.defaultdict(list), threading.Lock(), {}

    def work(_):
        mine = sqs_client(server.aws)
        while True:
            got = mine.receive_message(
                QueueUrl=url, MaxNumberOfMessages=3, WaitTimeSeconds=1, MessageSystemAttributeNames=["All"]
            ).get("Messages")
            if not got:
                return
            with lock:
                for message in got:
                    group, number = message["Body"].split()
                    assert message["Attributes"]["MessageGroupId"] == group
                    seen[group].append(int(number))
                    numbers[message["Body"]] = message["Attributes"]["SequenceNumber"]
            entries = [{"Id": m["MessageId"], "ReceiptHandle": m["ReceiptHandle"]} for m in got]
            assert len(mine.delete_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == len(got)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert seen == {str(group): list(range(each)) for group in range(groups)}
    assert numbers["0 0"] == again["SequenceNumber"]


def test_a_delayed_message_comes_when_it_is_due_also_after_a_kill(fresh, name):
    sqs = sqs_client(fresh.aws)
    url = sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "3"})["QueueUrl"]
    began = time.monotonic()
    sent = sqs.send_message(QueueUrl=url, MessageBody="later")
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    fresh.kill()
    fresh.start()
    sqs = sqs_client(fresh.aws)
    (message,) = receive_all(sqs, url, 1)
    assert message["MessageId"] == sent["MessageId"]
    assert time.monotonic() - began >= 3


def test_a_fifo_queue_remembers_what_was_sent_after_a_kill(fresh, name):
    sqs = sqs_client(fresh.aws)
    url = sqs.create_queue(QueueName=name + ".fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    message = {"QueueUrl": url, "MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "once"}
    first = sqs.send_message(**message)
    fresh.kill()
    fresh.start()
    sqs = sqs_client(fresh.aws)
    again = sqs.send_message(**message)
    assert (again["MessageId"], again["SequenceNumber"]) == (first["MessageId"], first["SequenceNumber"])
    assert [m["Body"] for m in receive_all(sqs, url, 1)] == ["x"]
    assert "Messages" not in sqs.receive_message(QueueUrl=url)


def test_purge_empties_a_queue_and_delete_removes_it(sqs, name):
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    sqs.purge_queue(QueueUrl=url)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    assert url in sqs.list_queues(QueueNamePrefix=name)["QueueUrls"]
    sqs.delete_queue(QueueUrl=url)
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=name)
    assert error_code(sqs.send_message, QueueUrl=url, MessageBody="x") == "AWS.SimpleQueueService.NonExistentQueue"


def test_create_is_idempotent_only_with_equal_attributes(sqs, name):
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "5"})["QueueUrl"]
    assert sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "5"})["QueueUrl"] == url
    assert error_code(sqs.create_queue, QueueName=name, Attributes={"VisibilityTimeout": "6"}) == "QueueAlreadyExists"


def test_errors_are_those_of_sqs(sqs, name):
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    prefix = "AWS.SimpleQueueService."
    assert error_code(sqs.get_queue_url, QueueName="no-such-queue") == prefix + "NonExistentQueue"
    assert error_code(sqs.delete_message, QueueUrl=url, ReceiptHandle="nonsense") == "ReceiptHandleIsInvalid"
    assert error_code(sqs.send_message, QueueUrl=url, MessageBody="\x01") == "InvalidMessageContents"
    assert error_code(sqs.send_message_batch, QueueUrl=url, Entries=[]) == prefix + "EmptyBatchRequest"
    twice = [{"Id": "a", "MessageBody": "1"}, {"Id": "a", "MessageBody": "2"}]
    assert error_code(sqs.send_message_batch, QueueUrl=url, Entries=twice) == prefix + "BatchEntryIdsNotDistinct"
    many = [{"Id": str(i), "MessageBody": "x"} for i in range(11)]
    assert error_code(sqs.send_message_batch, QueueUrl=url, Entries=many) == prefix + "TooManyEntriesInBatchRequest"
    assert error_code(sqs.set_queue_attributes, QueueUrl=url, Attributes={"VisibilityTimeout": "43201"}) == (
        "InvalidAttributeValue"
    )
    assert error_code(sqs.create_queue, QueueName="bad name!") == "InvalidParameterValue"


def test_a_batch_answers_per_entry(sqs, name):
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    answer = sqs.send_message_batch(
        QueueUrl=url, Entries=[{"Id": "good", "MessageBody": "x"}, {"Id": "bad", "MessageBody": "\x01"}]
    )
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert [(entry["Id"], entry["Code"], entry["SenderFault"]) for entry in answer["Failed"]] == [
        ("bad", "InvalidMessageContents", True)
    ]


def test_the_aws_cli_works_unmodified(server, name):
    aws = pathlib.Path(sys.executable).parent / "aws"
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    # By flag: version 1 of the CLI puts a host of its own above AWS_ENDPOINT_URL_SQS.
    command = [sys.executable, aws, "--endpoint-url", server.aws, "sqs"]

    def run(*arguments):
        done = subprocess.run(
            [*command, *arguments, "--output", "json"], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    url = run("create-queue", "--queue-name", name)["QueueUrl"]
    run("send-message", "--queue-url", url, "--message-body", "from the shell")
    (message,) = run("receive-message", "--queue-url", url, "--wait-time-seconds", "5")["Messages"]
    assert message["Body"] == "from the shell"
    run("delete-message", "--queue-url", url, "--receipt-handle", message["ReceiptHandle"])
    assert run("receive-message", "--queue-url", url) is None

"""Run with an SDK that speaks the Query protocol: python older_sdk.py ENDPOINT NAME. Prints what it used."""

import sys

import boto3
import botocore
import botocore.exceptions
from botocore.config import Config


def main(endpoint, name):
    sqs = boto3.client(
        "sqs",
        endpoint_url=endpoint,
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}),
    )
    assert sqs.meta.service_model.protocol == "query", "this SDK does not speak the Query protocol"
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "7"}, tags={"team": "red"})["QueueUrl"]
    assert sqs.get_queue_url(QueueName=name)["QueueUrl"] == url
    assert sqs.list_queues(QueueNamePrefix=name)["QueueUrls"] == [url]
    sent = sqs.send_message(
        QueueUrl=url,
        MessageBody='<a>&"hällo"\r\n\t',
        MessageAttributes={
            "s": {"DataType": "String", "StringValue": "text"},
            "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        },
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}},
    )
    (message,) = sqs.receive_message(
        QueueUrl=url, WaitTimeSeconds=5, AttributeNames=["All"], MessageAttributeNames=["All"]
    )["Messages"]
    assert message["Body"] == '<a>&"hällo"\r\n\t', message["Body"]
    assert message["MessageId"] == sent["MessageId"]
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["MessageAttributes"]["b"]["BinaryValue"] == b"\x00\xff"
    assert message["Attributes"]["AWSTraceHeader"] == "Root=1"
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=60)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert "Messages" not in sqs.receive_message(QueueUrl=url)

    entries = [{"Id": "good", "MessageBody": "x"}, {"Id": "bad", "MessageBody": "\x01"}]
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert [(entry["Code"], entry["SenderFault"]) for entry in answer["Failed"]] == [("InvalidMessageContents", True)]
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
    deleted = sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": message["ReceiptHandle"]}])
    assert deleted["Successful"] == [{"Id": "1"}]

    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"team": "red"}
    sqs.tag_queue(QueueUrl=url, Tags={"x": "1"})
    sqs.untag_queue(QueueUrl=url, TagKeys=["team"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"x": "1"}
    sqs.add_permission(QueueUrl=url, Label="all", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["VisibilityTimeout"] == "7" and "111111111111" in attributes["Policy"]
    sqs.remove_permission(QueueUrl=url, Label="all")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "8"})

    sqs.purge_queue(QueueUrl=url)
    sqs.delete_queue(QueueUrl=url)
    try:
        sqs.send_message(QueueUrl=url, MessageBody="x")
    except sqs.exceptions.QueueDoesNotExist as error:
        assert error.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    else:
        raise AssertionError("the queue is gone")
    print(f"botocore {botocore.__version__}")


if __name__ == "__main__":
    main(*sys.argv[1:])

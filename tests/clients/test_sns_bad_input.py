"""What no client of SNS should send: forms by hand, each with the code that it is refused with."""

import re
import urllib.error
import urllib.parse
import urllib.request

import pytest

from test_sns import refused, sns  # noqa: F401

pytestmark = pytest.mark.timeout(120)

SIGNED = "AWS4-HMAC-SHA256 Credential=test/20261124/eu-central-1/sns/aws4_request, SignedHeaders=host, Signature=00"
ARN = "arn:aws:sns:eu-central-1:000000000000:"


def post(server, pairs, method="POST", headers=None):
    text = pairs if isinstance(pairs, str) else urllib.parse.urlencode(pairs)
    head = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": SIGNED, **(headers or {})}
    request = urllib.request.Request(server.aws + "/", data=text.encode("latin-1"), headers=head, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def form(action, *pairs, **more):
    return [("Action", action), ("Version", "2010-03-31"), *more.items(), *pairs]


F = ARN + "archived.fifo"
T, S = ARN + "bad", ARN + "bad:00000000-0000-0000-0000-000000000000"
# Form, status, code.
ROWS = [
    ([("Version", "2010-03-31")], 400, "MissingAction"),
    (form("NoSuchThing"), 400, "InvalidAction"),
    (form("ä" * 3000), 400, "InvalidAction"),
    ("Action=Publish&Version=2010-03-31&TopicArn=a&TopicArn=b", 400, "MalformedQueryString"),
    ("Action=Publish&Message=%ff", 400, "MalformedQueryString"),
    ("&".join(f"p{index}=1" for index in range(3000)), 400, "MalformedQueryString"),
    ("n" * 300 + "=1", 400, "MalformedQueryString"),
    (form("CreateTopic"), 400, "InvalidParameter"),
    (form("CreateTopic", Name=""), 400, "InvalidParameter"),
    (form("CreateTopic", Name="a b"), 400, "InvalidParameter"),
    (form("CreateTopic", Name="ä"), 400, "InvalidParameter"),
    (form("CreateTopic", Name="x" * 257), 400, "InvalidParameter"),
    (form("CreateTopic", Name="x.fifo"), 400, "InvalidParameter"),
    (form("CreateTopic", ("Attributes.entry.1.key", "FifoTopic"), ("Attributes.entry.1.value", "true"), Name="x"), 400, "InvalidParameter"),
    (form("CreateTopic", ("Attributes.entry.1.key", "Nonsense"), ("Attributes.entry.1.value", "1"), Name="x"), 400, "InvalidParameter"),
    (form("CreateTopic", ("Attributes.entry.1.value", "1"), Name="x"), 400, "InvalidParameter"),
    (form("CreateTopic", *[pair for index in (1, 2) for pair in ((f"Attributes.entry.{index}.key", "DisplayName"), (f"Attributes.entry.{index}.value", "d"))], Name="x"), 400, "InvalidParameter"),
    (form("CreateTopic", *[pair for index in range(51) for pair in ((f"Tags.member.{index}.Key", f"k{index}"), (f"Tags.member.{index}.Value", ""))], Name="x"), 400, "TagLimitExceeded"),
    (form("CreateTopic", ("Tags.member.1.Key", "aws:x"), Name="x"), 400, "InvalidParameter"),
    (form("DeleteTopic"), 400, "InvalidParameter"),
    (form("DeleteTopic", TopicArn="bad"), 400, "InvalidParameter"),
    (form("DeleteTopic", TopicArn="arn:aws:sqs:eu-central-1:0:bad"), 400, "InvalidParameter"),
    (form("GetTopicAttributes", TopicArn=ARN + "none"), 404, "NotFound"),
    (form("SetTopicAttributes", TopicArn=T, AttributeName="FifoTopic", AttributeValue="true"), 400, "InvalidParameter"),
    (form("SetTopicAttributes", TopicArn=T, AttributeName="SignatureVersion", AttributeValue="3"), 400, "InvalidParameter"),
    (form("SetTopicAttributes", TopicArn=T, AttributeName="Policy", AttributeValue="[]"), 400, "InvalidParameter"),
    (form("SetTopicAttributes", TopicArn=T, AttributeName="Policy", AttributeValue="{" + " " * 30_000 + "}"), 400, "InvalidParameter"),
    (form("SetTopicAttributes", TopicArn=T, AttributeName="DeliveryPolicy", AttributeValue="[" * 50_000), 400, "InvalidParameter"),
    (form("Subscribe", TopicArn=T), 400, "InvalidParameter"),
    (form("Subscribe", TopicArn=T, Protocol="carrier-pigeon", Endpoint="x"), 400, "InvalidParameter"),
    (form("Subscribe", TopicArn=T, Protocol="sqs", Endpoint="http://h/0/q"), 400, "InvalidParameter"),
    (form("Subscribe", TopicArn=T, Protocol="sqs", Endpoint="arn:aws:sqs:r:0:sns:x"), 400, "InvalidParameter"),
    *[
        (form("Subscribe", TopicArn=T, Protocol=protocol, Endpoint=endpoint), 400, "InvalidParameter")
        for protocol, endpoint in [
            ("http", ""), ("http", "x"), ("http", "http://"), ("http", "https://example.com/"), ("https", "http://example.com/"),
            ("http", "http://example.com:0/"), ("http", "http://example.com:99999/"), ("http", "http://example.com/#f"), ("http", "http://ex ample.com/"),
            ("http", "http://example.com/\r\nX: y"), ("http", "http://ä.example/"), ("http", "http://example.com/" + "x" * 3000), ("http", "http://u:p@/"),
            ("http", "http://127.0.0.1/"), ("https", "https://localhost/"), ("http", "http://[::1]/"),
        ]
    ],
    *[
        (form("Subscribe", ("Attributes.entry.1.key", "DeliveryPolicy"), ("Attributes.entry.1.value", policy), TopicArn=T, Protocol="http", Endpoint="http://example.com/"), 400, "InvalidParameter")
        for policy in [
            "[]", "{", '{"nonsense":1}', '{"healthyRetryPolicy":{"numRetries":101}}', '{"healthyRetryPolicy":{"numRetries":-1}}', '{"healthyRetryPolicy":{"minDelayTarget":0}}',
            '{"healthyRetryPolicy":{"maxDelayTarget":3601}}', '{"healthyRetryPolicy":{"numNoDelayRetries":4}}', '{"healthyRetryPolicy":{"backoffFunction":"cubic"}}',
            '{"throttlePolicy":{"maxReceivesPerSecond":0}}', '{"requestPolicy":{"headerContentType":"image/png"}}', '{"requestPolicy":{"headerContentType":"text/plain;\\r\\nX: y"}}',
        ]
    ],
    (form("SetTopicAttributes", TopicArn=T, AttributeName="DeliveryPolicy", AttributeValue='{"healthyRetryPolicy":{}}'), 400, "InvalidParameter"),
    (form("SetTopicAttributes", TopicArn=T, AttributeName="ArchivePolicy", AttributeValue='{"MessageRetentionPeriod":"1"}'), 400, "InvalidParameter"),
    (form("CreateTopic", ("Attributes.entry.1.key", "ArchivePolicy"), ("Attributes.entry.1.value", '{"MessageRetentionPeriod":"1"}'), Name="x"), 400, "InvalidParameter"),
    *[
        (form("CreateTopic", ("Attributes.entry.1.key", "FifoTopic"), ("Attributes.entry.1.value", "true"), ("Attributes.entry.2.key", "ArchivePolicy"), ("Attributes.entry.2.value", policy), Name="x.fifo"), 400, "InvalidParameter")
        for policy in ["[]", "{", "30", '{"MessageRetentionPeriod":0}', '{"MessageRetentionPeriod":"366"}', '{"MessageRetentionPeriod":"-1"}', '{"MessageRetentionPeriod":[1]}', '{"Days":1}', "{" + " " * 30_000 + "}"]
    ],
    (form("Subscribe", ("Attributes.entry.1.key", "ReplayPolicy"), ("Attributes.entry.1.value", '{"PointType":"Timestamp","StartingPoint":"2026-01-01T00:00:00Z"}'), TopicArn=T, Protocol="sqs", Endpoint="arn:aws:sqs:r:0:q"), 400, "InvalidParameter"),
    *[
        (form("Subscribe", ("Attributes.entry.1.key", "ReplayPolicy"), ("Attributes.entry.1.value", policy), TopicArn=F, Protocol="sqs", Endpoint="arn:aws:sqs:r:0:q"), 400, "InvalidParameter")
        for policy in [
            "[]", "{", '{"PointType":"Timestamp"}', '{"PointType":"Offset","StartingPoint":"5"}', '{"PointType":"Timestamp","StartingPoint":"2h"}',
            '{"PointType":"Timestamp","StartingPoint":"1999-01-01T00:00:00Z"}', '{"PointType":"Timestamp","StartingPoint":"2999-01-01T00:00:00Z"}',
            '{"PointType":"Timestamp","StartingPoint":"2026-01-02T00:00:00Z","EndingPoint":"2026-01-01T00:00:00Z"}', '{"PointType":"Timestamp","StartingPoint":"2026-01-02T00:00:00Z","Speed":2}',
        ]
    ],
    (form("ConfirmSubscription", TopicArn=T, Token="x", AuthenticateOnUnsubscribe="maybe"), 400, "InvalidParameter"),
    (form("Subscribe", TopicArn=T, Protocol="email", Endpoint="nobody"), 400, "InvalidParameter"),
    (form("Subscribe", TopicArn=T, Protocol="sms", Endpoint="1" * 3000), 400, "InvalidParameter"),
    (form("Subscribe", TopicArn=ARN + "none", Protocol="sqs", Endpoint="arn:aws:sqs:r:0:q"), 404, "NotFound"),
    (form("Subscribe", ("Attributes.entry.1.key", "Colour"), ("Attributes.entry.1.value", "red"), TopicArn=T, Protocol="sqs", Endpoint="arn:aws:sqs:r:0:q"), 400, "InvalidParameter"),
    (form("Subscribe", ("Attributes.entry.1.key", "RedrivePolicy"), ("Attributes.entry.1.value", "{}"), TopicArn=T, Protocol="sqs", Endpoint="arn:aws:sqs:r:0:q"), 400, "InvalidParameter"),
    (form("Unsubscribe", SubscriptionArn="PendingConfirmation"), 400, "InvalidParameter"),
    (form("Unsubscribe", SubscriptionArn=T), 400, "InvalidParameter"),
    (form("GetSubscriptionAttributes", SubscriptionArn=S), 404, "NotFound"),
    (form("SetSubscriptionAttributes", SubscriptionArn=S, AttributeName="RawMessageDelivery", AttributeValue="true"), 404, "NotFound"),
    (form("ConfirmSubscription", TopicArn=T, Token="x"), 400, "InvalidParameter"),
    (form("ListSubscriptions", NextToken="!"), 400, "InvalidParameter"),
    (form("ListSubscriptions", NextToken="YQ"), 400, "InvalidParameter"),
    (form("Publish", TopicArn=T), 400, "InvalidParameter"),
    (form("Publish", Message="x"), 400, "InvalidParameter"),
    (form("Publish", TopicArn=T, Message=""), 400, "InvalidParameter"),
    (form("Publish", PhoneNumber="+1", Message="x"), 400, "InvalidParameter"),
    (form("Publish", TopicArn=ARN + "none", Message="x"), 404, "NotFound"),
    (form("Publish", TopicArn=T, Message="x" * (256 * 1024 + 1)), 400, "InvalidParameter"),
    (form("Publish", TopicArn=T, Message="x", Subject="a\nb"), 400, "InvalidParameter"),
    (form("Publish", TopicArn=T, Message="x", Subject="s" * 101), 400, "InvalidParameter"),
    (form("Publish", TopicArn=T, Message="[" * 100_000, MessageStructure="json"), 400, "InvalidParameter"),
    (form("Publish", TopicArn=T, Message="x", MessageStructure="xml"), 400, "InvalidParameter"),
    (form("Publish", TopicArn=T, Message="x", MessageGroupId="a b"), 400, "InvalidParameter"),
    (form("Publish", ("MessageAttributes.entry.1.Name", "a"), TopicArn=T, Message="x"), 400, "ParameterValueInvalid"),
    (form("Publish", ("MessageAttributes.entry.1.Name", "duolog-sns-topic"), ("MessageAttributes.entry.1.Value.DataType", "String"), ("MessageAttributes.entry.1.Value.StringValue", "x"), TopicArn=T, Message="x"), 400, "ParameterValueInvalid"),
    (form("Publish", ("MessageAttributes.entry.1.Name", "a"), ("MessageAttributes.entry.1.Value.DataType", "Number"), ("MessageAttributes.entry.1.Value.StringValue", "x"), TopicArn=T, Message="x"), 400, "ParameterValueInvalid"),
    (form("Publish", ("MessageAttributes.entry.1.Name", "a"), ("MessageAttributes.entry.1.Value.DataType", "Colour"), ("MessageAttributes.entry.1.Value.StringValue", "x"), TopicArn=T, Message="x"), 400, "ParameterValueInvalid"),
    (form("Publish", ("MessageAttributes.entry.1.Name", "a"), ("MessageAttributes.entry.1.Value.DataType", "Binary"), ("MessageAttributes.entry.1.Value.StringValue", "x"), TopicArn=T, Message="x"), 400, "ParameterValueInvalid"),
    (form("Publish", ("MessageAttributes.entry.1.Name", "a"), ("MessageAttributes.entry.1.Value.DataType", "Binary"), ("MessageAttributes.entry.1.Value.BinaryValue", "!"), TopicArn=T, Message="x"), 400, "ParameterValueInvalid"),
    (form("PublishBatch", TopicArn=T), 400, "EmptyBatchRequest"),
    (form("PublishBatch", ("PublishBatchRequestEntries.member.1.Message", "x"), TopicArn=T), 400, "InvalidParameter"),
    (form("TagResource", ResourceArn=T), 400, "InvalidParameter"),
    (form("TagResource", ("Tags.member.1.Key", "k"), ResourceArn=ARN + "none"), 404, "ResourceNotFound"),
    (form("UntagResource", ResourceArn=T), 400, "InvalidParameter"),
    (form("AddPermission", TopicArn=T, Label="l"), 400, "InvalidParameter"),
    (form("AddPermission", ("AWSAccountId.member.1", "1"), ("ActionName.member.1", "Publish"), TopicArn=T, Label="l"), 400, "InvalidParameter"),
    (form("AddPermission", ("AWSAccountId.member.1", "123456789012"), ("ActionName.member.1", "Fly"), TopicArn=T, Label="l"), 400, "InvalidParameter"),
    (form("CreatePlatformApplication", Name="x"), 400, "InvalidParameter"),
    (form("SetSMSAttributes"), 400, "InvalidParameter"),
]


def test_each_is_refused_in_the_services_words(server, sns):
    sns.create_topic(Name="bad")
    sns.create_topic(Name="archived.fifo", Attributes={"FifoTopic": "true", "ArchivePolicy": '{"MessageRetentionPeriod":"1"}'})
    for pairs, status, code in ROWS:
        shown = str(pairs)[:200]
        got, text = post(server, pairs)
        assert (got, re.findall("<Code>(.*?)</Code>", text)) == (status, [code]), f"{shown}: {text}"
        assert 'xmlns="http://sns.amazonaws.com/doc/2010-03-31/"' in text and "<Type>Sender</Type>" in text, shown
    assert sns.list_subscriptions_by_topic(TopicArn=T)["Subscriptions"] == []


def test_the_two_services_are_told_apart(server, sns, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    unsigned = {"Authorization": ""}
    # By the version, by what is signed, by the action.
    for pairs in ([("Action", "ListTopics"), ("Version", "2010-03-31")], [("Action", "ListTopics")]):
        for headers in (None, unsigned):
            status, text = post(server, pairs, headers=headers)
            assert status == 200 and topic.rsplit(":", 1)[1] in text
    status, text = post(server, [("Action", "RemovePermission"), ("TopicArn", topic), ("Label", "l")], headers=unsigned)
    assert status == 200 and "sns.amazonaws.com" in text
    status, text = post(server, [("Action", "RemovePermission"), ("QueueUrl", "none"), ("Label", "l")], headers=unsigned)
    assert status == 400 and "queue.amazonaws.com" in text and "NonExistentQueue" in text
    status, text = post(server, [("Action", "ListQueues")], headers=unsigned)
    assert status == 200 and "queue.amazonaws.com" in text
    status, text = post(server, [("Action", "ListTopics")], headers={"Origin": "http://evil.example"})
    assert (status, "AuthorizationError" in text) == (403, True)


def test_certificates_are_served_under_their_names_alone(server):
    for path in ("/SimpleNotificationService-0.pem", "/SimpleNotificationService-.pem", "/SimpleNotificationService-%00.pem"):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(server.aws + path, timeout=60)
        assert error.value.code == 404

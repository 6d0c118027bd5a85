"""Which messages pass which filter policies: rows of policy, message, and whether a subscriber gets it."""

import json

import pytest

from test_sns import make_queue, receive, refused, sns, sns_client, subscribe  # noqa: F401

pytestmark = pytest.mark.timeout(180)


def S(value):
    return {"DataType": "String", "StringValue": value}


def N(value):
    return {"DataType": "Number", "StringValue": str(value)}


def A(*values):
    return {"DataType": "String.Array", "StringValue": json.dumps(values)}


B = {"DataType": "Binary", "BinaryValue": b"x"}

# Policy, attributes, passes.
ATTRIBUTES = [
    ({}, {}, True),
    ({"a": ["x"]}, {"a": S("x")}, True),
    ({"a": ["x"]}, {"a": S("y")}, False),
    ({"a": ["x"]}, {}, False),
    ({"a": ["x", "y"]}, {"a": S("y")}, True),
    ({"a": ["x"], "b": ["y"]}, {"a": S("x")}, False),
    ({"a": ["x"], "b": ["y"]}, {"a": S("x"), "b": S("y"), "c": S("z")}, True),
    ({"a": ["ä"]}, {"a": S("ä")}, True),
    ({"a": ["x"]}, {"a": A("w", "x")}, True),
    ({"a": ["x"]}, {"a": A("w")}, False),
    ({"a": [True]}, {"a": A(True)}, True),
    ({"a": [True]}, {"a": S("true")}, False),
    ({"a": [None]}, {"a": A(None)}, True),
    ({"a": [5]}, {"a": A(5)}, True),
    ({"a": [5]}, {"a": N("5.0")}, True),
    ({"a": [5]}, {"a": S("5")}, False),
    ({"a": ["5"]}, {"a": N(5)}, False),
    ({"a": [-1.5e2]}, {"a": N(-150)}, True),
    ({"a": [{"prefix": "or"}]}, {"a": S("order")}, True),
    ({"a": [{"prefix": "or"}]}, {"a": S("border")}, False),
    ({"a": [{"suffix": "er"}]}, {"a": S("order")}, True),
    ({"a": [{"suffix": "er"}]}, {"a": S("orders")}, False),
    ({"a": [{"equals-ignore-case": "TeNNis"}]}, {"a": S("tennis")}, True),
    ({"a": [{"equals-ignore-case": "tennis"}]}, {"a": S("tenni")}, False),
    ({"a": [{"wildcard": "*ball"}]}, {"a": S("football")}, True),
    ({"a": [{"wildcard": "f*b*l"}]}, {"a": S("football")}, True),
    ({"a": [{"wildcard": "f*b"}]}, {"a": S("football")}, False),
    ({"a": [{"anything-but": ["x", "y"]}]}, {"a": S("z")}, True),
    ({"a": [{"anything-but": ["x", "y"]}]}, {"a": S("x")}, False),
    ({"a": [{"anything-but": ["x"]}]}, {}, False),
    ({"a": [{"anything-but": ["x"]}]}, {"a": A("x", "y")}, True),
    ({"a": [{"anything-but": ["x"]}]}, {"a": A("x")}, False),
    ({"a": [{"anything-but": [100, 500]}]}, {"a": N(101)}, True),
    ({"a": [{"anything-but": [100, 500]}]}, {"a": N(500)}, False),
    ({"a": [{"anything-but": {"prefix": "or"}}]}, {"a": S("bill")}, True),
    ({"a": [{"anything-but": {"prefix": "or"}}]}, {"a": S("order")}, False),
    ({"a": [{"anything-but": {"suffix": "er"}}]}, {"a": S("order")}, False),
    ({"a": [{"anything-but": {"wildcard": "*d*"}}]}, {"a": S("order")}, False),
    ({"a": [{"anything-but": {"equals-ignore-case": ["X"]}}]}, {"a": S("x")}, False),
    ({"a": [{"numeric": ["=", 301.5]}]}, {"a": N("3.015e2")}, True),
    ({"a": [{"numeric": ["<", 0]}]}, {"a": N(-1)}, True),
    ({"a": [{"numeric": ["<", 0]}]}, {"a": N(0)}, False),
    ({"a": [{"numeric": [">", 0, "<=", 150]}]}, {"a": N(150)}, True),
    ({"a": [{"numeric": [">", 0, "<=", 150]}]}, {"a": N(0)}, False),
    ({"a": [{"numeric": [">=", 0, "<", 150]}]}, {"a": N(150)}, False),
    ({"a": [{"numeric": [">", 0]}]}, {"a": S("5")}, False),
    ({"a": [{"numeric": ["<", 10]}, {"numeric": [">", 20]}]}, {"a": N(25)}, True),
    ({"a": [{"exists": True}]}, {"a": S("x")}, True),
    ({"a": [{"exists": True}]}, {"b": S("x")}, False),
    ({"a": [{"exists": False}]}, {"b": S("x")}, True),
    ({"a": [{"exists": False}]}, {"a": S("x")}, False),
    ({"a": [{"exists": False}, "x"]}, {"a": S("x")}, True),
    ({"a": ["x"]}, {"a": B}, False),
    ({"a": [{"cidr": "10.0.0.0/24"}]}, {"a": S("10.0.0.255")}, True),
    ({"a": [{"cidr": "10.0.0.0/24"}]}, {"a": S("10.0.1.0")}, False),
    ({"a": [{"cidr": "10.0.0.0/24"}]}, {"a": S("no address")}, False),
    ({"a": [{"cidr": "2001:db8::/32"}]}, {"a": S("2001:db8:1::")}, True),
    ({"$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"b": S("y")}, True),
    ({"$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"c": S("y")}, False),
    ({"s": ["aws"], "$or": [{"a": ["x"]}, {"b": [{"numeric": [">", 5]}]}]}, {"s": S("aws"), "b": N(6)}, True),
    ({"s": ["aws"], "$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"b": S("y")}, False),
]

# Policy, body, passes.
BODIES = [
    ({}, "{}", True),
    ({}, "no JSON", False),
    ({}, "[]", False),
    ({"a": ["x"]}, '{"a": "x", "b": [1]}', True),
    ({"a": ["x"]}, '{"a": "y"}', False),
    ({"a": ["x"]}, '{"a": ["w", "x"]}', True),
    ({"a": [5]}, '{"a": 5.0}', True),
    ({"a": [5]}, '{"a": "5"}', False),
    ({"a": [True]}, '{"a": true}', True),
    ({"a": [None]}, '{"a": null}', True),
    ({"a": [None]}, "{}", False),
    ({"a": {"b": ["x"]}}, '{"a": {"b": "x"}}', True),
    ({"a": {"b": ["x"]}}, '{"a": "x"}', False),
    ({"a": {"b": {"c": [{"prefix": "x"}]}}}, '{"a": {"b": {"c": "xy"}}}', True),
    ({"a": {"b": [1], "c": [2]}}, '{"a": [{"b": 1}, {"b": 1, "c": 2}]}', True),
    ({"a": {"b": [1], "c": [2]}}, '{"a": [{"b": 1}, {"c": 2}]}', False),
    ({"a": [{"exists": True}]}, '{"a": {"b": 1}}', False),
    ({"a": {"b": [{"exists": False}]}}, '{"a": {"c": 1}}', True),
    ({"a": [{"anything-but": ["x"]}]}, '{"a": "y"}', True),
    ({"$or": [{"a": {"b": [1]}}, {"c": [{"numeric": [">=", 3]}]}]}, '{"c": 3}', True),
    ({"a": ["é"]}, '{"a": "\\u00e9"}', True),
]


@pytest.mark.parametrize("scope", ["MessageAttributes", "MessageBody"])
def test_what_passes(sns, server, name, scope):
    from conftest import sqs_client

    sqs = sqs_client(server.aws)
    rows = ATTRIBUTES if scope == "MessageAttributes" else BODIES
    for start in range(0, len(rows), 10):
        topic = sns.create_topic(Name=f"{name}-{start}")["TopicArn"]
        some = rows[start : start + 10]
        urls = []
        for index, (policy, _, _) in enumerate(some):
            url, queue = make_queue(sqs, f"{name}-{start}-{index}")
            subscribe(
                sns, topic, queue, RawMessageDelivery="true", FilterPolicyScope=scope, FilterPolicy=json.dumps(policy)
            )
            urls.append(url)
        for index, (_, message, _) in enumerate(some):
            if scope == "MessageBody":
                sns.publish(TopicArn=topic, Message=message, Subject=str(index))
            else:
                sns.publish(TopicArn=topic, Message=str(index), MessageAttributes=message)
        for index, (policy, message, passes) in enumerate(some):
            got = []
            while more := sqs.receive_message(QueueUrl=urls[index], MaxNumberOfMessages=10).get("Messages"):
                got += [it["Body"] for it in more]
            sent = message if scope == "MessageBody" else str(index)
            assert (sent in got) == passes, (policy, message, got)


REFUSED = [
    ("x", "failed to parse JSON."),
    ("[]", "must be a JSON object"),
    ('{"a": "x"}', '"a" must be an object or an array'),
    ('{"a": []}', "Empty arrays are not allowed"),
    ('{"a": {"b": ["x"]}}', "Filter policy scope MessageAttributes does not support nested filter policy"),
    ('{"a": [{"like": "x"}]}', "Unrecognized match type like"),
    ('{"a": [{"numeric": ["~", 1]}]}', "Unrecognized numeric range operator: ~"),
    ('{"a": [{"exists": 1}]}', "exists match pattern must be either true or false."),
    ('{"a": [{"prefix": 1}]}', "prefix match pattern must be a string"),
    ('{"a": [[1]]}', "Match value must be String, number, true, false, or null"),
    (json.dumps({str(index): ["x"] for index in range(6)}), "Filter policy can not have more than 5 keys"),
    (json.dumps({"a": list(range(151))}), "Filter policy is too complex"),
    ("[" * 100_000, "failed to parse JSON."),
]


def test_what_is_no_policy_is_refused(sns, server, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue = f"arn:aws:sqs:eu-central-1:000000000000:{name}"
    subscription = subscribe(sns, topic, queue)
    for policy, said in REFUSED:
        arguments = {"AttributeName": "FilterPolicy", "AttributeValue": policy}
        status, code, message = refused(sns.set_subscription_attributes, SubscriptionArn=subscription, **arguments)
        assert (status, code) == (400, "InvalidParameter"), policy[:100]
        assert message.startswith("Invalid parameter: FilterPolicy: ") and said in message, message
        status, code, message = refused(
            sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=queue + "-2", Attributes={"FilterPolicy": policy}
        )
        assert (status, code) == (400, "InvalidParameter")
        assert message.startswith("Invalid parameter: Attributes Reason: FilterPolicy: ") and said in message
    long = json.dumps({"a": ["x" * (256 * 1024)]})
    assert refused(
        sns.set_subscription_attributes, SubscriptionArn=subscription, AttributeName="FilterPolicy", AttributeValue=long
    )[1] == "InvalidParameter"
    for index in range(200):
        subscribe(sns, topic, f"{queue}-f{index}", FilterPolicy='{"a": ["x"]}')
    status, code, _ = refused(
        sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=f"{queue}-last", Attributes={"FilterPolicy": '{"a": ["x"]}'}
    )
    assert (status, code) == (403, "FilterPolicyLimitExceeded")
    subscribe(sns, topic, f"{queue}-last")

"""SNS subscriptions of http and https endpoints: confirmation, delivery, retries, what a crash leaves."""

import base64
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

from conftest import sqs_client
from endpoints import Endpoint, authority
from server import Server
from test_sns import make_queue, receive, refused, sns_client, verify
from waits import eventually

pytestmark = pytest.mark.timeout(120)

# Tries again at once, and soon gives up.
AT_ONCE = {"healthyRetryPolicy": {"numRetries": 2, "numNoDelayRetries": 2}}


@pytest.fixture(scope="module")
def server(new_directory):
    broker = Server(new_directory("broker") / "data", "--sns-private-endpoints").start()
    yield broker
    assert broker.stop() == 0, broker.stderr()


@pytest.fixture
def fresh(tmp_path):
    broker = Server(tmp_path / "data", "--sns-private-endpoints").start()
    yield broker
    if broker.process.poll() is None:
        broker.kill()


@pytest.fixture
def sns(server):
    return sns_client(server.aws)


def subscribe(sns, topic, endpoint, path="/", **attributes):
    arn = sns.subscribe(
        TopicArn=topic,
        Protocol=endpoint.url.split(":")[0],
        Endpoint=endpoint.url + path,
        Attributes={key: value if isinstance(value, str) else json.dumps(value) for key, value in attributes.items()},
        ReturnSubscriptionArn=True,
    )["SubscriptionArn"]
    endpoint.confirm(path)
    return arn


def outcomes(server):
    lines = [line for line in server.get("/metrics").splitlines() if line.startswith("duolog_sns_endpoint_deliveries_total{")]
    return {line.split('"')[1]: int(line.split()[1]) for line in lines}


def waiting(server):
    """Queues of subscriptions, as operators see them."""
    listed = json.loads(server.cli("queue", "list", "--json").stdout)
    return [queue["name"] for queue in listed if queue["name"].startswith("sns:")]


def verify_confirmation(confirmation, tmp_path):
    names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    (tmp_path / "text").write_text("".join(f"{name}\n{confirmation[name]}\n" for name in names))
    with urllib.request.urlopen(confirmation["SigningCertURL"], timeout=10) as answer:
        (tmp_path / "cert.pem").write_bytes(answer.read())
    (tmp_path / "signature").write_bytes(base64.b64decode(confirmation["Signature"]))
    run = lambda *words: subprocess.run(["openssl", *words], cwd=tmp_path, capture_output=True, text=True).stdout
    (tmp_path / "key.pem").write_text(run("x509", "-in", "cert.pem", "-pubkey", "-noout"))
    return run("dgst", "-sha1", "-verify", "key.pem", "-signature", "signature", "text").strip() == "Verified OK"


def test_an_endpoint_is_asked_confirms_receives_and_leaves(server, sns, sqs, name, tmp_path):
    topic = sns.create_topic(Name=name)["TopicArn"]
    with Endpoint() as endpoint:
        asked = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint.url + "/in?a=b")
        assert asked["SubscriptionArn"] == "pending confirmation"
        (post,) = endpoint.wait_for(1, "SubscriptionConfirmation")
        assert (post.path, post.headers["content-type"]) == ("/in?a=b", "text/plain; charset=UTF-8")
        assert post.headers["x-amz-sns-topic-arn"] == topic and "x-amz-sns-subscription-arn" not in post.headers
        assert post.headers["x-amz-sns-message-id"] == post.json["MessageId"]
        assert list(post.json) == [
            "Type", "MessageId", "Token", "TopicArn", "Message", "SubscribeURL", "Timestamp", "SignatureVersion", "Signature",
            "SigningCertURL",
        ]
        assert verify_confirmation(post.json, tmp_path)
        assert not verify_confirmation({**post.json, "Token": "forged"}, tmp_path)
        # Nothing comes before it is confirmed.
        sns.publish(TopicArn=topic, Message="too early")
        (listed,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        assert (listed["SubscriptionArn"], listed["Protocol"]) == ("PendingConfirmation", "http")
        assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsPending"] == "1"
        # Asked again, the same token comes again.
        pending = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint.url + "/in?a=b", ReturnSubscriptionArn=True)
        arn = pending["SubscriptionArn"]
        posts = endpoint.wait_for(2, "SubscriptionConfirmation")
        assert posts[1].json["Token"] == posts[0].json["Token"]
        attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        assert (attributes["PendingConfirmation"], attributes["ConfirmationWasAuthenticated"]) == ("true", "false")
        # Opened twice it is confirmed once.
        assert arn in endpoint.confirm() and arn in endpoint.confirm()
        attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        assert (attributes["PendingConfirmation"], attributes["ConfirmationWasAuthenticated"]) == ("false", "false")
        assert json.loads(attributes["EffectiveDeliveryPolicy"])["healthyRetryPolicy"]["numRetries"] == 3

        kinds = {"kind": {"DataType": "String", "StringValue": "x"}}
        for version in ("1", "2"):
            sns.set_topic_attributes(TopicArn=topic, AttributeName="SignatureVersion", AttributeValue=version)
            sent = sns.publish(TopicArn=topic, Message="hällo 😀", Subject="s", MessageAttributes=kinds)
            post = endpoint.wait_for(int(version))[-1]
            assert post.headers["x-amz-sns-message-id"] == post.json["MessageId"] == sent["MessageId"]
            assert post.headers["x-amz-sns-subscription-arn"] == arn and "x-amz-sns-rawdelivery" not in post.headers
            assert post.headers["user-agent"] == "Amazon Simple Notification Service Agent"
            assert (post.message, post.json["Subject"]) == ("hällo 😀", "s")
            assert post.json["MessageAttributes"] == {"kind": {"Type": "String", "Value": "x"}}
            assert verify(post.json, tmp_path) and not verify({**post.json, "Message": "forged"}, tmp_path)
        # Its queue is no queue of SQS.
        (queue,) = waiting(server)
        assert queue == "sns:" + arn.rsplit(":", 1)[1]
        assert sqs.list_queues().get("QueueUrls", []) == []
        assert refused(sqs.get_queue_url, QueueName=queue)[0] == 400
        assert refused(sqs.receive_message, QueueUrl=f"{server.aws}/000000000000/{queue}")[0] == 400
        with urllib.request.urlopen(post.json["UnsubscribeURL"], timeout=10) as answer:
            assert answer.status == 200
        assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == [] and waiting(server) == []
        sns.publish(TopicArn=topic, Message="too late")
        # What would have come has gone through the same worker, if there were one.
        subscribe(sns, topic, endpoint, "/again")
        sns.publish(TopicArn=topic, Message="again")
        assert [post.message for post in endpoint.wait_for(3)][2] == "again"
        sns.delete_topic(TopicArn=topic)
        assert waiting(server) == []


def test_who_confirms_may_ask_that_only_a_signed_request_undoes_it(sns, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    with Endpoint() as endpoint:
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint.url)
        token = endpoint.wait_for(1, "SubscriptionConfirmation")[0].json["Token"]
        assert refused(sns.confirm_subscription, TopicArn=topic, Token="0" * 64)[1] == "InvalidParameter"
        bad = refused(sns.confirm_subscription, TopicArn=topic, Token=token, AuthenticateOnUnsubscribe="maybe")
        assert bad[1] == "InvalidParameter" and "AuthenticateOnUnsubscribe" in bad[2]
        arn = sns.confirm_subscription(TopicArn=topic, Token=token, AuthenticateOnUnsubscribe="true")["SubscriptionArn"]
        attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        assert attributes["ConfirmationWasAuthenticated"] == "true"
        sns.publish(TopicArn=topic, Message="m")
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(endpoint.wait_for(1)[0].json["UnsubscribeURL"], timeout=10)
        assert error.value.code == 403 and b"AuthorizationError" in error.value.read()
        sns.unsubscribe(SubscriptionArn=arn)
        assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


def test_raw_bodies_by_protocol_content_types_and_credentials(sns, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    with Endpoint() as endpoint:
        endpoint.url = endpoint.url.replace("http://", "http://user:p%40ss@")
        policy = {"requestPolicy": {"headerContentType": "application/json"}}
        arn = subscribe(sns, topic, endpoint, RawMessageDelivery="true", DeliveryPolicy=policy)
        shown = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["Endpoint"]
        assert "user:****@127.0.0.1" in shown and "ss@" not in shown
        message = {"default": "d", "sqs": "q", "http": '{"h": 1}', "https": "s"}
        sent = sns.publish(TopicArn=topic, Message=json.dumps(message), MessageStructure="json")
        (post,) = endpoint.wait_for(1)
        assert (post.body, post.headers["x-amz-sns-rawdelivery"]) == ('{"h": 1}', "true")
        assert post.headers["content-type"] == "application/json"
        assert post.headers["x-amz-sns-message-id"] == sent["MessageId"]
        assert post.headers["authorization"] == "Basic " + base64.b64encode(b"user:p@ss").decode()
        # A change holds for what comes next.
        sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="false")
        sns.publish(TopicArn=topic, Message="wrapped")
        assert endpoint.wait_for(2)[1].message == "wrapped"


def test_filter_policies_choose(sns, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    with Endpoint() as endpoint:
        subscribe(sns, topic, endpoint, FilterPolicy={"kind": ["wanted"]})
        for kind in ("other", "wanted"):
            attributes = {"kind": {"DataType": "String", "StringValue": kind}}
            sns.publish(TopicArn=topic, Message=kind, MessageAttributes=attributes)
        assert [post.message for post in endpoint.wait_for(1)] == ["wanted"]


def test_what_fails_is_tried_again_and_then_dead_lettered(server, sns, sqs, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    url, dead = make_queue(sqs, name)
    fails = {"dead": 503, "later": 503}

    def answer(post):
        if post.kind != "Notification":
            return 200
        if post.message == "later" and len([it for it in endpoint.posts if it.kind == "Notification" and it.message == "later"]) == 3:
            return 201
        return fails.get(post.message, 200)

    with Endpoint(answer) as endpoint:
        arn = subscribe(sns, topic, endpoint, DeliveryPolicy=AT_ONCE, RedrivePolicy={"deadLetterTargetArn": dead})
        sent = sns.publish(TopicArn=topic, Message="dead")
        (message,) = receive(sqs, url)
        envelope = json.loads(message["Body"])
        assert (envelope["Message"], envelope["MessageId"]) == ("dead", sent["MessageId"])
        assert envelope["UnsubscribeURL"].endswith(arn) and "DeadLetterQueueSourceArn" not in message["Attributes"]
        posts = endpoint.wait_for(3)
        assert {post.headers["x-amz-sns-message-id"] for post in posts} == {sent["MessageId"]}
        sns.publish(TopicArn=topic, Message="later")
        assert [post.message for post in endpoint.wait_for(6)] == ["dead"] * 3 + ["later"] * 3
        # A delay between attempts is kept: at least a second each.
        slowly = {"healthyRetryPolicy": {"numRetries": 1, "minDelayTarget": 1, "maxDelayTarget": 1}}
        sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="DeliveryPolicy", AttributeValue=json.dumps(slowly))
        begun = time.monotonic()
        sns.publish(TopicArn=topic, Message="dead")
        assert json.loads(receive(sqs, url)[0]["Body"])["Message"] == "dead"
        assert time.monotonic() - begun >= 1 and len(endpoint.wait_for(8)) == 8
        assert "Messages" not in sqs.receive_message(QueueUrl=url)


def test_what_the_endpoint_refuses_is_not_tried_again(server, sns, sqs, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    url, dead = make_queue(sqs, name)
    statuses = {"400": 400, "404": 404, "302": (302, {"Location": "http://127.0.0.1:1/"}), "429": 429}
    with Endpoint() as other, Endpoint(lambda post: statuses.get(post.message, 200) if post.kind == "Notification" else 200) as endpoint:
        statuses["302"] = (302, {"Location": other.url})
        subscribe(sns, topic, endpoint, DeliveryPolicy=AT_ONCE, RedrivePolicy={"deadLetterTargetArn": dead})
        for status in statuses:
            sns.publish(TopicArn=topic, Message=status)
        assert sorted(json.loads(it["Body"])["Message"] for it in receive(sqs, url, 4)) == sorted(statuses)
        came = [post.message for post in endpoint.posts if post.kind == "Notification"]
        assert {status: came.count(status) for status in statuses} == {"400": 1, "404": 1, "302": 1, "429": 3}
        assert other.posts == [], "a redirect is not followed"


def test_without_a_dead_letter_queue_it_is_given_up_and_with_a_missing_one_it_waits(server, sns, sqs, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    with Endpoint(lambda post: 400 if post.kind == "Notification" else 200) as endpoint:
        arn = subscribe(sns, topic, endpoint)
        before = outcomes(server)
        sns.publish(TopicArn=topic, Message="gone")
        now = eventually(lambda: (now := outcomes(server))["given_up"] > before["given_up"] and now)
        assert (now["given_up"], now["failed"]) == (before["given_up"] + 1, before["failed"] + 1)
        missing = json.dumps({"deadLetterTargetArn": f"arn:aws:sqs:eu-central-1:000000000000:{name}"})
        sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="RedrivePolicy", AttributeValue=missing)
        sns.publish(TopicArn=topic, Message="kept")
        queue = "sns:" + arn.rsplit(":", 1)[1]
        delayed = lambda: json.loads(server.cli("queue", "describe", queue, "--json").stdout)["delayed"]
        eventually(lambda: delayed() == 1)


def test_nothing_is_lost_in_a_crash_before_it_is_delivered(fresh):
    sns = sns_client(fresh.aws)
    topic = sns.create_topic(Name="t")["TopicArn"]
    is_broken = threading.Event()
    is_broken.set()
    with Endpoint(lambda post: 503 if is_broken.is_set() and post.kind == "Notification" else 200) as endpoint:
        patient = {"healthyRetryPolicy": {"numRetries": 100, "minDelayTarget": 1, "maxDelayTarget": 1}}
        subscribe(sns, topic, endpoint, DeliveryPolicy=patient)
        # One is asked and does not answer before the crash.
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint.url + "/pending")
        sent = [sns.publish(TopicArn=topic, Message=f"m{index}")["MessageId"] for index in range(30)]
        endpoint.wait_for(1)
        fresh.kill()
        is_broken.clear()
        fresh.start()
        delivered = lambda posts: {post.headers["x-amz-sns-message-id"] for post in posts if post.kind == "Notification"}
        with endpoint.arrived:
            endpoint.posts.clear()
        posts = endpoint.wait(lambda posts: delivered(posts) >= set(sent))
        assert {post.message for post in posts if post.kind == "Notification"} == {f"m{index}" for index in range(30)}
        # The subscriptions are there as they were, and what one has undone stays undone.
        sns = sns_client(fresh.aws)
        states = {it["Endpoint"]: it["SubscriptionArn"] for it in sns.list_subscriptions()["Subscriptions"]}
        assert states[endpoint.url + "/pending"] == "PendingConfirmation"
        sns.unsubscribe(SubscriptionArn=states[endpoint.url + "/"])
        fresh.kill()
        fresh.start()
        sns = sns_client(fresh.aws)
        assert [it["Endpoint"] for it in sns.list_subscriptions()["Subscriptions"]] == [endpoint.url + "/pending"]
        assert len(waiting(fresh)) == 1


def test_a_confirmation_survives_a_crash(fresh):
    sns = sns_client(fresh.aws)
    topic = sns.create_topic(Name="t")["TopicArn"]
    with Endpoint() as endpoint:
        port = endpoint.port
    # Nobody is there now.
    patient = json.dumps({"healthyRetryPolicy": {"numRetries": 100, "minDelayTarget": 1, "maxDelayTarget": 1}})
    attributes = {"DeliveryPolicy": patient}
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=f"http://127.0.0.1:{port}/", Attributes=attributes)
    eventually(lambda: outcomes(fresh)["failed"] >= 1)
    fresh.kill()
    with Endpoint(port=port) as endpoint:
        fresh.start()
        endpoint.confirm()
        sns_client(fresh.aws).publish(TopicArn=topic, Message="m")
        assert endpoint.wait_for(1)[0].message == "m"


def test_a_slow_endpoint_does_not_keep_others_waiting(server, sns, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    go_on = threading.Event()
    with Endpoint(lambda post: go_on.wait(60) and 200 if post.kind == "Notification" else 200) as slow, Endpoint() as quick:
        subscribe(sns, topic, slow)
        subscribe(sns, topic, quick)
        for index in range(40):
            sns.publish(TopicArn=topic, Message=str(index))
        assert {post.message for post in quick.wait_for(40, timeout_s=10)} == {str(index) for index in range(40)}
        assert len([post for post in slow.posts if post.kind == "Notification"]) <= 8, "so many at a time"
        go_on.set()
        slow.wait_for(40)


def test_connections_are_used_again_and_replaced_when_they_have_ended(sns, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    with Endpoint() as endpoint:
        subscribe(sns, topic, endpoint)
        for index in range(20):
            sns.publish(TopicArn=topic, Message=str(index))
            endpoint.wait_for(index + 1)
        assert len(endpoint.connections) <= 8, "as many as there may be requests at a time"
        endpoint.hang_up()
        for index in range(20, 30):
            sns.publish(TopicArn=topic, Message=str(index))
        assert {int(post.message) for post in endpoint.wait_for(30)} == set(range(30))


def test_deliveries_are_throttled(sns, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    times = []
    with Endpoint(lambda post: times.append(time.monotonic()) or 200) as endpoint:
        subscribe(sns, topic, endpoint, DeliveryPolicy={"throttlePolicy": {"maxReceivesPerSecond": 5}})
        for index in range(4):
            sns.publish(TopicArn=topic, Message=str(index))
        endpoint.wait_for(4)
        assert times[-1] - times[-4] >= 3 * 0.2 - 0.05


def test_https_endpoints_are_believed_by_the_authorities_that_are_named(tmp_path, server, sns, name):
    pem, tls = authority(tmp_path)
    with Endpoint(tls=tls) as endpoint:
        # Nobody vouches for it.
        topic = sns.create_topic(Name=name)["TopicArn"]
        before = outcomes(server)
        sns.subscribe(TopicArn=topic, Protocol="https", Endpoint=endpoint.url, Attributes={"DeliveryPolicy": json.dumps(AT_ONCE)})
        eventually(lambda: outcomes(server)["given_up"] > before["given_up"])
        assert endpoint.posts == []
        broker = Server(tmp_path / "data", "--sns-private-endpoints", "--sns-ca-file", str(pem)).start()
        try:
            sns = sns_client(broker.aws)
            topic = sns.create_topic(Name="t")["TopicArn"]
            subscribe(sns, topic, endpoint)
            for index in range(10):
                sns.publish(TopicArn=topic, Message=str(index))
            assert sorted(int(post.message) for post in endpoint.wait_for(10)) == list(range(10))
        finally:
            broker.kill()
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    refusing = Server(tmp_path / "other", "--sns-ca-file", str(bad))
    with pytest.raises(AssertionError, match="there is no certificate in it"):
        refusing.start()


def test_answers_that_are_no_http_are_failures_and_do_no_harm(server, sns, sqs, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    url, dead = make_queue(sqs, name)
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    answers = {
        "nothing": b"",
        "garbage": b"\x00\xffwhat?\r\n\r\n",
        "long head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000,
        "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
        "broken off": b"HTTP/1.1 200 O",
        "odd status": b"HTTP/1.1 999 Odd\r\n\r\n",
        # These are taken: the status is all that counts.
        "provisional first": b"HTTP/1.1 100 Continue\r\n\r\n" + ok,
        "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx",
        "old": b"HTTP/1.0 200 OK\r\n\r\nthe end is the end",
    }
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, connection.makefile("rb") as reader:
                    head = {}
                    while (line := reader.readline()) not in (b"\r\n", b""):
                        key, _, value = line.partition(b":")
                        head[key.lower()] = value.strip()
                    body = json.loads(reader.read(int(head.get(b"content-length", 0))) or b"{}")
                    if "SubscribeURL" in body:
                        urllib.request.urlopen(body["SubscribeURL"], timeout=10).close()
                    try:
                        connection.sendall(answers.get(body.get("Message"), ok))
                    except OSError:
                        pass  # The broker has had enough.

        threading.Thread(target=serve, daemon=True).start()
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        attributes = {"DeliveryPolicy": json.dumps(AT_ONCE), "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead})}
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint, Attributes=attributes)
        eventually(lambda: sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsConfirmed"] == "1")
        for message in answers:
            sns.publish(TopicArn=topic, Message=message)
        failed = ["broken off", "garbage", "long head", "many headers", "nothing", "odd status"]
        assert sorted(json.loads(it["Body"])["Message"] for it in receive(sqs, url, len(failed))) == failed
        sns.publish(TopicArn=topic, Message="garbage")
        # Whatever came before it has been settled by now.
        assert json.loads(receive(sqs, url)[0]["Body"])["Message"] == "garbage"
        assert "Messages" not in sqs.receive_message(QueueUrl=url)


def test_private_addresses_are_refused_unless_allowed(tmp_path):
    broker = Server(tmp_path / "data").start()
    try:
        sns, sqs = sns_client(broker.aws), sqs_client(broker.aws)
        topic = sns.create_topic(Name="t")["TopicArn"]
        with Endpoint() as endpoint:
            hosts = ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]", "0.0.0.0"]
            for host in hosts:
                answer = refused(sns.subscribe, TopicArn=topic, Protocol="http", Endpoint=f"http://{host}:{endpoint.port}/")
                assert answer[1] == "InvalidParameter" and "--sns-private-endpoints" in answer[2], host
            # A name is known by what it leads to: this is 127.0.0.1 to those who look it up.
            sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=f"http://2130706433:{endpoint.port}/")
            eventually(lambda: outcomes(broker)["given_up"] == 1)
            assert endpoint.posts == [] and outcomes(broker)["delivered"] == 0
    finally:
        broker.kill()


def test_another_protocol_may_publish_to_endpoints(server, sns, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    with Endpoint() as endpoint:
        arn = subscribe(sns, topic, endpoint)
        server.cli("exchange", "publish", name, "bare")
        (post,) = endpoint.wait_for(1)
        assert (post.body, post.headers["x-amz-sns-rawdelivery"]) == ("bare", "true")
        assert post.headers["x-amz-sns-subscription-arn"].endswith(arn.rsplit(":", 2)[1] + ":" + arn.rsplit(":", 2)[2])
        # A queue that is deleted takes its subscription along, whoever deletes it.
        server.cli("queue", "delete", "sns:" + arn.rsplit(":", 1)[1])
        assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []

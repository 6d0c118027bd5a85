"""Queues with limits of length, priorities and dead-letter exchanges that operators make, as SQS and Kafka clients meet them."""

import json

import pytest
from botocore.exceptions import ClientError

from conftest import sqs_client
from streams import LIBRARIES
from test_routing import api
from waits import eventually

pytestmark = pytest.mark.timeout(120)
CONFLUENT = LIBRARIES["confluent-kafka"]


class Worked:
    """A queue over SQS."""

    def __init__(self, server, name):
        self.sqs = sqs_client(server.aws)
        self.url = self.sqs.get_queue_url(QueueName=name)["QueueUrl"]

    def send(self, body):
        self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def refusal(self, body):
        with pytest.raises(ClientError) as refused:
            self.send(body)
        return refused.value.response

    def take(self):
        """The body of the next message, which is acknowledged; `None` if there is none."""
        for message in self.sqs.receive_message(QueueUrl=self.url).get("Messages", []):
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
            return message["Body"]
        return None

    def drain(self):
        return list(iter(self.take, None))


def described(server, name):
    """As the API shows it in both of its places, which agree, and as the command line prints it."""
    (listed,) = [it for it in api(server, "GET", "/api/queues")[1] if it["name"] == name]
    settings = lambda it: {key: it[key] for key in it if key != "oldest_age_ms"}
    assert settings(api(server, "GET", f"/api/queues/{name}")[1]) == settings(listed)
    assert settings(json.loads(server.cli("queue", "describe", name, "--json").stdout)) == settings(listed)
    return listed


def ready(server, name):
    return described(server, name)["available"]


def publish(server, exchange, value, key="", headers=None):
    return api(server, "POST", f"/api/exchanges/{exchange}/publish", {"value": value, "key": key, "headers": headers or {}})


def test_what_is_said_on_the_command_line_is_what_the_api_shows(server, name):
    server.cli("queue", "create", f"{name}-plain")
    plain = described(server, f"{name}-plain")
    unsaid = ("length_max", "length_bytes_max", "priority_max", "dead_letter", "dead_letter_exchange", "dead_letter_key")
    assert [plain[key] for key in unsaid] == [None] * 6
    assert plain["overflow"] == "drop-head"
    server.cli(
        "queue", "create", name,
        "--length-max", "7", "--length-bytes-max", "5000", "--overflow", "reject-dead-letter", "--priority-max", "3",
        "--dead-letter-exchange", f"{name}.dead", "--dead-letter-key", "late",
    )  # fmt: skip
    shown = described(server, name)
    assert (shown["length_max"], shown["length_bytes_max"], shown["overflow"]) == (7, 5000, "reject-dead-letter")
    assert (shown["priority_max"], shown["dead_letter"]) == (3, None)
    assert (shown["dead_letter_exchange"], shown["dead_letter_key"]) == (f"{name}.dead", "late")
    # The default exchange has no name, and is not the same as none.
    server.cli("queue", "create", f"{name}-default", "--dead-letter-exchange", "", "--dead-letter-key", name)
    shown = described(server, f"{name}-default")
    assert (shown["dead_letter_exchange"], shown["dead_letter_key"]) == ("", name)


def test_settings_outlive_a_kill(fresh, name):
    fresh.cli("queue", "create", name, "--length-max", "1", "--overflow", "reject", "--dead-letter-exchange", "x")
    before = described(fresh, name)
    fresh.kill()
    fresh.start()
    assert described(fresh, name) == before
    queue = Worked(fresh, name)
    queue.send("0")
    assert queue.refusal("1")["Error"]["Code"] == "RequestThrottled"


@pytest.mark.parametrize(
    "limit", [("--length-max", "3"), ("--length-bytes-max", "30")], ids=["messages", "bytes"]
)
def test_a_full_queue_that_refuses_throttles_who_sends(server, name, limit):
    server.cli("queue", "create", name, *limit, "--overflow", "reject")
    queue = Worked(server, name)
    for number in range(3):
        queue.send(f"{number}" * 10)
    refused = queue.refusal("3" * 10)
    assert (refused["Error"]["Code"], refused["ResponseMetadata"]["HTTPStatusCode"]) == ("RequestThrottled", 403)
    # A batch is one publish: all of it or nothing.
    with pytest.raises(ClientError, match="RequestThrottled"):
        queue.sqs.send_message_batch(QueueUrl=queue.url, Entries=[{"Id": "a", "MessageBody": "4" * 10}])
    assert ready(server, name) == 3
    # Who receives makes room, before anything is acknowledged.
    (held,) = queue.sqs.receive_message(QueueUrl=queue.url)["Messages"]
    queue.send("5" * 10)
    assert queue.refusal("6" * 10)["Error"]["Code"] == "RequestThrottled"
    queue.sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=held["ReceiptHandle"])
    assert [held["Body"], *queue.drain()] == ["0" * 10, "1" * 10, "2" * 10, "5" * 10]


def test_publishing_to_an_exchange_is_refused_with_503_and_the_others_have_the_message(server, name):
    server.cli("exchange", "create", name, "--kind", "fanout")
    server.cli("queue", "create", f"{name}-full", "--length-max", "1", "--overflow", "reject")
    server.cli("queue", "create", f"{name}-other")
    for queue in ("full", "other"):
        server.cli("exchange", "bind", name, "--to-queue", f"{name}-{queue}")
    assert publish(server, name, "0")[0] == 200
    status, answer = publish(server, name, "1")
    assert status == 503, answer
    refused = server.cli("exchange", "publish", name, "2", check=False)
    assert refused.returncode == 1 and refused.stderr.startswith("duolog: "), refused
    assert Worked(server, f"{name}-full").drain() == ["0"]
    assert Worked(server, f"{name}-other").drain() == ["0", "1", "2"]


def test_the_oldest_leave_a_queue_that_is_too_long(server, name):
    server.cli("queue", "create", name, "--length-max", "2")
    queue = Worked(server, name)
    for number in range(5):
        queue.send(f"{number}")
    eventually(lambda: ready(server, name) == 2, what="the oldest leave")
    assert queue.drain() == ["3", "4"]


def test_batches_of_kafka_producers_are_not_refused(server, name):
    CONFLUENT.create(server.kafka, name, partitions=1)
    server.cli("queue", "create", name, "--length-max", "1", "--overflow", "reject")
    CONFLUENT.produce(server.kafka, name, [(b"k", b"%d" % number, []) for number in range(3)])
    queue = Worked(server, name)
    assert queue.refusal("3")["Error"]["Code"] == "RequestThrottled"
    assert queue.drain() == ["0", "1", "2"]


def test_what_is_too_much_is_rejected_or_expires_goes_through_the_exchange_with_its_key(server, name):
    dead, exchange = f"{name}-dead", f"{name}.x"
    server.cli("queue", "create", dead)
    server.cli("exchange", "create", exchange, "--kind", "direct")
    server.cli("exchange", "bind", exchange, "--to-queue", dead, "--key", "late")
    to = ["--dead-letter-exchange", exchange, "--dead-letter-key", "late"]
    server.cli("queue", "create", f"{name}-long", "--length-max", "1", *to)
    server.cli("queue", "create", f"{name}-strict", "--length-max", "1", "--overflow", "reject-dead-letter", *to)
    server.cli("queue", "create", f"{name}-brief", "--message-ttl", "50ms", *to)
    server.cli("queue", "create", f"{name}-tried", "--attempts-max", "1", "--visibility-timeout", "0s", *to)
    gone = Worked(server, dead)

    def arrives(body, reason):
        asked = {"QueueUrl": gone.url, "WaitTimeSeconds": 20, "MessageAttributeNames": ["duolog-dead-.*"]}
        (message,) = gone.sqs.receive_message(**asked).get("Messages", [])
        gone.sqs.delete_message(QueueUrl=gone.url, ReceiptHandle=message["ReceiptHandle"])
        assert message["Body"] == body
        assert message["MessageAttributes"]["duolog-dead-reason"]["StringValue"] == reason

    queue = Worked(server, f"{name}-long")
    queue.send("long 0")
    queue.send("long 1")
    arrives("long 0", "maxlen")
    queue = Worked(server, f"{name}-strict")
    queue.send("strict 0")
    assert queue.refusal("strict 1")["Error"]["Code"] == "RequestThrottled"
    arrives("strict 1", "maxlen")
    Worked(server, f"{name}-brief").send("brief")
    arrives("brief", "expired")
    queue = Worked(server, f"{name}-tried")
    queue.send("tried")
    assert queue.sqs.receive_message(QueueUrl=queue.url)["Messages"][0]["Body"] == "tried"
    assert "Messages" not in queue.sqs.receive_message(QueueUrl=queue.url)
    arrives("tried", "attempts")


def test_those_of_a_higher_priority_come_first(server, name):
    server.cli("queue", "create", name, "--priority-max", "3")
    server.cli("exchange", "create", name, "--kind", "fanout")
    server.cli("exchange", "bind", name, "--to-queue", name)
    for value, priority in [("a", "0"), ("b", "2"), ("c", None), ("d", "9"), ("e", "2")]:
        headers = {} if priority is None else {"duolog-priority": priority}
        assert publish(server, name, value, headers=headers) == (200, {"routed": [name]})
    assert Worked(server, name).drain() == ["d", "b", "e", "a", "c"]


def test_what_makes_no_sense_is_refused_and_told(server, name):
    for arguments, said in [
        (("--length-max", "-1"), "--length-max"),
        (("--length-max", "many"), "invalid value 'many' for '--length-max <N>'"),
        (("--length-bytes-max", "1.5"), "invalid value '1.5' for '--length-bytes-max <BYTES>'"),
        (("--overflow", "explode"), "[possible values: drop-head, reject, reject-dead-letter]"),
        (("--priority-max", "0"), "0 is not in 1..=255"),
        (("--priority-max", "256"), "256 is not in 1..=255"),
        (("--dead-letter-key", "k"), "--dead-letter-exchange <EXCHANGE>"),
        (("--dead-letter-exchange", "x", "--attempts-max", "3", "--dead-letter", "q"), "cannot be used with"),
        (("--length-max", "3", "--order", "key"), "length_max: only queues in standard order have this"),
        (("--length-bytes-max", "3", "--order", "fair"), "length_bytes_max: only queues in standard order have this"),
        (("--priority-max", "3", "--order", "key"), "priority_max: only queues in standard order have this"),
        (("--dead-letter-exchange", "x", "--order", "key"), "dead_letter: only queues in standard order have this"),
        (("--dead-letter-exchange", "x", "--dead-letter-key", "k" * 256), "its key is longer than 255 bytes"),
    ]:  # fmt: skip
        refused = server.cli("queue", "create", name, *arguments, check=False)
        assert refused.returncode in (1, 2) and said in refused.stderr, (arguments, refused)
    server.cli("queue", "create", f"{name}-there")
    for body, status, said in [
        ({"length_max": -1}, 422, "length_max: invalid value: integer `-1`"),
        ({"overflow": "explode"}, 422, "unknown variant `explode`, expected one of `drop-head`"),
        ({"priority_max": 256}, 422, "priority_max: invalid value: integer `256`"),
        ({"dead_letter_key": "k"}, 400, "dead_letter_key needs dead_letter_exchange"),
        ({"dead_letter": f"{name}-there", "dead_letter_exchange": "x", "attempts_max": 2}, 400, "it is one or the other"),
    ]:
        got, answer = api(server, "POST", "/api/queues", {"name": name, **body})
        assert (got, said in answer["message"]) == (status, True), (body, got, answer)
    assert api(server, "GET", f"/api/queues/{name}")[0] == 404

"""Topics as sources: what Kafka clients produce goes through an exchange to queues of every protocol, once and in order."""

import json
import threading

import confluent_kafka
import confluent_kafka.admin
import pytest

from amqp_raw import KILLS, KILLS_TIMEOUT_S, consume, take
from conftest import amqp_connection, sqs_client
from streams import LIBRARIES
from test_routing import api, bind, exchange
from test_sns import make_queue, receive, sns_client, subscribe
from waits import poll_until

pytestmark = pytest.mark.timeout(max(120, KILLS_TIMEOUT_S))
CONFLUENT = LIBRARIES["confluent-kafka"]


def forward(server, topic, to, **more):
    return api(server, "POST", f"/api/exchanges/{to}/from-topics", {"topic": topic, **more})


def test_a_stream_fans_out_to_queues_of_all_protocols(server, name):
    CONFLUENT.create(server.kafka, name)
    CONFLUENT.produce(server.kafka, name, [(b"order.eu", b"before", [])])
    channel = amqp_connection(server.addresses["amqp"]).channel()
    channel.exchange_declare(name, "topic", durable=True)
    channel.queue_declare(f"{name}-amqp", durable=True)
    channel.queue_bind(f"{name}-amqp", name, "order.#")
    sqs = sqs_client(server.aws)
    url, _ = make_queue(sqs, f"{name}-sqs")
    server.cli("exchange", "bind", name, "--to-queue", f"{name}-sqs", "--key", "*.eu")
    done = server.cli("exchange", "bind", name, "--from-topic", name).stdout
    assert done == f"topic {name} bound to exchange {name}\n"
    records = [
        (b"order.eu", b"one", [("n", b"1")]),
        (b"order.us", b"two", []),
        (b"bill.eu", b"three", []),
        (None, b"nobody", []),
    ]
    CONFLUENT.produce(server.kafka, name, records, compression="zstd")
    consume(channel, f"{name}-amqp", auto_ack=True)
    heard = take(channel, 2)
    assert [body for _, _, body in heard] == [b"one", b"two"]
    delivery, properties, _ = heard[0]
    assert (delivery.exchange, delivery.routing_key) == (name, "order.eu")
    assert properties.headers == {"n": "1", "duolog-forwarded-from": name}
    messages = receive(sqs, url, 2)
    assert [message["Body"] for message in messages] == ["one", "three"]
    assert messages[0]["MessageAttributes"]["n"]["StringValue"] == "1"
    table = server.cli("bindings", "--exchange", name).stdout
    assert [line.split() for line in table.splitlines()][1] == f"topic {name} - exchange {name} it is appended".split()
    assert api(server, "GET", f"/api/exchanges/{name}")[1]["from_topics"] == [name]
    group = next(it for it in json.loads(server.cli("group", "list", "--json").stdout) if f".{name}." in it["name"])
    poll_until(
        lambda: json.loads(server.cli("group", "describe", group["name"], "--json").stdout)["lag_records"],
        lambda lag: lag == 0,
        "no lag",
    )
    server.cli("exchange", "unbind", name, "--from-topic", name)
    assert api(server, "GET", f"/api/exchanges/{name}")[1]["from_topics"] == []
    assert all(it["name"] != group["name"] for it in json.loads(server.cli("group", "list", "--json").stdout))


def test_what_kafka_produces_is_subscribed_to_in_sns(server, name):
    """Also from its beginning, and filtered by the headers of the records."""
    sns, sqs = sns_client(server.aws), sqs_client(server.aws)
    topic = sns.create_topic(Name=name)["TopicArn"]
    (all_url, all_arn), (books_url, books_arn) = make_queue(sqs, f"{name}-all"), make_queue(sqs, f"{name}-books")
    subscribe(sns, topic, all_arn, RawMessageDelivery="true")
    subscribe(sns, topic, books_arn, RawMessageDelivery="true", FilterPolicy=json.dumps({"store": ["books"]}))
    CONFLUENT.create(server.kafka, name)
    CONFLUENT.produce(server.kafka, name, [(None, b"a", [("store", b"books")]), (None, b"b", [("store", b"lamps")])])
    assert forward(server, name, name, **{"from": "earliest"}) == (201, {"topic": name, "exchange": name})
    assert forward(server, name, name) == (200, {"topic": name, "exchange": name}), "it goes on where it is"
    CONFLUENT.produce(server.kafka, name, [(None, b"c", [("store", b"books")])])
    assert [message["Body"] for message in receive(sqs, all_url, 3)] == ["a", "b", "c"]
    assert [message["Body"] for message in receive(sqs, books_url, 2)] == ["a", "c"]
    sns.delete_topic(TopicArn=topic)
    assert forward(server, name, name)[0] == 404


def test_what_makes_no_sense_is_refused(server, name):
    CONFLUENT.create(server.kafka, name)
    exchange(server, name, "fanout")
    for topic, to, more, status, word in [
        ("no-" + name, name, {}, 404, "no topic"),
        (name, "no-" + name, {}, 404, "no exchange"),
        (name, name, {"from": "yesterday"}, 400, "from: "),
        (name, name, {"form": "latest"}, 422, "form"),
    ]:
        got, answer = forward(server, topic, to, **more)
        assert got == status and word in answer["message"], (got, answer)
    got, answer = api(server, "DELETE", f"/api/exchanges/{name}/from-topics/{name}")
    assert got == 404 and "is not forwarded" in answer["message"], answer
    refused = server.cli("exchange", "bind", name, "--from-topic", name, "--key", "k", check=False)
    assert refused.returncode == 2 and "cannot be used with" in refused.stderr


def test_its_position_is_shown_to_kafka_clients_and_is_not_theirs(server, name):
    CONFLUENT.create(server.kafka, name)
    exchange(server, name, "fanout")
    assert forward(server, name, name)[0] == 201
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": server.kafka})
    groups = admin.list_consumer_groups().result(30).valid
    group = next(it.group_id for it in groups if f".{name}." in it.group_id)
    offsets = confluent_kafka.ConsumerGroupTopicPartitions(group)
    known = admin.list_consumer_group_offsets([offsets])[group].result(30)
    assert [(it.topic, it.partition, it.offset) for it in known.topic_partitions] == [(name, 0, 0)]
    to = confluent_kafka.ConsumerGroupTopicPartitions(group, [confluent_kafka.TopicPartition(name, 0, 5)])
    denied = confluent_kafka.KafkaError.GROUP_AUTHORIZATION_FAILED
    (moved,) = admin.alter_consumer_group_offsets([to])[group].result(30).topic_partitions
    assert moved.error.code() == denied
    with pytest.raises(confluent_kafka.KafkaException) as refused:
        admin.delete_consumer_groups([group])[group].result(30)
    assert refused.value.args[0].code() == denied
    again = admin.list_consumer_group_offsets([offsets])[group].result(30)
    assert [it.offset for it in again.topic_partitions] == [0]


class Producer(threading.Thread):
    """Produces numbers until it is stopped, each acknowledged, through restarts."""

    def __init__(self, bootstrap, topic):
        super().__init__(daemon=True)
        self.topic, self.acknowledged, self.ending = topic, 0, threading.Event()
        self.client = confluent_kafka.Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "reconnect.backoff.max.ms": 100}
        )
        self.moved = threading.Condition()
        self.start()

    def run(self):
        number = 0
        while not self.ending.is_set():
            self.client.produce(self.topic, b"%d" % number, key=b"%d" % (number % 7), on_delivery=self.noted)
            number += 1
            self.client.poll(0)
            while len(self.client) > 2_000 and not self.ending.is_set():
                self.client.poll(0.1)
        self.left = self.client.flush(60)

    def noted(self, error, _):
        if error is None:
            with self.moved:
                self.acknowledged += 1
                self.moved.notify_all()

    def wait_for(self, count):
        with self.moved:
            assert self.moved.wait_for(lambda: self.acknowledged >= count, 60), self.acknowledged

    def stop(self):
        self.ending.set()
        self.join()
        assert self.left == 0


def test_each_record_comes_once_and_in_order_through_kills(fresh, name):
    CONFLUENT.create(fresh.kafka, name, partitions=3)
    exchange(fresh, name, "fanout")
    for copy in (f"{name}.1", f"{name}.2"):
        fresh.cli("queue", "create", copy)
        bind(fresh, name, {"queue": copy})
    assert forward(fresh, name, name)[0] == 201
    producer = Producer(fresh.kafka, name)
    for kill in range(KILLS):
        producer.wait_for(producer.acknowledged + 2_000 + 700 * (kill % 5))
        fresh.kill()
        fresh.start()
    producer.stop()
    source = CONFLUENT.consume(fresh.kafka, name, "reader", producer.acknowledged)
    assert len(source) == producer.acknowledged
    by_origin = {f"{partition}/{offset}": value for partition, offset, _, value, _ in source}
    for copy in (f"{name}.1", f"{name}.2"):
        copies = CONFLUENT.consume(fresh.kafka, copy, "reader", len(source))
        places = [dict(headers)["duolog-origin"].decode().split("/", 1)[1] for *_, headers in copies]
        assert [by_origin[place] for place in places] == [value for *_, value, _ in copies]
        for partition in range(3):
            offsets = [int(place.split("/")[1]) for place in places if place.startswith(f"{partition}/")]
            assert offsets == list(range(len(offsets))), f"partition {partition} of {copy}"
        depth = json.loads(fresh.cli("queue", "describe", copy, "--json").stdout)
        assert depth["available"] == len(source)

"""Exchanges and bindings: what is published through them arrives at SQS and Kafka clients, and operators see what leads where."""

import base64
import json
import re
import subprocess
import urllib.error
import urllib.request

import pytest

from conftest import sqs_client
from server import ROOT, binary
from streams import LIBRARIES

pytestmark = pytest.mark.timeout(120)
CONFLUENT = LIBRARIES["confluent-kafka"]


def api(server, method, path, body=None):
    """Status and answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        server.admin + path, data, {"content-type": "application/json"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    return status, json.loads(text) if text else None


def exchange(server, name, kind, **more):
    status, made = api(server, "POST", "/api/exchanges", {"name": name, "kind": kind, **more})
    assert status == 201, made
    return made


def bind(server, source, to, key="", **more):
    status, made = api(server, "POST", "/api/routes", {"exchange": source, "to": to, "key": key, **more})
    assert status == 201, made
    return made


def publish(server, name, value, **more):
    status, answer = api(server, "POST", f"/api/exchanges/{name}/publish", {"value": value, **more})
    assert status == 200, answer
    return answer["routed"]


def routes(server, query=""):
    return api(server, "GET", f"/api/routes{query}")[1]["routes"]


def received(server, queue):
    """The body of the next message; it is acknowledged."""
    sqs = sqs_client(server.aws)
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    asked = {"QueueUrl": url, "WaitTimeSeconds": 10, "MessageAttributeNames": ["All"]}
    (message,) = sqs.receive_message(**asked)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return message


def values(server, topic, count):
    seen = CONFLUENT.consume(server.kafka, topic, f"{topic}-seen", count)
    return [(key, value, headers) for _, _, key, value, headers in seen]


def test_one_publish_goes_to_a_queue_and_a_kafka_topic(server, sqs, name):
    sqs.create_queue(QueueName=f"{name}-jobs")
    CONFLUENT.create(server.kafka, f"{name}-log", partitions=3)
    server.cli("exchange", "create", name, "--kind", "topic")
    server.cli("exchange", "bind", name, "--to-queue", f"{name}-jobs", "--key", "order.*.paid")
    server.cli("exchange", "bind", name, "--to-topic", f"{name}-log", "--key", "order.#")
    done = server.cli("exchange", "publish", name, "paid!", "--key", "order.eu.paid", "--header", "trace=t1")
    assert done.stdout == f"stored in: {name}-jobs,{name}-log\n"
    assert publish(server, name, "new!", key="order.eu.new") == [f"{name}-log"]
    message = received(server, f"{name}-jobs")
    assert message["Body"] == "paid!"
    assert message["MessageAttributes"]["trace"]["StringValue"] == "t1"
    assert sorted(values(server, f"{name}-log", 2)) == [
        (b"order.eu.new", b"new!", []),
        (b"order.eu.paid", b"paid!", [("trace", b"t1")]),
    ]
    done = server.cli("exchange", "publish", name, "x", "--key", "invoice")
    assert done.stdout == "stored nowhere: no binding takes it\n"
    server.cli("exchange", "unbind", name, "--to-topic", f"{name}-log", "--key", "order.#")
    assert publish(server, name, "new!", key="order.eu.new") == []


def test_headers_decide(server, sqs, name):
    for topic in ("all", "any", "every"):
        server.cli("topic", "create", f"{name}-{topic}")
    server.cli("exchange", "create", name, "--kind", "headers")
    to = ["exchange", "bind", name, "--to-topic"]
    server.cli(*to, f"{name}-all", "--match-all", "region=eu", "audited")
    server.cli(*to, f"{name}-any", "--match-any", "region=eu", "--match-any", "audited")
    server.cli(*to, f"{name}-every")
    every, any_, all_ = f"{name}-every", f"{name}-any", f"{name}-all"
    for headers, expected in [
        ({}, [every]),
        ({"region": "us"}, [every]),
        ({"region": "eu"}, [any_, every]),
        ({"audited": None}, [any_, every]),
        ({"region": "eu", "audited": "yes"}, [all_, any_, every]),
    ]:
        assert publish(server, name, "v", headers=headers) == expected, headers
    # The order of the headers makes no other binding, and what was bound is deleted in any order.
    again = {"exchange": name, "to": {"topic": all_}, "match": {"mode": "all", "headers": {"audited": None, "region": "eu"}}}
    assert api(server, "POST", "/api/routes", again)[0] == 200
    shown = routes(server, f"?exchange={name}")
    assert len(shown) == 3
    assert {"key": "", **again} in shown
    table = server.cli("bindings", "--exchange", name).stdout
    assert re.search(rf"topic {all_} +all of audited region=eu\n", table), table
    assert re.search(rf"topic {every} +always\n", table), table
    server.cli("exchange", "unbind", name, "--to-topic", all_, "--match-all", "audited", "region=eu")
    assert publish(server, name, "v", headers={"region": "eu", "audited": "yes"}) == [any_, every]


def test_exchanges_lead_to_exchanges_and_an_alternate_gets_the_rest(server, name):
    for topic in ("a", "b", "rest"):
        server.cli("topic", "create", f"{name}-{topic}")
    first, second, rest = f"{name}.first", f"{name}.second", f"{name}.rest"
    exchange(server, first, "direct", alternate=rest)
    exchange(server, second, "fanout")
    bind(server, first, {"exchange": second}, "all")
    bind(server, second, {"topic": f"{name}-a"})
    bind(server, second, {"topic": f"{name}-b"})
    # Round in a circle: each exchange is gone through once.
    bind(server, second, {"exchange": first})
    assert publish(server, first, "v", key="all") == [f"{name}-a", f"{name}-b"]
    assert publish(server, first, "v", key="other") == [], "the alternate need not be there"
    exchange(server, rest, "fanout")
    bind(server, rest, {"topic": f"{name}-rest"})
    assert publish(server, first, "v", key="other") == [f"{name}-rest"]
    table = server.cli("bindings", "--exchange", first).stdout
    assert re.search(rf"{first} +direct +exchange {second} +the key is \"all\"\n", table), table
    assert re.search(rf"{first} +direct +exchange {rest} +nothing else takes it\n", table), table
    assert [it["exchange"] for it in routes(server, f"?to_exchange={first}")] == [second]


def test_a_hash_keeps_a_key_in_one_place(server, name):
    for topic in ("a", "b"):
        server.cli("topic", "create", f"{name}-{topic}")
    server.cli("exchange", "create", name, "--kind", "consistent-hash", "--hash-header", "tenant")
    server.cli("exchange", "bind", name, "--to-topic", f"{name}-a", "--key", "100")
    server.cli("exchange", "bind", name, "--to-topic", f"{name}-b", "--key", "100")
    places = {}
    for number in range(120):
        tenant = f"tenant {number % 40}"
        (place,) = publish(server, name, "v", headers={"tenant": tenant})
        assert places.setdefault(tenant, place) == place
    assert set(places.values()) == {f"{name}-a", f"{name}-b"}
    described = json.loads(server.cli("exchange", "describe", name, "--json").stdout)
    assert (described["hash_header"], described["bindings"], len(described["routes"])) == ("tenant", 2, 2)


def test_all_is_there_after_a_kill_and_a_queue_takes_its_bindings_along(fresh, name):
    fresh.cli("topic", "create", f"{name}-log")
    sqs = sqs_client(fresh.aws)
    url = sqs.create_queue(QueueName=f"{name}-jobs")["QueueUrl"]
    exchange(fresh, name, "fanout", alternate="elsewhere")
    bind(fresh, name, {"queue": f"{name}-jobs"}, "note")
    bind(fresh, name, {"topic": f"{name}-log"})
    # Bytes that are no text.
    raw = base64.b64encode(b"\xff\x00").decode()
    bind(fresh, name, {"topic": f"{name}-log"}, raw, key_base64=True)
    listed = api(fresh, "GET", "/api/exchanges")
    graph = api(fresh, "GET", "/api/routes")
    assert publish(fresh, name, raw, key=raw, key_base64=True, value_base64=True) == [f"{name}-jobs", f"{name}-log"]
    fresh.kill()
    fresh.start()
    assert (api(fresh, "GET", "/api/exchanges"), api(fresh, "GET", "/api/routes")) == (listed, graph)
    (only,) = [it for it in listed[1] if it["name"] == name]
    assert (only["name"], only["kind"], only["alternate"], only["bindings"]) == (name, "fanout", "elsewhere", 3)
    assert {"exchange": name, "to": {"topic": f"{name}-log"}, "key": raw, "key_base64": True} in graph[1]["routes"]
    assert values(fresh, f"{name}-log", 1) == [(b"\xff\x00", b"\xff\x00", [])]
    assert 'queue %s-jobs  always (bound with the key "note")' % name in fresh.cli("bindings").stdout
    sqs_client(fresh.aws).delete_queue(QueueUrl=url)
    assert [it["to"] for it in routes(fresh)] == [{"topic": f"{name}-log"}] * 2
    assert publish(fresh, name, "v") == [f"{name}-log"]
    assert api(fresh, "DELETE", f"/api/exchanges/{name}?if_unused=true")[0] == 409
    # By query, and by body.
    assert api(fresh, "DELETE", f"/api/routes?exchange={name}&topic={name}-log")[0] == 204
    body = {"exchange": name, "to": {"topic": f"{name}-log"}, "key": raw, "key_base64": True}
    assert api(fresh, "DELETE", "/api/routes", body)[0] == 204
    assert fresh.cli("bindings").stdout.count("\n") == 2, "the exchange and its alternate"
    fresh.cli("exchange", "delete", name, "--if-unused")
    fresh.kill()
    fresh.start()
    left = api(fresh, "GET", "/api/routes")[1]
    assert left["routes"] == [] and all(it["name"].startswith("amq.") for it in left["exchanges"])
    assert fresh.cli("bindings").stdout == "no exchanges\n"


def test_exchanges_and_bindings_are_counted(server, name):
    counted = lambda: [server.metric(f"duolog_{what}") for what in ("exchanges", "bindings")]
    exchanges, bindings = counted()
    assert exchanges >= 5
    server.cli("topic", "create", name)
    exchange(server, name, "topic")
    for key in ("a", "b"):
        bind(server, name, {"topic": name}, key)
    assert counted() == [exchanges + 1, bindings + 2]
    server.cli("topic", "delete", name)
    assert counted() == [exchanges + 1, bindings]
    server.cli("exchange", "delete", name)
    assert counted() == [exchanges, bindings]


def test_refusals_name_what_is_wrong(server, name):
    server.cli("topic", "create", name)
    exchange(server, f"{name}.direct", "direct")
    exchange(server, f"{name}.hash", "consistent-hash")
    direct, hashed, to = f"{name}.direct", f"{name}.hash", {"topic": name}
    long = {f"header {number}": "v" * 1000 for number in range(70)}
    for method, path, body, status, said in [
        ("GET", "/api/exchanges/nowhere", None, 404, 'there is no exchange "nowhere"'),
        ("DELETE", "/api/exchanges/nowhere", None, 404, 'there is no exchange "nowhere"'),
        ("POST", "/api/exchanges/nowhere/publish", {"value": "v"}, 404, 'there is no exchange "nowhere"'),
        ("POST", "/api/exchanges", {"name": direct, "kind": "fanout"}, 409, f"{direct} exists already"),
        ("POST", "/api/exchanges", {"name": "x", "kind": "fanot"}, 422, "unknown variant `fanot`, expected one of `direct`"),
        ("POST", "/api/exchanges", {"name": "a b", "kind": "direct"}, 400, '"a b" is not a name'),
        ("POST", "/api/exchanges", {"name": "x", "kind": "direct", "alternate": "a b"}, 400, '"a b" is not a name'),
        ("POST", "/api/exchanges", {"name": "x", "kind": "topic", "hash_header": "h"}, 400, "of kind consistent-hash"),
        ("POST", "/api/routes", {"exchange": "nowhere", "to": to}, 404, 'there is no exchange "nowhere"'),
        ("POST", "/api/routes", {"exchange": direct, "to": {"queue": "nowhere"}}, 404, 'there is no queue "nowhere"'),
        ("POST", "/api/routes", {"exchange": direct, "to": {"topic": "nowhere"}}, 404, 'there is no topic "nowhere"'),
        ("POST", "/api/routes", {"exchange": direct, "to": {"queue": name, "topic": name}}, 422, "one of queue, topic and exchange"),
        ("POST", "/api/routes", {"exchange": hashed, "to": to, "key": "heavy"}, 400, "weight of the destination"),
        ("POST", "/api/routes", {"exchange": hashed, "to": to, "key": "1001"}, 400, "from 1 to 1000"),
        ("POST", "/api/routes", {"exchange": direct, "to": to, "key": "k" * 256}, 400, "longer than 255 bytes"),
        ("POST", "/api/routes", {"exchange": direct, "to": to, "key": "?", "key_base64": True}, 400, "marked as base64"),
        ("POST", "/api/routes", {"exchange": direct, "to": to, "match": {"mode": "all", "headers": {}}}, 400, "of kind headers"),
        ("DELETE", "/api/routes", {"exchange": direct, "to": to, "key": "k"}, 404, 'no binding to the topic'),
        ("DELETE", f"/api/routes?exchange={direct}", None, 400, "queue, topic or to_exchange"),
        ("DELETE", f"/api/routes?exchange={direct}&topic={name}&queue=q", None, 400, "one of queue, topic"),
    ]:
        got, answer = api(server, method, path, body)
        assert (got, said in answer["message"]) == (status, True), (method, path, body, got, answer)
    exchange(server, f"{name}.headers", "headers")
    too_long = {"exchange": f"{name}.headers", "to": to, "match": {"mode": "all", "headers": long}}
    got, answer = api(server, "POST", "/api/routes", too_long)
    assert (got, answer["message"]) == (400, "filter: it is longer than 64 KiB")
    bind(server, direct, to)
    got, answer = api(server, "POST", f"/api/exchanges/{direct}/publish", {"value": "v" * 1_100_000})
    assert (got, answer["error"]) == (413, "too_large"), answer
    refused = server.cli("exchange", "bind", direct, check=False)
    assert refused.returncode == 2 and "--to-queue" in refused.stderr
    refused = server.cli("exchange", "create", direct, check=False)
    assert (refused.returncode, refused.stderr) == (1, f"duolog: {direct} exists already\n")


def test_bindings_and_binding_are_told_apart(server):
    overview = subprocess.run([binary(), "--help"], capture_output=True, text=True).stdout
    assert re.search(r"\n  bindings +Show what is bound to exchanges", overview), overview
    assert re.search(r"\n  binding +Captures and echoes", overview), overview
    assert "binding list" in subprocess.run([binary(), "bindings", "--help"], capture_output=True, text=True).stdout
    assert "exchange bind" in subprocess.run([binary(), "binding", "--help"], capture_output=True, text=True).stdout


def test_the_example_of_the_documentation_works_as_written(fresh, tmp_path):
    text = (ROOT / "docs" / "routing.md").read_text()
    (example, expected), *_ = re.findall(r"```sh\n(.*?)```\n+```text\n(.*?)```", text, flags=re.S)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "duolog").symlink_to(binary())
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "DUOLOG_ADMIN": fresh.addresses["admin"]}
    done = subprocess.run(
        ["bash", "-euc", example], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == expected

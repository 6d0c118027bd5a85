"""RabbitMQ's management API, called as its tools call it.

Every scenario but the last three runs against a real RabbitMQ too, where one is installed: what passes only here is a mistake of the test."""

import pytest

from amqp_raw import consume, get_all
from conftest import amqp_connection
from management import Management, Refused, path_of
from waits import eventually

pytestmark = pytest.mark.timeout(120)
ROOT = "/"


@pytest.fixture
def management(api):
    return Management(api)


def test_who_and_what(management):
    assert management.get("whoami") == {"name": "guest", "tags": ["administrator"]}
    overview = management.get("overview")
    assert overview["object_totals"]["exchanges"] >= 6 and {"management_version", "rabbitmq_version"} <= overview.keys()
    assert {"direct", "fanout", "topic", "headers"} <= {it["name"] for it in overview["exchange_types"]}
    (node,) = management.get("nodes")
    assert node["running"] is True and management.get("nodes", node["name"])["name"] == node["name"]
    assert management.get("users", "guest")["tags"] == ["administrator"]
    permission = {"user": "guest", "vhost": ROOT, "configure": ".*", "write": ".*", "read": ".*"}
    assert permission in management.get("permissions") and management.get("permissions", ROOT, "guest") == permission
    assert management.get("aliveness-test", ROOT) == {"status": "ok"}
    for check in ("alarms", "local-alarms", "virtual-hosts"):
        assert management.get("health", "checks", check)["status"] == "ok"
    for empty in ("policies", "parameters", "topic-permissions", "vhost-limits"):
        assert management.get(empty) == []
    with pytest.raises(Refused, match="404"):
        management.get("nothing")
    with pytest.raises(Refused, match="405"):
        management.post("overview")


def test_a_queue_from_declaration_to_deletion(management, channel, name):
    asked = {"durable": True, "auto_delete": False, "arguments": {"x-message-ttl": 60_000}}
    assert management.put("queues", ROOT, name, body=asked) == 201
    assert management.put("queues", ROOT, name, body=asked) == 204
    queue = management.get("queues", ROOT, name)
    assert (queue["name"], queue["vhost"], queue["durable"], queue["auto_delete"]) == (name, ROOT, True, False)
    assert queue["arguments"] == asked["arguments"]
    assert name in {it["name"] for it in management.get("queues", ROOT)} & {it["name"] for it in management.get("queues")}
    channel.queue_declare(name, durable=True, arguments={"x-message-ttl": 60_000})
    with pytest.raises(Refused, match="400.*inequivalent arg 'durable'"):
        management.put("queues", ROOT, name, body={**asked, "durable": False})
    channel.basic_publish("", name, b"x")
    eventually(lambda: channel.queue_declare(name, passive=True).method.message_count == 1, what="it is there")
    with pytest.raises(Refused, match="400"):
        management.delete("queues", ROOT, name, tail="?if-empty=true")
    assert management.delete("queues", ROOT, name, tail="/contents") == 204
    assert management.delete("queues", ROOT, name, tail="?if-empty=true") == 204
    for call in (management.get, management.delete):
        with pytest.raises(Refused, match="404"):
            call("queues", ROOT, name)
    with pytest.raises(Refused, match="404"):
        management.get("queues", f"{name}.no")


def test_messages_are_published_and_got(management, channel, name):
    channel.queue_declare(name, durable=True)
    publish = lambda key, payload, **more: management.post(
        "exchanges", ROOT, "amq.default", "publish",
        body={"routing_key": key, "payload": payload, "payload_encoding": "string", "properties": {}, **more},
    )
    assert publish(name, "one", properties={"delivery_mode": 2, "headers": {"n": 5}}) == {"routed": True}
    assert publish(name, "dHdv", payload_encoding="base64") == {"routed": True}
    assert publish(f"{name}.nowhere", "x") == {"routed": False}
    get = lambda **more: management.post("queues", ROOT, name, "get", body={"encoding": "auto", **more})
    first, second = get(count=5, ackmode="ack_requeue_true")
    assert (first["payload"], first["payload_encoding"], first["payload_bytes"]) == ("one", "string", 3)
    assert first["properties"] == {"delivery_mode": 2, "headers": {"n": 5}}
    assert (first["routing_key"], first["exchange"], first["redelivered"], first["message_count"]) == (name, "", False, 1)
    assert second["payload"] == "two"
    (again,) = get(count=1, ackmode="reject_requeue_true", encoding="base64")
    assert (again["payload"], again["payload_encoding"], again["redelivered"]) == ("b25l", "base64", True)
    assert [it["payload"] for it in get(count=1, ackmode="ack_requeue_false")] == ["one"]
    assert [it["payload"] for it in get(count=9, ackmode="reject_requeue_false", truncate=2)] == ["tw"]
    assert get(count=1, ackmode="ack_requeue_true") == []
    channel.queue_delete(name)
    with pytest.raises(Refused, match="404"):
        get(count=1, ackmode="ack_requeue_true")


def test_exchanges_and_bindings(management, channel, name):
    asked = {"type": "topic", "durable": True, "auto_delete": False, "internal": False, "arguments": {}}
    assert management.put("exchanges", ROOT, name, body=asked) == 201
    assert management.put("exchanges", ROOT, name, body=asked) == 204
    exchange = management.get("exchanges", ROOT, name)
    assert {key: exchange[key] for key in asked} == asked and (exchange["name"], exchange["vhost"]) == (name, ROOT)
    assert {"", "amq.topic", name} <= {it["name"] for it in management.get("exchanges", ROOT)}
    with pytest.raises(Refused, match="400"):
        management.put("exchanges", ROOT, name, body={**asked, "type": "fanout"})
    channel.queue_declare(name, durable=True)
    between = ("bindings", ROOT, "e", name, "q", name)
    for body in ({"routing_key": "a.*", "arguments": {}}, {"routing_key": "", "arguments": {}}):
        management.post(*between, body=body)
    management.post(*between, body={"routing_key": "b", "arguments": {"x": 1}})
    bound = management.get(*between)
    assert sorted(it["routing_key"] for it in bound) == ["", "a.*", "b"]
    assert {(it["source"], it["destination"], it["destination_type"], it["vhost"]) for it in bound} == {(name, name, "queue", ROOT)}
    keys = {it["routing_key"]: it["properties_key"] for it in bound}
    assert (keys["a.*"], keys[""]) == ("a.%2A", "~") and keys["b"].startswith("b~")
    of_queue = management.get("queues", ROOT, name, "bindings")
    assert len(of_queue) == 4 and {"", name} == {it["source"] for it in of_queue}
    assert len(management.get("exchanges", ROOT, name, "bindings", "source")) == 3
    assert management.get(*between, keys["b"])["arguments"] == {"x": 1}
    channel.basic_publish(name, "a.b", b"routed")
    eventually(lambda: channel.queue_declare(name, passive=True).method.message_count == 1, what="it is there")
    for key in keys.values():
        assert management.delete(*between, key) == 204
    assert management.get(*between) == []
    with pytest.raises(Refused, match="404"):
        management.delete(*between, "a.*")
    management.post("bindings", ROOT, "e", "amq.fanout", "e", name, body={"routing_key": "k"})
    (to_exchange,) = management.get("exchanges", ROOT, name, "bindings", "destination")
    assert (to_exchange["source"], to_exchange["destination_type"]) == ("amq.fanout", "exchange")
    with pytest.raises(Refused, match="404"):
        management.post("bindings", ROOT, "e", name, "q", f"{name}.no", body={"routing_key": "k"})
    assert management.delete("exchanges", ROOT, name) == 204
    with pytest.raises(Refused, match="404"):
        management.get("exchanges", ROOT, name)
    channel.queue_delete(name)


def test_definitions_are_taken_over(management, channel, name):
    channel.exchange_declare(name, "headers", durable=True)
    channel.queue_declare(name, durable=True, arguments={"x-message-ttl": 60_000})
    channel.queue_bind(name, name, "k", arguments={"x-match": "any", "n": 1})
    all_of = management.get("definitions")
    assert {"vhosts", "users", "queues", "exchanges", "bindings", "policies"} <= all_of.keys()
    mine = lambda kind, key="name": [it for it in all_of[kind] if it[key] == name]
    document = {
        "vhosts": [{"name": ROOT}],
        "queues": mine("queues"),
        "exchanges": mine("exchanges"),
        "bindings": mine("bindings", "source"),
    }
    assert [len(it) for it in document.values()] == [1, 1, 1, 1]
    channel.queue_delete(name)
    channel.exchange_delete(name)
    management.post("definitions", body=document)
    channel.queue_declare(name, durable=True, arguments={"x-message-ttl": 60_000})
    channel.exchange_declare(name, "headers", durable=True)
    (bound,) = management.get("bindings", ROOT, "e", name, "q", name)
    assert (bound["routing_key"], bound["arguments"]) == ("k", {"x-match": "any", "n": 1})
    channel.queue_delete(name)
    channel.exchange_delete(name)


def test_who_is_connected(management, connect, name):
    channel = connect().channel(channel_number=5)
    channel.queue_declare(name, exclusive=True)
    channel.basic_qos(prefetch_count=7)
    consume(channel, name, consumer_tag=f"{name}.tag")
    mine = lambda: [it for it in management.get("consumers") if it["consumer_tag"] == f"{name}.tag"]
    (consumer,) = eventually(mine, what="the consumer is listed")
    assert (consumer["queue"]["name"], consumer["ack_required"], consumer["exclusive"]) == (name, True, False)
    assert mine() and management.get("consumers", ROOT)
    connections = eventually(lambda: management.get("connections"), what="the connection is listed")
    assert {it["vhost"] for it in connections} == {ROOT} and {it["user"] for it in connections} == {"guest"}
    numbers = lambda: {it["number"] for it in management.get("channels")}
    eventually(lambda: 5 in numbers(), what="the channel is listed")
    queue = eventually(lambda: management.get("queues", ROOT, name), what="the queue is there")
    assert queue["exclusive"] is True


def test_lists_are_had_page_by_page(management, channel, name):
    names = [f"{name}.{which}" for which in ("B", "a", "C", "d", "e")]
    for queue in names:
        channel.queue_declare(queue, durable=True, arguments={"x-max-length": names.index(queue)})
    page = lambda *parts, **query: management.get(*(parts or ("queues",)), name=name, columns="name", **query)
    for parts in [("queues",), ("queues", ROOT)]:
        first = page(*parts, page=1, page_size=2)
        assert first.pop("total_count") >= 5
        items = [{"name": queue} for queue in sorted(names)[:2]]
        assert first == {"items": items, "page": 1, "page_size": 2, "page_count": 3, "item_count": 2, "filtered_count": 5}
        last = page(*parts, page=3, page_size=2)
        assert (last["items"], last["item_count"]) == ([{"name": sorted(names)[4]}], 1)
    shown = lambda answer: [it["name"] for it in answer["items"]]
    assert shown(page(page=1)) == sorted(names)
    assert page(page=1)["page_size"] == 100
    assert shown(page(page=1, sort="name", sort_reverse="true")) == sorted(names, reverse=True)
    assert shown(page(page=1, page_size=3, sort="arguments.x-max-length")) == names[:3]
    assert shown(management.get("queues", page=1, name=f"{name}.A", columns="name")) == [f"{name}.a"], "as in RabbitMQ, cases are one"
    matching = lambda pattern: shown(management.get("queues", page=1, name=pattern, use_regex="true", columns="name"))
    assert matching(f"^{name}.[bc]$") == [f"{name}.B", f"{name}.C"]
    assert matching(f"^{name[1:]}") == []
    empty = page(page=1, use_regex="true") | management.get("queues", page=1, name=f"{name}.nothing")
    assert (empty["items"], empty["page_count"], empty["filtered_count"]) == ([], 0, 0)
    for query, error in [
        ({"page": 0}, "Invalid pagination parameters: page number 0, page size undefined"),
        ({"page": -1, "page_size": 5}, "Invalid pagination parameters: page number -1, page size 5"),
        ({"page": 1, "page_size": 0}, "Invalid pagination parameters"),
        ({"page": 1, "page_size": 501}, "Invalid pagination parameters"),
        ({"page": "x"}, "Pagination parameters are invalid"),
        ({"page": 1, "page_size": "x"}, "Pagination parameters are invalid"),
        ({"page": 1, "name": "(", "use_regex": "true"}, "Pagination parameters are invalid"),
        ({"page": 2, "name": name}, "Page out of range, page: 2 page size: 100, len: 5"),
    ]:
        with pytest.raises(Refused) as told:
            management.get("queues", **query)
        assert (told.value.status, error in told.value.reason) == (400, True), (query, told.value)
    # Without a page, a name is not looked at.
    assert len(management.get("exchanges", name="amq.direct")) > 1
    assert shown(management.get("exchanges", ROOT, page=1, name="DIRECT", columns="name,type")) == ["amq.direct"]
    assert management.get("exchanges", ROOT, page=1, name="direct", columns="type")["items"] == [{"type": "direct"}]
    for queue in names:
        channel.queue_delete(queue)


def test_a_stream_is_a_queue_of_its_type(management, channel, name):
    arguments = {"x-queue-type": "stream", "x-max-age": "7D"}
    body = {"durable": True, "auto_delete": False, "arguments": arguments}
    assert management.put("queues", ROOT, name, body=body) == 201
    assert management.put("queues", ROOT, name, body=body) == 204
    channel.confirm_delivery()
    channel.queue_bind(name, "amq.topic", "of.streams")
    channel.basic_publish("amq.topic", "of.streams", b"x", mandatory=True)
    channel.basic_publish("", name, b"y", mandatory=True)
    shown = lambda: management.get("queues", ROOT, name)
    assert (shown()["type"], shown()["durable"], shown()["arguments"]) == ("stream", True, arguments)
    eventually(lambda: shown().get("messages") == 2, what="both are counted")
    assert [it["type"] for it in management.get("queues", ROOT) if it["name"] == name] == ["stream"]
    assert {it["source"] for it in management.get("queues", ROOT, name, "bindings")} == {"", "amq.topic"}
    document = management.get("definitions")
    mine = {kind: [it for it in document[kind] if name in (it.get("name"), it.get("destination"))] for kind in ("queues", "bindings")}
    assert [it["arguments"] for it in mine["queues"]] == [arguments] and len(mine["bindings"]) == 1
    with pytest.raises(Refused):
        management.post("queues", ROOT, name, "get", body={"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"})
    assert management.delete("queues", ROOT, name) == 204
    with pytest.raises(Refused, match="404"):
        shown()
    management.post("definitions", body=mine)
    assert shown()["type"] == "stream"
    assert management.delete("queues", ROOT, name) == 204


def test_columns_are_all_that_is_shown(management, channel, name):
    channel.queue_declare(name, durable=True, arguments={"x-max-length": 3})
    assert management.get("queues", ROOT, name, columns="name,durable,nothing") == {"name": name, "durable": True}
    assert {"name": name, "vhost": ROOT} in management.get("queues", columns="vhost,name")
    assert management.get("overview", columns="object_totals.queues").keys() == {"object_totals"}
    assert "queues" in management.get("overview", columns="object_totals.queues")["object_totals"]
    assert {"source": "", "destination": name} in management.get("bindings", columns="source,destination")
    assert management.get("vhosts", columns="name", sort="name", name="x", page=1)["items"] == []
    channel.queue_delete(name)


def test_who_supervises_asks_for_listeners(management, amqp):
    port = int(amqp.rsplit(":", 1)[1])
    assert management.get("health", "checks", "port-listener", str(port)) == {"status": "ok", "port": port}
    for asked in ("amqp", "amqp091", "http"):
        wanted = "amqp" if asked.startswith("amqp") else asked
        assert management.get("health", "checks", "protocol-listener", asked) == {"status": "ok", "protocol": wanted}
    for missing in (("port-listener", "1"), ("protocol-listener", "mqtt")):
        with pytest.raises(Refused, match="503: No active listener"):
            management.get("health", "checks", *missing)
    with pytest.raises(Refused, match="400: Invalid port"):
        management.get("health", "checks", "port-listener", "x")
    with pytest.raises(Refused, match="404"):
        management.get("health", "checks", "nothing")
    listeners = {(it["protocol"], it["port"]) for it in management.get("overview")["listeners"]}
    assert ("amqp", port) in listeners and "http" in {protocol for protocol, _ in listeners}


def test_who_may_do_what(management):
    for path in [
        ("users", "guest", "permissions"), ("permissions",), ("permissions", ROOT, "guest"), ("vhosts", ROOT, "permissions"),
    ]:  # fmt: skip
        told = management.get(*path)
        (told,) = [told] if isinstance(told, dict) else [it for it in told if it["vhost"] == ROOT]
        assert (told["user"], told["vhost"], told["configure"], told["write"], told["read"]) == ("guest", ROOT, ".*", ".*", ".*")
    for path in [
        ("users", "without-permissions"), ("users", "guest", "topic-permissions"), ("vhosts", ROOT, "topic-permissions"),
        ("user-limits",), ("vhost-limits", ROOT), ("topic-permissions",),
    ]:  # fmt: skip
        assert management.get(*path) == [], path
    for path in [
        ("users", "nobody"), ("users", "nobody", "permissions"), ("permissions", ROOT, "nobody"), ("connections", "nothing"),
        ("channels", "nothing"), ("vhosts", "nothing", "permissions"),
    ]:  # fmt: skip
        with pytest.raises(Refused, match="404"):
            management.get(*path)


def test_a_connection_and_a_channel_by_name(management, connect):
    channel = connect().channel(channel_number=3)
    (it,) = eventually(lambda: [it for it in management.get("channels") if it.get("number") == 3], what="it is listed")
    found = management.get("channels", it["name"])
    assert (found["number"], found["vhost"], found["user"]) == (3, ROOT, "guest")
    named = found["connection_details"]["name"]
    assert management.get("connections", named)["name"] == named
    assert named in {it["name"] for it in management.get("connections", "username", "guest")}
    assert management.get("connections", "username", "nobody") == []
    assert found["name"] in {it["name"] for it in management.get("vhosts", ROOT, "channels")}
    channel.close()


def test_two_apis_on_one_listener(server, name):
    """Here alone: requests with credentials are for the one, those without for the other."""
    channel = amqp_connection(server.addresses["amqp"]).channel()
    channel.queue_declare(name, durable=True)
    channel.confirm_delivery()
    channel.basic_publish("", name, b"x")
    assert f'"name":"{name}"' in server.get(f"/api/queues/{name}").replace(" ", "")
    management = Management(server.admin)
    assert management.get("queues", ROOT, name)["messages"] == 1
    # What the one calls purging is the name of a queue to the other.
    for other in ("purge", "replay"):
        assert management.put("queues", ROOT, other) in (201, 204)
        assert management.get("queues", ROOT, other)["name"] == other
        management.delete("queues", ROOT, other)
    with pytest.raises(Refused, match="400"):
        management.post("definitions", body={"policies": [{"name": "p"}]})
    with pytest.raises(Refused, match="400"):
        management.put("permissions", ROOT, "guest", body={"configure": "", "write": ".*", "read": ".*"})
    with pytest.raises(Refused, match="400"):
        management.call("PUT", path_of("queues", ROOT, name), body=["no object"])
    assert get_all(channel, name) == [b"x"]


def test_what_is_answered_is_so(server, name):
    """Here alone, because RabbitMQ shows what it has counted every few seconds."""
    connection = amqp_connection(server.addresses["amqp"])
    management = Management(server.admin)
    channel, other = connection.channel(3), connection.channel(7)
    numbers = lambda: {it["number"] for it in management.get("channels")}
    assert {3, 7} <= numbers()
    other.close()
    assert 3 in numbers() and 7 not in numbers()
    before = management.get("overview")["queue_totals"]
    channel.queue_declare(name)
    channel.confirm_delivery()
    for _ in range(3):
        channel.basic_publish("", name, b"x", mandatory=True)
    channel.basic_get(name)
    after = management.get("overview")["queue_totals"]
    more = {"messages": 3, "messages_ready": 2, "messages_unacknowledged": 1}
    assert after == {key: before[key] + count for key, count in more.items()}
    channel.queue_delete(name)


def test_the_test_whether_it_is_alive_passes_a_message(server, name):
    """Here alone, because of the figures that it is seen by."""
    management = Management(server.admin)
    passed = lambda: [server.metric(f"duolog_amqp_messages_{way}_total") for way in ("in", "out")]
    management.put("vhosts", name)
    before = passed()
    for _ in range(2):
        assert management.get("aliveness-test", name) == {"status": "ok"}
    assert passed() == [count + 2 for count in before]
    # Somebody else takes what it publishes.
    channel = amqp_connection(server.addresses["amqp"], virtual_host=name).channel()
    channel.queue_delete("aliveness-test")
    channel.queue_declare("aliveness-test")
    consume(channel, "aliveness-test")
    with pytest.raises(Refused, match="503.*does not come out of it"):
        management.get("aliveness-test", name)
    management.delete("vhosts", name)
    with pytest.raises(Refused, match="404"):
        management.get("aliveness-test", name)

"""RabbitMQ's policies and operator policies: what operators say of queues and exchanges by patterns of their names.

Every scenario but those of `server` and `fresh` runs against a real RabbitMQ too, where one is installed: what passes only here is a
mistake of the test. RabbitMQ applies policies a moment after it has answered, so the tests wait for what they make of a queue."""

import json
import threading

import pika
import pytest

from amqp_raw import closes_channel, get_all
from conftest import amqp_connection
from management import Management, Refused
from test_amqp_policies import arrives, publish, ready, refused
from waits import eventually

pytestmark = pytest.mark.timeout(120)
ROOT = "/"
KINDS = ("policies", "operator-policies")


@pytest.fixture
def management(api):
    return Management(api)


@pytest.fixture
def put(management, name):
    """Puts a policy for names that begin as those of the test do; it goes with the test."""
    made = []

    def put(which, definition, pattern=None, kind="policies", **more):
        made.append((kind, f"{name}.{which}"))
        pattern = f"^{name}" if pattern is None else pattern
        return management.put(kind, ROOT, f"{name}.{which}", body={"pattern": pattern, "definition": definition, **more})

    yield put
    for kind, policy in made:
        try:
            management.delete(kind, ROOT, policy)
        except Refused:
            pass


@pytest.fixture
def clear(management, name):
    return lambda which, kind="policies": management.delete(kind, ROOT, f"{name}.{which}")


@pytest.fixture
def declare(channel, name):
    """Declares a queue, which goes with the test."""
    made = []

    def declare(which="q", durable=False, **arguments):
        queue = f"{name}.{which}"
        made.append(queue)
        named = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
        channel.queue_declare(queue, durable=durable, arguments=named)
        channel.confirm_delivery()
        return queue

    yield declare
    for queue in made:
        channel.connection.channel().queue_delete(queue)


def in_force(management, queue):
    """What holds for a queue; RabbitMQ tells it every few seconds."""
    it = management.get("queues", ROOT, queue)
    return it.get("policy"), it.get("operator_policy"), it.get("effective_policy_definition")


def eventually_in_force(management, queue, *expected):
    eventually(lambda: in_force(management, queue) == expected, what=f"{expected} holds for {queue}")


def holds(channel, queue, count, of=5):
    """Of what is published to an empty queue so many are left, the latest."""
    bodies = [b"%d" % number for number in range(of)]

    def is_so():
        channel.queue_purge(queue)
        publish(channel, queue, *bodies)
        return get_all(channel, queue) == bodies[of - count :]

    eventually(is_so, what=f"{queue} holds {count}")


# Which policy holds


def test_a_policy_is_put_listed_replaced_and_taken_away(management, put, clear, name):
    assert put("p", {"max-length": 3}) == 201
    shown = {"vhost": ROOT, "name": f"{name}.p", "pattern": f"^{name}", "definition": {"max-length": 3}}
    first = {**shown, "apply-to": "all", "priority": 0}
    assert management.get("policies", ROOT, f"{name}.p") == first
    assert first in management.get("policies") and first in management.get("policies", ROOT)
    assert put("p", {"max-length": 4}, priority=-2, **{"apply-to": "queues"}) == 204
    second = {**shown, "definition": {"max-length": 4}, "apply-to": "queues", "priority": -2}
    assert management.get("policies", ROOT, f"{name}.p") == second
    assert put("p", {"max-length": 9}, kind="operator-policies") == 201
    operators = {**first, "definition": {"max-length": 9}}
    assert management.get("operator-policies", ROOT, f"{name}.p") == operators
    assert operators in management.get("operator-policies") and operators in management.get("operator-policies", ROOT)
    value = {key: operators[key] for key in ("pattern", "definition", "apply-to", "priority")}
    parameter = {"component": "operator_policy", "vhost": ROOT, "name": f"{name}.p", "value": value}
    assert parameter in management.get("parameters")
    assert management.get("policies", ROOT, f"{name}.p") == second, "they are of two kinds"
    for kind in KINDS:
        assert clear("p", kind) == 204
        for call in (management.get, management.delete):
            with pytest.raises(Refused, match="404"):
                call(kind, ROOT, f"{name}.p")
        with pytest.raises(Refused, match="404"):
            management.get(kind, f"{name}.vhost")
        with pytest.raises(Refused, match="404"):
            management.put(kind, f"{name}.vhost", "p", body={"pattern": "", "definition": {"max-length": 1}})


def test_it_holds_for_queues_declared_before_and_after(channel, put, clear, declare):
    before = declare("before")
    publish(channel, before, *[b"%d" % number for number in range(5)])
    assert ready(channel, before) == 5
    put("p", {"max-length": 2})
    eventually(lambda: ready(channel, before) == 2, what="the oldest leave")
    assert get_all(channel, before) == [b"3", b"4"]
    after = declare("after")
    for queue in (before, after):
        holds(channel, queue, 2)
    put("p", {"max-length": 1})
    for queue in (before, after):
        holds(channel, queue, 1)
    clear("p")
    for queue in (before, after):
        holds(channel, queue, 5)


def test_the_one_with_the_highest_priority_holds_alone(channel, management, put, clear, declare, name):
    queue = declare()
    put("low", {"max-length": 1, "message-ttl": 600_000}, priority=1)
    put("high", {"max-length": 3}, priority=2)
    put("other", {"max-length": 2}, pattern=f"^{name}.other", priority=9)
    put("exchanges", {"max-length": 2}, priority=9, **{"apply-to": "exchanges"})
    holds(channel, queue, 3)
    eventually_in_force(management, queue, f"{name}.high", None, {"max-length": 3})
    clear("high")
    holds(channel, queue, 1)
    eventually_in_force(management, queue, f"{name}.low", None, {"max-length": 1, "message-ttl": 600_000})
    clear("low")
    holds(channel, queue, 5)
    eventually_in_force(management, queue, None, None, {})


@pytest.mark.parametrize(
    "pattern, holds_for", [("{}.a$", "a"), ("(?!{}.a)", None), ("^(?!{}.a).*", "b"), (r"^{}\.[^a]$", "b"), (r"{}\.(a|c)", "a")]
)
def test_a_pattern_is_looked_for_in_the_name(channel, put, declare, name, pattern, holds_for, kind):
    if holds_for is None:
        if kind == "duolog":
            with pytest.raises(Refused, match="(?s)400.*look-around"):
                put("p", {"max-length": 1}, pattern=pattern.format(name))
        return
    queues = {which: declare(which) for which in ("a", "b")}
    put("p", {"max-length": 1}, pattern=pattern.format(name))
    for which, queue in queues.items():
        holds(channel, queue, 1 if which == holds_for else 5)


# What policies and declarations make together


def test_of_limits_the_lowest_holds_of_policy_operators_and_arguments(channel, management, put, clear, declare, name):
    wide, narrow = declare("wide", max_length=9), declare("narrow", max_length=2)
    put("p", {"max-length": 4})
    holds(channel, wide, 4)
    holds(channel, narrow, 2)
    put("o", {"max-length": 3}, kind="operator-policies")
    holds(channel, wide, 3)
    holds(channel, narrow, 2)
    eventually_in_force(management, wide, f"{name}.p", f"{name}.o", {"max-length": 3})
    put("o", {"max-length": 7}, kind="operator-policies")
    holds(channel, wide, 4)
    eventually_in_force(management, wide, f"{name}.p", f"{name}.o", {"max-length": 4})
    clear("p")
    holds(channel, wide, 7, of=12)
    clear("o", "operator-policies")
    holds(channel, wide, 9, of=12)
    holds(channel, narrow, 2)


def test_it_stays_declared_as_it_was(channel, put, declare, name):
    put("p", {"max-length": 2, "message-ttl": 600_000})
    queue = declare(max_length=4)
    channel.queue_declare(queue, arguments={"x-max-length": 4})
    with closes_channel(406):
        channel.connection.channel().queue_declare(queue, arguments={"x-max-length": 2})


def test_what_a_declaration_says_besides_limits_goes_before_policies(channel, put, declare, dead, name):
    put("p", {
        "dead-letter-exchange": f"{name}.nowhere", "dead-letter-routing-key": "other", "overflow": "reject-publish", "max-length": 1,
    })  # fmt: skip
    queue = declare(dead_letter_exchange=dead, dead_letter_routing_key="own", overflow="drop-head")
    publish(channel, queue, b"0", b"1")
    method, _, body = arrives(channel, dead)
    assert (method.exchange, method.routing_key, body) == (dead, "own", b"0")
    # The one by the declaration, the other by the policy.
    half = declare("half", dead_letter_exchange=dead)
    assert [refused(channel, half, b"%d" % number) for number in range(2)] == [False, True]
    channel.basic_reject(channel.basic_get(half)[0].delivery_tag, requeue=False)
    method, _, body = arrives(channel, dead)
    assert (method.routing_key, body) == ("other", b"0")


@pytest.fixture
def dead(channel, name):
    """A queue behind a fanout exchange, that no pattern of the tests finds."""
    dead = f"dead.{name}"
    channel.exchange_declare(dead, "fanout")
    channel.queue_declare(dead)
    channel.queue_bind(dead, dead)
    yield dead
    channel.connection.channel().queue_delete(dead)
    channel.connection.channel().exchange_delete(dead)


def test_dead_letters_go_where_a_policy_says(channel, put, clear, declare, dead):
    queue = declare()

    def rejected(body):
        publish(channel, queue, body)
        channel.basic_reject(channel.basic_get(queue)[0].delivery_tag, requeue=False)

    rejected(b"before")
    put("p", {"dead-letter-exchange": dead, "dead-letter-routing-key": "late"})

    def comes():
        rejected(b"now")
        return ready(channel, dead) > 0

    eventually(comes, what="what is rejected goes to the exchange")
    method, properties, body = arrives(channel, dead)
    assert (method.routing_key, body) == ("late", b"now")
    assert {key: properties.headers["x-death"][0][key] for key in ("queue", "reason")} == {"queue": queue, "reason": "rejected"}
    clear("p")

    def goes_nowhere():
        channel.queue_purge(dead)
        rejected(b"after")
        return ready(channel, dead) == 0

    eventually(goes_nowhere, what="what is rejected is dropped")


def test_messages_expire_as_a_policy_says(channel, management, put, declare, dead, name, kind):
    queue, brief = declare(), declare("brief", message_ttl=1)
    publish(channel, queue, b"waits")
    put("p", {"message-ttl": 50, "dead-letter-exchange": dead})
    if kind == "duolog":
        # RabbitMQ counts for a message what holds when it comes.
        assert arrives(channel, dead)[2] == b"waits"
    for it in (queue, brief, declare("later")):
        eventually_in_force(management, it, f"{name}.p", None, {"message-ttl": 50, "dead-letter-exchange": dead})
        channel.queue_purge(it)
        publish(channel, it, it.encode())
        assert arrives(channel, dead)[2] == it.encode()


def test_operators_bound_times_to_live_too(channel, management, put, declare, name):
    queue = declare(message_ttl=3_600_000)
    put("p", {"message-ttl": 600_000})
    put("o", {"message-ttl": 30}, kind="operator-policies")
    eventually_in_force(management, queue, f"{name}.p", f"{name}.o", {"message-ttl": 30})
    publish(channel, queue, b"x")
    eventually(lambda: ready(channel, queue) == 0, what="it expires")


def test_a_queue_goes_that_nobody_uses_for_as_long_as_a_policy_says(connect, put, declare):
    queues = [declare("before")]
    put("p", {"expires": 300})
    queues.append(declare("after"))
    queues.append(declare("argument", expires=3_600_000))
    for queue in queues:

        def is_gone():
            try:
                connect().channel().queue_declare(queue, passive=True)
            except pika.exceptions.ChannelClosedByBroker as closed:
                return closed.reply_code == 404
            # Looked at, it is used: only now and then.
            connect().process_data_events(1.5)
            return False

        eventually(is_gone, what=f"{queue} goes")


def test_a_queue_stays_once_its_policy_is_gone(connect, channel, put, clear, declare):
    queue, other = declare(), declare("other")
    put("p", {"expires": 2_000})
    clear("p")
    put("q", {"expires": 100}, pattern=f"^{other}$")
    # Both would have had their time.
    eventually(lambda: not_there(connect, other), what="the other goes", timeout_s=60)
    connect().process_data_events(2.5)
    channel.queue_declare(queue, passive=True)


def not_there(connect, queue):
    connection = connect()
    connection.process_data_events(1.2)
    try:
        connection.channel().queue_declare(queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker as closed:
        return closed.reply_code == 404
    return False


def test_bytes_and_refusals_by_policy(channel, put, declare):
    queue = declare()
    put("p", {"max-length-bytes": 30, "overflow": "reject-publish"})

    def refuses():
        channel.queue_purge(queue)
        return [refused(channel, queue, b"x" * 10) for _ in range(4)] == [False] * 3 + [True]

    eventually(refuses, what="it refuses what is too much")


def test_deliveries_of_a_quorum_queue_are_limited_by_policy(channel, put, declare, dead):
    put("p", {"delivery-limit": 2, "dead-letter-exchange": dead})
    queue = declare("quorum", durable=True, queue_type="quorum")
    classic = declare("classic")
    for it in (queue, classic):
        publish(channel, it, b"x")
    for _ in range(3):
        method = eventually(lambda: channel.basic_get(queue)[0], what="it comes back")
        channel.basic_nack(method.delivery_tag)
    assert channel.basic_get(queue)[0] is None
    assert arrives(channel, dead)[2] == b"x"
    # As there, that of a classic queue is not counted.
    for _ in range(5):
        channel.basic_nack(eventually(lambda: channel.basic_get(classic)[0], what="it comes back").delivery_tag)
    assert get_all(channel, classic) == [b"x"]


def test_what_an_exchange_leads_nowhere_goes_where_a_policy_says(channel, management, put, clear, dead, name):
    before, after, own = (f"{name}.{which}" for which in ("before", "after", "own"))
    channel.exchange_declare(before, "direct")
    put("p", {"alternate-exchange": dead}, **{"apply-to": "exchanges"})
    channel.exchange_declare(after, "direct")
    channel.exchange_declare(own, "direct", arguments={"alternate-exchange": f"{name}.nowhere"})

    def comes(exchange):
        channel.basic_publish(exchange, "k", exchange.encode())
        return ready(channel, dead) > 0

    for exchange in (before, after):
        eventually(lambda: comes(exchange), what="what it leads nowhere comes")
        assert set(get_all(channel, dead)) == {exchange.encode()}
        assert management.get("exchanges", ROOT, exchange)["policy"] == f"{name}.p"
        channel.exchange_declare(exchange, "direct")
    assert not comes(own), "its own goes before"
    clear("p")
    for exchange in (before, after):

        def is_lost():
            channel.queue_purge(dead)
            return not comes(exchange)

        eventually(is_lost, what="what it leads nowhere is lost")
        assert management.get("exchanges", ROOT, exchange).get("policy") is None
    for exchange in (before, after, own):
        channel.exchange_delete(exchange)


def test_exclusive_queues_and_those_that_the_server_names_are_found_too(channel, put, name):
    put("p", {"max-length": 1}, pattern=f"^(amq\\.gen-|{name})", **{"apply-to": "queues"})
    channel.confirm_delivery()
    for queue in ("", f"{name}.exclusive"):
        queue = channel.queue_declare(queue, exclusive=True).method.queue
        holds(channel, queue, 1)


def test_a_virtual_host_has_its_own_and_takes_them_along(management, connect, name):
    policy = {"pattern": "", "definition": {"max-length": 1}}
    for _ in range(2):
        management.put("vhosts", name)
        management.put("permissions", name, "guest", body={"configure": ".*", "write": ".*", "read": ".*"})
        for kind in KINDS:
            assert management.get(kind, name) == []
        channel = connect(virtual_host=name).channel()
        channel.queue_declare(name)
        channel.confirm_delivery()
        holds(channel, name, 5)
        for kind in KINDS:
            assert management.put(kind, name, "p", body=policy) == 201
        holds(channel, name, 1)
        channel.connection.close()
        management.delete("vhosts", name)
        assert name not in {it["vhost"] for kind in KINDS for it in management.get(kind)}


def test_definitions_have_them(management, channel, put, clear, declare, name):
    put("p", {"max-length": 3, "dead-letter-exchange": "x"}, priority=2)
    put("o", {"max-length": 2}, kind="operator-policies")
    all_of = management.get("definitions")
    mine = lambda kind: [it for it in all_of[kind] if it["name"].startswith(name)]
    document = {"policies": mine("policies"), "parameters": mine("parameters")}
    assert [len(it) for it in document.values()] == [1, 1]
    shown = [management.get(kind, ROOT) for kind in KINDS]
    clear("p")
    clear("o", "operator-policies")
    management.post("definitions", body=document)
    assert [management.get(kind, ROOT) for kind in KINDS] == shown
    holds(channel, declare(), 2)


# What is refused

VALUES = [
    ({"max-length": -1}, "-1 is not a valid maximum length"),
    ({"max-length": "3"}, "is not a valid maximum length"),
    ({"max-length": 1.5}, "1.5 is not a valid maximum length"),
    ({"max-length-bytes": -1}, "-1 is not a valid maximum length in bytes"),
    ({"message-ttl": -1}, "-1 is not a valid message TTL"),
    ({"message-ttl": "soon"}, "is not a valid message TTL"),
    ({"expires": 0}, "0 is not a valid queue expiry"),
    ({"delivery-limit": -1}, "-1 is not a valid delivery limit"),
    ({"max-length": -1, "unheard-of": 1}, "-1 is not a valid maximum length"),
    ({"unheard-of": 1}, "not recognised policy settings"),
    ({"max-priority": 3}, "not recognised policy settings"),
    ({"federation-upstream-set": "all"}, "not recognised policy settings"),
    ({}, "no policy provided"),
]
# Operators may set limits alone.
SETTINGS = [
    ({"overflow": "explode"}, "is not a valid overflow value"),
    ({"overflow": 1}, "1 is not a valid overflow value"),
    ({"dead-letter-exchange": 1}, "1 is not a valid dead letter exchange name"),
    ({"dead-letter-routing-key": 1}, "1 is not a valid dead letter routing key"),
    ({"alternate-exchange": 1}, "1 is not a valid alternate exchange name"),
    ({"queue-mode": "quick"}, "is not a valid queue-mode value"),
    ({"ha-mode": "some"}, "is not a valid ha-mode value"),
    ({"max-age": "1X"}, "is not a valid max age"),
]


@pytest.mark.parametrize("definition, why", VALUES + SETTINGS, ids=lambda it: str(it)[:40])
def test_a_definition_that_makes_no_sense_is_refused_and_nothing_is_changed(management, put, name, definition, why):
    for kind in KINDS:
        put("p", {"max-length": 7}, kind=kind)
        before = management.get(kind, ROOT, f"{name}.p")
        is_for_users_alone = kind == "operator-policies" and any(definition == it for it, _ in SETTINGS)
        with pytest.raises(Refused) as told:
            put("p", definition, kind=kind)
        assert told.value.status == 400
        assert ("not recognised policy settings" if is_for_users_alone else why) in told.value.reason
        assert management.get(kind, ROOT, f"{name}.p") == before


@pytest.mark.parametrize("body, why", [
    ({}, "[{key_missing,pattern},{key_missing,definition}]"),
    ({"pattern": "a"}, "[{key_missing,definition}]"),
    ({"definition": {"max-length": 1}}, "[{key_missing,pattern}]"),
    ({"pattern": "(", "definition": {"max-length": 1}}, "pattern should be regular expression but is invalid"),
    ({"pattern": "*", "definition": {"max-length": 1}}, "pattern should be regular expression but is invalid"),
    ({"pattern": 5, "definition": {"max-length": 1}}, "pattern should be a"),
    ({"pattern": "a", "definition": {"max-length": 1}, "priority": "x"}, "priority should be a number, actually was"),
    ({"pattern": "a", "definition": {"max-length": 1}, "apply-to": "x"}, "unrecognised"),
])  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused(management, name, body, why):
    for kind in KINDS:
        with pytest.raises(Refused) as told:
            management.put(kind, ROOT, name, body=body)
        assert (told.value.status, why in told.value.reason) == (400, True), told.value.reason
        with pytest.raises(Refused, match="404"):
            management.get(kind, ROOT, name)


@pytest.mark.parametrize("definition", [
    {"ha-mode": "all"}, {"ha-mode": "exactly", "ha-params": 2, "ha-sync-mode": "automatic"}, {"queue-mode": "lazy"},
    {"queue-master-locator": "min-masters"}, {"max-in-memory-length": 5}, {"dead-letter-strategy": "at-least-once"},
    {"queue-leader-locator": "balanced"},
])  # fmt: skip
def test_what_only_a_cluster_would_do_is_kept_and_changes_nothing(channel, management, put, declare, name, definition):
    queue = declare()
    assert put("p", definition, **{"apply-to": "queues"}) == 201
    assert management.get("policies", ROOT, f"{name}.p")["definition"] == definition
    holds(channel, queue, 5)


# Here alone


def test_policies_hold_through_a_kill(fresh, name):
    management = Management(fresh.admin)
    channel = amqp_connection(fresh.addresses["amqp"]).channel()
    for queue in ("before", "after"):
        if queue == "after":
            put = {"pattern": "^(before|after)$", "definition": {"max-length": 2, "expires": 3_600_000}, "priority": 3}
            management.put("policies", ROOT, "p", body=put)
            management.put("operator-policies", ROOT, "o", body={"pattern": "after", "definition": {"max-length": 1}})
        channel.queue_declare(queue, durable=True, arguments={"x-max-length": 3})
    shown = [management.get(*path) for path in [("policies",), ("operator-policies",), ("queues", ROOT, "before"), ("queues", ROOT, "after")]]
    assert [it["policy"] for it in shown[2:]] == ["p", "p"]
    fresh.kill()
    fresh.start()
    assert [management.get(*path) for path in [("policies",), ("operator-policies",), ("queues", ROOT, "before"), ("queues", ROOT, "after")]] == shown
    channel = amqp_connection(fresh.addresses["amqp"]).channel()
    channel.confirm_delivery()
    holds(channel, "before", 2)
    holds(channel, "after", 1)
    management.delete("policies", ROOT, "p")
    management.delete("operator-policies", ROOT, "o")
    fresh.kill()
    fresh.start()
    channel = amqp_connection(fresh.addresses["amqp"]).channel()
    channel.confirm_delivery()
    for queue in ("before", "after"):
        channel.queue_declare(queue, durable=True, arguments={"x-max-length": 3})
        holds(channel, queue, 3)


def test_queues_of_other_protocols_are_left_alone(server, sqs, name):
    management = Management(server.admin)
    url = sqs.create_queue(QueueName=name, Attributes={"MessageRetentionPeriod": "3600"})["QueueUrl"]
    server.cli("queue", "create", f"{name}-cli", "--length-max", "7")
    body = {"pattern": f"^{name}", "definition": {"max-length": 1, "message-ttl": 60_000, "expires": 1}}
    management.put("policies", ROOT, name, body=body)
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["MessageRetentionPeriod"])["Attributes"]
    assert attributes == {"MessageRetentionPeriod": "3600"}
    for queue in (name, f"{name}-cli"):
        shown = management.get("queues", ROOT, queue)
        assert (shown["policy"], shown["effective_policy_definition"]) == (None, {})
    assert '"length_max":7' in server.get(f"/api/queues/{name}-cli").replace(" ", "")
    management.delete("policies", ROOT, name)


def test_what_other_protocols_have_set_of_a_queue_stays(server, sqs, name):
    """A policy changes what it names, and so does its end."""
    channel = amqp_connection(server.addresses["amqp"]).channel()
    channel.queue_declare(name, durable=True)
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77", "MessageRetentionPeriod": "7200"})
    named = ["VisibilityTimeout", "MessageRetentionPeriod"]
    attributes = lambda: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=named)["Attributes"]
    before = attributes()
    management = Management(server.admin)
    management.put("policies", ROOT, name, body={"pattern": f"^{name}$", "definition": {"max-length": 1}})
    assert attributes() == before
    channel.confirm_delivery()
    holds(channel, name, 1)
    management.delete("policies", ROOT, name)
    assert attributes() == before
    holds(channel, name, 5)


def test_declarations_and_policies_at_the_same_time_agree_in_the_end(server, name):
    """Whoever comes last, all queues have what the last policy says."""
    management, errors = Management(server.admin), []
    begun = threading.Barrier(5)

    def declares(which):
        try:
            channel = amqp_connection(server.addresses["amqp"]).channel()
            begun.wait()
            for number in range(60):
                channel.queue_declare(f"{name}.{which}.{number}", durable=True)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=declares, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    length = 0
    while any(thread.is_alive() for thread in threads):
        length += 1
        body = {"pattern": f"^{name}", "definition": {"max-length": length}}
        management.put("policies" if length % 3 else "operator-policies", ROOT, name, body=body)
        if length % 5 == 0:
            management.delete("policies", ROOT, name)
    for thread in threads:
        thread.join()
    assert not errors
    wanted = {management.get("queues", ROOT, f"{name}.0.0")["effective_policy_definition"].get("max-length")}
    of = lambda: {it["name"]: it["length_max"] for it in listed(server) if it["name"].startswith(name)}
    assert len(of()) == 240 and set(of().values()) == wanted
    for kind in KINDS:
        try:
            management.delete(kind, ROOT, name)
        except Refused as told:
            assert told.status == 404
    assert set(of().values()) == {None}


def listed(server):
    return json.loads(server.get("/api/queues"))


def test_limits_and_bad_documents(server, name):
    management = Management(server.admin)
    long = {"pattern": "a" * 1025, "definition": {"max-length": 1}}
    for body, why in [
        (long, "longer than 1024 bytes"),
        ({"pattern": "a", "definition": {"dead-letter-exchange": "x" * 250}}, "is not a valid dead letter exchange name"),
        ({"pattern": "a", "definition": {"dead-letter-routing-key": "x" * 256}}, "is not a valid dead letter routing key"),
        ({"pattern": "a", "definition": "x"}, "definition should be an object"),
        ({"pattern": "a", "definition": {"max-length": 2**63}}, "is not a valid maximum length"),
        ({"pattern": "(a)\\1", "definition": {"max-length": 1}}, "backreferences are not supported"),
        ({"pattern": "(a{500}){500}", "definition": {"max-length": 1}}, "size limit"),
        (["no object"], "expected a map"),
    ]:
        with pytest.raises(Refused) as told:
            management.put("policies", ROOT, name, body=body)
        assert (told.value.status, why in told.value.reason) == (400, True), told.value.reason
    with pytest.raises(Refused, match="(?s)400.*1 to 249 bytes"):
        management.put("policies", ROOT, "n" * 250, body={"pattern": "a", "definition": {"max-length": 1}})
    vhost = f"{name}.vhost"
    management.put("vhosts", vhost)
    with pytest.raises(Refused, match="(?s)400.*at most 60,000 bytes"):
        for number in range(100):
            body = {"pattern": "a" * 1000, "definition": {"max-length": 1}}
            management.put("policies", vhost, str(number), body=body)
    assert 50 < len(management.get("policies", vhost)) < 60
    management.delete("vhosts", vhost)
    good = {"vhost": ROOT, "name": name, "pattern": "a", "definition": {"max-length": 1}}
    for document, why in [
        ({"policies": [good, {**good, "name": f"{name}.2", "pattern": "("}]}, "invalid"),
        ({"policies": [good], "parameters": [{"component": "shovel", "vhost": ROOT, "name": "s", "value": {}}]}, "shovel"),
    ]:
        with pytest.raises(Refused) as told:
            management.post("definitions", body=document)
        assert (told.value.status, why in told.value.reason) == (400, True), told.value.reason
        with pytest.raises(Refused, match="404"):
            management.get("policies", ROOT, name)


def test_streams_keep_what_the_lesser_of_policy_and_declaration_says(server, name):
    management = Management(server.admin)
    channel = amqp_connection(server.addresses["amqp"]).channel()
    kept = lambda which: [
        json.loads(server.cli("topic", "describe", f"{name}.{which}", "--json").stdout)[key] for key in ("retention_ms", "retention_bytes")
    ]  # fmt: skip
    declare = lambda which, **arguments: channel.queue_declare(
        f"{name}.{which}", durable=True, arguments={"x-queue-type": "stream", **{f"x-{key}": it for key, it in arguments.items()}}
    )  # fmt: skip
    day = 86_400_000
    declare("before", **{"max-age": "2D"})
    server.cli("topic", "create", f"{name}.taken", "--retention", "9d")
    declare("taken")
    put = lambda **definition: management.put(
        "policies", ROOT, name, body={"pattern": f"^{name}", "definition": {key.replace("_", "-"): it for key, it in definition.items()}}
    )  # fmt: skip
    put(max_age="7D", max_length_bytes=1_000_000, max_length=1)
    declare("after", **{"max-length-bytes": 5_000_000})
    assert kept("before") == [2 * day, 1_000_000]
    assert kept("after") == [7 * day, 1_000_000]
    assert kept("taken") == [9 * day, None]
    shown = management.get("queues", ROOT, f"{name}.after")
    assert (shown["policy"], shown["effective_policy_definition"]["max-age"]) == (name, "7D")
    declare("after", **{"max-length-bytes": 5_000_000})
    put(max_age="1D")
    assert kept("before") == [day, None]
    assert kept("after") == [day, 5_000_000]
    # What other queues read outlives the stream, as it was declared.
    server.cli("queue", "create", f"{name}.before")
    channel.queue_delete(f"{name}.before")
    assert kept("before") == [2 * day, None]
    management.delete("policies", ROOT, name)
    assert kept("after") == [None, 5_000_000]
    with pytest.raises(Refused, match="is not a valid max age"):
        put(max_age="7 days")

"""AMQP 0-9-1 with pika: what is declared, where messages go, what is confirmed, what closes what.

Every scenario runs against a real RabbitMQ too, where one is installed: what passes only here is a mistake of the test."""

import socket

import pika
import pika.exceptions
import pytest
from pika import frame, spec

from amqp_raw import Raw, closes_channel, closes_connection, get_all, published
from waits import eventually

pytestmark = pytest.mark.timeout(120)


# Queues


def test_a_queue_is_declared_found_and_deleted(channel, name):
    declared = channel.queue_declare(name, durable=True).method
    assert (declared.queue, declared.message_count, declared.consumer_count) == (name, 0, 0)
    channel.confirm_delivery()
    for body in (b"1", b"2", b"3"):
        channel.basic_publish("", name, body)
    found = channel.queue_declare(name, passive=True).method
    assert (found.message_count, found.consumer_count) == (3, 0)
    assert channel.queue_declare(name, durable=True).method.message_count == 3
    assert channel.queue_delete(name).method.message_count == 3
    assert channel.queue_delete(name).method.message_count == 0
    with closes_channel(404, f"NOT_FOUND - no queue '{name}' in vhost '/'"):
        channel.queue_declare(name, passive=True)


def test_counts_leave_out_what_is_unacknowledged(channel, name):
    channel.queue_declare(name)
    channel.confirm_delivery()
    for body in (b"1", b"2", b"3"):
        channel.basic_publish("", name, body)
    method, _, _ = channel.basic_get(name)
    assert (method.message_count, method.redelivered, method.delivery_tag) == (2, False, 1)
    assert channel.queue_declare(name, passive=True).method.message_count == 2
    assert channel.queue_purge(name).method.message_count == 2
    assert channel.queue_purge(name).method.message_count == 0
    channel.queue_delete(name)


def test_a_queue_is_not_declared_otherwise(connect, name):
    connection = connect()
    connection.channel().queue_declare(name, durable=True, arguments={"x-message-ttl": 60_000})
    arguments = {"x-message-ttl": 60_000}
    others = [
        ("durable", {"durable": False, "arguments": arguments}, "received 'false' but current is 'true'"),
        ("auto_delete", {"auto_delete": True, "arguments": arguments}, "received 'true' but current is 'false'"),
        ("x-message-ttl", {"arguments": {"x-message-ttl": 1}}, "received '1' but current is '60000'"),
        ("x-message-ttl", {}, "received none but current is the value '60000' of type"),
        ("x-dead-letter-exchange", {"arguments": {**arguments, "x-dead-letter-exchange": ""}}, "received"),
    ]
    for argument, options, text in others:
        text = f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{name}' in vhost '/': {text}"
        with closes_channel(406, text):
            connection.channel().queue_declare(name, **{"durable": True, **options})
    connection.channel().queue_declare(name, durable=True, arguments=arguments)
    connection.channel().queue_delete(name)


def test_reserved_names(connect, name):
    connection = connect()
    with closes_channel(403, "ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix 'amq.*'"):
        connection.channel().queue_declare("amq.x")
    with closes_channel(403, "ACCESS_REFUSED - exchange name 'amq.x' contains reserved prefix 'amq.*'"):
        connection.channel().exchange_declare("amq.x")
    with closes_channel(403, "ACCESS_REFUSED"):
        connection.channel().exchange_delete("amq.topic")
    with closes_channel(403, "ACCESS_REFUSED - operation not permitted on the default exchange"):
        connection.channel().exchange_declare("")
    with closes_channel(403, "ACCESS_REFUSED - operation not permitted on the default exchange"):
        connection.channel().exchange_delete("")
    channel = connection.channel()
    channel.queue_declare(name)
    with closes_channel(403, "ACCESS_REFUSED - operation not permitted on the default exchange"):
        channel.queue_bind(name, "", "x")
    connection.channel().queue_delete(name)


def test_the_server_names_queues(connect):
    channel = connect().channel()
    first = channel.queue_declare("", exclusive=True).method.queue
    second = channel.queue_declare("", exclusive=True).method.queue
    assert first != second and first.startswith("amq.gen-") and second.startswith("amq.gen-")
    # No name is the last one.
    channel.queue_bind("", "amq.fanout")
    channel.basic_publish("amq.fanout", "", b"x")
    assert get_all(channel, second) == [b"x"] and get_all(channel, first) == []
    assert channel.queue_declare(first, passive=True).method.queue == first


def test_an_exclusive_queue_is_of_its_connection(connect, name):
    owner, other = connect(), connect()
    owner.channel().queue_declare(name, exclusive=True)
    text = f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{name}' in vhost '/'"
    with closes_channel(405, text):
        other.channel().queue_declare(name, passive=True)
    with closes_channel(405, text):
        other.channel().queue_declare(name, exclusive=True)
    with closes_channel(405, text):
        other.channel().basic_get(name)
    with closes_channel(405, text):
        other.channel().queue_delete(name)
    with closes_channel(405, text):
        owner.channel().queue_declare(name)
    # Anybody may publish to it.
    publisher = other.channel()
    publisher.confirm_delivery()
    publisher.basic_publish("", name, b"x", mandatory=True)
    assert get_all(owner.channel(), name) == [b"x"]
    owner.close()
    with closes_channel(404):
        other.channel().queue_declare(name, passive=True)


def test_an_auto_delete_queue_goes_with_its_last_consumer(connect, name):
    connection = connect()
    channel = connection.channel()
    channel.queue_declare(name, auto_delete=True)
    first = channel.basic_consume(name, lambda *_: None)
    second = channel.basic_consume(name, lambda *_: None)
    assert channel.queue_declare(name, passive=True).method.consumer_count == 2
    channel.basic_cancel(first)
    assert channel.queue_declare(name, passive=True).method.consumer_count == 1
    channel.basic_cancel(second)
    with closes_channel(404):
        channel.queue_declare(name, passive=True)


def test_a_queue_is_deleted_if_empty_or_unused(connect, name):
    connection = connect()
    channel = connection.channel()
    channel.queue_declare(name)
    channel.basic_publish("", name, b"x")
    with closes_channel(406, f"PRECONDITION_FAILED - queue '{name}' in vhost '/' not empty"):
        channel.queue_delete(name, if_empty=True)
    channel = connection.channel()
    tag = channel.basic_consume(name, lambda *_: None)
    with closes_channel(406, f"PRECONDITION_FAILED - queue '{name}' in vhost '/' in use"):
        connection.channel().queue_delete(name, if_unused=True)
    channel.basic_cancel(tag)
    channel.queue_delete(name, if_unused=True)


def test_what_is_unacknowledged_does_not_keep_a_queue(connect, name):
    channel = connect().channel()
    channel.queue_declare(name)
    channel.confirm_delivery()
    channel.basic_publish("", name, b"x")
    channel.basic_get(name)
    assert channel.queue_delete(name, if_empty=True).method.message_count == 0
    # What is left of it can be answered, and is in no queue of that name.
    channel.queue_declare(name, exclusive=True)
    channel.basic_nack(1, requeue=True)
    assert get_all(channel, name) == []


def test_what_a_queue_is_not_declared_with(connect, name):
    connection = connect()
    for arguments in (
        {"x-message-ttl": -1},
        {"x-message-ttl": "soon"},
        {"x-dead-letter-routing-key": "without an exchange"},
        {"x-queue-type": "pile"},
    ):
        with closes_channel(406, "PRECONDITION_FAILED - "):
            connection.channel().queue_declare(name, arguments=arguments)


# Exchanges


def bound(channel, exchange, *keys, arguments=None):
    """A queue of its own for each."""
    queues = []
    for key in keys or [""]:
        queues.append(channel.queue_declare("", exclusive=True).method.queue)
        channel.queue_bind(queues[-1], exchange, key, arguments)
    return queues


def test_direct_and_fanout(channel, name):
    channel.exchange_declare(name, "direct")
    a, b = bound(channel, name, "a", "b")
    channel.queue_bind(a, name, "b")
    channel.queue_bind(a, name, "b")
    for key in ("a", "b", "c", ""):
        channel.basic_publish(name, key, key.encode())
    assert (get_all(channel, a), get_all(channel, b)) == ([b"a", b"b"], [b"b"])
    channel.queue_unbind(a, name, "b")
    channel.queue_unbind(a, name, "never bound")
    channel.basic_publish(name, "b", b"again")
    assert (get_all(channel, a), get_all(channel, b)) == ([], [b"again"])
    (c,) = bound(channel, "amq.fanout", "ignored")
    channel.basic_publish("amq.fanout", "whatever", b"x")
    assert get_all(channel, c) == [b"x"]
    channel.exchange_delete(name)
    assert channel.queue_declare(a, passive=True).method.queue == a


def test_topics(channel, name):
    channel.exchange_declare(name, "topic", durable=True)
    patterns = ["#", "*", "a.*", "a.#", "*.b", "#.b", "a.*.c", "a.#.c", "*.*", "a", ""]
    queues = bound(channel, name, *patterns)
    keys = ["", "a", "b", "a.b", "a.c", "a.b.c", "a.x.y.c", "a..b", ".", "x.b"]
    expected = {
        "#": keys,
        "*": ["a", "b"],
        "a.*": ["a.b", "a.c"],
        "a.#": ["a", "a.b", "a.c", "a.b.c", "a.x.y.c", "a..b"],
        "*.b": ["a.b", "x.b"],
        "#.b": ["b", "a.b", "a..b", "x.b"],
        "a.*.c": ["a.b.c"],
        "a.#.c": ["a.c", "a.b.c", "a.x.y.c"],
        "*.*": ["a.b", "a.c", ".", "x.b"],
        "a": ["a"],
        "": [""],
    }
    for key in keys:
        channel.basic_publish(name, key, key.encode())
    got = {pattern: [it.decode() for it in get_all(channel, queue)] for pattern, queue in zip(patterns, queues, strict=True)}
    assert got == expected
    channel.exchange_delete(name)


def test_headers(channel, name):
    channel.exchange_declare(name, "headers")
    bindings = {
        "all": {"x-match": "all", "a": "1", "n": 5},
        "by default": {"a": "1", "n": 5},
        "any": {"x-match": "any", "a": "1", "n": 5},
        "there": {"x-match": "all", "a": None},
        "nothing": {},
    }
    queues = {what: bound(channel, name, arguments=arguments)[0] for what, arguments in bindings.items()}
    for body, headers in {
        b"both": {"a": "1", "n": 5, "more": True},
        b"one": {"a": "1"},
        b"other": {"a": "2", "n": 5},
        b"none": {"z": "1"},
        b"no table": None,
    }.items():
        channel.basic_publish(name, "", body, pika.BasicProperties(headers=headers))
    got = {what: get_all(channel, queue) for what, queue in queues.items()}
    assert got == {
        "all": [b"both"],
        "by default": [b"both"],
        "any": [b"both", b"one", b"other"],
        "there": [b"both", b"one", b"other"],
        "nothing": [b"both", b"one", b"other", b"none", b"no table"],
    }
    channel.exchange_delete(name)


def test_an_exchange_is_bound_to_another(channel, name):
    source, middle, last = (f"{name}.{it}" for it in ("source", "middle", "last"))
    for exchange, kind in ((source, "topic"), (middle, "fanout"), (last, "direct")):
        channel.exchange_declare(exchange, kind)
    channel.exchange_bind(middle, source, "a.#")
    channel.exchange_bind(last, middle)
    # In a circle: each message goes to a queue once.
    channel.exchange_bind(source, last, "a.x")
    direct, all_of = bound(channel, source, "a.x")[0], bound(channel, last, "a.x")[0]
    channel.queue_bind(direct, last, "a.x")
    for key in ("a.x", "a.y", "b"):
        channel.basic_publish(source, key, key.encode())
    assert (get_all(channel, direct), get_all(channel, all_of)) == ([b"a.x"], [b"a.x"])
    channel.exchange_unbind(middle, source, "a.#")
    channel.basic_publish(source, "a.x", b"2")
    assert (get_all(channel, direct), get_all(channel, all_of)) == ([b"2"], [])
    for exchange in (source, middle, last):
        channel.exchange_delete(exchange)


def test_an_alternate_exchange_takes_what_goes_nowhere(channel, name):
    channel.exchange_declare(f"{name}.rest", "fanout")
    channel.exchange_declare(name, "direct", arguments={"alternate-exchange": f"{name}.rest"})
    (queue,), (rest,) = bound(channel, name, "k"), bound(channel, f"{name}.rest")
    channel.confirm_delivery()
    channel.basic_publish(name, "k", b"k", mandatory=True)
    channel.basic_publish(name, "other", b"other", mandatory=True)
    assert (get_all(channel, queue), get_all(channel, rest)) == ([b"k"], [b"other"])
    channel.exchange_delete(f"{name}.rest")
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish(name, "other", b"other", mandatory=True)
    channel.exchange_delete(name)


def test_an_internal_exchange_takes_from_exchanges_alone(connect, name):
    connection = connect()
    channel = connection.channel()
    channel.exchange_declare(f"{name}.inner", "fanout", internal=True)
    channel.exchange_declare(name, "fanout")
    channel.exchange_bind(f"{name}.inner", name)
    (queue,) = bound(channel, f"{name}.inner")
    channel.basic_publish(name, "", b"x")
    assert get_all(channel, queue) == [b"x"]
    channel.confirm_delivery()
    with closes_channel(403, f"ACCESS_REFUSED - cannot publish to internal exchange '{name}.inner' in vhost '/'"):
        channel.basic_publish(f"{name}.inner", "", b"x")
    channel = connection.channel()
    channel.exchange_delete(f"{name}.inner")
    channel.exchange_delete(name)


def test_exchanges_are_not_declared_otherwise_and_go_when_told(connect, name):
    connection = connect()
    channel = connection.channel()
    channel.exchange_declare(name, "direct")
    channel.exchange_declare(name, "direct")
    channel.exchange_declare(name, passive=True)
    what = f"for exchange '{name}' in vhost '/': "
    with closes_channel(406, f"inequivalent arg 'type' {what}received 'fanout' but current is 'direct'"):
        connection.channel().exchange_declare(name, "fanout")
    with closes_channel(406, f"inequivalent arg 'durable' {what}received 'true' but current is 'false'"):
        connection.channel().exchange_declare(name, "direct", durable=True)
    bound(channel, name, "k")
    with closes_channel(406, f"PRECONDITION_FAILED - exchange '{name}' in vhost '/' in use"):
        connection.channel().exchange_delete(name, if_unused=True)
    channel.exchange_delete(name)
    channel.exchange_delete(name)
    with closes_channel(404, f"NOT_FOUND - no exchange '{name}' in vhost '/'"):
        channel.exchange_declare(name, passive=True)
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    with closes_channel(404, f"NOT_FOUND - no exchange '{name}' in vhost '/'"):
        channel.queue_bind(queue, name, "k")


def test_an_auto_delete_exchange_goes_with_its_last_binding(connect, name):
    channel = connect().channel()
    channel.exchange_declare(name, "direct", auto_delete=True)
    first, second = bound(channel, name, "a", "b")
    channel.queue_unbind(first, name, "a")
    channel.exchange_declare(name, passive=True)
    channel.queue_delete(second)
    with closes_channel(404):
        channel.exchange_declare(name, passive=True)


def test_an_auto_delete_exchange_goes_with_queues_that_go_by_themselves(connect, name):
    connection, owner = connect(), connect()
    channel = connection.channel()
    for what in ("exclusive", "auto"):
        channel.exchange_declare(f"{name}.{what}", "fanout", auto_delete=True)
    bound(owner.channel(), f"{name}.exclusive")
    channel.queue_declare(name, auto_delete=True)
    channel.queue_bind(name, f"{name}.auto")
    channel.basic_cancel(channel.basic_consume(name, print))
    owner.close()

    def is_gone(exchange):
        try:
            connection.channel().exchange_declare(exchange, passive=True).method
        except pika.exceptions.ChannelClosedByBroker as closed:
            return closed.reply_code == 404

    for what in ("exclusive", "auto"):
        eventually(lambda: is_gone(f"{name}.{what}"), what=f"the exchange of the {what} queue goes")


def test_unbinding_what_is_not_there(channel, name):
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_unbind(queue, f"{name}.none", "k")
    channel.queue_unbind(f"{name}.none", "amq.topic", "k")
    channel.exchange_unbind("amq.topic", f"{name}.none", "k")
    with closes_channel(404, f"NOT_FOUND - no queue '{name}.none' in vhost '/'"):
        channel.queue_bind(f"{name}.none", "amq.topic", "k")


def test_bindings_of_headers_are_told_apart_by_their_arguments(channel, name):
    channel.exchange_declare(name, "headers", auto_delete=True)
    (queue,) = bound(channel, name, arguments={"a": "1"})
    channel.queue_bind(queue, name, "", {"b": "1"})
    channel.basic_publish(name, "", b"both", pika.BasicProperties(headers={"a": "1", "b": "1"}))
    assert get_all(channel, queue) == [b"both"]
    channel.queue_unbind(queue, name, "", {"a": "1"})
    for header in ("a", "b"):
        channel.basic_publish(name, "", header.encode(), pika.BasicProperties(headers={header: "1"}))
    assert get_all(channel, queue) == [b"b"]
    # Names that begin so do not count, and any of none is nothing.
    (mute,) = bound(channel, name, arguments={"x-match": "all", "x-a": "1"})
    (none,) = bound(channel, name, arguments={"x-match": "any"})
    channel.basic_publish(name, "", b"x")
    assert (get_all(channel, mute), get_all(channel, none)) == ([b"x"], [])
    with closes_channel(406, "PRECONDITION_FAILED - Invalid x-match field value"):
        channel.queue_bind(queue, name, "", {"x-match": "most"})


def test_copies(channel, name):
    queues = [channel.queue_declare(f"{name}.{it}", exclusive=True).method.queue for it in ("to", "cc", "bcc")]
    headers = {"CC": [queues[1], queues[0]], "BCC": [queues[2]], "h": "v"}
    channel.basic_publish("", queues[0], b"x", pika.BasicProperties(headers=headers))
    for queue in queues:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        assert (body, method.routing_key, method.message_count) == (b"x", queues[0], 0)
        assert properties.headers == {"CC": [queues[1], queues[0]], "h": "v"}


# Publishing


def test_a_mandatory_message_that_goes_nowhere_is_returned(channel, name):
    returned = []
    channel.add_on_return_callback(lambda _, method, properties, body: returned.append((method, properties, body)))
    channel.basic_publish("", name, b"dropped")
    channel.basic_publish("", name, b"back", pika.BasicProperties(message_id="7", headers={"a": 1}), mandatory=True)
    while not returned:
        channel.connection.process_data_events(time_limit=20)
    ((method, properties, body),) = returned
    assert (method.reply_code, method.reply_text, method.exchange, method.routing_key) == (312, "NO_ROUTE", "", name)
    assert (properties.message_id, properties.headers, body) == ("7", {"a": 1}, b"back")


def test_confirms_come_once_and_in_order(amqp, name):
    raw = Raw(amqp).opened(1, 2)
    raw.call(1, spec.Queue.Declare(queue=name, exclusive=True), spec.Queue.DeclareOk)
    raw.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    raw.call(2, spec.Confirm.Select(), spec.Confirm.SelectOk)
    count, returned = 500, 0
    frames = []
    for i in range(count):
        # Every tenth goes nowhere, and is returned before it is confirmed.
        key, mandatory = (f"{name}.nobody", True) if i % 10 == 9 else (name, False)
        frames += published(1, key, b"%d" % i, mandatory=mandatory)
        frames += published(2, name, b"%d" % i)
    raw.send_frames(*frames)
    confirmed = {1: [], 2: []}
    awaited = {1: set(range(1, count + 1)), 2: set(range(1, count + 1))}
    open_return = None
    while awaited[1] or awaited[2]:
        it = raw.frame()
        if isinstance(it, frame.Body):
            open_return = int(it.fragment) + 1
            assert open_return in awaited[1], "confirmed before it was returned"
            returned += 1
        elif isinstance(it, frame.Method) and isinstance(it.method, spec.Basic.Ack):
            tag, channel = it.method.delivery_tag, it.channel_number
            tags = {t for t in awaited[channel] if t <= tag} if it.method.multiple else {tag}
            assert tags and tags <= awaited[channel], f"{tag} was confirmed twice"
            awaited[channel] -= tags
            confirmed[channel].append(tag)
        else:
            assert isinstance(it, frame.Header) or isinstance(it.method, spec.Basic.Return), it
    assert returned == count // 10
    declared = raw.call(1, spec.Queue.Declare(queue=name, passive=True), spec.Queue.DeclareOk)
    assert declared.message_count == 2 * count - returned
    raw.close()


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_063, 131_065, 131_072, 3 << 20])
def test_bodies_of_all_sizes(channel, name, size):
    body = bytes(i * 7 % 251 for i in range(min(size, 65_521))) * (size // 65_521 + 1)
    body = body[:size]
    channel.queue_declare(name, exclusive=True)
    channel.confirm_delivery()
    channel.basic_publish("", name, body, mandatory=True)
    channel.basic_publish("", name, b"next", mandatory=True)
    (one, two) = get_all(channel, name)
    assert one == body and two == b"next"


def test_a_small_frame_is_agreed_on(connect, name):
    connection = connect(frame_max=4096, channel_max=3)
    channel = connection.channel()
    channel.queue_declare(name, exclusive=True)
    for size in (4087, 4088, 4089, 100_000):
        channel.basic_publish("", name, b"x" * size)
    assert [len(body) for body in get_all(channel, name)] == [4087, 4088, 4089, 100_000]
    channels = [connection.channel(), connection.channel()]
    assert [it.channel_number for it in channels] == [2, 3]


@pytest.mark.parametrize("end", ["channel", "connection"])
def test_what_is_published_before_the_end_is_there(connect, name, end):
    connection, other = connect(), connect()
    channel = connection.channel()
    channel.queue_declare(name)
    for _ in range(500):
        channel.basic_publish("", name, b"x")
    (channel if end == "channel" else connection).close()
    keeper = other.channel()
    eventually(lambda: keeper.queue_declare(name, passive=True).method.message_count == 500, what="all is there")
    assert keeper.queue_delete(name).method.message_count == 500


# What closes what


def test_many_channels(connect, name):
    connection = connect()
    channels = [connection.channel() for _ in range(200)]
    channels[0].queue_declare(name, exclusive=True)
    for i, it in enumerate(channels):
        it.basic_publish("", name, b"%d" % i)
    # A declaration on each is answered after what was published on it.
    for it in channels:
        it.queue_declare(name, passive=True)
    assert sorted(map(int, get_all(channels[-1], name))) == list(range(200))
    for it in channels[:100]:
        it.close()
    assert [connection.channel().channel_number for _ in range(100)] == list(range(1, 101))


def test_errors_of_a_channel_leave_the_others_alone(connect, name):
    connection = connect()
    steady = connection.channel()
    steady.queue_declare(name, exclusive=True)
    steady.basic_publish("", name, b"x")

    def publish_to_nowhere(it):
        it.confirm_delivery()
        it.basic_publish("nowhere", "k", b"x")

    def ack_unknown(it):
        it.basic_ack(99)
        it.queue_declare(name, passive=True)

    def ack_twice(it):
        it.basic_get(name)
        it.basic_ack(1)
        it.basic_ack(1)
        it.queue_declare(name, passive=True)

    for code, text, do in (
        (404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'", publish_to_nowhere),
        (404, "NOT_FOUND - no queue 'nowhere' in vhost '/'", lambda it: it.basic_get("nowhere")),
        (404, "NOT_FOUND - no queue 'nowhere' in vhost '/'", lambda it: it.basic_consume("nowhere", print)),
        (404, "NOT_FOUND - no queue 'nowhere' in vhost '/'", lambda it: it.queue_purge("nowhere")),
        (406, "PRECONDITION_FAILED - unknown delivery tag 99", ack_unknown),
        (406, "PRECONDITION_FAILED - unknown delivery tag 1", ack_twice),
    ):
        with closes_channel(code, text):
            do(connection.channel())
        assert steady.queue_declare(name, passive=True).method.queue == name


def test_a_channel_is_opened_again_after_an_error(amqp, name):
    raw = Raw(amqp).opened(1)
    raw.send(1, spec.Queue.Declare(queue=name, passive=True))
    raw.expect(spec.Channel.Close)
    # On its way when the server closed: left alone.
    raw.publish(1, name, b"x")
    raw.send(1, spec.Channel.CloseOk())
    raw.call(1, spec.Channel.Open(), spec.Channel.OpenOk)
    assert raw.call(1, spec.Queue.Declare(queue=name, exclusive=True), spec.Queue.DeclareOk).message_count == 0
    raw.close()


def test_errors_that_close_the_connection(connect, name):
    for code, text, do in (
        (503, f"COMMAND_INVALID - unknown exchange type '{name}'", lambda it: it.exchange_declare(name, name)),
        (540, "NOT_IMPLEMENTED", lambda it: it.basic_qos(prefetch_size=1)),
    ):
        with closes_connection(code, text):
            do(connect().channel())
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError, match=r"\(530\) 'NOT_ALLOWED - vhost /other not found"):
        connect(virtual_host="/other")


def test_frames_that_close_the_connection(amqp, name):
    close = spec.Connection.Close
    for code, frames in (
        # On a channel that is not open.
        (504, [frame.Method(5, spec.Queue.Declare(queue=name))]),
        (504, [frame.Method(1, spec.Channel.Open())]),
        (505, [frame.Header(1, 1, spec.BasicProperties())]),
        (505, [frame.Body(1, b"x")]),
        (505, [*published(1, "x", b"xx")[:2], frame.Method(1, spec.Queue.Declare(queue=name))]),
        (504, [frame.Method(0, spec.Connection.Open("/"))]),
        (540, [frame.Method(1, spec.Basic.Publish(routing_key="x", immediate=True)), frame.Header(1, 0, spec.BasicProperties())]),
    ):
        raw = Raw(amqp).opened(1)
        raw.send_frames(*frames)
        closed = raw.expect(close)
        assert closed.reply_code == code, (closed, frames)
        raw.send(0, spec.Connection.CloseOk())
        assert raw.frame() is None
        raw.close()
    raw = Raw(amqp).opened(1)
    queue = raw.call(1, spec.Queue.Declare(exclusive=True), spec.Queue.DeclareOk).queue
    raw.call(1, spec.Basic.Consume(queue=queue, consumer_tag="t"), spec.Basic.ConsumeOk)
    assert raw.call(1, spec.Basic.Consume(queue=queue, consumer_tag="t"), close).reply_code == 530
    raw.close()


def test_a_frame_that_is_too_large_or_has_no_end(amqp):
    for wrong in (frame.Body(1, b"x" * 4097).marshal(), frame.Heartbeat().marshal()[:-1] + b"\x00"):
        raw = Raw(amqp, frame_max=4096).opened(1)
        raw.socket.sendall(wrong)
        assert raw.expect(spec.Connection.Close).reply_code == 501
        raw.close()


def test_what_is_no_amqp_is_told_what_would_be(amqp):
    host, port = amqp.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as it:
        # AMQP 1.0.
        it.sendall(b"AMQP\x03\x01\0\0"[:4] + b"\x03\x01\0\0")
        assert it.recv(8) in (b"AMQP\0\0\x09\x01", b"AMQP\x03\x01\0\0")


def test_heartbeats(amqp):
    silent = Raw(amqp, heartbeat=1).opened()
    kept = Raw(amqp, heartbeat=0).opened(1)
    beats = 0
    while (it := silent.frame()) is not None:
        assert isinstance(it, frame.Heartbeat), it
        beats += 1
    assert beats >= 2
    assert kept.call(1, spec.Queue.Declare(exclusive=True), spec.Queue.DeclareOk)
    kept.close()


def test_a_client_that_sends_heartbeats_stays(connect):
    connection = connect(heartbeat=1)
    channel = connection.channel()
    connection.process_data_events(time_limit=3.5)
    assert channel.queue_declare("", exclusive=True).method.queue

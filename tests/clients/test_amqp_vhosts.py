"""Virtual hosts of AMQP 0-9-1, made over the management API.

Every scenario but the last runs against a real RabbitMQ too, where one is installed."""

import urllib.error
import urllib.request

import pika.exceptions
import pytest

from amqp_raw import closes_channel, closes_connection, get_all
from conftest import amqp_connection
from management import Management, Refused

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def vhost(api, name):
    """A virtual host, and the API."""
    management = Management(api)
    assert management.put("vhosts", name) == 201
    management.put("permissions", name, "guest", body={"configure": ".*", "write": ".*", "read": ".*"})
    yield name, management
    try:
        management.delete("vhosts", name)
    except Refused as refused:
        assert refused.status == 404


def test_what_is_in_one_is_not_in_another(vhost, connect):
    name, _ = vhost
    here, there = connect(virtual_host=name).channel(), connect().channel()
    for channel, body in ((here, b"here"), (there, b"there")):
        channel.queue_declare(name, durable=True)
        channel.queue_bind(name, "amq.topic", "#")
        channel.confirm_delivery()
        channel.basic_publish("amq.topic", name, body, mandatory=True)
    assert (get_all(here, name), get_all(there, name)) == ([b"here"], [b"there"])
    here.exchange_declare(name, "fanout")
    with closes_channel(404, f"NOT_FOUND - no exchange '{name}' in vhost '/'"):
        there.exchange_declare(name, passive=True)
    with closes_channel(404, f"NOT_FOUND - no queue 'nothing' in vhost '{name}'"):
        here.queue_declare("nothing", passive=True)
    there = there.connection.channel()
    there.queue_delete(name)


def test_one_that_is_not_there(connect, name):
    for unknown in (f"{name}.no", "default", ""):
        with pytest.raises(pika.exceptions.ProbableAccessDeniedError, match=f"530.*vhost {unknown} not found"):
            connect(virtual_host=unknown)


def test_the_list_of_them(vhost):
    name, management = vhost
    names = [it["name"] for it in management.get("vhosts")]
    assert "/" in names and name in names and names == sorted(names)
    assert management.get("vhosts", name)["name"] == name and management.get("vhosts", "/")["tracing"] is False
    assert management.put("vhosts", name) == 204
    with pytest.raises(Refused, match="404"):
        management.get("vhosts", f"{name}.no")
    with pytest.raises(Refused, match="404"):
        management.delete("vhosts", f"{name}.no")


def test_one_that_is_deleted_takes_all_with_it(vhost, connect):
    name, management = vhost
    connection = connect(virtual_host=name)
    channel = connection.channel()
    channel.queue_declare("q", durable=True)
    channel.basic_publish("", "q", b"x")
    management.delete("vhosts", name)
    with closes_connection(320, "CONNECTION_FORCED"):
        while True:
            connection.process_data_events(time_limit=20)
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError, match="530"):
        connect(virtual_host=name)
    management.put("vhosts", name)
    management.put("permissions", name, "guest", body={"configure": ".*", "write": ".*", "read": ".*"})
    with closes_channel(404):
        connect(virtual_host=name).channel().queue_declare("q", passive=True)


def test_who_does_not_say_who_it_is_is_asked(api):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{api}/api/vhosts", timeout=20)
    assert caught.value.code == 401 and caught.value.headers["WWW-Authenticate"].startswith("Basic realm=")


def test_they_are_there_after_a_kill(fresh, name):
    management = Management(fresh.admin)
    for vhost in (name, f"{name}.gone"):
        management.put("vhosts", vhost)
    channel = amqp_connection(fresh.addresses["amqp"], virtual_host=name).channel()
    channel.queue_declare("kept", durable=True)
    channel.queue_declare("passing")
    channel.queue_declare("mine", durable=True, exclusive=True)
    channel.exchange_declare("passing", "fanout")
    channel.confirm_delivery()
    channel.basic_publish("", "kept", b"x")
    management.delete("vhosts", f"{name}.gone")
    fresh.kill()
    fresh.start()
    assert [it["name"] for it in Management(fresh.admin).get("vhosts")] == ["/", name]
    connection = amqp_connection(fresh.addresses["amqp"], virtual_host=name)
    assert get_all(connection.channel(), "kept") == [b"x"]
    for gone in ("passing", "mine"):
        with closes_channel(404):
            connection.channel().queue_declare(gone, passive=True)
    with closes_channel(404):
        connection.channel().exchange_declare("passing", passive=True)
    with pytest.raises(Refused, match="400"):
        Management(fresh.admin).delete("vhosts", "/")
    with pytest.raises(Refused, match="400"):
        Management(fresh.admin).put("vhosts", "default")

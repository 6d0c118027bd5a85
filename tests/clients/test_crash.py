"""kill -9 at any moment loses nothing that was acknowledged. See crash_loop.py."""

import os

import pytest

import crash_loop


@pytest.mark.timeout(600)
def test_thirty_kills_lose_nothing(tmp_path, capsys):
    kills = 300 if os.environ.get("DUOLOG_TEST_FULL") else 30
    seed = int(os.environ.get("DUOLOG_SEED", "1"))
    counts = crash_loop.run(tmp_path / "data", kills, seed)
    with capsys.disabled():
        print("\n" + "\n".join(f"  {what:32} {count}" for what, count in counts.items()))
    assert counts["failures"] == []
    assert counts["records acked"] > 0 and counts["messages acked"] > 0 and counts["deletions acked"] > 0
    assert counts["lost"] == 0
    assert counts["duplicated offsets"] == 0
    assert counts["re-read differently"] == 0
    assert counts["deleted, delivered"] == 0

"""Waiting for what can only be looked at: with a deadline, and no longer than needed."""

import time


def poll_until(look, holds, what, timeout_s=30):
    """The first of `look`'s answers for which `holds`."""
    until = time.monotonic() + timeout_s
    while not holds(seen := look()):
        assert time.monotonic() < until, f"{what} did not happen within {timeout_s} s; at last: {seen}"
        time.sleep(0.02)
    return seen


def eventually(condition, timeout_s=30, what="it"):
    """Waits until `condition` gives something true, and gives that back."""
    return poll_until(condition, bool, what, timeout_s)

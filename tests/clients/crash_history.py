"""What the clients of a crash loop were told, and whether it can all be true.

A record is known by its head, `KEY/NUMBER`: numbers rise within a key in the order in which they were sent. All methods that
change something want the lock of `Told` held.
"""

import collections
import threading


def record(key, number):
    """The text of a record: its head, and padding by its number, so that lengths differ."""
    return f"{key}/{number}".ljust(number * 37 % 400, ".")


def head_of(text):
    """The head of a text, which must be the one that was sent under it."""
    head = text.rstrip(".")
    key, _, number = head.rpartition("/")
    assert record(key, int(number)) == text, f"a text that nobody sent: {text!r}"
    return head


def key_of(head):
    key, _, number = head.rpartition("/")
    return key, int(number)


class Told:
    """The lock of all, and a count of what was acknowledged."""

    def __init__(self):
        self.lock = threading.Condition()
        self.stop = threading.Event()
        self.failures = []
        # Rises with whatever is told: one thing was before another if its moment is less.
        self.moment = 0
        self.acked = collections.Counter()

    def tells(self):
        self.moment += 1
        return self.moment

    def acknowledged(self, protocol, count=1):
        self.acked[protocol] += count
        self.lock.notify_all()

    def total(self):
        return sum(self.acked.values())

    def wait_until_acked(self, goal, timeout_s):
        """Generous, because whoever measures may stop this process for a while."""
        with self.lock:
            came = self.lock.wait_for(lambda: self.total() >= goal or self.failures, timeout=timeout_s)
            assert came and not self.failures, self.failures or f"no acknowledgement came for {timeout_s} s"


class Stream:
    """A topic as those see it who produce to it and read it."""

    def __init__(self, name, partitions):
        self.name = name
        self.partitions = partitions
        # Acknowledged at a place, or read there: either way it must stay there.
        self.known = {}
        # Accepted without a place being told.
        self.accepted = set()
        self.position = [0] * partitions
        self.acked = self.read = 0
        self.lost = self.twice = self.differs = self.disordered = self.cursor_back = 0

    def _at(self, place, head):
        self.differs += self.known.setdefault(place, head) != head

    def produced(self, place, head):
        self.acked += 1
        self._at(place, head)

    def saw(self, place, head):
        """The one reader that reads along: nothing may be skipped, nothing may come again."""
        partition, offset = place
        self.disordered += offset != self.position[partition]
        self.position[partition] = offset + 1
        self.read += 1
        self._at(place, head)

    def judge(self, stored):
        """`stored`: what is there in the end, as (place, head) in the order of each partition."""
        at = dict(stored)
        for place, head in self.known.items():
            self.lost += place not in at
            self.differs += at.get(place, head) != head
        heads = collections.Counter(at.values())
        self.twice += len(stored) - len(at) + sum(count - 1 for count in heads.values())
        self.lost += sum(head not in heads for head in self.accepted)
        newest = {}
        for (partition, _), head in stored:
            key, number = key_of(head)
            self.disordered += number < newest.get((partition, key), -1)
            newest[partition, key] = number


class Queue:
    """A queue as its workers see it. `by_key`: a FIFO queue, whose keys are in order."""

    def __init__(self, name, by_key=False):
        self.name = name
        self.by_key = by_key
        # Promised, and nobody has asked to delete it.
        self.open = set()
        # Asked to be deleted; whether it happened was not told.
        self.in_doubt = set()
        # When its deletion was acknowledged.
        self.deleted = {}
        self.receives = collections.Counter()
        # By key: numbers that were seen and that nobody has asked to delete; the highest that was seen.
        self.unasked = collections.defaultdict(set)
        self.newest = {}
        self.sent = self.delivered = self.redelivered = 0
        self.lost = self.disordered = self.came_back = 0

    def promised(self, head):
        if head not in self.deleted and head not in self.in_doubt:
            self.open.add(head)

    def received(self, asked, heads):
        """An answer to a receive that was asked for at `asked`; gives what `deletes` wants to know of each."""
        here = set()
        for head in heads:
            self.delivered += 1
            self.redelivered += self.receives[head] > 0
            self.receives[head] += 1
            if head in self.deleted:
                # Before the deletion was told it may have been under way to another, and that one by an old handle.
                self.came_back += self.deleted.pop(head) < asked
                self.in_doubt.add(head)
            if self.by_key:
                self._in_order(head, here)
            here.add(head)
        return [self.receives[head] for head in heads]

    def _in_order(self, head, here):
        """All earlier ones of its key were asked to be deleted, or came before it in the same answer; none was skipped."""
        key, number = key_of(head)
        earlier = (f"{key}/{other}" for other in self.unasked[key] if other < number)
        newest = self.newest.get(key, -1)
        self.disordered += number > newest + 1 or any(other not in here for other in earlier)
        self.newest[key] = max(newest, number)
        if head not in self.in_doubt:
            self.unasked[key].add(number)

    def asks_delete(self, heads):
        for head in heads:
            self.open.discard(head)
            self.in_doubt.add(head)
            if self.by_key:
                key, number = key_of(head)
                self.unasked[key].discard(number)

    def deletes(self, moment, head, receive):
        """The deletion was acknowledged. If another received it meanwhile, the handle was an old one, and nothing is known."""
        if self.receives[head] == receive:
            self.deleted[head] = moment
            self.in_doubt.discard(head)

    def judge(self):
        """After the queue was worked until it was empty."""
        self.lost = len(self.open)

"""kill -9 in a loop, with the real binary and real Kafka and SQS clients at once, and a count of what came of it.

    scripts/kills --kills 300 --messages 1000000 [--seed N] [--data-dir DIR]

Four topics, worked all the time and through every kill:

    stream     produced by Kafka; read along by Kafka
    both       produced by Kafka and SQS; read along by Kafka and worked by SQS
    line.fifo  the same as a FIFO queue, in order by key
    work       a queue of SQS alone, whose log is trimmed behind it

The broker is killed after a random number of acknowledgements, so the moment is one of traffic, not of idleness; one time in
ten it is killed again while it starts. In the end everything is read again and compared with what clients were told:

    lost             acknowledged or read once, and not there any more
    stored twice     one record at two offsets, though its producer or its deduplication id was to prevent that
    re-read          acknowledged or read once at an offset, and another is there later
    out of order     of one key (or one partition read along): skipped, or a later one before an earlier one
    came back        a message whose deletion was acknowledged was delivered again
    cursor moved     a committed offset is not where the last acknowledged commit, or one asked for since, has put it
"""

import argparse
import pathlib
import random
import sys
import tempfile
import threading
import time

import crash_clients as clients
from conftest import sqs_client
from crash_history import Queue, Stream, Told
from server import Server
from streams import LIBRARIES

PARTITIONS = {"stream": 4, "both": 3, "line.fifo": 2}
VISIBILITY_S = "3"
# Whoever measures may stop this process for minutes.
PATIENCE_S = 600
WRONG = ("lost", "stored twice", "re-read", "out of order", "came back", "cursor moved")


class Loop:
    """One run: a broker, its clients, and what they were told."""

    def __init__(self, directory, seed, report):
        self.chance = random.Random(seed)
        self.report = report
        self.told = Told()
        self.streams = {name: Stream(name, partitions) for name, partitions in PARTITIONS.items()}
        self.queues = {name: Queue(name, by_key=name == "line.fifo") for name in ("both", "line.fifo", "work")}
        self.broker = Server(directory).start()
        self.starts = []
        self.killed_starting = 0
        sqs = sqs_client(self.broker.aws)
        for stream in self.streams.values():
            LIBRARIES["confluent-kafka"].create(self.broker.kafka, stream.name, partitions=stream.partitions)
        attributes = {"VisibilityTimeout": VISIBILITY_S}
        self.urls = {
            name: sqs.create_queue(
                QueueName=name, Attributes={**attributes, "FifoQueue": "true"} if queue.by_key else attributes
            )["QueueUrl"]
            for name, queue in self.queues.items()
        }

    def threads(self):
        told, queues, streams, urls = self.told, self.queues, self.streams, self.urls
        sqs = lambda: sqs_client(self.broker.aws)
        yield self._guarded(clients.produce, told, self.broker.kafka, streams, queues)
        yield self._guarded(clients.consume, told, self.broker.kafka, streams)
        yield self._guarded(clients.send, told, sqs(), urls["work"], queues["work"])
        yield self._guarded(clients.send, told, sqs(), urls["both"], queues["both"], streams["both"])
        line = queues["line.fifo"]
        yield self._guarded(clients.send_by_key, told, sqs(), urls["line.fifo"], line, streams["line.fifo"])
        for name in ("both", "both", "line.fifo", "line.fifo", "work", "work"):
            yield self._guarded(clients.work, told, sqs(), urls[name], queues[name])

    def _guarded(self, target, *arguments):
        def body():
            try:
                target(*arguments)
            except Exception as error:
                with self.told.lock:
                    self.told.failures.append(f"{target.__name__}: {error!r}")
                    self.told.lock.notify_all()

        return threading.Thread(target=body, daemon=True)

    def kill(self):
        self.broker.kill()
        if self.starts and self.chance.random() < 0.1:
            self.broker.spawn()
            # The fault itself, at a moment that is left to chance: nothing waits for it.
            time.sleep(self.chance.uniform(0, 1.5 * self.starts[len(self.starts) // 2]))
            self.broker.kill()
            self.killed_starting += 1
        self.broker.start()
        self.starts.append(self.broker.ready_after_s)

    def run(self, kills, messages):
        threads = list(self.threads())
        for thread in threads:
            thread.start()
        mean = max(1, messages // kills)
        for kill in range(kills):
            self.told.wait_until_acked(self.told.total() + self.chance.randint(1, 2 * mean), PATIENCE_S)
            self.kill()
            if (kill + 1) % 10 == 0:
                last = self.starts[-1] * 1000
                self.report(f"  {kill + 1} kills, {self.told.total()} messages acked, last start {last:.0f} ms")
        self.told.wait_until_acked(max(messages, self.told.total() + 100), 4 * PATIENCE_S)
        with self.told.lock:
            self.told.stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a client did not come to its end"
        self.kill()
        self.judge()
        assert self.broker.stop() == 0

    def judge(self):
        sqs = sqs_client(self.broker.aws)
        for name, queue in self.queues.items():
            clients.drain(self.told, sqs, self.urls[name], queue)
            queue.judge()
        for stream in self.streams.values():
            stream.judge(clients.read_topic(self.broker.kafka, stream))

    def counts(self):
        """By topic, what was told and what was wrong."""
        rows = {}
        for name in (*self.streams, "work"):
            stream = self.streams.get(name, Stream(name, 0))
            queue = self.queues.get(name, Queue(name))
            rows[name] = {
                "Kafka acked": stream.acked,
                "SQS acked": queue.sent,
                "read along": stream.read,
                "received": queue.delivered,
                "of these again": queue.redelivered,
                "deleted": len(queue.deleted),
                "lost": stream.lost + queue.lost,
                "stored twice": stream.twice,
                "re-read": stream.differs,
                "out of order": stream.disordered + queue.disordered,
                "came back": queue.came_back,
                "cursor moved": stream.cursor_back,
            }
        rows["all"] = {what: sum(row[what] for row in rows.values()) for what in rows["stream"]}
        return rows

    def table(self):
        rows = self.counts()
        lines = [f"{'':16}" + "".join(f"{name:>12}" for name in rows)]
        lines += [f"{what:16}" + "".join(f"{row[what]:>12}" for row in rows.values()) for what in rows["all"]]
        starts = sorted(self.starts)
        lines.append(
            f"{len(starts)} kills, {self.killed_starting} more amid a start; "
            f"start to serving: p50 {starts[len(starts) // 2] * 1000:.0f} ms, max {starts[-1] * 1000:.0f} ms"
        )
        return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="kill -9 in a loop, with Kafka and SQS clients; counts what was lost")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--messages", type=int, default=60_000, help="acknowledged in all, at least")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--data-dir", help="kept afterwards; default: a temporary one")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(options.data_dir or temporary) / "data"
        loop = Loop(directory, options.seed, lambda line: print(line, flush=True))
        loop.run(options.kills, options.messages)
    total = loop.counts()["all"]
    print(loop.table())
    print(f"seed {options.seed}, {time.monotonic() - began:.0f} s")
    wrong = [what for what in WRONG if total[what]] + loop.told.failures
    print(f"BROKEN: {wrong}" if wrong else "every promise was kept")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

"""Group members that run by themselves, one kind per client library: started, looked at, stopped in order, or killed."""

import asyncio
import pathlib
import subprocess
import sys
import threading

import aiokafka
import confluent_kafka
import kafka

from waits import eventually

HEARTBEAT_MS = 500
SESSION_MS = 6000


class Member:
    """A consumer in a thread of its own. `assigned` is what it holds, `rebalances` how often that was taken or given,
    `seen` what it read; everything read is committed before partitions are given up and at the end."""

    def __init__(self, bootstrap, topic, group, instance=None, strategy="range"):
        self.bootstrap, self.topic, self.group = bootstrap, topic, group
        self.instance, self.strategy = instance, strategy
        self.assigned = frozenset()
        self.rebalances = 0
        self.seen = []
        self.error = None
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.run()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def stop(self):
        self.ending.set()
        self.thread.join(30)
        assert not self.thread.is_alive(), "a consumer does not end"
        if self.error:
            raise self.error

    def changed(self, partitions):
        self.rebalances += 1
        self.assigned = frozenset(partitions)


class ConfluentMember(Member):
    def run(self):
        settings = {
            "bootstrap.servers": self.bootstrap,
            "group.id": self.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": HEARTBEAT_MS,
            "partition.assignment.strategy": self.strategy,
        }
        if self.instance:
            settings["group.instance.id"] = self.instance
        consumer = confluent_kafka.Consumer(settings)
        cooperative = self.strategy == "cooperative-sticky"

        def given(consumer, partitions):
            partitions = {p.partition for p in partitions}
            self.changed(self.assigned | partitions if cooperative else partitions)

        def taken(consumer, partitions):
            self.commit(consumer)
            self.changed(self.assigned - {p.partition for p in partitions})

        consumer.subscribe([self.topic], on_assign=given, on_revoke=taken, on_lost=taken)
        self.read = {}
        while not self.ending.is_set():
            message = consumer.poll(0.05)
            if message is None:
                continue
            if message.error():
                raise confluent_kafka.KafkaException(message.error())
            self.seen.append((message.partition(), message.offset()))
            self.read[message.partition()] = message.offset() + 1
        self.commit(consumer)
        consumer.close()

    def commit(self, consumer):
        places = [confluent_kafka.TopicPartition(self.topic, p, o) for p, o in self.read.items()]
        if places:
            self.read = {}
            consumer.commit(offsets=places, asynchronous=False)


class KafkaPythonMember(Member):
    """Commits by itself before it gives partitions up: its listener may not."""

    def run(self):
        member = self

        class Listener(kafka.ConsumerRebalanceListener):
            def on_partitions_revoked(self, revoked):
                member.changed(())

            def on_partitions_assigned(self, assigned):
                member.changed(p.partition for p in assigned)

        settings = {}
        if self.instance:
            settings["group_instance_id"] = self.instance
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=self.group,
            auto_offset_reset="earliest",
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            **settings,
        )
        consumer.subscribe([self.topic], listener=Listener())
        while not self.ending.is_set():
            for partition, messages in consumer.poll(50).items():
                self.seen += [(partition.partition, message.offset) for message in messages]
        consumer.close()


class AioKafkaMember(Member):
    def run(self):
        asyncio.run(self.main())

    async def main(self):
        member = self

        class Listener(aiokafka.ConsumerRebalanceListener):
            async def on_partitions_revoked(self, revoked):
                if revoked:
                    await consumer.commit()
                member.changed(())

            async def on_partitions_assigned(self, assigned):
                member.changed(p.partition for p in assigned)

        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=self.group,
            group_instance_id=self.instance,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
        )
        consumer.subscribe([self.topic], listener=Listener())
        await consumer.start()
        while not self.ending.is_set():
            for partition, messages in (await consumer.getmany(timeout_ms=50)).items():
                self.seen += [(partition.partition, message.offset) for message in messages]
        if consumer.assignment():
            await consumer.commit()
        await consumer.stop()


MEMBERS = {"confluent-kafka": ConfluentMember, "kafka-python": KafkaPythonMember, "aiokafka": AioKafkaMember}


class Process:
    """A member in a process of its own, which can be killed: it says no farewell."""

    def __init__(self, library, bootstrap, topic, group):
        arguments = [library, bootstrap, topic, group]
        self.process = subprocess.Popen(
            [sys.executable, str(pathlib.Path(__file__)), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def holds_some(self):
        """Waits until it has partitions."""
        line = self.process.stdout.readline().split()
        assert line, "the member ended"
        return frozenset(map(int, line))

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def main(library, bootstrap, topic, group):
    member = MEMBERS[library](bootstrap, topic, group)
    print(*sorted(eventually(lambda: member.assigned)), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])

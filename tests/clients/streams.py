"""The same few things done with each Kafka client library, so that one scenario runs on all of them."""

import asyncio

import aiokafka
import confluent_kafka
import confluent_kafka.admin
import kafka
import kafka.admin


class Confluent:
    """librdkafka."""

    def create(self, bootstrap, topic, partitions=1, config=None):
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
        new = confluent_kafka.admin.NewTopic(topic, partitions, 1, config=config or {})
        for future in admin.create_topics([new]).values():
            future.result(30)

    def produce(self, bootstrap, topic, records, compression="none"):
        """Records are (key, value, headers); gives back (partition, offset) in order, each one acknowledged."""
        producer = confluent_kafka.Producer(
            {"bootstrap.servers": bootstrap, "compression.type": compression, "enable.idempotence": True, "linger.ms": 5}
        )
        places = [None] * len(records)

        def delivered(index):
            def callback(error, message):
                assert error is None, error
                places[index] = (message.partition(), message.offset())

            return callback

        for index, (key, value, headers) in enumerate(records):
            producer.produce(topic, key=key, value=value, headers=headers, on_delivery=delivered(index))
            producer.poll(0)
        assert producer.flush(60) == 0
        return places

    def consume(self, bootstrap, topic, group, count, commit=True):
        """`count` records as (partition, offset, key, value, headers) in the order in which they came."""
        consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        consumer.subscribe([topic])
        seen = []
        while len(seen) < count:
            message = consumer.poll(30)
            assert message is not None, f"only {len(seen)} of {count} records came"
            assert message.error() is None, message.error()
            headers = [(k, v) for k, v in message.headers() or []]
            seen.append((message.partition(), message.offset(), message.key(), message.value(), headers))
        if commit:
            consumer.commit(asynchronous=False)
        consumer.close()
        return seen


class KafkaPython:
    """kafka-python."""

    def create(self, bootstrap, topic, partitions=1, config=None):
        admin = kafka.KafkaAdminClient(bootstrap_servers=bootstrap)
        try:
            admin.create_topics([kafka.admin.NewTopic(topic, partitions, 1, topic_configs=config or {})])
        finally:
            admin.close()

    def produce(self, bootstrap, topic, records, compression="none"):
        producer = kafka.KafkaProducer(
            bootstrap_servers=bootstrap,
            acks="all",
            linger_ms=5,
            compression_type=None if compression == "none" else compression,
        )
        try:
            futures = [
                producer.send(topic, key=key, value=value, headers=headers) for key, value, headers in records
            ]
            producer.flush(60)
            done = [future.get(60) for future in futures]
            return [(place.partition, place.offset) for place in done]
        finally:
            producer.close()

    def consume(self, bootstrap, topic, group, count, commit=True):
        consumer = kafka.KafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            consumer_timeout_ms=30_000,
        )
        try:
            seen = []
            for message in consumer:
                seen.append((message.partition, message.offset, message.key, message.value, list(message.headers)))
                if len(seen) == count:
                    break
            assert len(seen) == count, f"only {len(seen)} of {count} records came"
            if commit:
                consumer.commit()
            return seen
        finally:
            consumer.close()


class AioKafka:
    """aiokafka."""

    def create(self, bootstrap, topic, partitions=1, config=None):
        KafkaPython().create(bootstrap, topic, partitions, config)

    def produce(self, bootstrap, topic, records, compression="none"):
        async def run():
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=bootstrap,
                enable_idempotence=True,
                linger_ms=5,
                compression_type=None if compression == "none" else compression,
            )
            await producer.start()
            try:
                futures = [
                    await producer.send(topic, key=key, value=value, headers=headers) for key, value, headers in records
                ]
                done = [await future for future in futures]
                return [(place.partition, place.offset) for place in done]
            finally:
                await producer.stop()

        return asyncio.run(run())

    def consume(self, bootstrap, topic, group, count, commit=True):
        async def run():
            consumer = aiokafka.AIOKafkaConsumer(
                topic,
                bootstrap_servers=bootstrap,
                group_id=group,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
            )
            await consumer.start()
            try:
                seen = []
                while len(seen) < count:
                    message = await asyncio.wait_for(consumer.getone(), 30)
                    seen.append((message.partition, message.offset, message.key, message.value, list(message.headers)))
                if commit:
                    await consumer.commit()
                return seen
            finally:
                await consumer.stop()

        return asyncio.run(run())


LIBRARIES = {"confluent-kafka": Confluent(), "kafka-python": KafkaPython(), "aiokafka": AioKafka()}

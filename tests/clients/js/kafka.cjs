// kafkajs, which never sends a flexible version: node kafka.cjs BOOTSTRAP NAME.
const assert = require("node:assert");
const { Kafka, CompressionTypes, ConfigResourceTypes, logLevel } = require("kafkajs");

const [bootstrap, name] = process.argv.slice(2);
const kafka = new Kafka({ clientId: "kafkajs-test", brokers: [bootstrap], logLevel: logLevel.ERROR });

async function consume(topic, groupId, count, options = {}) {
  const consumer = kafka.consumer({ groupId, ...options });
  const seen = [];
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    consumer
      .run({
        eachMessage: async ({ partition, message }) => {
          seen.push({ partition, ...message });
          if (seen.length === count) resolve();
        },
      })
      .catch(reject);
  });
  await consumer.stop();
  await consumer.disconnect();
  return seen;
}

async function records() {
  const producer = kafka.producer({ idempotent: true });
  await producer.connect();
  const messages = Array.from({ length: 100 }, (_, i) => ({
    key: `k${i % 5}`,
    value: i === 50 ? null : `v${i}`,
    headers: { index: String(i), twice: ["a", "b"] },
  }));
  await producer.send({ topic: name, messages: messages.slice(0, 60), acks: -1 });
  await producer.send({ topic: name, messages: messages.slice(60), acks: -1, compression: CompressionTypes.GZIP });
  await producer.disconnect();
  const seen = await consume(name, `${name}-group`, 100);
  assert.strictEqual(seen.length, 100);
  const last = new Map();
  for (const message of seen) {
    const offset = Number(message.offset);
    assert.strictEqual(offset, (last.get(message.partition) ?? -1) + 1, "in order, without a gap");
    last.set(message.partition, offset);
  }
  const values = seen.map((message) => message.value && message.value.toString());
  assert.deepStrictEqual(values.toSorted(), messages.map((message) => message.value).toSorted());
  const of = (i) => seen.find((message) => message.headers.index.toString() === String(i));
  assert.strictEqual(of(50).value, null);
  assert.deepStrictEqual(of(7).headers.twice.map(String), ["a", "b"]);
}

async function operations(admin) {
  const resource = { type: ConfigResourceTypes.TOPIC, name };
  const altered = { ...resource, configEntries: [{ name: "retention.ms", value: "123456" }] };
  await admin.alterConfigs({ validateOnly: false, resources: [altered] });
  const described = await admin.describeConfigs({ includeSynonyms: true, resources: [resource] });
  const retention = described.resources[0].configEntries.find((entry) => entry.configName === "retention.ms");
  assert.strictEqual(retention.configValue, "123456");
  const compact = { ...resource, configEntries: [{ name: "cleanup.policy", value: "compact" }] };
  await assert.rejects(admin.alterConfigs({ validateOnly: false, resources: [compact] }), /INVALID_CONFIG|onfiguration/);

  const group = `${name}-group`;
  const offsets = await admin.fetchOffsets({ groupId: group, topics: [name] });
  const committed = offsets[0].partitions.reduce((sum, { offset }) => sum + Math.max(Number(offset), 0), 0);
  assert.strictEqual(committed, 100);
  const { groups } = await admin.describeGroups([group]);
  assert.strictEqual(groups[0].state, "Empty");

  await admin.createPartitions({ topicPartitions: [{ topic: name, count: 5 }] });
  const metadata = await admin.fetchTopicMetadata({ topics: [name] });
  assert.strictEqual(metadata.topics[0].partitions.length, 5);

  const [before] = (await admin.fetchTopicOffsets(name)).filter(({ high }) => Number(high) > 0);
  await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: before.partition, offset: "-1" }] });
  const after = (await admin.fetchTopicOffsets(name)).find(({ partition }) => partition === before.partition);
  assert.deepStrictEqual([after.low, after.high], [before.high, before.high]);

  await admin.deleteGroups([group]);
  await admin.deleteTopics({ topics: [name] });
  assert.ok(!(await admin.listTopics()).includes(name));
}

async function main() {
  const admin = kafka.admin();
  await admin.connect();
  assert.ok(await admin.createTopics({ topics: [{ topic: name, numPartitions: 3 }] }));
  await records();
  await operations(admin);
  await admin.disconnect();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

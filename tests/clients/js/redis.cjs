// ioredis against a listener for Redis: node redis.cjs HOST PORT NAME. Its ready check (INFO) is on.
const assert = require("node:assert");
const Redis = require("ioredis");

const [host, port, name] = process.argv.slice(2);
const open = (options = {}) => new Redis({ host, port: Number(port), retryStrategy: () => null, ...options });
const next = (emitter, event) =>
  new Promise((resolve, reject) => {
    emitter.once(event, (...values) => resolve(values));
    emitter.once("error", reject);
  });

async function main() {
  const client = open({ connectionName: name, db: 2 });
  await next(client, "ready");
  assert.strictEqual(await client.ping(), "PONG");
  assert.strictEqual(await client.client("GETNAME"), name);
  assert.ok((await client.info("server")).includes("redis_version:7."));

  const listener = open();
  assert.strictEqual(await listener.subscribe(`${name}.a`, `${name}.b`), 2);
  assert.strictEqual(await listener.psubscribe(`${name}.*`), 3);
  const heard = [];
  const all = new Promise((resolve) => {
    const hear = (...values) => heard.push(values) === 3 && resolve();
    listener.on("message", hear);
    listener.on("pmessage", hear);
  });
  assert.strictEqual(await client.publish(`${name}.a`, "hällo"), 2);
  assert.strictEqual(await client.publish(`${name}.c`, "x"), 1);
  await all;
  assert.deepStrictEqual(heard.map(String).sort(), [
    `${name}.*,${name}.a,hällo`,
    `${name}.*,${name}.c,x`,
    `${name}.a,hällo`,
  ]);
  // With RESP3, which is what it speaks unless told otherwise, a subscriber may do anything.
  assert.strictEqual(await listener.publish(name, "x"), 0);

  const shard = open();
  assert.strictEqual(await shard.ssubscribe(name), 1);
  const message = next(shard, "smessage");
  assert.strictEqual(await client.spublish(name, "s"), 1);
  assert.deepStrictEqual(await message, [name, "s"]);

  const answers = await client.pipeline().publish(name, "1").echo("2").call("NOSUCH").ping().exec();
  assert.deepStrictEqual([answers[0], answers[1], answers[3]], [[null, 0], [null, "2"], [null, "PONG"]]);
  assert.match(answers[2][0].message, /^ERR unknown command 'NOSUCH'/);

  const ended = next(listener, "end");
  assert.strictEqual(await client.client("KILL", "TYPE", "pubsub"), 2);
  await ended;
  assert.strictEqual(await client.quit(), "OK");
  shard.disconnect();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

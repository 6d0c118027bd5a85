// nats.js against a server: node nats.cjs URL NAME.
const assert = require("node:assert");
const { connect: connectTcp, headers, NoRespondersError } = require("@nats-io/transport-node");
const { wsconnect } = require("@nats-io/nats-core");

const [url, name] = process.argv.slice(2);
// As in a browser.
const connect = url.startsWith("ws://") ? wsconnect : connectTcp;

async function take(subscription, count) {
  const messages = [];
  for await (const message of subscription) {
    messages.push(message);
    if (messages.length === count) break;
  }
  return messages;
}

async function main() {
  const one = await connect({ servers: url, name: "js one" });
  const two = await connect({ servers: url });

  const all = take(two.subscribe(`${name}.>`), 3);
  const few = two.subscribe(`${name}.*`, { max: 2 });
  const limited = take(few, 2);
  await two.flush();
  const marked = headers();
  marked.append("trace", "a: b");
  one.publish(`${name}.a`, "hällo");
  one.publish(`${name}.b`, Uint8Array.of(0, 255), { headers: marked, reply: "there" });
  one.publish(`${name}.c`);
  await one.flush();
  const [text, bytes, empty] = await all;
  assert.strictEqual(text.string(), "hällo");
  assert.deepStrictEqual([...bytes.data], [0, 255]);
  assert.strictEqual(bytes.headers.get("trace"), "a: b");
  assert.strictEqual(bytes.reply, "there");
  assert.strictEqual(empty.data.length, 0);
  assert.strictEqual((await limited).length, 2);

  const service = one.subscribe(`${name}.time`, { queue: "clocks" });
  const serving = (async () => {
    for await (const request of service) request.respond(`${request.string()} o'clock`);
  })();
  await one.flush();
  const answers = await Promise.all([1, 2, 3].map((hour) => two.request(`${name}.time`, String(hour), { timeout: 10000 })));
  assert.deepStrictEqual(answers.map((answer) => answer.string()), ["1 o'clock", "2 o'clock", "3 o'clock"]);
  await assert.rejects(two.request(`${name}.nobody`, "", { timeout: 10000 }), (error) => {
    const reasons = [error, error.cause];
    return reasons.some((reason) => reason instanceof NoRespondersError);
  });
  assert.ok((await two.rtt()) >= 0);

  const large = take(two.subscribe(`${name}.large`), 20);
  await two.flush();
  const body = (number) => new Uint8Array(500_000).map((_, at) => (at + number) % 251);
  for (let number = 0; number < 20; number++) one.publish(`${name}.large`, body(number));
  const bodies = (await large).map((message) => message.data);
  bodies.forEach((data, number) => assert.ok(Buffer.compare(data, body(number)) === 0));

  await one.drain();
  await serving;
  await two.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

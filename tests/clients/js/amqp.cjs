// amqplib against a listener for AMQP 0-9-1: node amqp.cjs HOST PORT NAME. Prints how many messages were received and returned.
const assert = require("node:assert");
const amqp = require("amqplib");

const [host, port, name] = process.argv.slice(2);

async function main() {
  const connection = await amqp.connect({ hostname: host, port: Number(port), username: "guest", password: "guest", heartbeat: 5 });
  const channel = await connection.createConfirmChannel();
  await channel.assertExchange(name, "topic", { durable: true });
  const { queue } = await channel.assertQueue("", { exclusive: true });
  await channel.bindQueue(queue, name, "orders.*");
  let returned = 0;
  channel.on("return", (message) => {
    assert.strictEqual(message.fields.replyCode, 312);
    returned += 1;
  });

  // One at a time, so that what is given back comes next.
  await channel.prefetch(1);
  let received = 0;
  const all = new Promise((resolve, reject) => {
    channel.consume(queue, (message) => {
      try {
        assert.strictEqual(message.content.toString(), `order ${received}`);
        assert.strictEqual(message.fields.routingKey, `orders.${received}`);
        // RabbitMQ counts deliveries in quorum queues alone.
        const { "x-delivery-count": _, ...headers } = message.properties.headers;
        assert.deepStrictEqual(headers, { number: received, half: 0.5, text: "ü", list: [1, "a"] });
        assert.strictEqual(message.properties.contentType, "text/plain");
        // One of ten is given back, and comes once more.
        if (!message.fields.redelivered && received % 10 === 9) return channel.nack(message);
        received += 1;
        channel.ack(message);
        if (received === 50) resolve();
      } catch (error) {
        reject(error);
      }
    });
  });
  for (let i = 0; i < 50; i++) {
    const headers = { number: i, half: 0.5, text: "ü", list: [1, "a"] };
    channel.publish(name, `orders.${i}`, Buffer.from(`order ${i}`), { headers, contentType: "text/plain", persistent: true });
  }
  channel.publish(name, "nowhere", Buffer.from("x"), { mandatory: true });
  await channel.waitForConfirms();
  await all;

  const other = await connection.createChannel();
  other.on("error", () => {});
  await assert.rejects(other.checkQueue(`${name}.none`), /404/);
  await channel.deleteExchange(name);
  await connection.close();
  console.log(JSON.stringify({ received, returned }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

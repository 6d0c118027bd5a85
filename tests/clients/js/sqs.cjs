// The JavaScript SDK v3 against a queue: node sqs.cjs ENDPOINT NAME. Its own checks of digests are on.
const assert = require("node:assert");
const sdk = require("@aws-sdk/client-sqs");

const [endpoint, name] = process.argv.slice(2);
const client = new sdk.SQSClient({
  endpoint,
  region: "eu-central-1",
  credentials: { accessKeyId: "test", secretAccessKey: "test" },
  maxAttempts: 1,
});
const call = (command, input) => client.send(new sdk[`${command}Command`](input));

async function main() {
  const { QueueUrl } = await call("CreateQueue", { QueueName: name, tags: { team: "js" } });
  assert.ok(QueueUrl.startsWith(endpoint));
  const sent = await call("SendMessage", {
    QueueUrl,
    MessageBody: "hällo",
    MessageAttributes: {
      text: { DataType: "String", StringValue: "ä" },
      bytes: { DataType: "Binary", BinaryValue: Uint8Array.of(0, 255) },
    },
  });
  const received = await call("ReceiveMessage", {
    QueueUrl,
    WaitTimeSeconds: 5,
    MessageAttributeNames: ["All"],
    MessageSystemAttributeNames: ["All"],
  });
  const [message] = received.Messages;
  assert.strictEqual(message.Body, "hällo");
  assert.strictEqual(message.MessageId, sent.MessageId);
  assert.deepStrictEqual([...message.MessageAttributes.bytes.BinaryValue], [0, 255]);
  assert.strictEqual(message.Attributes.ApproximateReceiveCount, "1");
  await call("ChangeMessageVisibility", { QueueUrl, ReceiptHandle: message.ReceiptHandle, VisibilityTimeout: 60 });
  await call("DeleteMessage", { QueueUrl, ReceiptHandle: message.ReceiptHandle });
  assert.strictEqual((await call("ReceiveMessage", { QueueUrl })).Messages, undefined);

  const batch = await call("SendMessageBatch", {
    QueueUrl,
    Entries: [
      { Id: "good", MessageBody: "x" },
      { Id: "bad", MessageBody: "\u0001" },
    ],
  });
  assert.deepStrictEqual([batch.Successful[0].Id, batch.Failed[0].Code], ["good", "InvalidMessageContents"]);
  assert.deepStrictEqual((await call("ListQueueTags", { QueueUrl })).Tags, { team: "js" });

  await fifo();

  await call("DeleteQueue", { QueueUrl });
  await assert.rejects(call("SendMessage", { QueueUrl, MessageBody: "x" }), (error) => {
    assert.ok(error instanceof sdk.QueueDoesNotExist, error.name);
    return true;
  });
}

async function fifo() {
  const { QueueUrl } = await call("CreateQueue", { QueueName: `${name}.fifo`, Attributes: { FifoQueue: "true" } });
  const send = (id, group) =>
    call("SendMessage", { QueueUrl, MessageBody: id, MessageGroupId: group, MessageDeduplicationId: id });
  const [first, second] = [await send("1", "a"), await send("2", "a")];
  assert.ok(BigInt(second.SequenceNumber) > BigInt(first.SequenceNumber));
  assert.strictEqual((await send("1", "a")).MessageId, first.MessageId);
  const receive = () => call("ReceiveMessage", { QueueUrl, WaitTimeSeconds: 1 });
  const [message] = (await receive()).Messages;
  assert.strictEqual(message.Body, "1");
  assert.strictEqual((await receive()).Messages, undefined);
  await call("DeleteMessage", { QueueUrl, ReceiptHandle: message.ReceiptHandle });
  assert.strictEqual((await receive()).Messages[0].Body, "2");
}

main().then(
  () => client.destroy(),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);

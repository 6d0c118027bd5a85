"""Queues over a log that was damaged at rest: nobody is told of sound messages that they are gone, and of lost ones that they are not."""

import botocore.exceptions
import pytest

from conftest import sqs_client
from server import Server
from waits import poll_until

pytestmark = pytest.mark.timeout(300)
# Batches that a page of the index tells of.
PAGE_ENTRIES = 63
KINDS = {
    "standard": ({}, lambda i: {}),
    "fair": ({}, lambda i: {"MessageGroupId": f"tenant-{i % 7}"}),
    "fifo": (
        {"FifoQueue": "true"},
        lambda i: {"MessageGroupId": f"group-{i % 7}", "MessageDeduplicationId": str(i)},
    ),
}


def body(i):
    return f"message-{i:06d}-" + "x" * 1000


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x10]))


def damage_index(directory):
    """A page of the index in the middle of the first file that is complete."""
    for path in sorted(directory.glob("*.log")):
        content, pages, at = path.read_bytes(), [], -1
        while (at := content.find(b"DLIX", at + 1)) >= 0:
            pages.append(at)
        if len(pages) > 4:
            return flip(path, pages[-2] + 100)
    raise AssertionError("no file has an index of several pages")


def damage_body(directory, i):
    """The message itself, wherever it lies."""
    found = 0
    for path in sorted(directory.glob("*.log")):
        at = path.read_bytes().find(body(i)[:14].encode())
        if at >= 0:
            flip(path, at)
            found += 1
    assert found, f"no file holds message {i}"


def receive_all(sqs, url):
    """Deletes what comes; gives the numbers, and how often damage was told of, which is not told again while it is leased."""
    got, told, idle = [], 0, 0
    while idle < 2:
        try:
            messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
        except botocore.exceptions.ClientError as error:
            assert "damaged" in str(error), error
            told += 1
            assert told < 1000
            continue
        idle = 0 if messages else idle + 1
        got += [int(message["Body"].split("-")[1]) for message in messages]
        if messages:
            entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(messages)]
            assert "Failed" not in sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    return got, told


@pytest.mark.parametrize(
    ("kind", "where"), [*((kind, "index") for kind in KINDS), ("standard", "late"), ("fair", "early"), ("fifo", "late")]
)
def test_a_queue_goes_on_behind_damage_and_tells_of_it(tmp_path, kind, where):
    attributes, more = KINDS[kind]
    # Enough for a file that is complete, where its index is to be damaged.
    messages = 1500 if where == "index" else 300
    server = Server(tmp_path / "data", "--file-bytes", "1MiB").start()
    try:
        sqs = sqs_client(server.aws)
        name = "q.fifo" if attributes else "q"
        url = sqs.create_queue(QueueName=name, Attributes={**attributes, "VisibilityTimeout": "3600"})["QueueUrl"]
        # One after the other: what is sent at the same time may be stored as one batch, which is damaged as a whole.
        for i in range(messages):
            sqs.send_message(QueueUrl=url, MessageBody=body(i), **more(i))
        assert server.stop() == 0
        damaged = {"early": 20, "late": messages - 30}
        if where == "index":
            damage_index(server.directory)
        else:
            damage_body(server.directory, damaged[where])
        server.start()
        sqs = sqs_client(server.aws)
        got, told = receive_all(sqs, url)
        assert len(got) == len(set(got)), "a message came twice"
        missing = sorted(set(range(messages)) - set(got))
        assert told > 0, f"nothing was told of {missing}"
        # What cannot be read stays where it is, and is counted.
        assert 0 < len(missing) <= PAGE_ENTRIES, f"{len(missing)} are missing: {missing[:5]} to {missing[-5:]}"
        if where != "index":
            assert missing == [damaged[where]]

        def left():
            told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            return sum(int(told["ApproximateNumberOfMessages" + which]) for which in ("", "NotVisible"))

        poll_until(left, lambda count: count == len(missing), "counting what is lost")
        # It is there after a crash too, and nothing that was deleted comes back.
        server.kill()
        server.start()
        sqs = sqs_client(server.aws)
        assert receive_all(sqs, url)[0] == [] and left() == len(missing)
    finally:
        if server.process.poll() is None:
            server.kill()

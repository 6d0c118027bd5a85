"""kill -9 amid what SQS remembers: deduplication windows, delays, dead letters, move tasks, the order of groups."""

import collections
import json
import random
import threading
import time

import botocore.exceptions
import pytest

from conftest import sqs_client
from test_sqs import receive_all
from waits import eventually, poll_until

pytestmark = pytest.mark.timeout(120)
UNREACHABLE = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)


def restarted(server):
    server.kill()
    server.start()
    return sqs_client(server.aws)


def attributes(sqs, url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def counts(sqs, url):
    """Messages that can be received, that are in flight, that are delayed."""
    told = attributes(sqs, url)
    return tuple(int(told["ApproximateNumberOfMessages" + which]) for which in ("", "NotVisible", "Delayed"))


def receive(sqs, url, wait=0, **more):
    got = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait, MessageSystemAttributeNames=["All"], **more
    )
    return got.get("Messages", [])


def delete(sqs, url, messages):
    entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(messages)]
    assert "Failed" not in sqs.delete_message_batch(QueueUrl=url, Entries=entries)


def fifo(sqs, name, **more):
    return sqs.create_queue(QueueName=f"{name}.fifo", Attributes={"FifoQueue": "true", **more})["QueueUrl"]


# Deduplication


@pytest.mark.parametrize("by_content", [False, True], ids=["by id", "by content"])
def test_a_window_goes_on_after_kills_also_for_what_is_deleted(fresh, name, by_content):
    sqs = sqs_client(fresh.aws)
    url = fifo(sqs, name, ContentBasedDeduplication=str(by_content).lower())

    def send(body):
        ids = {} if by_content else {"MessageDeduplicationId": f"id-of-{body}"}
        told = sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="g", **ids)
        return told["MessageId"], told["SequenceNumber"]

    first = send("one")
    sqs = restarted(fresh)
    assert send("one") == first
    (message,) = receive_all(sqs, url, 1, MessageSystemAttributeNames=["All"])
    assert (message["MessageId"], message["Attributes"]["SequenceNumber"]) == first
    # In flight, over a kill.
    sqs = restarted(fresh)
    assert send("one") == first
    # The lease may have gone with the kill: then it is received anew. Deleted by whichever handle holds.
    (message,) = receive(sqs, url) or [message]
    delete(sqs, url, [message])
    assert send("one") == first
    sqs = restarted(fresh)
    assert send("one") == first
    assert receive(sqs, url) == [] and counts(sqs, url) == (0, 0, 0)
    # Another is not taken for it.
    second = send("two")
    assert second[0] != first[0] and second[1] > first[1]
    assert [m["Body"] for m in receive_all(sqs, url, 1)] == ["two"]


def test_a_window_by_group_goes_on_after_a_kill(fresh, name):
    sqs = sqs_client(fresh.aws)
    url = fifo(sqs, name, DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    send = lambda group: sqs.send_message(
        QueueUrl=url, MessageBody=group, MessageGroupId=group, MessageDeduplicationId="same"
    )
    first = {group: send(group)["MessageId"] for group in "ab"}
    assert first["a"] != first["b"]
    sqs = restarted(fresh)
    assert {group: send(group)["MessageId"] for group in "ab"} == first
    third = send("c")["MessageId"]
    assert third not in first.values()
    assert sorted(m["Body"] for m in receive_all(sqs, url, 3)) == ["a", "b", "c"]


def test_a_purge_does_not_end_the_window_nor_does_a_kill_after_it(fresh, name):
    sqs = sqs_client(fresh.aws)
    url = fifo(sqs, name)
    message = {"QueueUrl": url, "MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "once"}
    first = sqs.send_message(**message)
    sqs.purge_queue(QueueUrl=url)
    sqs = restarted(fresh)
    assert sqs.send_message(**message)["MessageId"] == first["MessageId"]
    assert receive(sqs, url) == []


def test_senders_that_repeat_what_was_not_answered_store_each_once(fresh, name):
    """Senders and kills at once: what is sent again until it is accepted is there once, and in order."""
    sqs = sqs_client(fresh.aws)
    url = fifo(sqs, name)
    chance, senders, batches, kills = random.Random(1), 3, 40, 6
    accepted, lock = collections.defaultdict(set), threading.Condition()
    failures, done, lives = [], [0] * senders, [1]

    def send(group):
        mine = sqs_client(fresh.aws)
        for batch in range(batches):
            bodies = [f"{group}-{batch * 5 + i:03}" for i in range(5)]
            entries = [
                {"Id": str(i), "MessageBody": body, "MessageGroupId": str(group), "MessageDeduplicationId": body}
                for i, body in enumerate(bodies)
            ]
            deadline = time.monotonic() + 60
            # Twice once it is accepted, as a sender does that has lost the answer.
            answers = 0
            while answers < 2:
                if time.monotonic() > deadline:
                    failures.append(f"batch {batch} of {group} was never accepted")
                    return
                life = lives[0]
                try:
                    told = mine.send_message_batch(QueueUrl=url, Entries=entries)
                except UNREACHABLE:
                    # Whatever was sent in one life is answered in it, or there is another.
                    with lock:
                        lock.wait_for(lambda: lives[0] > life, timeout=deadline - time.monotonic())
                    continue
                if "Failed" in told:
                    failures.append(told["Failed"])
                    return
                answers += 1
                with lock:
                    for entry in told["Successful"]:
                        accepted[bodies[int(entry["Id"])]].add((entry["MessageId"], entry["SequenceNumber"]))
            with lock:
                done[group] += 1
                lock.notify_all()

    threads = [threading.Thread(target=send, args=(group,), daemon=True) for group in range(senders)]
    for thread in threads:
        thread.start()
    for _ in range(kills):
        with lock:
            goal = min(sum(done) + chance.randint(1, senders * batches // kills), senders * batches)
            assert lock.wait_for(lambda: sum(done) >= goal or failures, timeout=60) and not failures, failures
        fresh.kill()
        fresh.start()
        with lock:
            lives[0] += 1
            lock.notify_all()
    for thread in threads:
        thread.join(90)
        assert not thread.is_alive()
    assert failures == []
    assert len(accepted) == senders * batches * 5
    assert all(len(answers) == 1 for answers in accepted.values()), "each was told one identity, every time"

    sqs = sqs_client(fresh.aws)
    bodies = collections.defaultdict(list)
    while got := receive(sqs, url):
        for message in got:
            bodies[message["Attributes"]["MessageGroupId"]].append(message["Body"])
            assert accepted[message["Body"]] == {(message["MessageId"], message["Attributes"]["SequenceNumber"])}
        delete(sqs, url, got)
    assert bodies == {
        str(group): [f"{group}-{i:03}" for i in range(batches * 5)] for group in range(senders)
    }


# Delays


def test_delayed_messages_come_neither_early_nor_never(fresh, name):
    sqs = sqs_client(fresh.aws)
    url = sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "2"})["QueueUrl"]
    due, identity = {}, {}
    for delay in (None, 0, 1, 3, 4, 5):
        more = {} if delay is None else {"DelaySeconds": delay}
        due[str(delay)] = time.monotonic() + (2 if delay is None else delay)
        identity[str(delay)] = sqs.send_message(QueueUrl=url, MessageBody=str(delay), **more)["MessageId"]
    seen = {}

    def take(wait):
        got = receive(sqs, url, wait)
        now = time.monotonic()
        for message in got:
            body = message["Body"]
            assert body not in seen, f"{body} came twice"
            assert now >= due[body], f"{body} came {due[body] - now} s early"
            assert message["MessageId"] == identity[body]
            seen[body] = now
        if got:
            delete(sqs, url, got)
        return seen

    # A kill with all of them ahead, and one behind each that came.
    sqs = restarted(fresh)
    while len(seen) < len(due):
        before = len(seen)
        poll_until(lambda: take(1), lambda seen: len(seen) > before, f"of {sorted(due)} came {sorted(seen)}", 20)
        sqs = restarted(fresh)
    assert counts(sqs, url) == (0, 0, 0)
    assert receive(sqs, url) == []


def test_what_falls_due_while_the_broker_is_down_comes_at_once(fresh, name):
    sqs = sqs_client(fresh.aws)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    began = time.monotonic()
    sqs.send_message(QueueUrl=url, MessageBody="soon", DelaySeconds=1)
    sqs.send_message(QueueUrl=url, MessageBody="late", DelaySeconds=900)
    assert counts(sqs, url) == (0, 0, 2)
    fresh.kill()
    # The broker goes by the clock of the machine: let it pass the first, not the second.
    eventually(lambda: time.monotonic() > began + 1.5, what="time passes")
    fresh.start()
    sqs = sqs_client(fresh.aws)
    assert [m["Body"] for m in receive_all(sqs, url, 1)] == ["soon"]
    assert counts(sqs, url) == (0, 1, 1)


def test_a_purged_delay_does_not_come_back_after_a_kill(fresh, name):
    sqs = sqs_client(fresh.aws)
    url = sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "1"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="purged")
    sqs.purge_queue(QueueUrl=url)
    sqs.send_message(QueueUrl=url, MessageBody="kept")
    sqs = restarted(fresh)
    assert [m["Body"] for m in receive_all(sqs, url, 1)] == ["kept"]
    assert counts(sqs, url) == (0, 1, 0)


def test_a_fifo_queues_delay_and_a_change_of_it_hold_over_kills_in_order(fresh, name):
    sqs = sqs_client(fresh.aws)
    url = fifo(sqs, name, ContentBasedDeduplication="true", DelaySeconds="900")
    bodies = [f"{i:02}" for i in range(12)]
    send = lambda body: sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="g")
    numbers = [send(body)["SequenceNumber"] for body in bodies]
    sqs = restarted(fresh)
    assert counts(sqs, url) == (0, 0, 12) and receive(sqs, url) == []
    # Repeated while it waits: the same again.
    assert send("03")["SequenceNumber"] == numbers[3]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "0"})
    sqs = restarted(fresh)
    seen = []
    while len(seen) < len(bodies):
        got = receive(sqs, url, 10)
        assert got, f"only {seen} came"
        seen += [(m["Body"], m["Attributes"]["SequenceNumber"]) for m in got]
        delete(sqs, url, got)
    assert seen == list(zip(bodies, numbers, strict=True))
    assert counts(sqs, url) == (0, 0, 0)


# Poison


@pytest.mark.parametrize("is_fifo", [False, True], ids=["standard", "fifo"])
def test_poison_is_dead_lettered_once_and_the_rest_is_worked_over_a_kill(fresh, name, is_fifo):
    sqs = sqs_client(fresh.aws)
    create = (lambda of, **more: fifo(sqs, of, ContentBasedDeduplication="true", **more)) if is_fifo else (
        lambda of, **more: sqs.create_queue(QueueName=of, Attributes=more)["QueueUrl"]
    )
    dead = create(f"{name}-dead")
    policy = {"deadLetterTargetArn": attributes(sqs, dead)["QueueArn"], "maxReceiveCount": 3}
    url = create(name, VisibilityTimeout="2", RedrivePolicy=json.dumps(policy))
    bodies = [f"{'poison' if i % 7 == 3 else 'good'}-{i:03}" for i in range(140)]
    poison = {body for body in bodies if body.startswith("poison")}
    group = lambda body: f"g{int(body[-3:]) % 5}"
    identity = {}
    for start in range(0, len(bodies), 10):
        entries = [{"Id": body, "MessageBody": body} for body in bodies[start : start + 10]]
        if is_fifo:
            entries = [{**entry, "MessageGroupId": group(entry["Id"])} for entry in entries]
        sent = sqs.send_message_batch(QueueUrl=url, Entries=entries)
        identity.update((entry["Id"], entry["MessageId"]) for entry in sent["Successful"])
    assert len(identity) == len(bodies)
    told, deleted, lock = collections.defaultdict(list), set(), threading.Condition()

    def work():
        """Gives poison back, deletes the rest, one at a time; until there is nothing or nobody answers."""
        mine = sqs_client(fresh.aws)
        try:
            while got := mine.receive_message(
                QueueUrl=url, WaitTimeSeconds=3, MessageSystemAttributeNames=["All"]
            ).get("Messages"):
                (message,) = got
                body, handle = message["Body"], message["ReceiptHandle"]
                with lock:
                    told[body].append(int(message["Attributes"]["ApproximateReceiveCount"]))
                if body in poison:
                    mine.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
                    continue
                mine.delete_message(QueueUrl=url, ReceiptHandle=handle)
                with lock:
                    deleted.add(body)
                    lock.notify_all()
        except UNREACHABLE:
            pass

    def workers():
        threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        return threads

    running = workers()
    with lock:
        assert lock.wait_for(lambda: len(deleted) >= 50, timeout=30)
    sqs = restarted(fresh)
    for thread in running + workers():
        thread.join(60)
        assert not thread.is_alive()
    assert counts(sqs, url) == (0, 0, 0)
    # What the kill caught in a worker's hands may have been received once more than it is counted, or deleted unheard.
    assert set(told) == set(bodies) and len(bodies) - len(poison) - len(deleted) <= 4
    # A receive of each worker may have been counted without being answered when the kill came: nobody has heard its number.
    unheard = [{1, 2, 3} - set(told[body]) for body in poison if set(told[body]) != {1, 2, 3}]
    assert len(unheard) <= 4 and all(len(numbers) == 1 for numbers in unheard), told
    assert all(set(told[body]) <= {1, 2, 3} for body in poison), told
    assert sum(len(told[body]) for body in poison) <= 3 * len(poison) + 4
    if is_fifo:
        for of in {group(body) for body in bodies}:
            order = [body for body in told if group(body) == of]
            assert order == [body for body in bodies if group(body) == of]
    sqs = restarted(fresh)
    assert sorted(bodies_in(sqs, dead, identity)) == sorted(poison)


# Move tasks


def dead_lettered(sqs, name, count):
    """`count` messages in a dead-letter queue; the URLs of the queue and of the dead-letter queue, whose ARN, identities."""
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = attributes(sqs, dead)["QueueArn"]
    policy = lambda most: json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": most})
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "0", "RedrivePolicy": policy(1)})["QueueUrl"]
    identity = {}
    for start in range(0, count, 10):
        entries = [{"Id": str(i), "MessageBody": str(i)} for i in range(start, min(start + 10, count))]
        for entry in sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]:
            identity[entry["Id"]] = entry["MessageId"]

    def dead_so_far():
        receive(sqs, url)
        return counts(sqs, dead)

    poll_until(dead_so_far, lambda seen: seen == (count, 0, 0), f"{count} messages are dead-lettered")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "600", "RedrivePolicy": policy(1000)})
    return url, dead, arn, identity


def bodies_in(sqs, url, identity):
    """Everything in a queue, deleted on the way; each with the MessageId of its first send."""
    bodies = []
    while got := receive(sqs, url):
        for message in got:
            assert message["MessageId"] == identity[message["Body"]]
            bodies.append(message["Body"])
        delete(sqs, url, got)
    assert counts(sqs, url) == (0, 0, 0)
    return bodies


def task_of(sqs, arn):
    return sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]


def moved(task):
    return task["ApproximateNumberOfMessagesMoved"]


def test_a_move_goes_on_after_kills_and_each_message_is_in_one_place(fresh, name):
    sqs = sqs_client(fresh.aws)
    url, dead, arn, identity = dead_lettered(sqs, name, 60)
    sqs.start_message_move_task(SourceArn=arn, MaxNumberOfMessagesPerSecond=20)
    before = 0
    for least in (5, 20, 40):
        task = poll_until(lambda: task_of(sqs, arn), lambda task: moved(task) >= least, f"{least} are moved")
        assert task["Status"] == "RUNNING" and moved(task) >= before
        before = moved(task)
        sqs = restarted(fresh)
        task = task_of(sqs, arn)
        assert moved(task) >= before, "what was told as moved stays so"
        assert task["ApproximateNumberOfMessagesToMove"] == 60
        assert task["MaxNumberOfMessagesPerSecond"] == 20
    task = poll_until(lambda: task_of(sqs, arn), lambda task: task["Status"] != "RUNNING", "the task ends")
    assert (task["Status"], moved(task)) == ("COMPLETED", 60)
    sqs = restarted(fresh)
    assert task_of(sqs, arn) == task
    assert counts(sqs, dead) == (0, 0, 0)
    assert sorted(bodies_in(sqs, url, identity), key=int) == [str(i) for i in range(60)]


def test_a_move_is_cancelled_after_a_kill_by_the_handle_of_before(fresh, name):
    sqs = sqs_client(fresh.aws)
    url, dead, arn, identity = dead_lettered(sqs, name, 40)
    handle = sqs.start_message_move_task(SourceArn=arn, MaxNumberOfMessagesPerSecond=5)["TaskHandle"]
    poll_until(lambda: task_of(sqs, arn), lambda task: moved(task) >= 3, "some are moved")
    sqs = restarted(fresh)
    running = poll_until(lambda: task_of(sqs, arn), lambda task: moved(task) >= 5, "the task goes on")
    assert (running["Status"], running["TaskHandle"]) == ("RUNNING", handle)
    with pytest.raises(botocore.exceptions.ClientError) as second:
        sqs.start_message_move_task(SourceArn=arn)
    assert second.value.response["Error"]["Code"] == "InvalidParameterValue"
    sqs.cancel_message_move_task(TaskHandle=handle)
    sqs = restarted(fresh)
    ended = poll_until(lambda: task_of(sqs, arn), lambda task: task["Status"] == "CANCELLED", "the task ends")
    assert "TaskHandle" not in ended
    back, left = bodies_in(sqs, url, identity), bodies_in(sqs, dead, identity)
    assert len(back) == moved(ended) and len(left) == 40 - len(back) > 0
    assert sorted(back + left, key=int) == [str(i) for i in range(40)]
    # Another may begin.
    sqs.start_message_move_task(SourceArn=arn)


# Order, and receives by attempt


def test_a_group_stays_blocked_and_in_order_over_a_kill(fresh, name):
    sqs = sqs_client(fresh.aws)
    url = fifo(sqs, name, ContentBasedDeduplication="true", VisibilityTimeout="600")
    for group in "ab":
        for number in range(4):
            sqs.send_message(QueueUrl=url, MessageBody=f"{group}{number}", MessageGroupId=group)
    one = lambda: sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)["Messages"][0]
    held, other = one(), one()
    assert (held["Body"], other["Body"]) == ("a0", "b0")
    # A settlement is awaited and carries with it the lease that came before.
    delete(sqs, url, [other])
    sqs = restarted(fresh)
    rest = receive(sqs, url)
    assert [m["Body"] for m in rest] == ["b1", "b2", "b3"]
    delete(sqs, url, rest)
    assert receive(sqs, url) == []
    sqs = restarted(fresh)
    assert receive(sqs, url) == [] and counts(sqs, url) == (3, 1, 0)
    # The handle of before both kills; what comes back, comes back to its place.
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=held["ReceiptHandle"], VisibilityTimeout=0)
    sqs.send_message(QueueUrl=url, MessageBody="a4", MessageGroupId="a")
    sqs = restarted(fresh)
    seen = []
    while len(seen) < 5:
        got = receive(sqs, url, 10)
        assert got, f"only {seen} came"
        seen += got
        delete(sqs, url, got)
    assert [m["Body"] for m in seen] == ["a0", "a1", "a2", "a3", "a4"]
    assert [m["Attributes"]["ApproximateReceiveCount"] for m in seen] == ["2", "1", "1", "1", "1"]
    sqs = restarted(fresh)
    assert receive(sqs, url) == [] and counts(sqs, url) == (0, 0, 0)


def test_a_lease_that_a_kill_took_gives_its_group_back_in_order(fresh, name):
    sqs = sqs_client(fresh.aws)
    url = fifo(sqs, name, ContentBasedDeduplication="true", VisibilityTimeout="2")
    for number in range(5):
        sqs.send_message(QueueUrl=url, MessageBody=str(number), MessageGroupId="g")
    first = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=2)["Messages"]
    assert [m["Body"] for m in first] == ["0", "1"]
    sqs = restarted(fresh)
    # At once if the leases were not written yet, else when they end; in either case from the first on.
    seen = []
    while len(seen) < 5:
        got = receive(sqs, url, 10)
        assert got, f"only {seen} came"
        seen += [m["Body"] for m in got]
        delete(sqs, url, got)
        sqs = restarted(fresh)
    assert seen == ["0", "1", "2", "3", "4"]


def test_a_delete_is_not_answered_as_done_after_a_kill_has_undone_its_receive(fresh, name):
    sqs = sqs_client(fresh.aws)
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "600"})["QueueUrl"]
    for number in range(6):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
        (held,) = receive(sqs, url)
        # At once, so that the receive has hardly ever been written.
        sqs = restarted(fresh)
        try:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=held["ReceiptHandle"])
        except sqs.exceptions.ReceiptHandleIsInvalid:
            (held,) = receive(sqs, url)
            sqs.delete_message(QueueUrl=url, ReceiptHandle=held["ReceiptHandle"])
        assert counts(sqs, url) == (0, 0, 0)


def test_a_restart_forgets_attempts_and_keeps_their_leases(fresh, name):
    sqs = sqs_client(fresh.aws)
    url = fifo(sqs, name, ContentBasedDeduplication="true", VisibilityTimeout="600")
    for group in "ab":
        sqs.send_message(QueueUrl=url, MessageBody=group, MessageGroupId=group)
    attempt = {"QueueUrl": url, "MaxNumberOfMessages": 1, "ReceiveRequestAttemptId": "again"}
    (held,) = sqs.receive_message(**attempt)["Messages"]
    (same,) = sqs.receive_message(**attempt)["Messages"]
    assert same["ReceiptHandle"] == held["ReceiptHandle"]
    delete(sqs, url, receive(sqs, url))
    sqs = restarted(fresh)
    assert "Messages" not in sqs.receive_message(**attempt)
    assert counts(sqs, url) == (0, 1, 0)
    delete(sqs, url, [held])
    assert counts(sqs, url) == (0, 0, 0)

//! The load generator, small: that it runs to its end, checks what it reads, and leaves nothing behind.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Server, run, stderr, stdout};
use serde_json::Value;

fn figures(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

#[test]
fn kafka_against_a_broker_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let load =
        ["--records", "20001", "--partitions", "3", "--clients", "2", "--rate", "200", "--seconds", "1"];
    let report = figures(&[&["bench", "kafka", "--spawn", "--json", "--dir", path][..], &load].concat());
    let rows: Vec<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        rows,
        ["kafka consume, 100 B", "kafka produce to consume, 200/s, 100 B", "kafka produce, 100 B"]
    );
    assert_eq!(report["kafka consume, 100 B"]["records"], 20001);
    assert!(report["kafka produce, 100 B"]["p99_us"].as_u64().unwrap() > 0);
    assert_eq!(report["kafka produce to consume, 200/s, 100 B"]["records"], 200);
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0, "the data was not deleted");
}

#[test]
fn kafka_against_a_broker_that_runs() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &["--listen", "kafka=127.0.0.1:0"]);
    let (kafka, admin) = (server.address("kafka").to_string(), server.address("admin").to_string());
    let to = ["--addr", &kafka, "--admin", &admin, "--json", "--mode", "consume", "--records", "100"];
    let report = figures(&[&["bench", "kafka"][..], &to].concat());
    assert_eq!(report["kafka consume, 100 B"]["records"], 100);
    assert_eq!(stdout(&server.cli(&["topic", "list"])), "no topics\n");
}

#[test]
fn startup_empty_and_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let report = figures(&["bench", "startup", "--json", "--dir", path, "--data", "2MiB"]);
    assert!(report["start, empty"]["ready_ms"].as_f64().unwrap() > 0.0);
    assert!(report["start after kill -9 with 2 MiB"]["ready_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn sqs_against_a_broker_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let report = figures(&["bench", "sqs", "--spawn", "--json", "--dir", path, "--messages", "333"]);
    assert_eq!(report["sqs send, 256 B"]["records"], 333);
    assert_eq!(report["sqs receive+delete, 256 B"]["records"], 333);
    assert!(report["sqs send, 256 B"]["fsyncs"].as_u64().unwrap() > 0);
}

#[test]
fn sqs_fifo_over_several_queues_with_a_backlog() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    for dedup in ["id", "content"] {
        let load =
            ["--messages", "333", "--backlog", "55", "--queues", "3", "--fifo", "--groups", "8", "--dedup"];
        let arguments = [&["bench", "sqs", "--spawn", "--json", "--dir", path][..], &load, &[dedup]].concat();
        let report = figures(&arguments);
        let described = "256 B, FIFO, 8 groups, 3 queues, 55 waiting";
        assert_eq!(report[format!("sqs send the backlog, {described}")]["records"], 55);
        assert_eq!(report[format!("sqs send, {described}")]["records"], 333);
        assert_eq!(report[format!("sqs receive+delete, {described}")]["records"], 333);
    }
}

#[test]
fn sqs_receivers_that_wait() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let load = ["--mode", "wait", "--messages", "300"];
    let report = figures(&[&["bench", "sqs", "--spawn", "--json", "--dir", path][..], &load].concat());
    assert_eq!(report["sqs 300 long polls"]["records"], 299);
}

#[test]
fn startup_with_queues() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let report = figures(&["bench", "startup", "--json", "--dir", path, "--queues", "120"]);
    assert!(report["start after kill -9 with 120 queues"]["ready_ms"].as_f64().unwrap() > 0.0);
    assert!(report["look at 120 queues"]["list_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn kafka_latency_while_old_records_are_replayed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let load = ["--mode", "latency", "--rate", "200", "--seconds", "1", "--settled-seconds", "1"];
    let replay = ["--replaying", "3", "--replay-bytes", "2MiB"];
    let arguments = [&["bench", "kafka", "--spawn", "--json", "--dir", path][..], &load, &replay].concat();
    let report = figures(&arguments);
    let latency = "kafka produce to consume, 200/s, 100 B";
    assert_eq!(report[latency]["records"], 200);
    assert_eq!(report[format!("{latency}, while old records are replayed")]["records"], 200);
    // Each of them went over its third at least once, and began again.
    let replayed = &report["kafka replay, 3 consumers"];
    assert!(replayed["passes"].as_u64().unwrap() >= 3, "{replayed}");
    assert!(replayed["read_mib"].as_u64().unwrap() >= 2, "{replayed}");
}

#[test]
fn kafka_produce_while_the_cleaner_rewrites() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let load = ["--mode", "produce", "--records", "100", "--settled-seconds", "1"];
    let rewriting = ["--rewriting", "128MiB", "--serve-arg=--file-bytes=1MiB"];
    let arguments = [&["bench", "kafka", "--spawn", "--json", "--dir", path][..], &load, &rewriting].concat();
    let report = figures(&arguments);
    assert_eq!(report["kafka produce, 100 B, alone"]["records"], 100);
    assert_eq!(report["kafka produce, 100 B, while the cleaner rewrites"]["records"], 100);
    let cost = &report["kafka produce, cost of rewriting"];
    assert!(cost["rewritten_mib"].is_u64() && cost["lost_percent"].is_number(), "{cost}");
}

#[test]
fn replaying_and_rewriting_are_refused_in_other_modes() {
    for (flag, mode, goes_with) in [
        (["--rewriting", "1MiB"], "latency", "--rewriting goes with --mode produce"),
        (["--replaying", "2"], "produce", "--replaying goes with --mode latency"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let load = ["bench", "kafka", "--spawn", "--dir", path, "--mode", mode];
        let output = run(&[&load[..], &flag].concat());
        assert!(!output.status.success() && stderr(&output).contains(goes_with), "{}", stderr(&output));
    }
}

#[test]
fn sqs_leaves_a_stuck_message_in_so_many_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let load = ["--messages", "2000", "--message-bytes", "1KiB", "--settled-seconds", "1"];
    let stuck = ["--stuck-every", "256KiB", "--serve-arg=--file-bytes=1MiB"];
    let arguments = [&["bench", "sqs", "--spawn", "--json", "--dir", path][..], &load, &stuck].concat();
    let report = figures(&arguments);
    // The middle one of each 256 messages; the last stretch of 208 has one too.
    assert_eq!(report["sqs disk, settled"]["stuck_messages"], 8);
    assert_eq!(report["sqs disk, settled"]["passed_mib"], 1);
    assert!(report["sqs disk, settled"]["disk_mib"].as_u64().unwrap() > 0);
    assert_eq!(report["sqs receive+delete, 1024 B"]["records"], 2000);
    let refused = run(&["bench", "sqs", "--spawn", "--dir", path, "--stuck-every", "100"]);
    assert!(
        stderr(&refused).contains("--stuck-every must be --message-bytes at least"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn amqp_against_a_broker_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let load = ["--messages", "400", "--in-flight", "64", "--prefetch", "50"];
    let report = figures(&[&["bench", "amqp", "--spawn", "--json", "--dir", path][..], &load].concat());
    for (row, messages) in [
        ("amqp publish, 1024 B", 400),
        ("amqp consume, 1024 B", 400),
        ("amqp publish and consume at once, 1024 B", 400),
        ("amqp publish one at a time, 1024 B", 20),
    ] {
        assert_eq!(report[row]["records"], messages, "{row}");
    }
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0, "the data was not deleted");
}

#[test]
fn amqp_bodies_of_several_frames_and_of_eight_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    for bytes in ["8", "131064", "131065", "400000"] {
        let load = ["--messages", "20", "--in-flight", "4", "--mode", "apart", "--message-bytes", bytes];
        let report = figures(&[&["bench", "amqp", "--spawn", "--json", "--dir", path][..], &load].concat());
        assert_eq!(report[format!("amqp consume, {bytes} B")]["records"], 20);
    }
}

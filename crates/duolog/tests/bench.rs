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

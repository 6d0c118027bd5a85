//! `duolog serve` from outside: starting, answering, ending, refusing.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Instant;

use common::{Server, run, stderr};

#[test]
fn it_says_where_it_listens_and_ends_in_order_on_sigterm() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    assert_ne!(server.address("admin").port(), 0);
    assert_eq!(server.http("GET", "/health/live", "").0, 200);
    assert_eq!(server.http("GET", "/health/ready", "").0, 200);
    assert_eq!(server.http("GET", "/nowhere", "").0, 404);
    let begun = Instant::now();
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
    assert!(begun.elapsed().as_secs() < 10);
}

#[test]
fn a_port_that_is_taken_is_named_with_its_listener() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = directory.path().to_str().unwrap();
    let output = run(&["serve", "--data-dir", data, "--listen", &format!("admin={address}")]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.contains(&format!("cannot open the admin listener: {address} is already in use")),
        "{message}"
    );
}

#[test]
fn a_wrong_configuration_exits_with_2() {
    for line in [
        &["serve", "--listen", "nonsense"][..],
        &["serve", "--listen", "admin=10.0.0.1:0"],
        &["serve", "--config", "/does/not/exist.toml"],
        &["serve", "--durability", "maybe"],
        &["serve", "--log-level", "a=b=c"],
        &["serve", "--default-batch-bytes-max", "17MiB"],
        &["serve", "--default-batch-bytes-max", "0"],
    ] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(2), "{line:?}: {}", stderr(&output));
        assert!(!stderr(&output).is_empty());
    }
}

#[test]
fn metrics_are_well_formed_and_tell_the_end_of_each_partition() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let (status, body) = server.http("POST", "/api/topics", r#"{"name":"orders","partitions":2}"#);
    assert_eq!(status, 201, "{body}");
    assert_eq!(server.http("POST", "/api/queues", r#"{"name":"jobs"}"#).0, 201);
    let (status, text) = server.http("GET", "/metrics", "");
    assert_eq!(status, 200);
    let mut families = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            families.push(rest.split(' ').next().unwrap());
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            assert_eq!(name.split('{').next(), families.last().copied(), "{line} stands outside its family");
        }
    }
    assert!(text.contains("duolog_topic_end_offset{topic=\"orders\",partition=\"1\"} 0\n"), "{text}");
    for family in [
        "duolog_log_fsyncs_total",
        "duolog_volume_free_bytes",
        "duolog_group_lag_records",
        "duolog_queue_dead_lettered_total",
        "duolog_queue_undeliverable_total",
        "duolog_queue_pinned_records",
    ] {
        assert!(families.contains(&family), "{text}");
    }
    assert!(text.contains("duolog_queue_lag_seconds{queue=\"jobs\"} 0\n"), "{text}");
}

#[test]
fn topics_are_made_looked_at_and_deleted_over_http() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let create = r#"{"name":"orders","partitions":3,"retention_ms":60000}"#;
    assert_eq!(server.http("POST", "/api/topics", create).0, 201);
    let (status, body) = server.http("POST", "/api/topics", create);
    assert_eq!((status, body.contains("\"error\":\"exists\"")), (409, true), "{body}");
    let (status, body) = server.http("GET", "/api/topics/orders", "");
    let described: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, described["retention_ms"].as_u64()), (200, Some(60000)));
    assert_eq!(described["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(server.http("GET", "/api/topics/orders/records?partition=1", ""), (200, "[]".to_owned()));
    assert_eq!(server.http("GET", "/api/topics/orders/records?partition=3", "").0, 404);
    assert_eq!(server.http("POST", "/api/topics", r#"{"name":"a b"}"#).0, 400);
    assert_eq!(server.http("DELETE", "/api/topics/orders", "").0, 204);
    assert_eq!(server.http("GET", "/api/topics/orders", "").0, 404);
}

#[test]
fn every_refusal_over_http_is_json_with_a_word_and_a_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    assert_eq!(server.http("POST", "/api/queues", r#"{"name":"jobs"}"#).0, 201);
    let huge = format!(r#"{{"name":"{}"}}"#, "x".repeat(3 << 20));
    for (method, path, body, status, word) in [
        ("POST", "/api/topics", "{", 400, "invalid"),
        ("POST", "/api/topics", r#"{"name":7}"#, 422, "invalid"),
        ("POST", "/api/topics", r#"{"name":"a","nmae":"b"}"#, 422, "invalid"),
        ("POST", "/api/topics", &huge, 413, "too_large"),
        ("GET", "/api/topics/a/records?partition=-1", "", 400, "invalid"),
        ("GET", "/api/topics/%ff", "", 400, "invalid"),
        ("POST", "/api/queues/jobs/replay", r#"{"from":"latest"}"#, 400, "invalid"),
        ("POST", "/api/queues", r#"{"name":"a","attempts_max":1001,"dead_letter":"jobs"}"#, 400, "invalid"),
        ("PUT", "/api/queues", "", 405, "method_not_allowed"),
        ("GET", "/api/nothing", "", 404, "not_found"),
    ] {
        let (got, answer) = server.http(method, path, body);
        let json: serde_json::Value = serde_json::from_str(&answer).expect(&answer);
        assert_eq!((got, json["error"].as_str()), (status, Some(word)), "{method} {path}: {answer}");
        assert!(json["message"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    }
}

#[test]
fn a_directory_in_use_is_refused_and_the_holder_named() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let data = directory.path().to_str().unwrap();
    let output = run(&["serve", "--data-dir", data, "--listen", "admin=127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(message.contains(&format!("another broker (process {}) uses {data}", server.id())), "{message}");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let data = file.path().join("data");
    let output = run(&["serve", "--data-dir", data.to_str().unwrap(), "--listen", "admin=127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(data.to_str().unwrap()), "{}", stderr(&output));
    for (data, words) in [("/dev/null", "is no directory"), ("/dev/null/data", "no directory")] {
        let output = run(&["serve", "--data-dir", data, "--listen", "admin=127.0.0.1:0"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[test]
fn what_was_acknowledged_is_there_after_kill_9_and_after_an_orderly_end() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    assert_eq!(server.http("POST", "/api/topics", r#"{"name":"orders"}"#).0, 201);
    drop(server);
    let server = Server::start(directory.path(), &[]);
    assert_eq!(server.http("GET", "/api/topics/orders", "").0, 200);
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
    let server = Server::start(directory.path(), &[]);
    assert_eq!(server.http("GET", "/api/topics/orders", "").0, 200);
}

//! The command line against a running broker.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Server, run, stderr, stdout};

#[test]
fn topics_are_managed_from_the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    assert_eq!(stdout(&server.cli(&["topic", "list"])), "no topics\n");
    let made = server.cli(&["topic", "create", "orders", "--partitions", "3", "--retention", "2h"]);
    assert_eq!(stdout(&made), "topic orders created, partitions: 3\n", "{}", stderr(&made));
    let listed = stdout(&server.cli(&["topic", "list"]));
    assert!(listed.starts_with("TOPIC"), "{listed}");
    assert!(listed.contains("orders"), "{listed}");
    let described = stdout(&server.cli(&["topic", "describe", "orders"]));
    assert!(described.contains("retention        2h"), "{described}");
    let json = stdout(&server.cli(&["topic", "describe", "orders", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["name"].as_str(), json["retention_ms"].as_u64()), (Some("orders"), Some(7_200_000)));
    assert_eq!(stdout(&server.cli(&["topic", "peek", "orders"])), "no records there\n");
    assert!(server.cli(&["topic", "trim", "orders", "--before", "latest"]).status.success());
    assert_eq!(stdout(&server.cli(&["topic", "delete", "orders"])), "topic orders deleted\n");
    let gone = server.cli(&["topic", "describe", "orders"]);
    assert_eq!(
        (gone.status.code(), stderr(&gone).as_str()),
        (Some(1), "duolog: there is no topic \"orders\"\n")
    );
}

#[test]
fn a_retention_of_none_keeps_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &["--default-retention", "1h"]);
    let retention = |name: &str, more: &[&str]| {
        let made = server.cli(&[&["topic", "create", name, "--json"], more].concat());
        serde_json::from_str::<serde_json::Value>(&stdout(&made)).unwrap()["retention_ms"].clone()
    };
    assert_eq!(retention("default", &[]), 3_600_000);
    assert_eq!(retention("ever", &["--retention", "none"]), serde_json::Value::Null);
}

#[test]
fn groups_that_never_committed_are_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    assert_eq!(stdout(&server.cli(&["group", "list"])), "no groups\n");
    let unknown = server.cli(&["group", "describe", "a/b c"]);
    assert!(stderr(&unknown).contains("\"a/b c\" has neither members nor offsets"), "{}", stderr(&unknown));
}

#[test]
fn without_a_broker_it_says_how_to_start_one() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = run(&["topic", "list", "--admin", &free]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(message.contains(&format!("no broker answers at {free}")), "{message}");
    assert!(message.contains("duolog serve"), "{message}");
}

#[test]
fn a_listener_that_is_not_the_admin_one_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &["--listen", "kafka=127.0.0.1:0"]);
    let kafka = server.address("kafka").to_string();
    let output = run(&["topic", "list", "--admin", &kafka]);
    assert!(stderr(&output).contains("does not answer as the admin listener"), "{}", stderr(&output));
    let server = Server::start(&directory.path().join("other"), &["--listen", "aws=127.0.0.1:0"]);
    let output = run(&["topic", "list", "--admin", &server.address("aws").to_string()]);
    let message = stderr(&output);
    assert!(message.contains("not as the admin listener of a broker does"), "{message}");
}

#[test]
fn a_negative_number_is_called_no_valid_value() {
    for line in [&["topic", "peek", "orders", "--offset", "-1"][..], &["bench", "kafka", "--records", "-5"]] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("invalid value '-"), "{}", stderr(&output));
    }
}

#[test]
fn queues_are_managed_from_the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    assert_eq!(stdout(&server.cli(&["queue", "list"])), "no queues\n");
    let made = server.cli(&["queue", "create", "jobs"]);
    assert_eq!(stdout(&made), "queue jobs created on topic jobs\n", "{}", stderr(&made));
    assert!(server.cli(&["topic", "create", "orders", "--partitions", "2"]).status.success());
    let made = server.cli(&[
        "queue",
        "create",
        "workers",
        "--topic",
        "orders",
        "--from",
        "latest",
        "--visibility-timeout",
        "5s",
        "--attempts-max",
        "3",
        "--dead-letter",
        "jobs",
    ]);
    assert_eq!(stdout(&made), "queue workers created on topic orders\n", "{}", stderr(&made));
    let described = stdout(&server.cli(&["queue", "describe", "workers"]));
    assert!(described.contains("jobs after 3 receives"), "{described}");
    let json = stdout(&server.cli(&["queue", "describe", "workers", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["topic"].as_str(), json["available"].as_u64()), (Some("orders"), Some(0)));
    assert_eq!(
        stdout(&server.cli(&["queue", "replay", "workers", "--from", "2h"])),
        "messages available again: 0\n"
    );
    assert_eq!(stdout(&server.cli(&["queue", "purge", "workers"])), "messages settled: 0\n");
    let wrong = server.cli(&["queue", "create", "more", "--attempts-max", "3", "--dead-letter", "mistyped"]);
    assert!(!wrong.status.success() && stderr(&wrong).contains("mistyped"), "{}", stderr(&wrong));
    let wrong = server.cli(&["queue", "replay", "workers", "--from", "soon"]);
    assert!(stderr(&wrong).contains("from: \"soon\" is none of: earliest"), "{}", stderr(&wrong));
    let wrong = server.cli(&["queue", "replay", "orders", "--from", "earliest"]);
    assert!(stderr(&wrong).contains("`duolog queue create orders` makes one"), "{}", stderr(&wrong));
    assert_eq!(stdout(&server.cli(&["queue", "delete", "jobs"])), "queue jobs deleted\n");
    let topics = stdout(&server.cli(&["topic", "list"]));
    assert!(topics.contains("orders") && !topics.contains("jobs"), "{topics}");
}

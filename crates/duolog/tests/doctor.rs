//! `duolog doctor` on a sound directory, on a damaged one, and on one that is in use.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use common::{Server, run, stderr, stdout};

/// One request in AWS JSON.
fn sqs(server: &Server, action: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server.address("aws")).unwrap();
    let head =
        format!("POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-amz-target: AmazonSQS.{action}");
    let head =
        format!("{head}\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}", body.len());
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// A directory with ten messages in the queue `jobs`.
fn filled(directory: &Path) {
    let server = Server::start(directory, &["--listen", "aws=127.0.0.1:0"]);
    let made = sqs(&server, "CreateQueue", r#"{"QueueName":"jobs"}"#);
    let url = made.split("\"QueueUrl\":\"").nth(1).unwrap().split('"').next().unwrap();
    for number in 0..10 {
        let body = format!(r#"{{"QueueUrl":"{url}","MessageBody":"message number {number}"}}"#);
        sqs(&server, "SendMessage", &body);
    }
    server.terminate();
    assert!(server.wait().success());
}

fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("lock"))
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn a_sound_directory_is_sound_and_can_be_exported() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    filled(directory.path());
    let before = contents(directory.path());
    let output = run(&["doctor", "--data-dir", path]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).ends_with("no damage found\n"), "{}", stdout(&output));
    let to = tempfile::tempdir().unwrap();
    let file = to.path().join("jobs.json");
    let export = ["doctor", "--data-dir", path, "--export", "jobs", "--to", file.to_str().unwrap()];
    let output = run(&export);
    assert_eq!(stdout(&output), "10 records exported, 0 gaps\n", "{}", stderr(&output));
    let lines = std::fs::read_to_string(&file).unwrap();
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((first["offset"].as_u64(), first["value"].as_str()), (Some(0), Some("message number 0")));
    assert!(before == contents(directory.path()), "nothing has changed");
    assert!(stderr(&run(&export)).contains("cannot create"), "an export is not overwritten");
}

#[test]
fn damage_is_explained_and_the_rest_is_exported() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    filled(directory.path());
    let marker = b"message number 4";
    let log = contents(directory.path()).into_iter().find_map(|(name, bytes)| {
        let at = bytes.windows(marker.len()).position(|it| it == marker)?;
        Some((name, bytes, at))
    });
    let (name, mut bytes, at) = log.unwrap();
    bytes[at] ^= 1;
    std::fs::write(&name, &bytes).unwrap();
    let before = contents(directory.path());
    let output = run(&["doctor", "--data-dir", path]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("offsets 4 to 5 cannot be read"), "{said}");
    assert!(said.contains("(jobs, partition 0) is in doubt"), "{said}");
    assert!(said.contains("What can be done"), "{said}");
    let to = tempfile::tempdir().unwrap();
    let file = to.path().join("jobs.json");
    let output = run(&["doctor", "--data-dir", path, "--export", "jobs", "--to", file.to_str().unwrap()]);
    assert_eq!(stdout(&output), "9 records exported, 1 gaps\n", "{}", stderr(&output));
    assert!(before == contents(directory.path()), "nothing has changed");
    std::fs::write(directory.path().join("manifest"), b"nonsense").unwrap();
    let output = run(&["doctor", "--data-dir", path]);
    assert!(stdout(&output).contains("fatal: manifest"), "{}", stdout(&output));
    assert!(stdout(&output).contains("The broker does not start"), "{}", stdout(&output));
}

#[test]
fn damaged_state_is_told_and_partitions_can_be_exported_by_number() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    filled(directory.path());
    // The name of the queue stands in the broker's state alone, which is stored as it is.
    let marker = b"jobs";
    let (name, mut bytes) = contents(directory.path())
        .into_iter()
        .find(|(_, bytes)| bytes.windows(marker.len()).any(|it| it == marker))
        .unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - marker.len()).filter(|&at| bytes[at..].starts_with(marker)).collect();
    places.iter().for_each(|&at| bytes[at] ^= 1);
    std::fs::write(&name, &bytes).unwrap();
    let output = run(&["doctor", "--data-dir", path]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("The broker does not start"), "{said}");
    assert!(!run(&["serve", "--data-dir", path]).status.success(), "it is right");
    let listed =
        said.lines().find(|line| line.ends_with("offsets 0 to 10")).unwrap_or_else(|| panic!("{said}"));
    let number = listed.split_whitespace().nth(1).unwrap().trim_end_matches(',');
    let to = tempfile::tempdir().unwrap();
    let file = to.path().join("out.json");
    let export =
        |what: &str| run(&["doctor", "--data-dir", path, "--export", what, "--to", file.to_str().unwrap()]);
    assert!(stderr(&export("jobs")).contains("cannot be found by name"), "{}", stderr(&export("jobs")));
    assert!(stderr(&export("999")).contains("there is no partition 999"));
    assert!(!file.exists(), "a failed export leaves nothing");
    assert_eq!(stdout(&export(number)), "10 records exported, 0 gaps\n");
}

#[test]
fn a_directory_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let output = run(&["doctor", "--data-dir", directory.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("a broker uses"), "{}", stderr(&output));
    drop(server);
    let output = run(&["doctor", "--data-dir", "/nowhere/at/all"]);
    assert!(stderr(&output).contains("is not a directory"), "{}", stderr(&output));
}

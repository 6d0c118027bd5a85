//! Keeps the invariants of ARCHITECTURE.md that a reader of one file cannot see: arrows down, no protocol word below the
//! frontends, no clock below the binary, and so on. Adding a crate: one row in `FLOORS`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Each crate and what it may depend on, dev-dependencies aside.
const FLOORS: &[(&str, &[&str])] = &[
    ("record", &[]),
    ("storage", &["record"]),
    ("broker", &["record", "storage"]),
    ("net", &[]),
    ("kafka", &["record", "storage", "broker", "net"]),
    ("amqp", &["record", "storage", "broker", "net"]),
    ("aws", &["record", "storage", "broker", "net"]),
    ("nats", &["record", "storage", "broker", "net"]),
    ("redis", &["record", "storage", "broker", "net"]),
    ("testkit", &["record", "storage", "broker"]),
    ("duolog", &["record", "storage", "broker", "net", "kafka", "amqp", "aws", "nats", "redis"]),
];

/// Names of protocols and their products: at home in their frontends and in the binary, nowhere below.
const PROTOCOL_WORDS: &[&str] =
    &["kafka", "sqs", "sns", "amqp", "rabbit", "nats", "redis", "jetstream", "aws", "librdkafka", "boto"];

struct Source {
    crate_name: String,
    path: PathBuf,
    shown: String,
    text: String,
}

impl Source {
    /// Its lines outside of tests, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        self.text[..end].lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    fn is_test(&self) -> bool {
        self.shown.contains("/tests/") || self.shown.ends_with("tests.rs") || self.crate_name == "testkit"
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = root();
    let mut all = Vec::new();
    for (name, _) in FLOORS {
        let mut paths = Vec::new();
        walk(&root.join("crates").join(name).join("src"), &mut paths);
        for path in paths {
            all.push(Source {
                crate_name: (*name).to_owned(),
                shown: path.strip_prefix(&root).unwrap().display().to_string(),
                text: fs::read_to_string(&path).unwrap(),
                path,
            });
        }
    }
    all
}

fn complain(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn every_crate_stands_on_a_floor() {
    let mut names: Vec<String> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut known: Vec<&str> = FLOORS.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(names, known, "a crate is missing in FLOORS, or no longer there");
}

#[test]
fn arrows_point_down() {
    let mut found = Vec::new();
    for (name, allowed) in FLOORS {
        let manifest = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or("").split("\n[").next().unwrap();
        for line in dependencies.lines() {
            if let Some(rest) = line.strip_prefix("duolog-") {
                let target = rest.split(['.', ' ', '=']).next().unwrap();
                if !allowed.contains(&target) {
                    found.push(format!("{name} depends on {target}"));
                }
            }
        }
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} does not take the workspace's lints");
    }
    complain("arrows point down", found);
}

#[test]
fn no_protocol_word_below_the_frontends() {
    let mut found = Vec::new();
    for source in sources() {
        if !["record", "storage", "broker", "net"].contains(&source.crate_name.as_str()) || source.is_test() {
            continue;
        }
        for (number, line) in source.code() {
            if line.contains("Source:") {
                continue;
            }
            let lower = line.to_lowercase();
            let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
            for word in words {
                if PROTOCOL_WORDS.contains(&word) {
                    found.push(format!("{}:{number}: {word}", source.shown));
                }
            }
        }
    }
    complain("no protocol word below the frontends, except in a line with `Source:`", found);
}

#[test]
fn storage_reads_batch_headers_only() {
    let found = matches(&["storage"], &[".records(", "Record {", "BatchBuilder", "decompress"]);
    complain("storage reads batch headers only", found);
}

#[test]
fn no_clock_and_no_chance_below_the_binary() {
    let crates = ["record", "storage", "broker", "net", "kafka", "amqp", "aws", "nats", "redis", "testkit"];
    let found = matches(
        &crates,
        &["Instant::now", "SystemTime::now", "getrandom::", "rand::", "thread_rng", "Uuid::new_v4"],
    );
    complain("time and randomness are parameters below the binary", found);
}

#[test]
fn codecs_do_no_io() {
    let mut found = Vec::new();
    for source in sources() {
        if !source.shown.contains("/codec/") && source.crate_name != "record" {
            continue;
        }
        for (number, line) in source.code() {
            for word in ["tokio::", "std::net", "std::fs", "async fn", ".await"] {
                if line.contains(word) {
                    found.push(format!("{}:{number}: {word}", source.shown));
                }
            }
        }
    }
    complain("codecs do no I/O", found);
}

#[test]
fn durable_bytes_enter_by_one_door() {
    let crates = ["kafka", "amqp", "aws", "nats", "redis", "net", "duolog"];
    let found = matches(&crates, &["Commit {", "log().commit", "log.commit"]);
    complain("only the broker commits to the log", found);
}

#[test]
fn limits_live_in_limits_rs() {
    let mut found = Vec::new();
    for source in sources() {
        let home = source.path.file_name().is_some_and(|name| name == "limits.rs");
        if home || source.is_test() || source.crate_name == "duolog" {
            continue;
        }
        for (number, line) in source.code() {
            let declared = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            let name = declared.strip_prefix("const ").and_then(|rest| rest.split(':').next());
            if name.is_some_and(|name| name.ends_with("_MAX")) {
                found.push(format!("{}:{number}: {}", source.shown, line.trim()));
            }
        }
    }
    complain("limits live in limits.rs", found);
}

#[test]
fn every_module_opens_with_its_purpose() {
    let found = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.shown.clone())
        .collect();
    complain("a module opens with `//!`", found);
}

#[test]
fn nothing_is_left_to_do() {
    let crates: Vec<&str> = FLOORS.iter().map(|(name, _)| *name).collect();
    let found = matches(&crates, &["todo!(", "unimplemented!(", "FIXME", "XXX"]);
    complain("nothing is left to do", found);
}

/// Where any of `words` stands in the code of `crates`, tests aside.
fn matches(crates: &[&str], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources() {
        if !crates.contains(&source.crate_name.as_str())
            || (source.is_test() && source.crate_name != "testkit")
        {
            continue;
        }
        for (number, line) in source.code() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for word in words {
                if line.contains(word) {
                    found.push(format!("{}:{number}: {word}", source.shown));
                }
            }
        }
    }
    found
}

//! The layers, the messages, and that docs/configuration.md says what the binary does.
#![allow(clippy::unwrap_used)]

use clap::{CommandFactory, Parser};

use super::{Config, ConfigError, ServeArgs, Settings, file};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    serve: ServeArgs,
}

fn load(line: &[&str]) -> Result<Config, ConfigError> {
    Config::load(Line::try_parse_from([&["serve"], line].concat()).unwrap().serve)
}

fn refusal(line: &[&str]) -> String {
    load(line).unwrap_err().to_string()
}

#[test]
fn an_option_is_over_the_file_and_the_file_over_the_default() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("duolog.toml");
    std::fs::write(
        &path,
        "data_dir = \"/from/file\"\nconnections_max = 7\nlisten = [\"admin=127.0.0.1:0\"]\n",
    )
    .unwrap();
    let path = path.to_str().unwrap();
    let config = load(&["--config", path, "--data-dir", "/from/option"]).unwrap();
    assert_eq!(config.data_dir.to_str(), Some("/from/option"));
    assert_eq!(config.limits.connections_max, 7);
    assert_eq!(config.listen.len(), 1);
    assert_eq!(config.limits.idle_timeout.as_secs(), 600);
}

#[test]
fn a_mistyped_key_is_refused_with_the_nearest_name() {
    let error = file::parse("data-dir = \"/x\"").unwrap_err();
    assert_eq!(error, "there is no setting \"data-dir\"; did you mean \"data_dir\"?");
    let error = file::parse("memory_buget = 1").unwrap_err();
    assert!(error.contains("did you mean \"memory_budget\"?"), "{error}");
    let error = file::parse("colour = 1").unwrap_err();
    assert!(error.contains("docs/configuration.md"), "{error}");
    let error = file::parse("[kafka]\nport = 1").unwrap_err();
    assert!(error.contains("no sections"), "{error}");
}

#[test]
fn a_wrong_value_is_refused_with_its_key_and_an_example() {
    let error = file::parse("memory_budget = \"lots\"").unwrap_err();
    assert_eq!(error, "memory_budget: \"lots\" is not a size, as in 1048576, 64KiB or 1GiB");
    let error = file::parse("idle_timeout = 30").unwrap_err();
    assert_eq!(error, "idle_timeout: \"30\" is not a time with a unit, as in 250ms, 30s, 5m, 2h or 7d");
    let error = file::parse("listen = [\"mqtt=127.0.0.1:1\"]").unwrap_err();
    assert!(error.starts_with("listen: no listener speaks \"mqtt\"; there are "), "{error}");
}

#[test]
fn a_bind_that_others_can_reach_needs_to_be_allowed() {
    let error = refusal(&["--listen", "admin=0.0.0.0:0"]);
    assert!(error.contains("--allow-remote"), "{error}");
    assert!(load(&["--listen", "admin=0.0.0.0:0", "--allow-remote"]).is_ok());
    assert!(load(&["--listen", "admin=[::1]:0"]).is_ok());
    assert!(load(&["--listen", "admin=0.0.0.0:0", "--allow-remote=false"]).is_err());
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    assert!(refusal(&["--memory-budget", "1MiB"]).contains("request_bytes_max"));
    assert!(refusal(&["--listen", "admin=127.0.0.1:0", "--listen", "admin=127.0.0.1:1"]).contains("twice"));
    assert!(refusal(&["--nats-max-payload", "65MiB"]).contains("nats_max_payload"));
    assert!(refusal(&["--nats-pending-bytes-max", "1KiB"]).contains("nats_pending_bytes_max"));
    assert!(refusal(&["--nats-ping-interval", "0s"]).contains("nats_ping_interval"));
    assert!(
        load(&["--listen", "nats-ws=127.0.0.1:0", "--nats-ws-origins", "same,http://localhost:3000"]).is_ok()
    );
    assert!(refusal(&["--connections-max", "0"]).contains("connections_max"));
    assert!(refusal(&["--config", "/does/not/exist"]).contains("/does/not/exist"));
}

/// The table of docs/configuration.md as it has to be.
fn documented() -> String {
    let command = Line::command();
    let defaults = Settings::defaults().shown();
    let mut table = String::from("| option | variable | key | default | meaning |\n|---|---|---|---|---|\n");
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        let default = defaults.iter().find(|(key, _)| *key == id).map(|(_, value)| value.clone().unwrap());
        let option = argument.get_long().unwrap();
        let value = argument.get_value_names().unwrap()[0].replace('|', "\\|");
        let variable = argument.get_env().unwrap().to_str().unwrap();
        assert_eq!(option.replace('-', "_"), id);
        assert_eq!(variable, format!("DUOLOG_{}", id.to_uppercase()));
        let key = default.as_ref().map_or_else(String::new, |_| format!("`{id}`"));
        let default = default.map_or_else(String::new, |value| format!("`{}`", value.replace(',', "`<br>`")));
        let meaning = argument.get_help().unwrap().to_string();
        table += &format!("| `--{option} {value}` | `{variable}` | {key} | {default} | {meaning} |\n");
    }
    table
}

/// `UPDATE_DOCS=1 cargo test -p duolog documentation` writes the table anew.
#[test]
fn the_documentation_lists_every_setting_with_its_default() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let text = std::fs::read_to_string(path).unwrap();
    let expected = documented();
    let begin = text.find("| option |").expect("docs/configuration.md has the table");
    let end = begin + text[begin..].find("\n\n").unwrap() + 1;
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, text[..begin].to_owned() + &expected + &text[end..]).unwrap();
    } else {
        assert!(text[begin..end] == expected, "docs/configuration.md must hold this table:\n{expected}");
    }
}

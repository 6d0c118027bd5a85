//! The configuration file: flat TOML with the keys of [`Settings`].

use std::path::Path;

use serde::Deserialize;

use super::{ConfigError, Settings};

/// Reads a file.
pub fn read(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError(format!("cannot read the configuration file {}: {error}", path.display()))
    })?;
    parse(&text).map_err(|error| ConfigError(format!("{}: {error}", path.display())))
}

/// Reads the text of a file. The message does not name the file.
pub fn parse(text: &str) -> Result<Settings, String> {
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| error.to_string().trim_end().to_owned())?;
    for (key, value) in &table {
        if Settings::KEYS.contains(&key.as_str()) {
            continue;
        }
        if value.is_table() {
            return Err(format!("the file has no sections; [{key}] is not known"));
        }
        return Err(match nearest(key, Settings::KEYS) {
            Some(close) => format!("there is no setting {key:?}; did you mean {close:?}?"),
            None => format!("there is no setting {key:?}; docs/configuration.md lists them"),
        });
    }
    // Key by key, so that the message can name the key.
    let mut settings = Settings::default();
    for (key, value) in table {
        let one = toml::Table::from_iter([(key.clone(), value)]);
        let one = Settings::deserialize(one).map_err(|error| format!("{key}: {}", error.message()))?;
        settings = settings.or(one);
    }
    Ok(settings)
}

/// The known name that a mistyped one was most likely meant to be.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.replace('-', "_");
    let (distance, close) = known.iter().map(|known| (edits(&name, known), *known)).min()?;
    (distance <= 1 + name.len() / 4).then_some(close)
}

/// Insertions, deletions and replacements that lead from one word to the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

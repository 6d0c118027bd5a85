//! The log of the process, on standard error.

use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError, LogFormat};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Starts it; once per process.
pub fn start(config: &Config) -> Result<(), ConfigError> {
    let word = config.log_level.as_str();
    // A bare word that is no level would be taken for a module's name, and nothing would be logged.
    if word.chars().all(char::is_alphabetic) && !LEVELS.contains(&word.to_lowercase().as_str()) {
        return Err(ConfigError(format!("log_level {word:?} is none of {}", LEVELS.join(", "))));
    }
    let filter = EnvFilter::try_new(&config.log_level).map_err(|error| {
        ConfigError(format!(
            "log_level {:?}: {error}; try info, debug, or duolog_broker=debug,info",
            config.log_level
        ))
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.log_format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| ConfigError(format!("cannot start logging: {error}")))
}

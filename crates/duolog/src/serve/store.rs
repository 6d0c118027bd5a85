//! The log under the broker: opened on the data directory, every refusal with what to do about it.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use duolog_storage::{DiskLog, FsDisk, Log, OpenError, Options};

use crate::config::Config;

/// Opens it. Blocks until it is recovered.
pub fn open(config: &Config) -> anyhow::Result<Arc<dyn Log>> {
    let disk = Arc::new(FsDisk::new(&config.data_dir));
    let options = Options {
        file_bytes: config.file_bytes,
        cache_bytes: config.cache_bytes,
        salt: super::chance()?,
        ..Options::default()
    };
    match DiskLog::open(disk.clone(), options) {
        Ok(log) => Ok(Arc::new(log)),
        Err(error) => Err(refusal(error, &disk)),
    }
}

/// What the error means for whoever starts a broker.
fn refusal(error: OpenError, disk: &FsDisk) -> anyhow::Error {
    match error {
        OpenError::Locked { directory } => {
            let holder = disk.holder().map_or_else(String::new, |id| format!(" (process {id})"));
            anyhow!(
                "another broker{holder} uses {directory}: stop it, or name another directory with --data-dir"
            )
        }
        OpenError::Io { error, directory, .. }
            if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) =>
        {
            anyhow!(
                "{directory} cannot be written ({error}): let this user write there, or name another directory with \
                     --data-dir"
            )
        }
        OpenError::Io { directory, .. }
            if Path::new(&directory).exists() && !Path::new(&directory).is_dir() =>
        {
            anyhow!("{directory} is no directory: name one with --data-dir; it is made if it is not there")
        }
        OpenError::Io { error, directory, .. } if error.kind() == ErrorKind::NotADirectory => {
            anyhow!("{directory} lies below something that is no directory: name another with --data-dir")
        }
        error => error.into(),
    }
}

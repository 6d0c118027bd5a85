//! SIGTERM and SIGINT: the first asks for an orderly end, the second ends at once.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of the process, from now on not ending it by themselves.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn listen() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        Ok(Self { terminate, interrupt })
    }

    /// The name of the first signal. From then on the next one ends the process.
    pub async fn next(&mut self) -> &'static str {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        // Streams of their own, so that it holds even while this one is no longer polled.
        if let Ok(mut second) = Self::listen() {
            tokio::spawn(async move {
                tokio::select! {
                    _ = second.terminate.recv() => (),
                    _ = second.interrupt.recv() => (),
                }
                eprintln!("duolog: second signal, ending at once; the next start recovers the log");
                std::process::exit(1);
            });
        }
        name
    }
}

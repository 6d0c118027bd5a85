//! Another server of the protocol, for the same load.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::super::server::{Server, processor_time};
use super::wire::{Dialect, Wire};

/// How long it may take to start.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A server under load.
pub struct Under<'a> {
    pub name: &'a str,
    pub address: &'a str,
    /// The process, if it is one that we started.
    pub process: Option<u32>,
}

impl Under<'_> {
    /// Time of the processor that it has taken, if it is ours.
    pub fn processor_time(&self) -> Option<Duration> {
        processor_time(self.process?)
    }
}

impl<'a> Under<'a> {
    /// The broker.
    pub fn broker(server: &'a Server) -> Self {
        Self { name: "duolog", address: server.address(), process: server.process() }
    }
}

/// A peer that this process started; ended when dropped.
pub struct Peer {
    name: String,
    address: String,
    child: Child,
}

impl Peer {
    /// Starts it on a free port, without anything on disk, and waits until it answers.
    pub fn start(dialect: Dialect, program: &Path) -> anyhow::Result<Self> {
        // Free when it was let go; whoever takes it meanwhile is told of by the peer.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let mut command = Command::new(program);
        match dialect {
            Dialect::Nats => command.args(["-a", "127.0.0.1", "-p", &port]),
            Dialect::Redis => {
                command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"])
            }
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let name =
            program.file_name().map_or_else(|| "peer".into(), |name| name.to_string_lossy().into_owned());
        let peer = Self { name, address: format!("127.0.0.1:{port}"), child };
        let begun = Instant::now();
        while Wire::connect(dialect, &peer.address).is_err() {
            ensure!(begun.elapsed() < START_PATIENCE, "{} does not answer", program.display());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(peer)
    }

    /// For the load.
    pub fn under(&self) -> Under<'_> {
        Under { name: &self.name, address: &self.address, process: Some(self.child.id()) }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // One that has ended by itself cannot be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

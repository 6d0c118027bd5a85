//! A broker for one test: the real binary on free ports, and the plainest of HTTP clients.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

/// The binary, without what the environment of the test would set.
pub fn duolog(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duolog"));
    command.args(arguments);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DUOLOG_")) {
        command.env_remove(name);
    }
    command
}

/// Runs it to its end.
pub fn run(arguments: &[&str]) -> Output {
    duolog(arguments).stdin(Stdio::null()).output().unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A running broker; killed when dropped.
pub struct Server {
    child: Child,
    pub addresses: Vec<(String, SocketAddr)>,
}

impl Server {
    /// Starts one and waits until it is ready.
    pub fn start(data_dir: &Path, more: &[&str]) -> Self {
        let mut command = duolog(&["serve", "--listen", "admin=127.0.0.1:0", "--data-dir"]);
        command.arg(data_dir).args(more);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut addresses = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if line == "ready" {
                return Self { child, addresses };
            }
            let (protocol, address) =
                line.strip_prefix("listening protocol=").unwrap().split_once(" addr=").unwrap();
            addresses.push((protocol.to_owned(), address.parse().unwrap()));
        }
        panic!("the broker ended before it was ready: {:?}", child.wait());
    }

    pub fn address(&self, protocol: &str) -> SocketAddr {
        self.addresses.iter().find(|(name, _)| name == protocol).unwrap().1
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// One request to the admin listener: status and body.
    pub fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address("admin")).unwrap();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        let head = format!("{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Runs a command of the command line against it.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        let admin = self.address("admin").to_string();
        run(&[arguments, &["--admin", &admin]].concat())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

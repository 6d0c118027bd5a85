//! The broker under load: one that runs, or one of our own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};

use super::BenchTarget;

/// How long an end in order may take before it is forced.
const END_PATIENCE: Duration = Duration::from_secs(15);
/// Unit in which the system counts the blocks of a file. Source: stat(2).
const BLOCK_BYTES: u64 = 512;
/// How long it may take until the disk no longer changes.
const SETTLE_PATIENCE: Duration = Duration::from_secs(300);

/// A broker that this process started; ended and its data deleted when dropped.
#[derive(Debug)]
pub struct Spawned {
    child: Option<Child>,
    data_dir: PathBuf,
    addresses: Vec<(String, String)>,
}

impl Spawned {
    /// Starts a broker on free ports in a directory of its own and waits until it is ready.
    pub fn start(within: Option<&Path>, arguments: &[String]) -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("cannot find the binary")?;
        let within = within.or(binary.parent()).unwrap_or(Path::new("."));
        let data_dir = within.join(format!("duolog-bench-{}", std::process::id()));
        let mut spawned = Self { child: None, data_dir, addresses: Vec::new() };
        spawned.restart(arguments)?;
        Ok(spawned)
    }

    /// Starts it (again) on the same data; gives back the time until it was ready.
    pub fn restart(&mut self, arguments: &[String]) -> anyhow::Result<Duration> {
        let binary = std::env::current_exe().context("cannot find the binary")?;
        let mut command = Command::new(binary);
        command.args(["serve", "--log-level", "warn", "--data-dir"]).arg(&self.data_dir);
        for protocol in crate::config::Protocol::STANDARD {
            command.args(["--listen", &format!("{protocol}=127.0.0.1:0")]);
        }
        let begun = Instant::now();
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a broker")?;
        let out = child.stdout.take().context("the broker has no output")?;
        self.child = Some(child);
        self.addresses.clear();
        for line in BufReader::new(out).lines() {
            let line = line.context("cannot read what the broker says")?;
            if line == "ready" {
                return Ok(begun.elapsed());
            }
            let listening =
                line.strip_prefix("listening protocol=").and_then(|rest| rest.split_once(" addr="));
            if let Some((protocol, address)) = listening {
                self.addresses.push((protocol.to_owned(), address.to_owned()));
            }
        }
        Err(anyhow!("the broker ended before it was ready; its message stands above"))
    }

    /// Where it listens for a protocol.
    pub fn address(&self, protocol: &str) -> anyhow::Result<&str> {
        let found = self.addresses.iter().find(|(name, _)| name == protocol);
        found
            .map(|(_, address)| address.as_str())
            .ok_or_else(|| anyhow!("the broker has no {protocol} listener"))
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().context("cannot kill the broker")?;
            child.wait().context("cannot wait for the broker")?;
        }
        Ok(())
    }

    /// Resident memory in bytes, where the system tells.
    pub fn resident_bytes(&self) -> Option<u64> {
        let id = self.child.as_ref()?.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    }

    /// Time of the processor that it has taken since its start, where the system tells.
    pub fn processor_time(&self) -> Option<Duration> {
        processor_time(self.child.as_ref()?.id())
    }

    /// Bytes of disk that its directory takes, the newest file's blocks and the reserve included.
    pub fn disk_bytes(&self) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(&self.data_dir).context("cannot list the data directory")? {
            // What is unlinked meanwhile takes nothing.
            bytes += entry?.metadata().map_or(0, |file| file.blocks() * BLOCK_BYTES);
        }
        Ok(bytes)
    }

    /// Makes the system forget what it holds of the files of its log, so that the next reads come from the disk.
    #[cfg(target_os = "linux")]
    pub fn forget_cached_files(&self) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(&self.data_dir).context("cannot list the data directory")? {
            let file = std::fs::File::open(entry?.path())?;
            // Pages that are not on the disk yet are not forgotten.
            file.sync_data()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
        Ok(())
    }

    /// SIGTERM, and `kill -9` if that does not help.
    fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let id = rustix::process::Pid::from_child(&child);
        // If it has ended by itself, there is nobody to signal.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < END_PATIENCE {
            if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.end();
        if let Err(error) = std::fs::remove_dir_all(&self.data_dir)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("duolog: cannot delete {}: {error}", self.data_dir.display());
        }
    }
}

/// The broker of one run.
#[derive(Debug)]
pub struct Server {
    spawned: Option<Spawned>,
    address: String,
    admin: String,
    /// Disk that has not changed for so long is settled.
    settled_after: Duration,
}

/// What the log has done so far.
#[derive(Clone, Copy, Debug)]
pub struct LogCounters {
    pub fsyncs: f64,
    pub frames: f64,
    pub rewritten_bytes: f64,
}

impl Server {
    /// As the arguments say.
    pub fn of(target: &BenchTarget, protocol: &str, default: &str) -> anyhow::Result<Self> {
        let settled_after = Duration::from_secs(target.settled_seconds);
        if !target.spawn {
            let address = target.addr.clone().unwrap_or_else(|| default.to_owned());
            return Ok(Self { spawned: None, address, admin: target.admin.clone(), settled_after });
        }
        let spawned = Spawned::start(target.dir.as_deref(), &target.serve_args)?;
        let (address, admin) = (spawned.address(protocol)?.to_owned(), spawned.address("admin")?.to_owned());
        Ok(Self { spawned: Some(spawned), address, admin, settled_after })
    }

    /// It goes, with its data, when the run is over.
    pub fn is_own(&self) -> bool {
        self.spawned.is_some()
    }

    /// Of the listener under load.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Of its admin listener.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// The process, if it is our own.
    pub fn process(&self) -> Option<u32> {
        Some(self.spawned.as_ref()?.child.as_ref()?.id())
    }

    /// Counters of the log, if its admin listener answers.
    pub fn counters(&self) -> Option<LogCounters> {
        let text = metrics(&self.admin).ok()?;
        let value = |name: &str| value(&text, name);
        Some(LogCounters {
            fsyncs: value("duolog_log_fsyncs_total ")?,
            frames: value("duolog_log_frames_total ")?,
            rewritten_bytes: value("duolog_cleaner_written_bytes_total ")?,
        })
    }

    /// Bytes of disk: of the whole directory if it is our own, else what the broker says of its log.
    pub fn disk_bytes(&self) -> anyhow::Result<u64> {
        match &self.spawned {
            Some(spawned) => spawned.disk_bytes(),
            None => value(&metrics(&self.admin)?, "duolog_log_disk_bytes ")
                .map(|bytes| bytes as u64)
                .context("the broker does not say how much disk its log takes"),
        }
    }

    /// Lets the next reads of a broker of our own come from the disk; of another one, and where the system knows no way, they come
    /// from where they come.
    pub fn forget_cached_files(&self) -> anyhow::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(spawned) = &self.spawned {
            spawned.forget_cached_files()?;
        }
        Ok(())
    }

    /// Waits until the disk that it takes no longer changes. Gives it, and how long that took.
    pub fn settled(&self) -> anyhow::Result<(u64, Duration)> {
        let begun = Instant::now();
        let (mut bytes, mut since) = (self.disk_bytes()?, Instant::now());
        while since.elapsed() < self.settled_after {
            ensure!(begun.elapsed() < SETTLE_PATIENCE, "the disk that it takes still changes");
            std::thread::sleep(Duration::from_millis(200));
            let now = self.disk_bytes()?;
            if now != bytes {
                (bytes, since) = (now, Instant::now());
            }
        }
        Ok((bytes, since - begun))
    }

    /// Time of the processor that it has taken, if it is our own and the system tells.
    pub fn processor_time(&self) -> Option<Duration> {
        self.spawned.as_ref()?.processor_time()
    }

    /// Resident memory, if it is our own.
    pub fn resident_bytes(&self) -> Option<u64> {
        self.spawned.as_ref()?.resident_bytes()
    }
}

/// Time of the processor that a process has taken since its start, where the system tells.
pub fn processor_time(process: u32) -> Option<Duration> {
    /// Ticks of `/proc` a second. Source: proc(5), `USER_HZ` on all Linux of today.
    const TICKS_PER_S: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may hold anything: state is the third field, user and system time the 14th and 15th.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_S))
}

/// The value of a metric without labels; `name` ends with a space.
fn value(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Has the admin API make something.
pub fn post(admin: &str, path: &str, body: &serde_json::Value) -> anyhow::Result<()> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(admin).with_context(|| format!("cannot reach {admin}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\ncontent-type: application/json"
    );
    stream.write_all(format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 20"), "{path}: {}", answer.lines().last().unwrap_or_default());
    Ok(())
}

/// The text of `/metrics`.
pub fn metrics(admin: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(
        format!("GET /metrics HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => bail!("{admin} does not answer as an admin listener"),
    }
}

/// Adds what happened between two readings.
pub fn note_counters(row: &mut super::report::Row, before: Option<LogCounters>, after: Option<LogCounters>) {
    if let (Some(before), Some(after)) = (before, after) {
        row.figure("fsyncs", (after.fsyncs - before.fsyncs) as u64);
        row.figure("frames", (after.frames - before.frames) as u64);
    }
}

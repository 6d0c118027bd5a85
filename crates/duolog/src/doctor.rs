//! `duolog doctor`: what is damaged in a data directory that no broker has open, what can be done, and what can still be read.
//!
//! Nothing in the directory is changed: the log is opened through an overlay that keeps every change in memory.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::Args;
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::{Broker, BrokerOptions, Permissive, Principal};
use duolog_record::{Batch, Offset, PartitionId, Record};
use duolog_storage::disk::Disk;
use duolog_storage::{
    DiskLog, Examination, Finding, FsDisk, Log, Options, OverlayDisk, ReadLimit, Severity, StoredBatch,
    examine, is_in_use,
};
use serde_json::{Value, json};

use crate::clock::SystemClock;

/// Most bytes that one batch may grow to.
const DECODED_BYTES_MAX: usize = 64 << 20;
/// Stored bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;
/// Holds the broker's own state.
const STATE: PartitionId = duolog_broker::core::STATE_PARTITION;

/// Topics and their partitions.
type Names = Vec<(String, Vec<PartitionId>)>;

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Data directory, of a broker that does not run
    #[arg(long, env = "DUOLOG_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
    /// Write what can be read of a topic, or of a partition by its number, as JSON lines
    #[arg(long, value_name = "PARTITION|TOPIC", requires = "to")]
    export: Option<String>,
    /// File to write to, which must not exist yet
    #[arg(long, value_name = "FILE", requires = "export")]
    to: Option<PathBuf>,
}

/// Runs it.
pub fn run(arguments: DoctorArgs) -> anyhow::Result<()> {
    let directory = &arguments.data_dir;
    if !directory.is_dir() {
        bail!("{} is not a directory", directory.display());
    }
    let disk: Arc<dyn Disk> = Arc::new(FsDisk::new(directory));
    let found = examine(&disk).map_err(|error| {
        if is_in_use(&error) {
            anyhow!("a broker uses {}: stop it first", directory.display())
        } else {
            anyhow!("cannot examine {}: {error}", directory.display())
        }
    })?;
    if let (Some(what), Some(to)) = (&arguments.export, &arguments.to) {
        return export(disk, &found, what, to);
    }
    report(disk, &found)
}

fn report(disk: Arc<dyn Disk>, found: &Examination) -> anyhow::Result<()> {
    println!("{} files, {} bytes, {} frames examined", found.files, found.bytes, found.frames);
    for Finding { file, severity, text } in &found.findings {
        let word = match severity {
            Severity::Harmless => "harmless",
            Severity::Damage => "damage",
            Severity::Fatal => "fatal",
        };
        println!("{word}: {file}: {text}");
    }
    let worst = found.findings.iter().map(|it| it.severity).max();
    match worst {
        None => {
            println!("no damage found");
            return Ok(());
        }
        Some(Severity::Harmless) => {
            println!("nothing is lost, and nothing needs to be done");
            return Ok(());
        }
        Some(Severity::Damage | Severity::Fatal) => {}
    }
    match start(Arc::clone(&disk)) {
        Ok(log) => {
            let names = state(&log).unwrap_or_default();
            for partition in log.quarantined() {
                println!(
                    "partition {partition}{} is in doubt: it takes no appends",
                    named(&names, partition)
                );
            }
            println!(
                "The broker starts and serves what is sound; where the damage is, it answers with an error. What can be done:\n  \
                 - restore the directory as a whole from a backup;\n  \
                 - or save what can be read (duolog doctor --export TOPIC --to FILE), delete the topic and create it again;\n  \
                 - damaged records go with retention, or at once by trimming the partition behind them."
            );
        }
        Err(error) => {
            println!(
                "The broker does not start: {error:#}. What can be done:\n  \
                 - restore the directory as a whole from one backup; parts of several do not fit together;\n  \
                 - or bring back the missing files, if they were moved."
            );
            if let Ok(log) = open(disk, found) {
                println!(
                    "  - or save what can be read: duolog doctor --export PARTITION|TOPIC --to FILE. There are:"
                );
                list(&log);
            }
        }
    }
    bail!("the directory is damaged")
}

/// What can be exported: topics where their names can be read, else partitions.
fn list(log: &Arc<DiskLog>) {
    let names = match state(log) {
        Ok(names) => names,
        Err(error) => {
            println!("    (without names: {error:#})");
            Vec::new()
        }
    };
    for (name, partitions) in &names {
        println!("    topic {name}, {} partitions", partitions.len());
    }
    let unnamed = log.partitions().into_iter().filter(|(partition, bounds)| {
        *partition != STATE && bounds.start < bounds.end && named(&names, *partition).is_empty()
    });
    for (partition, bounds) in unnamed {
        println!("    partition {partition}, offsets {} to {}", bounds.start, bounds.end);
    }
}

/// The log, if the broker would start from what is on the disk, with every change kept in memory.
fn start(disk: Arc<dyn Disk>) -> anyhow::Result<Arc<DiskLog>> {
    let log = Arc::new(DiskLog::open_manual(Arc::new(OverlayDisk::new(disk)), options())?);
    state(&log)?;
    Ok(log)
}

fn options() -> Options {
    Options { file_bytes: 0, cache_bytes: 0, reserve_files: 0, ..Options::default() }
}

/// The log as it can be read, with every change kept in memory.
fn open(disk: Arc<dyn Disk>, found: &Examination) -> anyhow::Result<Arc<DiskLog>> {
    let overlay = OverlayDisk::new(disk);
    found.give_up_indexes(&overlay).context("cannot prepare the directory for reading")?;
    Ok(Arc::new(DiskLog::open_manual(Arc::new(overlay), options())?))
}

/// Topics and their partitions.
///
/// # Errors
/// If the broker's own state cannot be read.
fn state(log: &Arc<DiskLog>) -> anyhow::Result<Names> {
    let options = BrokerOptions { seed: 0, retention_check_ms: u64::MAX, ..BrokerOptions::default() };
    let clock = Arc::new(SystemClock::new());
    let (broker, _) = Broker::start_manual(log.clone(), clock, Arc::new(Permissive), options)?;
    let catalog = broker.session(Principal::anonymous()).catalog();
    let topics = catalog.topics(DEFAULT_NAMESPACE);
    Ok(topics.map(|topic| (topic.name.clone(), topic.partitions.clone())).collect())
}

fn named(names: &[(String, Vec<PartitionId>)], partition: PartitionId) -> String {
    let place = |(name, partitions): &(String, Vec<PartitionId>)| {
        partitions.iter().position(|it| *it == partition).map(|index| format!(" ({name}, partition {index})"))
    };
    names.iter().find_map(place).unwrap_or_default()
}

fn export(disk: Arc<dyn Disk>, found: &Examination, what: &str, to: &Path) -> anyhow::Result<()> {
    let log = open(disk, found)?;
    let names = state(&log);
    let named = names.as_ref().ok().and_then(|names| names.iter().find(|(name, _)| name == what));
    let partitions = match (named, what.parse::<u64>(), &names) {
        (Some((_, partitions)), _, _) => partitions.clone(),
        (None, Ok(number), _) => vec![PartitionId(number)],
        (None, Err(_), Ok(_)) => bail!("there is no topic {what}"),
        (None, Err(_), Err(error)) => bail!(
            "topics cannot be found by name ({error:#}): name a partition by its number, as `duolog doctor` lists them"
        ),
    };
    if let Some(none) = partitions.iter().find(|partition| log.bounds(**partition).is_none()) {
        bail!("there is no partition {none}");
    }
    let file = File::create_new(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut out = BufWriter::new(file);
    let mut total = Exported::default();
    for (index, &partition) in partitions.iter().enumerate() {
        export_partition(&log, index, partition, &mut out, &mut total)
            .with_context(|| format!("cannot export partition {partition} to {}", to.display()))?;
    }
    out.flush().and_then(|()| out.get_ref().sync_all()).context("cannot write the export")?;
    println!("{} records exported, {} gaps", total.records, total.gaps);
    Ok(())
}

#[derive(Default)]
struct Exported {
    records: u64,
    gaps: u64,
}

fn export_partition(
    log: &DiskLog,
    index: usize,
    partition: PartitionId,
    out: &mut impl Write,
    total: &mut Exported,
) -> anyhow::Result<()> {
    let Some(bounds) = log.bounds(partition) else { bail!("there is no partition {partition}") };
    let mut at = bounds.start;
    while at < bounds.end {
        let limit = ReadLimit { bytes_max: READ_BYTES, until: bounds.end };
        let failed = match log.read(partition, at, limit) {
            Ok(batches) if batches.is_empty() => return Ok(()),
            Ok(batches) => {
                for stored in &batches {
                    total.records += write_batch(index, partition, stored, bounds.start, out)?;
                    at = stored.base.plus(u64::from(stored.offsets));
                }
                continue;
            }
            Err(error) => error,
        };
        total.gaps += 1;
        let next = log.readable_behind(partition, at)?.unwrap_or(bounds.end);
        let gap = json!({
            "partition": index, "offset": at.0, "until": next.0, "lost": failed.to_string(),
        });
        writeln!(out, "{gap}")?;
        at = next;
    }
    Ok(())
}

fn write_batch(
    index: usize,
    partition: PartitionId,
    stored: &StoredBatch,
    start: Offset,
    out: &mut impl Write,
) -> anyhow::Result<u64> {
    let batch = Batch::from_parts(stored.base, stored.leader_epoch, &stored.body);
    let records = match batch.and_then(|batch| batch.records(stored.base, DECODED_BYTES_MAX)) {
        Ok(records) => records,
        Err(error) => {
            let reason =
                format!("the batch of partition {partition} was stored as it is, and is no batch: {error}");
            writeln!(out, "{}", json!({ "partition": index, "offset": stored.base.0, "lost": reason }))?;
            return Ok(0);
        }
    };
    let mut count = 0;
    for record in records.map_while(Result::ok).filter(|record| record.offset >= start) {
        writeln!(out, "{}", line(index, stored, record))?;
        count += 1;
    }
    Ok(count)
}

fn line(index: usize, stored: &StoredBatch, record: Record) -> Value {
    let headers: Vec<Value> =
        record.headers.into_iter().map(|it| json!([shown(Some(it.key)), shown(it.value)])).collect();
    json!({
        "partition": index,
        "offset": record.offset.0,
        "timestamp_ms": record.timestamp.0,
        "append_time_ms": stored.append_time.0,
        "key": shown(record.key),
        "value": shown(record.value),
        "headers": headers,
    })
}

/// Text as it is, other bytes as `{"base64": ...}`.
fn shown(bytes: Option<Bytes>) -> Value {
    match bytes {
        None => Value::Null,
        Some(bytes) => match std::str::from_utf8(&bytes) {
            Ok(text) => Value::from(text),
            Err(_) => json!({ "base64": STANDARD.encode(&bytes) }),
        },
    }
}

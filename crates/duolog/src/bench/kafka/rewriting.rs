//! Producing while the cleaner rewrites files: what that costs, compared with a run before it.
//!
//! The log is filled with a topic that stays and one, twice as large, that is deleted: every file is then two thirds dead, which
//! is what makes the cleaner rewrite it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::super::fill;
use super::super::report::{Report, Row};
use super::super::server::Server;
use super::wire::Wire;
use super::{Load, fresh_name, fresh_topic, produce};

/// How long it may take until the cleaner begins.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures producing alone and while `bytes` of files are rewritten.
pub fn run(server: &Server, load: &mut Load, bytes: u64) -> anyhow::Result<Report> {
    let address = server.address();
    let (stays, goes) = (fresh_name()?, fresh_name()?);
    let mut places = fill::create(address, &stays, 1)?;
    places.extend(fill::create(address, &goes, 2)?);
    fill::fill(address, &places, bytes)?;
    server.settled()?;

    let mut report = Report::default();
    let alone = measure(server, load, &mut report, "alone")?;
    let mut wire = Wire::connect(address)?;
    wire.delete_topic(&goes)?;
    let before = wait_for_rewriting(server)?;
    let besides = measure(server, load, &mut report, "while the cleaner rewrites")?;
    let at_end = rewritten(server)?;
    ensure!(
        wait_for_more(server, at_end)?,
        "the cleaner was through before the producers were: give it more with --rewriting, or them fewer --records"
    );
    let mut row = Row::new("kafka produce, cost of rewriting");
    row.figure("rewritten_mib", (at_end - before) >> 20);
    row.figure("lost_percent", ((1.0 - besides / alone) * 1000.0).round() / 10.0);
    report.push(row);
    wire.delete_topic(&stays)?;
    Ok(report)
}

/// One run of producers. Gives its bytes per second.
fn measure(server: &Server, load: &mut Load, report: &mut Report, when: &str) -> anyhow::Result<f64> {
    load.topic = fresh_topic(server, load, load.partitions)?;
    let begun = Instant::now();
    let mut row = produce::run(server, load)?;
    let seconds = begun.elapsed().as_secs_f64();
    row.name += &format!(", {when}");
    report.push(row);
    Ok((load.records * load.record_bytes as u64) as f64 / seconds)
}

fn rewritten(server: &Server) -> anyhow::Result<u64> {
    let counters = server.counters().context("the broker does not say what the cleaner does")?;
    Ok(counters.rewritten_bytes as u64)
}

/// Gives what was rewritten when the cleaner has begun.
fn wait_for_rewriting(server: &Server) -> anyhow::Result<u64> {
    let before = rewritten(server)?;
    let begun = Instant::now();
    while rewritten(server)? == before {
        ensure!(begun.elapsed() < PATIENCE, "the cleaner does not begin");
        std::thread::sleep(Duration::from_millis(100));
    }
    rewritten(server)
}

/// True if the cleaner soon has rewritten more than that.
fn wait_for_more(server: &Server, than: u64) -> anyhow::Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        if rewritten(server)? > than {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(false)
}

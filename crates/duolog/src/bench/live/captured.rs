//! Publishing on a captured subject, each message acknowledged once it is durable, so many in flight.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::super::progress;
use super::super::report::Row;
use super::super::server::{Server, note_counters, post};
use super::Load;
use super::wire::{Said, Wire};

/// Runs once.
pub fn run(load: &Load, server: &Server, in_flight: u64) -> anyhow::Result<Row> {
    let topic = format!("duolog-{}", load.subject);
    post(server.admin(), "/api/topics", &json!({ "name": topic, "partitions": 1 }))?;
    let binding = json!({ "kind": "capture", "subject": load.subject, "topic": topic });
    post(server.admin(), "/api/bindings", &binding)?;
    let mut wire = Wire::connect(load.dialect, server.address())?;
    wire.subscribe("answers.*")?;
    let before = server.counters();
    let begun = Instant::now();
    publish(load, &mut wire, in_flight)?;
    let took = begun.elapsed();
    let mut row = Row::new(format!("nats captured, {} B, {in_flight} in flight", load.message_bytes));
    row.throughput(load.messages, load.messages * load.message_bytes as u64, took);
    note_counters(&mut row, before, server.counters());
    Ok(row)
}

fn publish(load: &Load, wire: &mut Wire, in_flight: u64) -> anyhow::Result<()> {
    let bar = progress::bar("captured", load.messages);
    let body = vec![b'x'; load.message_bytes];
    let (mut sent, mut answered) = (0, 0);
    let mut out = Vec::new();
    while answered < load.messages {
        // Half of the window at a time, so that a write carries many.
        let room = (answered + in_flight).min(load.messages) - sent;
        if room >= in_flight / 2 || sent + room == load.messages {
            out.clear();
            for number in sent..sent + room {
                let head = format!("PUB {} answers.{number} {}\r\n", load.subject, body.len());
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(&body);
                out.extend_from_slice(b"\r\n");
            }
            wire.send(&out)?;
            sent += room;
        }
        match wire.next()? {
            Said::Message(at) => {
                let answer: serde_json::Value =
                    serde_json::from_slice(wire.body(at)).context("an acknowledgement that is no JSON")?;
                ensure!(answer["seq"] == json!(answered + 1), "number {answered} is answered by {answer}");
                answered += 1;
                bar.set_position(answered);
            }
            Said::Ping => wire.send(b"PONG\r\n")?,
            Said::Answer => {}
        }
    }
    bar.finish_and_clear();
    Ok(())
}

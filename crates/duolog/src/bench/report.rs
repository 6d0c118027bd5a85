//! Figures of one run, for people and as JSON.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// One measurement: a name and its figures in order.
#[derive(Debug, Default)]
pub struct Row {
    pub name: String,
    figures: Vec<(&'static str, Value, String)>,
}

/// All measurements of a run.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Row {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), figures: Vec::new() }
    }

    /// A figure as it is.
    pub fn figure(&mut self, name: &'static str, value: impl Into<Value>) {
        let value = value.into();
        let shown = value.to_string();
        self.figures.push((name, value, shown));
    }

    /// Records, their bytes and the time they took.
    pub fn throughput(&mut self, records: u64, bytes: u64, took: Duration) {
        let seconds = took.as_secs_f64().max(f64::EPSILON);
        let (rate, mb) = (records as f64 / seconds, bytes as f64 / 1e6 / seconds);
        self.figures.push(("records", json!(records), records.to_string()));
        self.figures.push(("seconds", json!(seconds), format!("{seconds:.2}")));
        self.figures.push(("records_per_s", json!(rate.round()), format!("{rate:.0}")));
        self.figures.push(("mb_per_s", json!(mb), format!("{mb:.1}")));
    }

    /// Percentiles of latencies in microseconds.
    pub fn latency(&mut self, histogram: &Histogram<u64>) {
        let mut push = |name, us: u64| {
            self.figures.push((name, json!(us), us.to_string()));
        };
        push("p50_us", histogram.value_at_quantile(0.5));
        push("p99_us", histogram.value_at_quantile(0.99));
        push("p999_us", histogram.value_at_quantile(0.999));
        push("max_us", histogram.max());
    }

    /// Percentiles of the time to a producer's acknowledgement, beside those of the whole way.
    pub fn acknowledged(&mut self, histogram: &Histogram<u64>) {
        for (name, quantile) in [("acked_p50_us", 0.5), ("acked_p99_us", 0.99)] {
            self.figure(name, histogram.value_at_quantile(quantile));
        }
    }

    /// Time of the server's processor for each message, nanoseconds; nothing where the system does not tell, or for no messages.
    pub fn processor(&mut self, took: Option<Duration>, messages: u64) {
        if let (Some(took), 1..) = (took, messages) {
            self.figure("processor_ns_each", u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / messages);
        }
    }

    /// How many times another figure.
    pub fn ratio(&mut self, name: &'static str, times: f64) {
        self.figures.push((name, json!(times), format!("{times:.2}")));
    }

    /// Milliseconds.
    pub fn ms(&mut self, name: &'static str, took: Duration) {
        let ms = took.as_secs_f64() * 1000.0;
        self.figures.push((name, json!(ms), format!("{ms:.1}")));
    }
}

impl Report {
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// A paragraph per measurement.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            text += &format!("{}\n", row.name);
            for (name, _, shown) in &row.figures {
                text += &format!("  {:<22} {shown:>14}\n", name.replace('_', " ").replace(" per s", "/s"));
            }
        }
        text
    }

    /// One object, a member per measurement.
    pub fn json(&self) -> String {
        let rows: Map<String, Value> = self
            .rows
            .iter()
            .map(|row| {
                let figures = row.figures.iter().map(|(name, value, _)| ((*name).to_owned(), value.clone()));
                (row.name.clone(), Value::Object(figures.collect()))
            })
            .collect();
        format!("{}\n", Value::Object(rows))
    }
}

/// A histogram of microseconds, up to ten minutes, three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are in order")
}

/// Notes one latency.
pub fn note(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
}

//! `/metrics`: read from the broker when asked, nothing is counted twice.

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_record::Offset;

use super::Admin;
use super::exposition::{Exposition, Kind};

pub fn routes() -> Router<Admin> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let mut out = Exposition::default();
    process(&admin, &mut out);
    log(&admin, &mut out);
    topics(&admin, &mut out);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out.finish())
}

fn process(admin: &Admin, out: &mut Exposition) {
    out.family("duolog_build_info", Kind::Gauge, "Always 1; the version is a label.")
        .sample(&[("version", &env!("CARGO_PKG_VERSION"))], 1);
    let uptime = admin.begun.elapsed().as_secs_f64();
    out.single("duolog_uptime_seconds", Kind::Gauge, "Time since the broker began to serve.", uptime);
    let (used, max) = (admin.budget.used_bytes(), admin.budget.bytes_max());
    out.single("duolog_memory_reserved_bytes", Kind::Gauge, "Reserved of the memory budget.", used);
    out.single("duolog_memory_budget_bytes", Kind::Gauge, "The memory budget.", max);
}

fn log(admin: &Admin, out: &mut Exposition) {
    let stats = admin.log.stats();
    out.single("duolog_log_frames_total", Kind::Counter, "Frames written; one is one commit.", stats.frames);
    out.single("duolog_log_written_bytes_total", Kind::Counter, "Bytes written to files.", stats.bytes);
    out.single(
        "duolog_log_fsyncs_total",
        Kind::Counter,
        "Calls of fdatasync on files of the log.",
        stats.syncs,
    );
    out.single("duolog_log_files", Kind::Gauge, "Files of the log.", stats.files);
    out.single("duolog_log_disk_bytes", Kind::Gauge, "Disk that they take.", stats.disk_bytes);
}

fn topics(admin: &Admin, out: &mut Exposition) {
    let catalog = admin.session.catalog();
    let mut partitions = Vec::new();
    for topic in catalog.topics(DEFAULT_NAMESPACE) {
        for (index, &partition) in topic.partitions.iter().enumerate() {
            let bounds = admin.session.bounds(partition).unwrap_or(Offset(0)..Offset(0));
            partitions.push((topic.name.as_str(), index, bounds, admin.log.partition_bytes(partition)));
        }
    }
    let mut family = out.family("duolog_topic_start_offset", Kind::Gauge, "First offset that is kept.");
    for (topic, partition, bounds, _) in &partitions {
        family.sample(&[("topic", topic), ("partition", partition)], bounds.start);
    }
    let mut family = out.family("duolog_topic_end_offset", Kind::Gauge, "Offset that the next record gets.");
    for (topic, partition, bounds, _) in &partitions {
        family.sample(&[("topic", topic), ("partition", partition)], bounds.end);
    }
    let mut family = out.family("duolog_topic_bytes", Kind::Gauge, "Stored bytes between start and end.");
    for (topic, partition, _, bytes) in &partitions {
        family.sample(&[("topic", topic), ("partition", partition)], bytes);
    }
}

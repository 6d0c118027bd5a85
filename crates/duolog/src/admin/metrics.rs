//! `/metrics`: read from the broker when asked, nothing is counted twice.

use std::fmt::Display;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::{Depth, Overview};
use duolog_record::{Offset, PartitionId};

use super::Admin;
use super::error::ApiError;
use super::exposition::{Exposition, Kind};

/// Up to so many queues, and partitions of topics, each has samples of its own. Beyond, those that are empty and that nobody
/// waits for have none, and of the others `LISTED_MAX`: a hundred thousand would be 76 MiB at each look.
const LISTED_ALL: usize = 1_000;
/// See `LISTED_ALL`.
const LISTED_MAX: usize = 10_000;

pub fn routes() -> Router<Admin> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(admin): State<Admin>) -> Result<impl IntoResponse, ApiError> {
    let overview = admin.session.overview().await?;
    // Ages of records may touch the disk.
    let text = tokio::task::spawn_blocking(move || {
        let mut out = Exposition::default();
        process(&admin, &mut out);
        log(&admin, &mut out);
        appends(&overview, &mut out);
        dedup(&overview, &mut out);
        topics(&admin, &mut out);
        groups(&admin, &overview, &mut out);
        queues(&admin, &overview, &mut out);
        routes_of(&admin, &mut out);
        live(&admin, &mut out);
        forwards(&admin, &mut out);
        redis(&admin, &mut out);
        nats(&admin, &mut out);
        amqp(&admin, &mut out);
        sns(&admin, &mut out);
        out.finish()
    });
    let text = text.await.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
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
    if let Some(volume) = admin.log.volume() {
        for (name, help, value) in [
            (
                "duolog_volume_bytes",
                "Size of the volume that the data directory lies on.",
                volume.total_bytes,
            ),
            ("duolog_volume_free_bytes", "What of it is free for the broker.", volume.usable_bytes),
        ] {
            out.single(name, Kind::Gauge, help, value);
        }
    }
    let clean = stats.clean;
    for (name, help, value) in [
        ("duolog_cleaner_files_total", "Files rewritten into others.", clean.files_rewritten),
        ("duolog_cleaner_read_bytes_total", "Bytes read to rewrite files.", clean.bytes_read),
        ("duolog_cleaner_written_bytes_total", "Bytes written to rewrite files.", clean.bytes_written),
        ("duolog_cleaner_freed_bytes_total", "Disk given back by the cleaner.", clean.bytes_freed),
    ] {
        out.single(name, Kind::Counter, help, value);
    }
    out.single(
        "duolog_cleaner_damaged_files",
        Kind::Gauge,
        "Files that are not rewritten because they are damaged; see duolog doctor.",
        clean.files_damaged,
    );
}

fn appends(overview: &Overview, out: &mut Exposition) {
    let counter = Kind::Counter;
    out.single("duolog_group_commits_total", counter, "Commits of all that waited.", overview.group_commits);
    out.single("duolog_records_appended_total", counter, "Records appended.", overview.records_appended);
    out.single(
        "duolog_appended_bytes_total",
        counter,
        "Bytes of the batches appended.",
        overview.bytes_appended,
    );
}

fn dedup(overview: &Overview, out: &mut Exposition) {
    let (keys, bytes) = overview.dedup_keys;
    out.single("duolog_dedup_keys", Kind::Gauge, "Idempotency keys that are remembered.", keys);
    out.single("duolog_dedup_bytes", Kind::Gauge, "Memory that they take, about.", bytes);
}

fn topics(admin: &Admin, out: &mut Exposition) {
    let catalog = admin.session.catalog();
    let mut partitions = Vec::new();
    for topic in catalog.topics(DEFAULT_NAMESPACE) {
        for (index, &partition) in topic.partitions.iter().enumerate() {
            let bounds = admin.session.bounds(partition).unwrap_or(Offset(0)..Offset(0));
            partitions.push((topic.name.as_str(), index, bounds, partition));
        }
    }
    out.single("duolog_partitions", Kind::Gauge, "Partitions of topics.", partitions.len());
    keep_listed(&mut partitions, |(_, _, bounds, _)| bounds.start < bounds.end);
    let sized = |(topic, index, bounds, partition)| {
        let bytes = admin.log.partition_bytes(partition);
        (topic, index, bounds, bytes)
    };
    let partitions: Vec<_> = partitions.into_iter().map(sized).collect();
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

/// Leaves those that have samples of their own.
fn keep_listed<T>(all: &mut Vec<T>, is_busy: impl FnMut(&T) -> bool) {
    if all.len() > LISTED_ALL {
        all.retain(is_busy);
        all.truncate(LISTED_MAX);
    }
}

/// How far a group is behind in one partition.
struct Lag<'a> {
    group: &'a str,
    topic: String,
    partition: usize,
    records: u64,
    bytes: u64,
    seconds: f64,
}

fn groups(admin: &Admin, overview: &Overview, out: &mut Exposition) {
    let mut lags = Vec::new();
    for (group, cursors) in &overview.groups {
        lags.extend(
            cursors.iter().filter_map(|(partition, cursor)| lag(admin, group, *partition, cursor.offset)),
        );
    }
    let mut family =
        out.family("duolog_group_lag_records", Kind::Gauge, "Records that a group has not read.");
    for lag in &lags {
        family.sample(&labels(lag), lag.records);
    }
    let help = "Their bytes, estimated from the average record of the partition.";
    let mut family = out.family("duolog_group_lag_bytes", Kind::Gauge, help);
    for lag in &lags {
        family.sample(&labels(lag), lag.bytes);
    }
    let help = "Age of the next record that a group will read; 0 if there is none.";
    let mut family = out.family("duolog_group_lag_seconds", Kind::Gauge, help);
    for lag in &lags {
        family.sample(&labels(lag), lag.seconds);
    }
}

fn labels<'a>(lag: &'a Lag<'a>) -> [(&'static str, &'a dyn Display); 3] {
    [("group", &lag.group), ("topic", &lag.topic), ("partition", &lag.partition)]
}

/// `None` where the topic is gone.
fn lag<'a>(admin: &Admin, group: &'a str, partition: PartitionId, at: Offset) -> Option<Lag<'a>> {
    let catalog = admin.session.catalog();
    let topic = catalog.topic_of(partition)?;
    let index = topic.partitions.iter().position(|it| *it == partition)?;
    let bounds = admin.session.bounds(partition)?;
    // Records that retention took are not waited for any more.
    let at = at.max(bounds.start);
    let (records, kept) = (bounds.end.since(at), bounds.end.since(bounds.start));
    let bytes =
        u128::from(admin.log.partition_bytes(partition)) * u128::from(records) / u128::from(kept.max(1));
    let next = (records > 0).then(|| admin.log.spans(partition, at, 1).ok()).flatten();
    let age_ms = next.and_then(|spans| Some(admin.session.now().0 - spans.first()?.append_time.0));
    Some(Lag {
        group,
        topic: topic.name.clone(),
        partition: index,
        records,
        bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        seconds: age_ms.map_or(0.0, |ms| ms.max(0) as f64 / 1000.0),
    })
}

fn queues(admin: &Admin, overview: &Overview, out: &mut Exposition) {
    let catalog = admin.session.catalog();
    let known = overview.queues.iter();
    let mut queues: Vec<_> =
        known.filter_map(|(id, depth)| Some((&catalog.queue_by_id(*id)?.name, depth))).collect();
    out.single("duolog_queues", Kind::Gauge, "Queues.", queues.len());
    keep_listed(&mut queues, |(_, depth)| {
        let holds = depth.available + depth.in_flight + depth.delayed;
        holds + depth.waiting + depth.dead_lettered + depth.undeliverable + depth.malformed > 0
    });
    let mut family = |name, kind, help, value: fn(&Depth) -> f64| {
        let mut family = out.family(name, kind, help);
        for (queue, depth) in &queues {
            family.sample(&[("queue", queue)], value(depth));
        }
    };
    let gauge = Kind::Gauge;
    family("duolog_queue_available", gauge, "Messages that could be received now.", |it| it.available as f64);
    family("duolog_queue_in_flight", gauge, "Messages received and not settled.", |it| it.in_flight as f64);
    family("duolog_queue_delayed", gauge, "Messages released with a delay.", |it| it.delayed as f64);
    family("duolog_queue_lag_records", gauge, "Messages that are not settled.", |it| {
        (it.available + it.in_flight + it.delayed) as f64
    });
    family("duolog_queue_lag_bytes", gauge, "Stored bytes from the oldest of them on.", |it| {
        it.backlog_bytes as f64
    });
    family("duolog_queue_lag_seconds", gauge, "Age of the oldest of them; 0 if there is none.", |it| {
        it.oldest_age_ms.unwrap_or(0) as f64 / 1000.0
    });
    let help = "Messages moved to the dead-letter queue.";
    family("duolog_queue_dead_lettered_total", Kind::Counter, help, |it| it.dead_lettered as f64);
    let help = "Deliveries past the attempts because the dead-letter queue does not exist.";
    family("duolog_queue_undeliverable_total", Kind::Counter, help, |it| it.undeliverable as f64);
    let help = "Messages that could not be decoded.";
    family("duolog_queue_malformed_total", Kind::Counter, help, |it| it.malformed as f64);
    family("duolog_queue_receivers_waiting", gauge, "Receivers that wait.", |it| it.waiting as f64);
    pinned(admin, overview, out);
}

/// What queues keep that the retention of their topics would have let go.
fn pinned(admin: &Admin, overview: &Overview, out: &mut Exposition) {
    let catalog = admin.session.catalog();
    let mut family = out.family(
        "duolog_queue_pinned_records",
        Kind::Gauge,
        "Records kept past the topic's retention because the queue has not settled them.",
    );
    for (queue, partition, records) in &overview.pinned {
        let Some(queue) = catalog.queue_by_id(*queue) else { continue };
        let Some(topic) = catalog.topic_by_id(queue.topic) else { continue };
        let index = topic.partitions.iter().position(|it| it == partition).unwrap_or_default();
        family.sample(&[("queue", &queue.name.as_str()), ("partition", &index)], records);
    }
}

fn live(admin: &Admin, out: &mut Exposition) {
    let stats = admin.session.live().stats();
    for (name, help, value) in [
        ("duolog_live_listeners", "Connections that may listen to live subjects.", stats.listeners),
        ("duolog_live_subscriptions", "Subscriptions to live subjects.", stats.subscriptions),
        ("duolog_live_waiting_bytes", "Messages that wait for listeners, each once.", stats.bytes),
    ] {
        out.single(name, Kind::Gauge, help, value);
    }
    for (name, help, value) in [
        ("duolog_live_published_total", "Live messages published.", stats.published),
        ("duolog_live_delivered_total", "Live messages handed to listeners.", stats.delivered),
        ("duolog_live_listeners_cut_total", "Listeners cut off because too much waited.", stats.cut),
        ("duolog_live_captured_total", "Messages stored in the topic that captures them.", stats.captured),
        ("duolog_live_not_captured_total", "Messages that could not be stored there.", stats.not_captured),
        ("duolog_live_echo_lost_total", "Offsets not echoed because they are damaged.", stats.echo_lost),
    ] {
        out.single(name, Kind::Counter, help, value);
    }
}

fn forwards(admin: &Admin, out: &mut Exposition) {
    let stats = admin.session.forward_stats();
    let waiting = "Partitions whose records cannot be forwarded now: a queue or the disk is full, say.";
    out.single("duolog_forward_partitions_waiting", Kind::Gauge, waiting, stats.waiting);
    for (name, help, value) in [
        (
            "duolog_forwarded_total",
            "Records forwarded from topics to exchanges, and stored.",
            stats.forwarded,
        ),
        ("duolog_forward_unrouted_total", "Records that no binding of the exchange took.", stats.unrouted),
        ("duolog_forward_refused_total", "Records left out because a topic never takes them.", stats.refused),
        (
            "duolog_forward_lost_total",
            "Offsets not forwarded because they are damaged, or were gone before their turn.",
            stats.lost,
        ),
    ] {
        out.single(name, Kind::Counter, help, value);
    }
}

fn redis(admin: &Admin, out: &mut Exposition) {
    let stats = admin.redis.stats();
    out.single("duolog_redis_connections", Kind::Gauge, "Connections of Redis clients.", stats.connections);
    let help = "Subscribers of the Redis protocol cut off because too much waited for them.";
    for (name, help, value) in [
        (
            "duolog_redis_connections_total",
            "Connections of Redis clients that began.",
            stats.connections_begun,
        ),
        ("duolog_redis_commands_total", "Commands of Redis clients.", stats.commands),
        ("duolog_redis_subscribers_cut_total", help, stats.subscribers_cut),
    ] {
        out.single(name, Kind::Counter, help, value);
    }
}

fn routes_of(admin: &Admin, out: &mut Exposition) {
    let (exchanges, bindings) = admin.session.catalog().routes_len();
    let help = "Exchanges, those that are always there included.";
    out.single("duolog_exchanges", Kind::Gauge, help, exchanges);
    out.single(
        "duolog_bindings",
        Kind::Gauge,
        "Bindings of exchanges to queues, topics and exchanges.",
        bindings,
    );
}

fn amqp(admin: &Admin, out: &mut Exposition) {
    let totals = admin.amqp.totals();
    out.single("duolog_amqp_connections", Kind::Gauge, "Connections of AMQP clients.", totals.connections);
    for (name, help, value) in [
        (
            "duolog_amqp_connections_total",
            "Connections of AMQP clients that began.",
            totals.connections_total,
        ),
        ("duolog_amqp_messages_in_total", "Messages that AMQP clients published.", totals.messages_in),
        ("duolog_amqp_messages_out_total", "Messages written to AMQP clients.", totals.messages_out),
    ] {
        out.single(name, Kind::Counter, help, value);
    }
}

fn sns(admin: &Admin, out: &mut Exposition) {
    let help = "Deliveries to SNS subscriptions that were dropped because their protocol is not served.";
    out.single("duolog_sns_deliveries_dropped_total", Kind::Counter, help, admin.aws.dropped_deliveries());
    let help = "Deliveries to HTTP endpoints of SNS subscriptions, by what came of an attempt or became of the message.";
    let mut family = out.family("duolog_sns_endpoint_deliveries_total", Kind::Counter, help);
    for (outcome, count) in admin.aws.endpoint_deliveries() {
        family.sample(&[("outcome", &outcome)], count);
    }
}

fn nats(admin: &Admin, out: &mut Exposition) {
    let totals = admin.nats.totals();
    out.single("duolog_nats_connections", Kind::Gauge, "Connections of NATS clients.", totals.connections);
    for (name, help, value) in [
        (
            "duolog_nats_connections_total",
            "Connections of NATS clients that began.",
            totals.connections_total,
        ),
        ("duolog_nats_messages_in_total", "Messages that NATS clients published.", totals.messages_in),
        ("duolog_nats_bytes_in_total", "Their bytes, headers included.", totals.bytes_in),
        ("duolog_nats_messages_out_total", "Messages written to NATS clients.", totals.messages_out),
        ("duolog_nats_bytes_out_total", "Their bytes, headers included.", totals.bytes_out),
        (
            "duolog_nats_slow_consumers_total",
            "NATS clients cut off because they took too little.",
            totals.slow_consumers,
        ),
        (
            "duolog_nats_stale_connections_total",
            "NATS clients cut off because they did not answer.",
            totals.stale_connections,
        ),
    ] {
        out.single(name, Kind::Counter, help, value);
    }
}

//! The limits of the broker, each with its unit and its reason.

/// Partitions of one topic: bounds one catalog entry and one create call.
pub const PARTITIONS_PER_TOPIC: u32 = 10_000;
/// Records leased by one call: bounds one answer.
pub const LEASES_MAX: u32 = 1_000;
/// Records of one publish: bounds one command.
pub const PUBLISH_RECORDS: usize = 10_000;
/// Bytes of a cursor's metadata: Source: Kafka `offset.metadata.max.bytes`.
pub const CURSOR_METADATA_BYTES: usize = 4096;
/// Longest visibility timeout, milliseconds: 12 hours. Source: SQS API reference, ChangeMessageVisibility.
pub const VISIBILITY_MS: u64 = 12 * 60 * 60 * 1000;
/// Settled runs above the floors of one queue: at the cap only records leased before are leased again. Bounds memory.
pub const LEDGER_RUNS: usize = 65_536;
/// Records of one queue that are leased, delayed or waiting for another attempt: at the cap only they are leased.
pub const LEDGER_RECORDS: usize = 262_144;
/// Batches of one partition that a queue looks ahead.
pub const LEDGER_WINDOW_SPANS: usize = 1_024;
/// The same for all partitions of a queue together; each may have `LEDGER_WINDOW_SPANS_MIN` nevertheless.
pub const LEDGER_WINDOW_SPANS_QUEUE: usize = 65_536;
/// Batches that each partition may look ahead, however many partitions there are.
pub const LEDGER_WINDOW_SPANS_MIN: usize = 16;
/// Settled runs above the floors of a queue that looks at keys: a group that has to wait leaves as many as it has records.
pub const LEDGER_GROUPED_RUNS: usize = 1 << 20;
/// Records that a queue that looks at keys looks ahead: about 100 bytes each if every key is another.
pub const LEDGER_WINDOW_RECORDS: usize = 120_000;
/// Records that each of its partitions may look ahead, however many partitions there are.
pub const LEDGER_WINDOW_RECORDS_MIN: usize = 64;
/// Records that all such queues look ahead together; beyond, each may look ahead `LEDGER_WINDOW_RECORDS_FULL`.
pub const LEDGER_WINDOW_RECORDS_ALL: usize = 1_000_000;
/// See `LEDGER_WINDOW_RECORDS_ALL`.
pub const LEDGER_WINDOW_RECORDS_FULL: usize = 1_024;
/// Records that a group which has to wait may keep in a window that is half full.
pub const LEDGER_GROUP_KEPT: usize = 64;
/// Records of one group that are looked up again at a time: as many as one lease call may take.
pub const LEDGER_GROUP_REFILL: usize = LEASES_MAX as usize;
/// Keys of live appends that wait until a queue's window has come as far as they are.
pub const LEDGER_RECENT_KEYS: usize = 16_384;
/// Stored bytes that one look for keys reads: the reader's thread serves others as well.
pub const KEY_LOOK_BYTES: usize = 2 << 20;
/// Batches that such a look takes from the index, if they have no keys.
pub const UNKEYED_LOOK_BATCHES: usize = 1_024;
/// Such looks that a receiver with too few records is held back for: as many as it takes to read the largest answer.
pub const KEY_LOOKS_PER_LEASE: u32 = (LEASE_ANSWER_BYTES / KEY_LOOK_BYTES) as u32;
/// Bytes of a receiver's name for an attempt.
pub const ATTEMPT_ID_BYTES: usize = 128;
/// How long an attempt may be repeated, milliseconds. Source: SQS API reference, "ReceiveRequestAttemptId".
pub const ATTEMPT_MS: u64 = 5 * 60 * 1000;
/// Attempts of one queue that are remembered; the oldest are forgotten first.
pub const ATTEMPTS_PER_QUEUE: usize = 1_000;
/// Leases of one queue's attempts that are remembered.
pub const ATTEMPT_LEASES_PER_QUEUE: usize = 10_000;
/// Records that one lease call may hand over to the dead-letter queue: bounds one commit.
pub const LEDGER_DEAD_PER_LEASE: usize = 1_000;
/// Parts of one change or snapshot piece of a ledger: bounds one state record to about half a MiB.
pub const LEDGER_CHANGE_PARTS: usize = 16_384;
/// Queues of a shard: bounds the catalog. One that is empty and that nobody works on takes about 3 KiB of memory.
pub const QUEUES: usize = 200_000;
/// Queues that one turn of the shard counts for an overview: half a millisecond's work, so that nobody waits for all.
pub const DEPTHS_PER_TURN: usize = 512;
/// Partitions of counted queues after which such a turn leaves the other queues to the next; one queue may have more.
pub const DEPTHS_PARTITIONS_PER_TURN: usize = 2_048;
/// Timers of queues that one turn of the shard sees to: after a start all of them may be due at once.
pub const QUEUE_TIMERS: usize = 1_024;
/// Receivers that wait for one queue: beyond, they are refused as `Overloaded`.
pub const WAITERS_PER_QUEUE: usize = 10_000;
/// How long after its last receive a queue forgets its look-ahead window, milliseconds: queues that nobody works on cost
/// no memory.
pub const QUEUE_IDLE_MS: u64 = 60_000;
/// How often a queue looks for records that have outlived their time to live, at the least, milliseconds: as often as that
/// time is long, so that what its counts tell and the disk keeps is soon right.
pub const TTL_CHECK_MS: u64 = 60_000;
/// And at the most, milliseconds: a look costs a read where nobody receives.
pub const TTL_CHECK_MS_MIN: u64 = 1_000;
/// And if it knows what is due next, milliseconds: what is due soon after one another is taken together.
pub const TTL_HEAD_MS_MIN: u64 = 5;
/// Records of one queue that have outlived their time to live and are on their way to where the dead go.
pub const LEDGER_DYING: usize = 1_024;
/// Levels of priority that a queue tells apart at the most: each is a partition.
pub const PRIORITY_LEVELS: u32 = 10;
/// Records of a partition whose sizes a queue with a limit of bytes knows one by one, or chunks of them.
pub const SIZE_CHUNKS: usize = 2_048;
/// How long a queue waits before it tries again to look into a partition that could not be read, milliseconds.
pub const LOOK_RETRY_MS: u64 = 5_000;
/// Least `batch_bytes_max` of a topic that a queue makes, bytes: what most producers send by default, so that the topic
/// takes their batches too. Source: Kafka `message.max.bytes`.
pub const TOPIC_BATCH_BYTES_MIN: u32 = 1_048_588;
/// Dead records that one look reads.
pub const DEAD_LOOK_RECORDS: usize = 256;
/// Bytes of batches after which such a look leaves the rest to the next.
pub const DEAD_LOOK_BYTES: usize = 4 << 20;
/// Bytes of dead records that one commit moves, beside its appends: small enough that both fit into one commit.
pub const MOVE_BYTES: usize = 8 << 20;
/// Bytes of records of all queues and move tasks that are read and wait for a commit, each look that is being made counted as
/// `DEAD_LOOK_ROOM`: beyond, both wait for their turn to look.
pub const MOVE_LINE_BYTES: usize = 64 << 20;
/// Bytes of a record that is moved as it is, whatever its new topic allows for one batch. One that has become larger when
/// it was decompressed, which no commit could be sure to hold, is moved as the stored batch that it lies in.
pub const MOVE_RECORD_BYTES: usize = GROUP_BYTES;
/// Bytes that one look at dead records may bring: just too little to leave the rest, and one record more.
pub const DEAD_LOOK_ROOM: usize = DEAD_LOOK_BYTES + MOVE_RECORD_BYTES;
const _: () = assert!(DEAD_LOOK_ROOM <= MOVE_LINE_BYTES, "somebody may always look when nothing waits");
/// Groups: bytes of bodies that one group commit takes; the rest waits for the next. A quarter of what a commit may
/// hold, so that the state and one largest batch still fit beside it.
pub const GROUP_BYTES: usize = 16 << 20;
/// A second group is sealed while one is in flight once so many bytes wait: below it, waiting merges more into one sync.
pub const SECOND_GROUP_BYTES: usize = 512 << 10;
/// Groups in flight: one being synced, one queued behind it.
pub const GROUPS_IN_FLIGHT: usize = 2;
/// Turns that one who puts something into the shard takes at most, before it leaves the rest to the shard's thread.
pub const TURNS: usize = 4;
/// Bytes of appends that wait for a group: beyond, appends are refused as `Overloaded`.
pub const PENDING_BYTES: usize = 256 << 20;
/// Appends that wait for a group: bounds the memory of their answers.
pub const PENDING_APPENDS: usize = 200_000;
/// Largest batch that small publishes are merged into, bytes: a consumer fetches a batch as a whole.
pub const MERGED_BATCH_BYTES: usize = 256 << 10;
/// Bytes of a name: topics, queues, namespaces. Source: Kafka `Topic.MAX_NAME_LENGTH`.
pub const NAME_BYTES: usize = 249;
/// Topics of a shard: bounds the catalog. As many as queues, which make one each.
pub const TOPICS: usize = QUEUES;
/// Partitions of a shard: bounds the sequencers.
pub const PARTITIONS: usize = 400_000;
/// Cursors of a shard: bounds what groups may remember.
pub const CURSORS: usize = 1_000_000;
/// Bytes of the names of groups and the metadata of cursors, all together: far more than clients need, who commit none or
/// a few bytes; cursors with all the metadata they may have would be 4 GiB.
pub const CURSORS_BYTES: usize = 128 << 20;
/// Bytes of memory of the idempotency keys of one batch: more than a batch of a MiB of small records has, and a bound on
/// one that is decompressed.
pub const DEDUP_BATCH_BYTES: usize = 4 << 20;
/// Bytes of all labels of one topic or queue: they are written with every change of it.
pub const LABELS_BYTES: usize = 64 << 10;
/// Bytes of memory of the labels of all topics and queues together, about: each of the most that there may be could have
/// a KiB, and all with the labels that they may have would be 25 GiB. Keys and filters of bindings count too.
pub const LABELS_BYTES_ALL: usize = 256 << 20;
/// Bytes that a label takes besides its key and value, about.
pub const LABEL_OVERHEAD: usize = 64;
/// Bytes that a binding takes besides its key, filter and labels, about: it stands in three maps.
pub const BINDING_OVERHEAD: usize = 400;
/// Exchanges of a shard: bounds the catalog.
pub const EXCHANGES: usize = 100_000;
/// Bindings of a shard: bounds the catalog.
pub const BINDINGS: usize = 500_000;
/// Bytes of a binding's key. Source: AMQP 0-9-1, a routing key is a short string.
pub const BINDING_KEY_BYTES: usize = 255;
/// Bytes of a binding's filter: it is written with the binding, and looked at with every record.
pub const FILTER_BYTES: usize = 64 << 10;
/// Bytes of a binding's rules as they are written. Source: SNS Developer Guide, "Filter policy constraints".
pub const RULES_BYTES: usize = 256 << 10;
/// Keys of rules at the top. Source: as `RULES_BYTES`.
pub const RULES_KEYS: usize = 5;
/// Combinations of values that rules name: bounds the work for each record. Source: as `RULES_BYTES`.
pub const RULES_COMBINATIONS: u64 = 150;
/// How deep the JSON of rules and bodies is nested at most: it is read by calls within calls.
pub const JSON_DEPTH: usize = 127;
/// Bytes of a body that rules look into: parsed it takes many times that.
pub const RULES_BODY_BYTES: usize = 1 << 20;
/// Weight of a destination of a consistent-hash exchange: so many points it has on the ring.
pub const HASH_WEIGHT_MAX: u32 = 1_000;
/// Routes that one who publishes remembers.
pub const ROUTES_KNOWN: usize = 4_096;
/// Bytes of them, about.
pub const ROUTES_KNOWN_BYTES: usize = 1 << 20;
/// Places that the records of one routed publish take together, at most: a commit may have 65,536.
pub const ROUTED_PLACES: usize = 16_384;
/// Bytes that labels take however few they are, about: a leaf of a `BTreeMap` has room for eleven.
pub const LABELS_OVERHEAD: usize = 550;
/// The longest time between two commits that is remembered, microseconds.
pub const WRITE_GAP_MOST_US: u64 = 125_000;
/// How long a lease alone waits for other changes to be written with it, milliseconds.
pub const LAZY_MS: u64 = 5;
/// How long a commit that was refused for want of space waits for the next try, milliseconds.
pub const DISK_FULL_RETRY_MS: u64 = 250;
/// Batches remembered per idempotent producer and partition: as many as clients keep in flight. Source: KIP-98.
pub const PRODUCER_BATCHES: usize = 5;
/// Milliseconds after which an idle producer is forgotten: a day. Source: Kafka `producer.id.expiration.ms`.
pub const PRODUCER_IDLE_MS: i64 = 24 * 60 * 60 * 1000;
/// Producers (per partition) remembered: about 300 bytes each.
pub const PRODUCERS: usize = 100_000;
/// Longest deduplication window, milliseconds: a week. What is remembered costs memory as long as it is remembered.
pub const DEDUP_WINDOW_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// Bytes of one idempotency key. Source: SQS allows 128, AMQP 255; others have no limit of their own.
pub const DEDUP_KEY_BYTES: usize = 1024;
/// Idempotency keys that a shard remembers: 14,000 messages a second over five minutes. Beyond, senders wait.
pub const DEDUP_KEYS: usize = 4 << 20;
/// Bytes of memory that they may take.
pub const DEDUP_BYTES: usize = 512 << 20;
/// Bytes that the table takes for a key besides the key itself, about.
pub const DEDUP_KEY_OVERHEAD: usize = 144;
/// Keys of one state record: bounds the record to about half a MiB for keys of the usual length.
pub const DEDUP_CHUNK_KEYS: usize = 4_096;
/// Keys that are forgotten at a time: bounds a turn of the shard.
pub const DEDUP_EXPIRE_KEYS: usize = 65_536;
/// Delayed records whose times a shard has in memory, all topics together: about 32 bytes each. What is due later is
/// looked up when its time comes nearer.
pub const DELAY_INDEX: usize = 1 << 20;
/// The same for each topic, however many topics there are.
pub const DELAY_INDEX_MIN: usize = 64;
/// Delayed records that one look reads when they are due.
pub const DELAY_LOOK_RECORDS: usize = 256;
/// Batches that such a look keeps open.
pub const DELAY_LOOK_BATCHES: usize = 8;
/// Bytes of a hidden partition that one look for times reads.
pub const DELAY_PASS_BYTES: usize = 4 << 20;
/// Delayed records that have entered a topic before what they leave behind is given back.
pub const DELAY_TRIM_RECORDS: u64 = 1_000;
/// Gaps between delayed records that are given back at a time.
pub const DELAY_GAPS: usize = 65_536;
/// How long a shard sleeps at most while something is delayed, milliseconds: the wall clock may be set.
pub const DELAY_WAKE_MS: u64 = 60_000;
/// Move tasks that run at a time. Source: SQS quotas, 100 an account.
pub const MOVE_TASKS: usize = 100;
/// Move tasks of one queue that are remembered when they are over. Source: SQS ListMessageMoveTasks gives 10 at most.
pub const MOVE_TASKS_KEPT: usize = 10;
/// Records that a move task takes at a time.
pub const MOVE_RECORDS: u32 = 256;
/// Records that a move task keeps from receivers because they are not to be moved.
pub const MOVE_HELD: usize = 100_000;
/// Bytes of a move task's filter: they are written with each of its steps.
pub const MOVE_FILTER_BYTES: usize = 64 << 10;
/// How long a move task waits for a look ahead, milliseconds.
pub const MOVE_POLL_MS: u64 = 20;
/// Bytes of state behind the last round of snapshots before the next begins: a tail that is read in a millisecond.
pub const STATE_ROUND_BYTES: u64 = 256 << 10;
/// A snapshot's share of what changed: one byte for so many.
pub const STATE_SNAPSHOT_SHARE: u64 = 4;
/// Bytes of snapshots that a group may write however little changed: a round always comes to its end.
pub const STATE_SNAPSHOT_BYTES_MIN: u64 = 512;
/// Bytes of cursors that one group writes; what is more waits for the next. Keeps a commit far below what a log takes.
pub const STATE_CURSOR_BYTES: usize = 8 << 20;
/// Appends that one group takes: a commit may have 65,536 targets, and merged publishes and state need some.
pub const GROUP_APPENDS: usize = 32_768;
/// New starts and removals of partitions that wait for a group: leaves room for the appends beside them.
pub const PENDING_TRIMS: usize = 20_480;
/// Producer ids reserved at a time: new producers wait for one sync in so many.
pub const PRODUCER_ID_BLOCK: i64 = 1_000;
/// Partitions that one slice of retention visits: bounds a tick of the shard.
pub const RETENTION_PARTITIONS: usize = 256;
/// Looks of retention under way: the reader's thread serves receivers as well.
pub const RETENTION_LOOKS: usize = 64;
/// Settled runs that one slice of retention goes through, about.
pub const RETENTION_RUNS: usize = 100_000;
/// Producers that one slice of retention visits.
pub const RETENTION_PRODUCERS: usize = 4_096;
/// Pause between the slices of one round of retention, milliseconds.
pub const RETENTION_SLICE_MS: u64 = 10;
/// How often topics that are kept until settled are trimmed, milliseconds: bounds what settled records take.
pub const RETENTION_SETTLED_MS: u64 = 5_000;
/// How long after a trim the log reclaims space, milliseconds: several trims are reclaimed together.
pub const RECLAIM_MS: u64 = 1_000;
/// Bytes of the state partition read at a time when it is recovered.
pub const STATE_READ_BYTES: usize = 8 << 20;
/// Batches kept decoded for queues, all queues together.
pub const DECODED_CACHE_BATCHES: usize = 64;
/// Bytes of them: what a few receivers on large compressed batches need, small beside the rest of the process.
pub const DECODED_CACHE_BYTES: usize = 16 << 20;
/// Bytes of records after which a receive gives no more: ten of the largest messages, and one record in any case.
pub const LEASE_ANSWER_BYTES: usize = 16 << 20;
/// Bytes that a receive reads at a time; a batch that is larger is read alone.
pub const LEASE_READ_BYTES: usize = 256 << 10;
/// Offsets between two leased records of a partition, beyond which each is read for itself.
pub const LEASE_READ_GAP: u64 = 256;
/// Records that are read along for those who receive next, the first time that somebody goes on where others were.
pub const AHEAD_RECORDS_MIN: u64 = 64;
/// The same after some times, unless they have more than `LEASE_READ_BYTES`.
pub const AHEAD_RECORDS_MAX: u64 = 8_192;
/// Offsets between where a partition was read last and a read that goes on from there: several receive at a time. What
/// lies farther apart is read apart, so it is gone on with apart, too.
pub const AHEAD_NEAR: u64 = LEASE_READ_GAP;
/// Stretches kept of what was read along, all partitions together.
pub const AHEAD_STRETCHES: usize = 64;
/// Bytes of one; a larger batch is not kept.
pub const AHEAD_STRETCH_BYTES: usize = 512 << 10;
/// Bytes of all of them: small beside the rest of the process.
pub const AHEAD_BYTES: usize = 8 << 20;
const _: () = assert!(LEASE_READ_BYTES < AHEAD_STRETCH_BYTES && AHEAD_STRETCH_BYTES < AHEAD_BYTES);
/// Bytes of batches that are being opened for receivers, looks by time and peeks at a time, what is decompressed included;
/// what was opened for a receive is in it until the receiver has room for the records. Beyond, they wait their turn.
pub const OPENING_BYTES: usize = 128 << 20;
/// Room that a compressed batch is given at first, bytes, however small it is.
pub const DECODED_FIRST_BYTES: usize = 64 << 10;
/// Bytes that one batch may grow to when it is decompressed for a queue or a look by time.
pub const DECODED_BATCH_BYTES: usize = 64 << 20;
const _: () = assert!(2 * DECODED_BATCH_BYTES <= OPENING_BYTES && DECODED_FIRST_BYTES < DECODED_BATCH_BYTES);
/// Bytes of a live subject, and of where an answer is awaited: two bytes hold the length.
pub const LIVE_SUBJECT_BYTES: usize = u16::MAX as usize;
/// Subscriptions of all listeners together: about 400 bytes each.
pub const LIVE_SUBSCRIPTIONS: usize = 2_000_000;
/// Tokens of a pattern with wildcards: bounds the depth of the trie.
pub const PATTERN_TOKENS: usize = 2_048;
/// Bytes of a glob: each subject is held against it.
pub const GLOB_BYTES: usize = 4_096;
/// Bytes of messages that a publisher packs before it hands them over by itself.
pub const LIVE_BUNDLE_BYTES: usize = 64 << 10;
/// Subjects whose listeners a publisher remembers.
pub const LIVE_KNOWN_SUBJECTS: usize = 1_024;
/// Bytes of what a publisher remembers.
pub const LIVE_KNOWN_BYTES: usize = 1 << 20;
/// What a run counts for in an outbox beside its messages.
pub const LIVE_RUN_BYTES: usize = 48;
/// Bytes that a listener takes out at a time: the rest can be let go at once when it is cut.
pub const LIVE_TAKE_BYTES: usize = 256 << 10;
/// Bytes that wait for a listener that keeps up, above which publishers hold back for a moment: they stay in the
/// processor's cache on the way.
pub const LIVE_LAG_BYTES: usize = 1 << 20;
/// Bytes of memory that an outbox may keep alive without its messages being so large.
pub const LIVE_HELD_FREE_BYTES: usize = 256 << 10;
/// Subscriptions that leave under one lock when a connection ends.
pub const LIVE_LEAVES_PER_TURN: usize = 1_024;
/// Captures of subjects by topics: each subject is held against all of them, once.
pub const CAPTURES: usize = 1_024;
/// Records that a publisher's captures hand over at a time, all topics together.
pub const CAPTURE_PUBLISH_RECORDS: usize = 4_096;
/// Topics that a publisher gathers records for at a time: each record's topic is looked for among them.
pub const CAPTURE_TOPICS_GATHERING: usize = 16;
/// Bytes above which they do.
pub const CAPTURE_PUBLISH_BYTES: usize = 512 << 10;
/// Captured bytes of one publisher that may be on their way to the disk.
pub const CAPTURE_BYTES_IN_FLIGHT: usize = 4 << 20;
/// Echoes of topics on subjects.
pub const ECHOES: usize = 1_024;
/// Bytes of records that an echo looks at in one partition, heard or not, before it looks at the next.
pub const ECHO_LOOK_BYTES: usize = 1 << 20;
/// What a record counts for beside its value.
pub const ECHO_RECORD_BYTES: usize = 64;
/// Batches that echoes keep open at a time, while they take them in turns.
pub const KEPT_OPEN_BATCHES: usize = 64;
/// Bytes of them, decompressed: the largest that can be opened, or many ordinary ones. Beside [`OPENING_BYTES`], because who waits
/// for room there must hold none.
pub const ECHO_OPEN_BYTES: usize = DECODED_BATCH_BYTES;
/// How long echoes and forwards wait before they try again what has failed, milliseconds; twice as long each time it fails again.
pub const RETRY_MS: u64 = 100;
/// At most so long.
pub const RETRY_MS_MAX: u64 = 10_000;
/// Forwards of topics to exchanges.
pub const FORWARDS: usize = 1_024;
/// Bytes that one partition forwards in one commit, about; one record may be larger.
pub const FORWARD_TURN_BYTES: usize = 1 << 20;
/// Bytes that are on their way to the disk for all of them together, about.
pub const FORWARD_BYTES_IN_FLIGHT: usize = 16 << 20;
/// Topics that a record may be forwarded through.
pub const FORWARD_HOPS: usize = 5;
/// Bytes that an echo hears of one partition before it looks at the next.
pub const ECHO_TURN_BYTES: usize = 64 << 10;

//! A core over a log in memory, driven by hand: a test decides what is sealed, what becomes durable, and when it crashes.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use duolog_record::{Batch, BatchBuilder, Offset, PartitionId, Producer, Timestamp};
use duolog_storage::{Commit, Durability, Log, LogError, MemoryLog, Trim};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::command::Reply;
use super::{Command, Core, CoreOptions, STATE_PARTITION, Shared};
use crate::errors::{AppendError, ChangeError, Stopped};
use crate::limits::SECOND_GROUP_BYTES;
use crate::state::{BrokerValue, Value};
use crate::{Appended, CursorMove, Labels, Monotonic, Now, TopicId, TopicPolicy, TopicSpec};

/// What names the run that wrote a value is left out.
fn without_run(value: Vec<u8>) -> Vec<u8> {
    match Value::decode(&value) {
        Ok(Value::Broker(broker)) => {
            Value::Broker(BrokerValue { incarnation: 0, clean: false, ..broker }).encode()
        }
        _ => value,
    }
}

/// Key and value of every owner, in order.
pub(super) type Dump = Vec<(Vec<u8>, Option<Vec<u8>>)>;

pub(super) fn dump(core: &Core) -> Dump {
    let mut all = Vec::new();
    let mut after = None;
    while let Some(owner) = core.next_owner(after.as_ref()) {
        let record = core.state_record(owner.clone());
        all.push((record.owner.encode(), record.value.map(without_run)));
        after = Some(owner);
    }
    all
}

pub(super) fn policy() -> TopicPolicy {
    TopicPolicy::default()
}

pub(super) fn spec(name: &str, partitions: u32, policy: TopicPolicy) -> TopicSpec {
    TopicSpec::new(name, partitions, policy)
}

/// A batch of `records` records of ten bytes.
pub(super) fn batch(records: u32, producer: Option<Producer>) -> Batch {
    let mut builder = BatchBuilder::new();
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    for _ in 0..records {
        builder.push(Timestamp(1), None, Some(&Bytes::from_static(b"0123456789")), &[]);
    }
    builder.build()
}

/// A batch for which a second group is sealed while another is in flight.
pub(super) fn large_batch() -> Batch {
    let mut builder = BatchBuilder::new();
    builder.push(Timestamp(1), None, Some(&vec![0; SECOND_GROUP_BYTES]), &[]);
    builder.build()
}

pub(super) fn cursor_move(partition: PartitionId, offset: u64) -> CursorMove {
    CursorMove { partition, offset: Offset(offset), leader_epoch: -1, metadata: String::new() }
}

type Fates = Arc<Mutex<VecDeque<(u64, Result<(), LogError>)>>>;

pub(super) struct Harness {
    pub(super) log: MemoryLog,
    /// Everything that was ever committed, the state partition never trimmed.
    pub(super) archive: MemoryLog,
    pub(super) core: Core,
    pub(super) now: Now,
    pub(super) options: CoreOptions,
    /// The state as of the last group that became durable.
    pub(super) durable: Dump,
    sealed: VecDeque<(u64, Commit, Dump)>,
    fates: Fates,
    tune: fn(&mut Core),
}

impl Harness {
    pub(super) fn new(tune: fn(&mut Core)) -> Self {
        Self::with_durability(Durability::Sync, tune)
    }

    pub(super) fn with_durability(durability: Durability, tune: fn(&mut Core)) -> Self {
        let log = MemoryLog::manual();
        let options = CoreOptions { durability, seed: 7, retention_check_ms: 60_000 };
        let now = Now { monotonic: Monotonic(0), wall: Timestamp(1_000_000) };
        let core = start(&log, now, &options, tune).unwrap();
        Self {
            log,
            archive: MemoryLog::new(),
            durable: dump(&core),
            core,
            now,
            options,
            sealed: VecDeque::new(),
            fates: Fates::default(),
            tune,
        }
    }

    pub(super) fn pass_ms(&mut self, ms: u64) {
        self.now.monotonic = self.now.monotonic.plus_ms(ms);
        self.now.wall.0 += i64::try_from(ms).unwrap();
    }

    /// Sends a command; the answer is there once it is durable.
    pub(super) fn ask<T, E>(
        &mut self,
        command: impl FnOnce(Reply<T, E>) -> Command,
    ) -> oneshot::Receiver<Result<T, E>> {
        let (reply, answer) = oneshot::channel();
        self.core.handle(self.now, command(reply));
        answer
    }

    /// Makes the looks that the core has asked for.
    pub(super) fn look(&mut self) {
        while let Some(work) = self.core.take_work() {
            if let Some(finding) = work.perform(&self.log) {
                self.core.handle(self.now, Command::Found(finding));
            }
        }
    }

    /// Does what is due and seals what may be sealed.
    pub(super) fn seal(&mut self) {
        self.core.tick(self.now);
        self.look();
        while let Some(sealed) = self.core.seal(self.now) {
            self.sealed.push_back((sealed.group, sealed.commit.clone(), dump(&self.core)));
            let (fates, group) = (Arc::clone(&self.fates), sealed.group);
            self.log.commit(sealed.commit, Box::new(move |result| fates.lock().push_back((group, result))));
        }
    }

    /// What the oldest commit that waits asks of the log.
    pub(super) fn asked_of_log(&self) -> Durability {
        self.sealed.front().unwrap().1.durability
    }

    /// Decides the fate of the oldest commit; false if none waits.
    pub(super) fn pump(&mut self) -> bool {
        if !self.log.pump() {
            return false;
        }
        let (group, result) = self.fates.lock().pop_front().unwrap();
        let (sealed, mut commit, dump) = self.sealed.pop_front().unwrap();
        assert_eq!(sealed, group, "fates come in order");
        if result.is_ok() {
            self.durable = dump;
            commit.trims.retain(
                |trim| !matches!(trim, Trim::Start { partition, .. } if *partition == STATE_PARTITION),
            );
            self.archive.commit(commit, Box::new(|result| result.unwrap()));
        }
        self.core.committed(self.now, group, result);
        true
    }

    /// Lets time pass until the core has something to do.
    fn pass_to_deadline(&mut self) {
        let deadline = self.core.next_deadline().unwrap();
        self.pass_ms(deadline.ms_since(self.now.monotonic).max(1));
    }

    /// Until nothing waits, passing the time that a refused commit waits.
    pub(super) fn settle(&mut self) {
        loop {
            self.seal();
            if !self.pump() {
                if self.core.is_idle() {
                    return;
                }
                self.pass_to_deadline();
            }
        }
    }

    /// Power is lost: what waits is gone.
    pub(super) fn crash(&mut self) {
        self.log = self.log.reopen();
        self.sealed.clear();
        self.fates = Fates::default();
        self.core = start(&self.log, self.now, &self.options, self.tune).unwrap();
    }

    pub(super) fn end(&mut self) {
        self.core.end();
        self.settle();
        self.crash();
    }

    pub(super) fn topic(&mut self, name: &str, partitions: u32, policy: TopicPolicy) -> TopicId {
        let spec = spec(name, partitions, policy);
        self.done(|reply| Command::CreateTopic { spec, reply }).unwrap()
    }

    /// Changes a topic from what it is now.
    pub(super) fn set_topic(&mut self, topic: TopicId, policy: TopicPolicy) {
        let (known, labels) = (self.core.catalog.topic_by_id(topic).unwrap().clone(), Labels::new());
        assert_eq!(self.done(|reply| Command::SetTopic { known, policy, labels, reply }), Ok(true));
    }

    pub(super) fn partition(&self, topic: TopicId, index: usize) -> PartitionId {
        self.core.catalog.topic_by_id(topic).unwrap().partitions[index]
    }

    pub(super) fn append(&mut self, partition: PartitionId, batch: Batch) -> Result<Appended, AppendError> {
        self.done(|reply| Command::Append { partition, batch, keys: None, reply })
    }

    /// Sends a command and waits until it is answered.
    pub(super) fn done<T, E>(&mut self, command: impl FnOnce(Reply<T, E>) -> Command) -> Result<T, E> {
        let mut answer = self.ask(command);
        self.settle();
        answer.try_recv().unwrap()
    }

    pub(super) fn trim(&mut self, partition: PartitionId, start: u64) -> Result<Offset, ChangeError> {
        self.done(|reply| Command::Trim { partition, start: Offset(start), over_queues: true, reply })
    }

    pub(super) fn trim_unneeded(
        &mut self,
        partition: PartitionId,
        start: u64,
    ) -> Result<Offset, ChangeError> {
        self.done(|reply| Command::Trim { partition, start: Offset(start), over_queues: false, reply })
    }

    /// What a start finds whose state partition begins at `start`.
    pub(super) fn fold_from(&self, start: Offset) -> Dump {
        let log = self.archive.reopen();
        let trims = vec![Trim::Start { partition: STATE_PARTITION, start }];
        let commit = Commit {
            entries: Vec::new(),
            trims,
            durability: Durability::Sync,
            append_time: Timestamp(0),
            may_use_reserve: true,
        };
        log.commit(commit, Box::new(|result| result.unwrap()));
        dump(&start_plain(&log, self.now, &self.options).unwrap())
    }
}

fn start_plain(log: &MemoryLog, now: Now, options: &CoreOptions) -> Result<Core, Stopped> {
    Core::recover(log, now, options, Arc::new(Shared::default()))
}

fn start(log: &MemoryLog, now: Now, options: &CoreOptions, tune: fn(&mut Core)) -> Result<Core, Stopped> {
    let mut core = start_plain(log, now, options)?;
    tune(&mut core);
    Ok(core)
}

//! Fetch sessions: a consumer names its partitions once and then only what has changed; so does the broker.
//!
//! Invariant: a session belongs to its connection, which has at most one, and ends with it. All sessions together remember
//! at most `limits::FETCH_SESSION_PARTITIONS` partitions: a consumer for whom there is no room is declined (session id 0) and
//! names all its partitions each time. Whoever has moved stands behind whoever has waited. Source: KIP-227.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ErrorCode;
use crate::codec::messages::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};

#[cfg(test)]
mod tests;

/// From this version on topics are named by their ids.
pub(super) const TOPIC_IDS_FROM: i16 = 13;

/// What a client was last told of a partition beside records; it is told again when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub high_watermark: i64,
    pub log_start: i64,
}

impl Told {
    /// Never yet, or an error.
    pub const NOTHING: Self = Self { high_watermark: -1, log_start: -1 };
}

/// A partition that is to be read.
#[derive(Debug)]
pub(super) struct WantedPartition {
    pub asked: FetchPartition,
    pub told: Told,
    /// It was in the last answer with records.
    pub has_moved: bool,
}

/// A topic of which partitions are to be read.
#[derive(Debug)]
pub(super) struct WantedTopic {
    pub topic: String,
    pub topic_id: u128,
    pub partitions: Vec<WantedPartition>,
}

/// Everything that one fetch is to read, in its order.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub topics: Vec<WantedTopic>,
    /// Only what has changed is answered.
    pub is_incremental: bool,
}

/// The session of a connection between two fetches.
struct FetchSession {
    id: i32,
    /// That of the next request.
    epoch: i32,
    by_topic_id: bool,
    wanted: Wanted,
    room: OwnedSemaphorePermit,
}

/// The one session that a connection may have.
#[derive(Default)]
pub(crate) struct FetchSlot {
    session: Option<FetchSession>,
    last_id: i32,
}

/// What a fetch is to read, and the session that it goes on in.
pub(super) struct Opened {
    pub wanted: Wanted,
    /// All but what is to be read; `None` is no session.
    kept: Option<FetchSession>,
}

impl Opened {
    /// What the client is told: 0 is no session.
    pub fn session_id(&self) -> i32 {
        self.kept.as_ref().map_or(0, |session| session.id)
    }
}

impl FetchSlot {
    /// Finds out what a request wants, and takes the session out until [`Self::close`].
    ///
    /// # Errors
    /// `FetchSessionIdNotFound`, `InvalidFetchSessionEpoch`, `FetchSessionTopicIdError`: the client begins anew.
    pub(super) fn open(
        &mut self,
        version: i16,
        request: FetchRequest,
        room: &Arc<Semaphore>,
    ) -> Result<Opened, ErrorCode> {
        match request.session_epoch {
            -1 => {
                self.session.take_if(|session| session.id == request.session_id);
                Ok(Opened { wanted: Wanted::of(request.topics), kept: None })
            }
            0 => Ok(self.begin(version, request, room)),
            1.. => self.go_on(version, request, room),
            _ => Err(ErrorCode::InvalidFetchSessionEpoch),
        }
    }

    /// Everything is named: a new session, if there is room for it.
    fn begin(&mut self, version: i16, request: FetchRequest, room: &Arc<Semaphore>) -> Opened {
        // The connection has one session; whoever begins another has given it up.
        self.session = None;
        let wanted = Wanted::of(request.topics);
        let partitions = u32::try_from(wanted.len()).ok().filter(|&partitions| partitions > 0);
        let taken = partitions.and_then(|it| Arc::clone(room).try_acquire_many_owned(it).ok());
        let kept = taken.map(|room| {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let by_topic_id = version >= TOPIC_IDS_FROM;
            FetchSession { id: self.last_id, epoch: 1, by_topic_id, wanted: Wanted::default(), room }
        });
        Opened { wanted, kept }
    }

    /// Only changes are named.
    fn go_on(
        &mut self,
        version: i16,
        request: FetchRequest,
        room: &Arc<Semaphore>,
    ) -> Result<Opened, ErrorCode> {
        let known = self.session.as_ref().filter(|session| session.id == request.session_id);
        let known = known.ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if known.epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if known.by_topic_id != (version >= TOPIC_IDS_FROM) {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        let mut session = self.session.take().ok_or(ErrorCode::FetchSessionIdNotFound)?;
        session.wanted.forget(request.forgotten_topics_data);
        session.wanted.update(request.topics);
        // Without room for what was added the session ends, and the client is declined when it begins anew.
        session.make_room(room).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        session.epoch = session.epoch.checked_add(1).unwrap_or(1);
        let wanted = Wanted { is_incremental: true, ..std::mem::take(&mut session.wanted) };
        Ok(Opened { wanted, kept: Some(session) })
    }

    /// Puts the session back once its answer is made.
    pub(super) fn close(&mut self, opened: Opened) {
        let Some(mut session) = opened.kept else { return };
        session.wanted = opened.wanted;
        session.wanted.rotate();
        self.session = Some(session);
    }
}

impl FetchSession {
    /// As much room as there are partitions.
    fn make_room(&mut self, room: &Arc<Semaphore>) -> Option<()> {
        let (has, needs) = (self.room.num_permits(), self.wanted.len());
        if needs > has {
            let more = u32::try_from(needs - has).ok()?;
            self.room.merge(Arc::clone(room).try_acquire_many_owned(more).ok()?);
        } else {
            drop(self.room.split(has - needs));
        }
        Some(())
    }
}

impl Wanted {
    fn of(topics: Vec<FetchTopic>) -> Self {
        Self { topics: topics.into_iter().map(WantedTopic::of).collect(), is_incremental: false }
    }

    fn len(&self) -> usize {
        self.topics.iter().map(|topic| topic.partitions.len()).sum()
    }

    fn forget(&mut self, forgotten: Vec<ForgottenTopic>) {
        if forgotten.is_empty() {
            return;
        }
        let mut gone: BTreeMap<(String, u128), BTreeSet<i32>> = BTreeMap::new();
        for topic in forgotten {
            gone.entry((topic.topic, topic.topic_id)).or_default().extend(topic.partitions);
        }
        for topic in &mut self.topics {
            if let Some(gone) = gone.get(&topic.key()) {
                topic.partitions.retain(|it| !gone.contains(&it.asked.partition));
            }
        }
        self.topics.retain(|topic| !topic.partitions.is_empty());
    }

    /// Takes over what is asked of partitions now; those that are new stand behind.
    fn update(&mut self, topics: Vec<FetchTopic>) {
        if topics.is_empty() {
            return;
        }
        let mut news: BTreeMap<(String, u128), BTreeMap<i32, FetchPartition>> = BTreeMap::new();
        for topic in topics {
            let partitions = topic.partitions.into_iter().map(|asked| (asked.partition, asked));
            news.entry((topic.topic, topic.topic_id)).or_default().extend(partitions);
        }
        for topic in &mut self.topics {
            let Some(mut news) = news.remove(&topic.key()) else { continue };
            for partition in &mut topic.partitions {
                if let Some(asked) = news.remove(&partition.asked.partition) {
                    partition.asked = asked;
                }
            }
            topic.partitions.extend(news.into_values().map(WantedPartition::of));
        }
        for ((topic, topic_id), news) in news {
            let partitions = news.into_values().map(WantedPartition::of).collect();
            self.topics.push(WantedTopic { topic, topic_id, partitions });
        }
    }

    /// Who had records stands behind who had none, so that a busy partition does not starve the others.
    fn rotate(&mut self) {
        for topic in &mut self.topics {
            topic.partitions.sort_by_key(|partition| partition.has_moved);
        }
        self.topics.sort_by_key(|topic| topic.partitions.last().is_some_and(|last| last.has_moved));
    }
}

impl WantedTopic {
    fn of(topic: FetchTopic) -> Self {
        let partitions = topic.partitions.into_iter().map(WantedPartition::of).collect();
        Self { topic: topic.topic, topic_id: topic.topic_id, partitions }
    }

    fn key(&self) -> (String, u128) {
        (self.topic.clone(), self.topic_id)
    }
}

impl WantedPartition {
    fn of(asked: FetchPartition) -> Self {
        Self { asked, told: Told::NOTHING, has_moved: false }
    }
}

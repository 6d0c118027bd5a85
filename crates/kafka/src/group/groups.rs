//! The shell of the coordinator: waiting requests as futures, deadlines as one timer, offsets as the broker's cursors.
//!
//! Invariants: the lock is never held across an await; a commit is checked and queued under the lock, so that none of an
//! earlier generation is queued after one of a later; every waiting request is answered, at the latest when the broker stops.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use duolog_broker::errors::CursorError;
use duolog_broker::{Clock, CursorMove, Now, Pending, Session};
use duolog_net::Shutdown;
use duolog_record::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, oneshot};

use super::{
    Coordinator, GroupConfig, GroupError, GroupListing, GroupView, Identity, JoinAsk, JoinRefused, Joined,
    MemberIds, Reply, State, SyncAsk, Synced, Token, limits,
};

/// All groups of a broker.
pub struct Groups {
    pub(super) session: Session,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) started_at: Timestamp,
    pub(super) core: Mutex<Core>,
    /// The nearest deadline may have moved.
    moved: Notify,
    /// Turns of those who look at all offsets of a group.
    looks: Semaphore,
}

/// What the lock guards.
pub(super) struct Core {
    pub(super) coordinator: Coordinator,
    joins: HashMap<Token, oneshot::Sender<Result<Joined, JoinRefused>>>,
    syncs: HashMap<Token, oneshot::Sender<Result<Synced, GroupError>>>,
    last_token: u64,
    stopped: bool,
    /// Groups that committed since the running sweep looked at them; `None` while none runs.
    pub(super) committed: Option<BTreeSet<String>>,
}

/// Why a group's offsets were not touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffsetsError {
    /// The group's word.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The broker's word.
    #[error(transparent)]
    Cursor(#[from] CursorError),
}

impl Groups {
    /// No groups yet. `session` is used for what the groups do by themselves, expiring offsets; `seed` is drawn anew for
    /// each start, or member ids would repeat.
    #[must_use]
    pub fn new(session: Session, config: GroupConfig, seed: u64) -> Arc<Self> {
        let clock = Arc::clone(session.clock());
        let core = Core {
            coordinator: Coordinator::new(config, MemberIds::seeded(seed)),
            joins: HashMap::new(),
            syncs: HashMap::new(),
            last_token: 0,
            stopped: false,
            committed: None,
        };
        let started_at = clock.now().wall;
        let (core, moved) = (Mutex::new(core), Notify::new());
        let looks = Semaphore::new(limits::LOOKS_AT_A_TIME);
        Arc::new(Self { session, clock, started_at, core, moved, looks })
    }

    /// Waits for a turn to look at all offsets of a group: how much memory they take is known only then.
    pub(crate) async fn look_in_turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.looks.acquire().await.ok()
    }

    /// Joins a group; waits until its round ends. Giving up waiting does not take the join back.
    ///
    /// # Errors
    /// See [`JoinRefused`].
    pub async fn join(&self, group: &str, ask: JoinAsk) -> Result<Joined, JoinRefused> {
        let member_id = ask.member_id.clone();
        let answer = {
            let mut core = self.core.lock();
            let token = core.next_token();
            let answer = core.wait_for_join(token);
            let mut replies = Vec::new();
            core.coordinator.join(self.now(), group, token, ask, &mut replies);
            self.finish(&mut core, replies);
            answer
        };
        answer.await.unwrap_or(Err(JoinRefused { error: GroupError::Stopping, member_id }))
    }

    /// Asks for an assignment; a follower waits for its leader.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn sync(&self, group: &str, ask: SyncAsk) -> Result<Synced, GroupError> {
        let answer = {
            let mut core = self.core.lock();
            let token = core.next_token();
            let answer = core.wait_for_sync(token);
            let mut replies = Vec::new();
            core.coordinator.sync(self.now(), group, token, ask, &mut replies);
            self.finish(&mut core, replies);
            answer
        };
        answer.await.unwrap_or(Err(GroupError::Stopping))
    }

    /// A member lives.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn heartbeat(&self, group: &str, who: &Identity, generation: i32) -> Result<(), GroupError> {
        self.core.lock().coordinator.heartbeat(self.now(), group, who, generation)
    }

    /// Members leave; one answer each, in order.
    ///
    /// # Errors
    /// See [`Coordinator::leave`].
    pub fn leave(
        &self,
        group: &str,
        leaving: &[Identity],
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let mut core = self.core.lock();
        let mut replies = Vec::new();
        let answers = core.coordinator.leave(self.now(), group, leaving, &mut replies);
        self.finish(&mut core, replies);
        answers
    }

    /// Commits offsets as `session`; the answer comes when they are durable. Generation -1 is nobody in particular.
    ///
    /// # Errors
    /// The group's refusal at once; the broker's in the answer.
    pub fn commit(
        &self,
        session: &Session,
        group: &str,
        who: &Identity,
        generation: i32,
        moves: Vec<CursorMove>,
    ) -> Result<Pending<Result<(), CursorError>>, GroupError> {
        let mut core = self.core.lock();
        core.coordinator.check_commit(self.now(), group, who, generation)?;
        if let Some(committed) = &mut core.committed {
            committed.insert(group.to_owned());
        }
        Ok(session.move_cursors(group, moves))
    }

    /// Deletes a group without members, its offsets included.
    ///
    /// # Errors
    /// `NonEmpty`, `NotFound`, or the broker's refusal.
    pub async fn delete(&self, session: &Session, group: &str) -> Result<(), OffsetsError> {
        let (known, forgotten) = {
            let mut core = self.core.lock();
            let known = core.coordinator.delete(group)?;
            (known, session.forget_cursors(group, None))
        };
        if forgotten.await? || known { Ok(()) } else { Err(GroupError::NotFound.into()) }
    }

    /// All groups with members or offsets, by name.
    ///
    /// # Errors
    /// If the broker may not or cannot say.
    pub async fn list(&self, session: &Session) -> Result<Vec<GroupListing>, CursorError> {
        let with_offsets = session.groups().await?;
        let core = self.core.lock();
        let mut all: BTreeMap<Arc<str>, GroupListing> = with_offsets
            .into_iter()
            .map(|name| {
                let id: Arc<str> = Arc::from(name);
                (id.clone(), GroupListing { id, protocol_type: Arc::from(""), state: State::Empty })
            })
            .collect();
        all.extend(core.coordinator.list().map(|group| (group.id.clone(), group)));
        Ok(all.into_values().collect())
    }

    /// What operators see of a group; `None` if it has neither members nor offsets.
    ///
    /// # Errors
    /// If the broker may not or cannot say.
    pub async fn describe(&self, session: &Session, group: &str) -> Result<Option<GroupView>, CursorError> {
        let cursors = session.cursors(group).await?;
        if let Some(view) = self.core.lock().coordinator.describe(group) {
            return Ok(Some(view));
        }
        Ok((!cursors.is_empty()).then(|| GroupView {
            id: Arc::from(group),
            state: State::Empty,
            protocol_type: Arc::from(""),
            protocol: Arc::from(""),
            members: Vec::new(),
        }))
    }

    /// Does what is due by the clock: sessions, rounds, ids that lapse.
    pub fn tick(&self) {
        let mut core = self.core.lock();
        let mut replies = Vec::new();
        core.coordinator.fire(self.now(), &mut replies);
        core.deliver(replies);
    }

    /// Keeps the deadlines and expires offsets until `shutdown` begins; then answers everybody who waits.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        tokio::select! {
            () = shutdown.begun() => {}
            () = self.keep_deadlines() => {}
            () = self.sweep_now_and_then() => {}
        }
        self.stop();
    }

    async fn keep_deadlines(&self) {
        loop {
            let due = self.due_in();
            let timer = async {
                match due {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => self.tick(),
                () = self.moved.notified() => {}
            }
        }
    }

    /// Beside the deadlines, not between them: with many groups a sweep takes its time.
    async fn sweep_now_and_then(&self) {
        let check =
            Duration::from_millis(self.core.lock().coordinator.config().offsets_check_interval_ms.max(1));
        let mut due = tokio::time::interval(check);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        due.tick().await;
        loop {
            due.tick().await;
            self.sweep().await;
        }
    }

    /// Refuses everything that waits or still comes: the broker is going down.
    pub fn stop(&self) {
        let mut core = self.core.lock();
        core.stopped = true;
        core.joins.clear();
        core.syncs.clear();
    }

    /// How long until the nearest deadline, rounded up so that it has come by then.
    fn due_in(&self) -> Option<Duration> {
        let at = self.core.lock().coordinator.next_wake()?;
        let micros = at.0.saturating_sub(self.now().monotonic.0);
        Some(Duration::from_micros(micros.saturating_add(1)))
    }

    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    fn finish(&self, core: &mut Core, replies: Vec<Reply>) {
        core.deliver(replies);
        self.moved.notify_one();
    }
}

impl Core {
    fn next_token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    /// After the end the sender is dropped at once, which answers.
    fn wait_for_join(&mut self, token: Token) -> oneshot::Receiver<Result<Joined, JoinRefused>> {
        let (sender, answer) = oneshot::channel();
        if !self.stopped {
            self.joins.insert(token, sender);
        }
        answer
    }

    fn wait_for_sync(&mut self, token: Token) -> oneshot::Receiver<Result<Synced, GroupError>> {
        let (sender, answer) = oneshot::channel();
        if !self.stopped {
            self.syncs.insert(token, sender);
        }
        answer
    }

    /// Hands answers to those who wait. Who has gone meanwhile is not missed: the member's session decides.
    fn deliver(&mut self, replies: Vec<Reply>) {
        for reply in replies {
            match reply {
                Reply::Join(token, answer) => {
                    let _ = self.joins.remove(&token).map(|waiting| waiting.send(answer));
                }
                Reply::Sync(token, answer) => {
                    let _ = self.syncs.remove(&token).map(|waiting| waiting.send(answer));
                }
            }
        }
    }
}

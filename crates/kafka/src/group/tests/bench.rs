//! A coordinator with a clock moved by hand and members that are told what to do.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use duolog_broker::{Monotonic, Now};
use duolog_record::Timestamp;

use super::super::*;

pub(super) type JoinAnswer = Result<Joined, JoinRefused>;
pub(super) type SyncAnswer = Result<Synced, GroupError>;

/// The coordinator under test. Every request goes through it and the books are checked after each.
pub(super) struct Bench {
    pub(super) coordinator: Coordinator,
    pub(super) ms: u64,
    last_token: u64,
    joins: HashMap<Token, JoinAnswer>,
    syncs: HashMap<Token, SyncAnswer>,
}

pub(super) const GROUP: &str = "g";
pub(super) const SESSION_MS: u64 = 10_000;
pub(super) const REBALANCE_MS: u64 = 60_000;
pub(super) const DELAY_MS: u64 = 3_000;

/// A dynamic consumer that knows `range`, as clients of JoinGroup v9 ask.
pub(super) fn ask() -> JoinAsk {
    JoinAsk {
        member_id: Arc::from(""),
        instance_id: None,
        client_id: Arc::from("app"),
        client_host: Arc::from("/127.0.0.1"),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        protocol_type: Arc::from("consumer"),
        protocols: offers(&["range"]),
        id_required: false,
        can_skip_assignment: true,
    }
}

pub(super) fn offers(names: &[&str]) -> Vec<Protocol> {
    names
        .iter()
        .map(|name| Protocol { name: Arc::from(*name), metadata: Bytes::from(format!("m-{name}")) })
        .collect()
}

pub(super) fn static_ask(instance: &str) -> JoinAsk {
    JoinAsk { instance_id: Some(Arc::from(instance)), ..ask() }
}

pub(super) fn with_id(ask: JoinAsk, id: &str) -> JoinAsk {
    JoinAsk { member_id: Arc::from(id), ..ask }
}

pub(super) fn who(id: &str) -> Identity {
    Identity { member_id: Arc::from(id), instance_id: None }
}

pub(super) fn instance(id: &str, instance: &str) -> Identity {
    Identity { member_id: Arc::from(id), instance_id: Some(Arc::from(instance)) }
}

impl Default for Bench {
    fn default() -> Self {
        Self::with(GroupConfig::default())
    }
}

impl Bench {
    pub(super) fn with(config: GroupConfig) -> Self {
        Self {
            coordinator: Coordinator::new(config, MemberIds::seeded(1)),
            ms: 1_000,
            last_token: 0,
            joins: HashMap::new(),
            syncs: HashMap::new(),
        }
    }

    pub(super) fn now(&self) -> Now {
        Now { monotonic: Monotonic(self.ms * 1000), wall: Timestamp(1_000_000 + self.ms as i64) }
    }

    /// Lets time pass, stopping at every deadline on the way.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.ms + ms;
        while let Some(at) = self.coordinator.next_wake().filter(|at| at.0 <= end * 1000) {
            self.ms = self.ms.max(at.0.div_ceil(1000));
            self.fire();
        }
        self.ms = end;
        self.fire();
    }

    fn fire(&mut self) {
        let mut replies = Vec::new();
        self.coordinator.fire(self.now(), &mut replies);
        self.keep(replies);
    }

    fn keep(&mut self, replies: Vec<Reply>) {
        for reply in replies {
            let twice = match reply {
                Reply::Join(token, answer) => self.joins.insert(token, answer).is_some(),
                Reply::Sync(token, answer) => self.syncs.insert(token, answer).is_some(),
            };
            assert!(!twice, "a request is answered twice");
        }
        self.coordinator.assert_sound();
    }

    fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    pub(super) fn join(&mut self, ask: JoinAsk) -> Token {
        let (token, mut replies) = (self.token(), Vec::new());
        self.coordinator.join(self.now(), GROUP, token, ask, &mut replies);
        self.keep(replies);
        token
    }

    pub(super) fn sync(&mut self, ask: SyncAsk) -> Token {
        let (token, mut replies) = (self.token(), Vec::new());
        self.coordinator.sync(self.now(), GROUP, token, ask, &mut replies);
        self.keep(replies);
        token
    }

    pub(super) fn heartbeat(&mut self, id: &str, generation: i32) -> Result<(), GroupError> {
        self.coordinator.heartbeat(self.now(), GROUP, &who(id), generation)
    }

    pub(super) fn commit(&mut self, id: &str, generation: i32) -> Result<(), GroupError> {
        self.coordinator.check_commit(self.now(), GROUP, &who(id), generation)
    }

    pub(super) fn leave(&mut self, leaving: &[Identity]) -> Vec<Result<(), GroupError>> {
        let mut replies = Vec::new();
        let answers =
            self.coordinator.leave(self.now(), GROUP, leaving, &mut replies).expect("the name is good");
        self.keep(replies);
        answers
    }

    /// The answer to a join; `None` while it waits.
    pub(super) fn joined(&self, token: Token) -> Option<&JoinAnswer> {
        self.joins.get(&token)
    }

    /// The place a join was given.
    pub(super) fn place(&self, token: Token) -> Joined {
        self.joins.get(&token).expect("the join is answered").clone().expect("the join is granted")
    }

    /// Why a join was refused.
    pub(super) fn refusal(&self, token: Token) -> JoinRefused {
        self.joins.get(&token).expect("the join is answered").clone().expect_err("the join is refused")
    }

    pub(super) fn synced(&self, token: Token) -> Option<&SyncAnswer> {
        self.syncs.get(&token)
    }

    pub(super) fn state(&self) -> State {
        self.coordinator.describe(GROUP).map_or(State::Dead, |view| view.state)
    }

    pub(super) fn members(&self) -> usize {
        self.coordinator.describe(GROUP).map_or(0, |view| view.members.len())
    }

    /// Syncs as `place` says; a leader assigns `share-<member>` to everybody.
    pub(super) fn sync_place(&mut self, place: &Joined) -> Token {
        let assignments = place
            .members
            .iter()
            .map(|member| (member.id.clone(), Bytes::from(format!("share-{}", member.id))))
            .collect();
        self.sync(SyncAsk {
            member_id: place.member_id.clone(),
            instance_id: None,
            generation: place.generation,
            protocol_type: None,
            protocol: None,
            assignments,
        })
    }

    /// A stable group of these members; their places, the leader first if it was the first to ask.
    pub(super) fn stable(&mut self, asks: Vec<JoinAsk>) -> Vec<Joined> {
        let tokens: Vec<_> = asks.into_iter().map(|ask| self.join(ask)).collect();
        self.pass(2 * DELAY_MS);
        let places: Vec<_> = tokens.into_iter().map(|token| self.place(token)).collect();
        for place in &places {
            self.sync_place(place);
        }
        assert_eq!(self.state(), State::Stable);
        places
    }
}

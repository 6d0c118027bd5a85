//! Any history: members that join, leave, crash, restart and commit in any order, on a clock that jumps.
//!
//! Whatever happens, a generation has one leader and one protocol, every request is answered exactly once, and a group that
//! is left alone with well-behaved members settles.

use std::collections::HashMap;

use proptest::prelude::*;

use super::super::*;
use super::bench::*;

/// A client as the test drives it.
#[derive(Clone, Debug, Default)]
struct Client {
    instance: Option<String>,
    id: String,
    join: Option<Token>,
    sync: Option<Token>,
    place: Option<Joined>,
    stable: bool,
    alive: bool,
    offer: Vec<&'static str>,
}

#[derive(Clone, Debug)]
enum Step {
    /// Does what a client does next: joins, syncs or beats.
    Act(usize),
    Leave(usize),
    /// Stops talking; what it waits for is forgotten.
    Crash(usize),
    /// Offers something else from now on.
    Change(usize, Vec<&'static str>),
    Commit(usize),
    /// Sends a join again without waiting for the answer to the first.
    Impatient(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..6usize;
    let offer =
        prop_oneof![Just(vec!["range"]), Just(vec!["range", "sticky"]), Just(vec!["sticky", "range"])];
    prop_oneof![
        10 => client.clone().prop_map(Step::Act),
        2 => client.clone().prop_map(Step::Leave),
        2 => client.clone().prop_map(Step::Crash),
        1 => (client.clone(), offer).prop_map(|(client, offer)| Step::Change(client, offer)),
        2 => client.clone().prop_map(Step::Commit),
        1 => client.prop_map(Step::Impatient),
        4 => (0..20_000u64).prop_map(Step::Pass),
    ]
}

struct World {
    bench: Bench,
    clients: Vec<Client>,
    asked: Vec<(bool, Token)>,
    generations: HashMap<i32, (std::sync::Arc<str>, Option<std::sync::Arc<str>>)>,
}

impl World {
    fn new() -> Self {
        let clients = (0..6)
            .map(|n| Client {
                instance: (n >= 4).then(|| format!("i{n}")),
                offer: vec!["range"],
                ..Client::default()
            })
            .collect();
        Self { bench: Bench::default(), clients, asked: Vec::new(), generations: HashMap::new() }
    }

    fn join(&mut self, n: usize) {
        let client = &self.clients[n];
        let ask = JoinAsk {
            member_id: client.id.as_str().into(),
            instance_id: client.instance.as_deref().map(Into::into),
            protocols: offers(&client.offer),
            id_required: n.is_multiple_of(2),
            can_skip_assignment: n != 5,
            ..ask()
        };
        let token = self.bench.join(ask);
        self.asked.push((true, token));
        self.clients[n].join = Some(token);
        self.clients[n].stable = false;
    }

    fn act(&mut self, n: usize) {
        self.clients[n].alive = true;
        self.hear(n);
        let client = self.clients[n].clone();
        if client.join.is_some() || client.sync.is_some() {
            return;
        }
        match client.place {
            None => self.join(n),
            Some(place) if !client.stable => {
                let sync = self.bench.sync_place(&place);
                self.asked.push((false, sync));
                self.clients[n].sync = Some(sync);
            }
            Some(place) => {
                if self.bench.heartbeat(&place.member_id, place.generation).is_err() {
                    self.clients[n].place = None;
                }
            }
        }
        self.hear(n);
    }

    /// Takes in the answers that have come.
    fn hear(&mut self, n: usize) {
        if let Some(answer) = self.clients[n].join.and_then(|token| self.bench.joined(token)).cloned() {
            self.clients[n].join = None;
            match answer {
                Ok(place) => {
                    self.clients[n].id = place.member_id.to_string();
                    self.clients[n].place = Some(place);
                }
                Err(refused) => {
                    self.clients[n].place = None;
                    let keep = matches!(
                        refused.error,
                        GroupError::MemberIdRequired | GroupError::RebalanceInProgress
                    );
                    self.clients[n].id = if keep { refused.member_id.to_string() } else { String::new() };
                }
            }
        }
        if let Some(answer) = self.clients[n].sync.and_then(|token| self.bench.synced(token)).cloned() {
            self.clients[n].sync = None;
            self.clients[n].stable = answer.is_ok();
            if answer.is_err() {
                self.clients[n].place = None;
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Act(n) => self.act(n),
            Step::Impatient(n) if self.clients[n].join.is_some() => self.join(n),
            Step::Impatient(_) => {}
            Step::Leave(n) => {
                let client = &mut self.clients[n];
                let who = Identity {
                    member_id: std::mem::take(&mut client.id).into(),
                    instance_id: client.instance.as_deref().map(Into::into),
                };
                *client = Client {
                    instance: client.instance.clone(),
                    offer: client.offer.clone(),
                    ..Client::default()
                };
                self.bench.leave(&[who]);
            }
            Step::Crash(n) => {
                let client = &mut self.clients[n];
                *client = Client {
                    instance: client.instance.clone(),
                    offer: client.offer.clone(),
                    ..Client::default()
                };
            }
            Step::Change(n, offer) => {
                self.clients[n].offer = offer;
                self.clients[n].place = None;
            }
            Step::Commit(n) => {
                if let Some(place) = self.clients[n].place.clone() {
                    let _ = self.bench.commit(&place.member_id, place.generation);
                }
            }
            Step::Pass(ms) => self.bench.pass(ms),
        }
        self.check_generations();
    }

    fn check_generations(&mut self) {
        let replaced = |world: &Self, id: &str| {
            world.clients.iter().any(|c| c.instance.is_some() && id.starts_with('i'))
        };
        for (is_join, token) in self.asked.clone() {
            let Some(Ok(place)) = self.bench.joined(token).cloned().filter(|_| is_join) else { continue };
            let seen = self
                .generations
                .entry(place.generation)
                .or_insert_with(|| (place.leader.clone(), place.protocol.clone()))
                .clone();
            assert_eq!(seen.1, place.protocol, "protocol of generation {}", place.generation);
            // A static leader that restarted leads on under another id of the same instance.
            let same = seen.0 == place.leader
                || (replaced(self, &seen.0) && seen.0.split('-').next() == place.leader.split('-').next());
            assert!(same, "leader of generation {}: {} and {}", place.generation, seen.0, place.leader);
        }
    }

    /// Every client that lives behaves from now on; the others are gone.
    fn settle(&mut self) {
        for _ in 0..600 {
            for n in 0..self.clients.len() {
                if self.clients[n].alive {
                    self.act(n);
                }
            }
            self.bench.pass(1_000);
            self.check_generations();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_one_leader_and_protocol_a_generation_answers_everybody_and_settles(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.settle();
        let alive = world.clients.iter().filter(|client| client.alive).count();
        let state = world.bench.state();
        if alive == 0 {
            prop_assert!(matches!(state, State::Empty | State::Dead), "{:?}", state);
        } else {
            prop_assert_eq!(state, State::Stable);
            prop_assert_eq!(world.bench.members(), alive, "those who crashed are gone");
            prop_assert!(world.clients.iter().filter(|client| client.alive).all(|client| client.stable));
        }
        for (is_join, token) in &world.asked {
            let answered =
                if *is_join { world.bench.joined(*token).is_some() } else { world.bench.synced(*token).is_some() };
            prop_assert!(answered, "{:?} was never answered", token);
        }
    }
}

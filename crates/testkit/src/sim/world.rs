//! One run: the seed decides who does what when, and what breaks.

use std::sync::Arc;

use duolog_broker::Clock as _;
use duolog_record::Offset;
use duolog_storage::Log as _;

use super::clients::Clients;
use super::clock::ManualClock;
use super::node::Node;
use super::scene::{self, Scene};
use super::seen::Seen;
use super::stage::Stage;
use super::{checks, stage, tenants};
use crate::disk::{Damage, Faults, Hits};
use crate::history::{Broken, History, When};
use crate::{Random, SimDisk};

/// Most that the wall clock is set by at a time, milliseconds.
const STEP_MS: u64 = 5_000;

/// How a run goes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many things happen between the start and the finale.
    pub steps: u32,
    /// One step in so many is a crash of some kind.
    pub crash_one_in: u64,
    /// A record whose fate is told to standard error.
    pub trace: Option<u64>,
    /// The log rewrites files between the other things.
    pub cleans: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { steps: 1500, crash_one_in: 150, trace: None, cleans: true }
    }
}

/// What a run did, so that a run in which nothing happened is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Faults of the disk that struck.
    pub hits: Hits,
    /// What came of them.
    pub seen: Seen,
    /// Verbs asked.
    pub asked: u64,
    /// Promises given.
    pub acknowledged: u64,
}

impl Report {
    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.hits.add(&other.hits);
        self.seen.add(&other.seen);
        self.asked += other.asked;
        self.acknowledged += other.acknowledged;
    }

    /// Everything that is counted, with the words for it.
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, u64)> {
        let mut rows = vec![("verbs asked", self.asked), ("promises given", self.acknowledged)];
        rows.extend(self.hits.rows());
        rows.extend(self.seen.rows());
        rows
    }

    /// What never happened, and so was not tested.
    #[must_use]
    pub fn never(&self) -> Vec<&'static str> {
        self.rows().into_iter().filter(|(_, count)| *count == 0).map(|(what, _)| what).collect()
    }
}

/// A broken promise, and how to see it again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("seed {seed}, step {step}: {broken}")]
pub struct Failure {
    /// Gives the same run.
    pub seed: u64,
    /// Where it was found.
    pub step: u32,
    /// What was found.
    pub broken: Broken,
}

struct World {
    random: Random,
    disk: SimDisk,
    clock: Arc<ManualClock>,
    history: History,
    clients: Clients,
    scenes: Vec<Box<dyn Scene>>,
    report: Report,
    /// A fault was armed or struck, so a stop is nobody's mistake.
    excused: bool,
    /// What the last process had not synced may be gone.
    tail_lost: bool,
    starts: u64,
    acts: u64,
    cleans: bool,
    /// Only some runs set the clock, as that leaves less to be certain of.
    steps_clock: bool,
}

/// A process and what it works on.
struct Running {
    node: Node,
    stage: Stage,
}

/// Runs one seed.
///
/// # Errors
/// The first promise that was broken.
pub fn run(seed: u64, plan: Plan) -> Result<Report, Failure> {
    let mut random = Random::new(seed);
    let disk = SimDisk::new(random.draw());
    let mut world = World {
        clients: Clients::new(random.fork(), disk.clone()),
        random,
        disk,
        clock: Arc::new(ManualClock::new()),
        history: History::default(),
        report: Report::default(),
        scenes: scene::of_run(seed),
        excused: false,
        tail_lost: false,
        starts: 0,
        acts: 0,
        cleans: plan.cleans,
        steps_clock: false,
    };
    world.steps_clock = world.random.one_in(3);
    world.history.trace(plan.trace);
    let mut step = 0;
    world.run(plan, &mut step).map_err(|broken| Failure { seed, step, broken })?;
    world.report.hits = world.disk.hits();
    world.report.seen = world.history.seen;
    world.report.asked = world.clients.asked;
    world.report.acknowledged = world.history.acknowledged();
    Ok(world.report)
}

impl World {
    fn run(&mut self, plan: Plan, step: &mut u32) -> Result<(), Broken> {
        let mut running = self.start()?;
        while *step < plan.steps {
            *step += 1;
            if self.random.one_in(plan.crash_one_in) {
                running = self.crash(running)?;
            } else if self.random.one_in(plan.crash_one_in) {
                self.arm();
            } else if self.random.one_in(60) {
                self.barrier(&mut running)?;
            } else if self.clients.may_replay_kept && self.random.one_in(120) {
                self.replay(&mut running)?;
            } else if self.steps_clock && self.random.one_in(200) {
                self.step_clock();
            } else {
                self.act(&mut running)?;
            }
            self.hear()?;
            if let Some(stopped) = running.node.failed() {
                if !self.excused {
                    return Err(Broken(format!("the shard stopped without a fault: {stopped}")));
                }
                running = self.restart(running)?;
            }
        }
        // The last restart finds a healthy disk, and everything must come out.
        let mut running = self.restart(running)?;
        checks::finale(&mut running.node, &self.clock, &running.stage, &mut self.clients, &mut self.history)?;
        for scene in &mut self.scenes {
            scene.over(&mut running.node, &self.clock, &mut self.history.seen)?;
        }
        running.node.end();
        self.rot(&running.stage)
    }

    /// Something goes bad at rest: a start may be refused, nothing false may be served.
    fn rot(&mut self, stage: &Stage) -> Result<(), Broken> {
        self.disk.kill_process();
        let names = self.disk.names();
        if self.random.one_in(4) {
            let damage = *self.random.pick(&Damage::ALL);
            self.disk.rot(&names[self.random.index(names.len())], damage);
        } else {
            for _ in 0..1 + self.random.below(3) {
                self.disk.flip_bit(&names[self.random.index(names.len())]);
            }
        }
        let seed = self.random.draw();
        match Node::start(&self.disk, &self.clock, seed) {
            Ok(node) => checks::rotten(&node.session, stage, &mut self.history),
            Err(error) => {
                self.history.seen.refused_starts += 1;
                self.history.note(None, &error);
                Ok(())
            }
        }
    }

    /// One small thing.
    fn act(&mut self, running: &mut Running) -> Result<(), Broken> {
        self.acts += 1;
        if self.cleans && self.acts.is_multiple_of(7) {
            running.node.clean();
        }
        let Running { node, stage } = running;
        match self.random.below(10) {
            0..4 => self.clients.ask(&node.session, stage, &mut self.history),
            4..7 => node.step(),
            7..9 => drop(node.pump()),
            _ => {
                let ms = if self.random.one_in(8) { self.random.below(4000) } else { self.random.below(50) };
                self.clock.advance(ms);
            }
        }
        // Without power nobody can look.
        if self.disk.is_on() {
            for scene in &mut self.scenes {
                scene.ask(node, &mut self.history.seen)?;
            }
        }
        Ok(())
    }

    /// Everybody hears what was answered.
    fn hear(&mut self) -> Result<(), Broken> {
        self.clients.hear(&mut self.history)?;
        self.scenes.iter_mut().try_for_each(|scene| scene.hear(&mut self.history.seen))
    }

    /// The process is gone, and nobody will be answered.
    fn cut_off(&mut self) {
        self.clients.cut_off(&mut self.history);
        self.scenes.iter_mut().for_each(|scene| scene.cut_off());
    }

    /// The scenes are looked at.
    fn look(&mut self, node: &Node, when: When) -> Result<(), Broken> {
        self.scenes.iter_mut().try_for_each(|scene| scene.look(&node.session, when, &mut self.history.seen))
    }

    /// Something will go wrong before long.
    fn arm(&mut self) {
        let soon = Some(self.random.below(40));
        let mut faults = Faults::default();
        let kind = self.random.below(5);
        // A full disk is refused, never a reason to stop.
        self.excused |= kind < 4;
        match kind {
            0 | 1 => faults.power_off_after = soon,
            2 => {
                faults.sync_fails_after = soon;
                faults.syncs_fail_for_ever = self.random.one_in(2);
            }
            3 => faults.write_fails_after = soon,
            _ => {
                // Just room for what is there and a little more.
                let used: u64 = self
                    .disk
                    .names()
                    .iter()
                    .filter_map(|name| self.disk.contents(name))
                    .map(|contents| contents.len() as u64)
                    .sum();
                faults.capacity_bytes = Some(used + self.random.below(64 << 10));
            }
        }
        self.disk.set_faults(faults);
    }

    /// One of the queues on the tenants' topic is replayed, from anywhere.
    fn replay(&mut self, running: &mut Running) -> Result<(), Broken> {
        let Running { node, stage } = running;
        let queue = *self.random.pick(&[stage.turns, stage.brief]);
        let end = node.session.bounds(stage.tenants).map_or(0, |bounds| bounds.end.0);
        let from = if self.random.one_in(2) { 0 } else { self.random.below(end + 1) };
        tenants::replay(node, stage, queue, Offset(from), &mut self.history)
    }

    /// A commit begun after everything told so far is acknowledged: attempts told so far must outlive any crash.
    fn barrier(&mut self, running: &mut Running) -> Result<(), Broken> {
        let Running { node, stage } = running;
        let (partition, number, marked) = self.clients.mark(&node.session, stage, &mut self.history);
        // What is answered on the way is not heard before the mark counts: it may have been decided after it.
        if let Some(Ok(appended)) = node.complete(marked) {
            self.history.appended(partition, appended.base, number)?;
            self.history.barrier();
            self.scenes.iter_mut().for_each(|scene| scene.barrier());
        }
        self.hear()
    }

    /// The process dies in one way or another, and the next one starts.
    fn crash(&mut self, running: Running) -> Result<Running, Broken> {
        if self.disk.is_on() {
            self.look(&running.node, When::Running)?;
        }
        self.tail_lost = self.excused;
        match self.random.below(4) {
            0 | 1 => {
                self.disk.power_off();
                self.restart(running)
            }
            2 => {
                self.look_at_the_dying(&running.node);
                self.cut_off();
                drop(running.node);
                self.disk.kill_process();
                self.history.seen.kills += 1;
                self.come_up()
            }
            _ => {
                self.cut_off();
                running.node.end();
                self.history.seen.ends += 1;
                self.disk.kill_process();
                self.come_up()
            }
        }
    }

    /// The process is gone, the machine perhaps too.
    fn restart(&mut self, running: Running) -> Result<Running, Broken> {
        // Whoever reads in the last moment was told as much as anybody else.
        checks::last_look(&running.node.session, &running.stage, &mut self.history)?;
        self.look_at_the_dying(&running.node);
        self.cut_off();
        drop(running.node);
        if self.disk.is_on() && self.random.one_in(2) {
            self.tail_lost = self.excused;
            self.disk.kill_process();
            self.history.seen.kills += 1;
        } else {
            self.tail_lost = true;
            self.disk.power_on();
        }
        self.come_up()
    }

    /// Counts what this death leaves half done.
    fn look_at_the_dying(&mut self, node: &Node) {
        let names = self.disk.names();
        let files = names.iter().filter(|name| name.ends_with(".log")).count() as u64;
        self.history.seen.rewrites_cut += u64::from(files > node.log.stats().files);
        self.history.seen.manifests_cut += u64::from(names.iter().any(|name| name == "manifest.next"));
    }

    /// Somebody sets the clock.
    fn step_clock(&mut self) {
        let ms = 1 + self.random.below(STEP_MS);
        if self.random.one_in(2) {
            self.history.seen.clock_steps_on += 1;
            self.clock.step_wall(ms.cast_signed());
            self.history.stepped_on(ms);
            self.clients.keyed.stepped_on(ms);
        } else {
            self.history.seen.clock_steps_back += 1;
            self.history.stepped_back(self.clock.now());
            self.clock.step_wall(-ms.cast_signed());
        }
    }

    /// Starts, sometimes with a power cut in the middle of it, and looks at everything.
    fn come_up(&mut self) -> Result<Running, Broken> {
        self.clock.advance(self.random.below(3000));
        if self.random.one_in(3) {
            self.disk
                .set_faults(Faults { power_off_after: Some(self.random.below(20)), ..Faults::default() });
            match self.start() {
                Ok(running) => {
                    self.cut_off();
                    drop(running.node);
                }
                Err(broken) if self.disk.is_on() => return Err(broken),
                Err(_) => self.history.seen.failed_starts += 1,
            }
            self.disk.power_on();
            self.tail_lost = true;
        }
        self.excused = false;
        let mut running = self.start()?;
        self.look(&running.node, When::Restarted { tail_lost: self.tail_lost })?;
        self.history.seen.moves_over += stage::moves_under_way(&mut running.node)?;
        checks::streams(&running.node.session, &running.stage, &mut self.history)?;
        checks::graves(&running.node.session, &running.stage, &self.clients, &mut self.history)?;
        checks::cursors(&mut running.node, &running.stage, &self.history)?;
        Ok(running)
    }

    fn start(&mut self) -> Result<Running, Broken> {
        self.starts += 1;
        let seed = self.random.draw() ^ self.starts;
        let mut node =
            Node::start(&self.disk, &self.clock, seed).map_err(|error| Broken(error.to_string()))?;
        let stage = stage::set(&mut node)?;
        self.scenes.iter_mut().try_for_each(|scene| scene.set(&mut node))?;
        self.history.by_key(stage.lines);
        self.history.by_policy(stage.turns, &stage::turns_policy());
        self.history.by_policy(stage.brief, &stage::brief_policy());
        while self.clients.producers() < 2 {
            let asked = node.session.new_producer_id();
            match node.complete(asked) {
                Some(Ok(id)) => self.clients.add_producer(id),
                Some(Err(error)) => return Err(Broken(format!("no producer id: {error}"))),
                None => return Err(stage::stopped()),
            }
        }
        Ok(Running { node, stage })
    }
}

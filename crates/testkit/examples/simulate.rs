//! Runs seeds of the simulator: `--seed N` one (to see a failure again), `--seeds N` many, `--from N` beginning there,
//! `--seconds N` as many as fit, `--threads N` at once, `--trace N` tells what becomes of record N.
//!
//! Ends with how often each fault struck and what came of it, and fails if one never did within a thousand seeds or more.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use duolog_testkit::sim::{Failure, Plan, Report, run};

/// In fewer seeds a fault may be missing by chance.
const SEEDS_TO_SEE_ALL: u64 = 1000;
/// How often it says how far it is.
const TOLD_EVERY: u64 = 5000;

struct Asked {
    from: u64,
    seeds: u64,
    seconds: Option<u64>,
    threads: u64,
    plan: Plan,
}

fn asked() -> Result<Asked, String> {
    let mut asked = Asked { from: 1, seeds: 1000, seconds: None, threads: 2, plan: Plan::default() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
        let number: u64 = value.parse().map_err(|_| format!("{word}: {value} is no number"))?;
        match word.as_str() {
            "--seed" => (asked.from, asked.seeds) = (number, 1),
            "--seeds" => asked.seeds = number,
            "--from" => asked.from = number,
            "--seconds" => (asked.seconds, asked.seeds) = (Some(number), u64::MAX),
            "--threads" => asked.threads = number.max(1),
            "--trace" => asked.plan.trace = Some(number),
            _ => {
                return Err(format!(
                    "unknown argument {word}: --seed, --seeds, --from, --seconds, --threads, --trace"
                ));
            }
        }
    }
    Ok(asked)
}

/// What all threads share.
struct Runs {
    asked: Asked,
    began: Instant,
    next: AtomicU64,
    done: Mutex<(u64, Report)>,
    failure: Mutex<Option<Failure>>,
}

impl Runs {
    /// The next seed, if there is to be one.
    fn next(&self) -> Option<u64> {
        let time_is_up = self.asked.seconds.is_some_and(|it| self.began.elapsed() >= Duration::from_secs(it));
        if time_is_up || self.failure.lock().expect("nobody panicked").is_some() {
            return None;
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        (index < self.asked.seeds).then(|| self.asked.from + index)
    }

    fn work(&self) {
        while let Some(seed) = self.next() {
            match run(seed, self.asked.plan) {
                Ok(report) => self.add(&report),
                Err(failure) => *self.failure.lock().expect("nobody panicked") = Some(failure),
            }
        }
    }

    fn add(&self, report: &Report) {
        let mut done = self.done.lock().expect("nobody panicked");
        done.0 += 1;
        done.1.add(report);
        if done.0.is_multiple_of(TOLD_EVERY) {
            eprintln!("{} seeds in {:.0} s", done.0, self.began.elapsed().as_secs_f64());
        }
    }
}

fn main() -> ExitCode {
    let asked = match asked() {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let runs = Runs {
        asked,
        began: Instant::now(),
        next: AtomicU64::new(0),
        done: Mutex::default(),
        failure: Mutex::default(),
    };
    thread::scope(|scope| {
        for _ in 0..runs.asked.threads {
            scope.spawn(|| runs.work());
        }
    });
    if let Some(failure) = runs.failure.lock().expect("nobody panicked").as_ref() {
        println!("{failure}");
        let seed = failure.seed;
        println!("again: cargo run --release -p duolog-testkit --example simulate -- --seed {seed}");
        return ExitCode::FAILURE;
    }
    let (seeds, total) = *runs.done.lock().expect("nobody panicked");
    for (what, count) in total.rows() {
        println!("{count:>14}  {what}");
    }
    let seconds = runs.began.elapsed().as_secs_f64();
    let (from, rate) = (runs.asked.from, seeds as f64 / seconds);
    println!("{seeds} seeds from {from} in {seconds:.0} s ({rate:.1}/s): no promise broken");
    let never = total.never();
    if seeds >= SEEDS_TO_SEE_ALL && !never.is_empty() {
        println!("never seen: {}", never.join("; "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

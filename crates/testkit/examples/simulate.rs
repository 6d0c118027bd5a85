//! Runs seeds of the simulator: `--seed N` one (to see a failure again), `--seeds N` many, `--from N` beginning there,
//! `--seconds N` as many as fit, `--trace N` tells what becomes of record N.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use duolog_testkit::sim::{Plan, Report, run};

struct Asked {
    from: u64,
    seeds: u64,
    seconds: Option<u64>,
    plan: Plan,
}

fn asked() -> Result<Asked, String> {
    let mut asked = Asked { from: 1, seeds: 1000, seconds: None, plan: Plan::default() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
        let number: u64 = value.parse().map_err(|_| format!("{word}: {value} is no number"))?;
        match word.as_str() {
            "--seed" => (asked.from, asked.seeds) = (number, 1),
            "--seeds" => asked.seeds = number,
            "--from" => asked.from = number,
            "--seconds" => (asked.seconds, asked.seeds) = (Some(number), u64::MAX - asked.from),
            "--trace" => asked.plan.trace = Some(number),
            _ => return Err(format!("unknown argument {word}: --seed, --seeds, --from, --seconds, --trace")),
        }
    }
    Ok(asked)
}

fn main() -> ExitCode {
    let asked = match asked() {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let until = asked.seconds.map(|seconds| began + Duration::from_secs(seconds));
    let mut total = Report::default();
    let mut runs = 0;
    for seed in asked.from..asked.from + asked.seeds {
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        match run(seed, asked.plan) {
            Ok(report) => total.add(&report),
            Err(failure) => {
                println!("{failure}");
                println!("again: cargo run --release -p duolog-testkit --example simulate -- --seed {seed}");
                return ExitCode::FAILURE;
            }
        }
        runs += 1;
    }
    println!("{runs} seeds in {:.1} s, no promise broken", began.elapsed().as_secs_f64());
    println!("{total:#?}");
    ExitCode::SUCCESS
}

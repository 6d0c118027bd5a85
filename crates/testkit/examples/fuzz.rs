//! Fuzzes decoders for longer: `fuzz [TARGET] [--from SEED] [--count N]`; without a target all of them, one after another.

#[path = "../tests/fuzz/targets.rs"]
mod targets;

use std::process::ExitCode;

use duolog_testkit::fuzz;

const HELP: &str =
    "fuzz [TARGET] [--from SEED] [--count N]: breeds N inputs (a million) from SEED (1) on. Targets:";

fn main() -> ExitCode {
    let (mut name, mut from, mut count) = (None, 1_u64, 1_000_000_u64);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number =
            |words: &mut dyn Iterator<Item = String>| words.next().and_then(|word| word.parse().ok());
        let known = match word.as_str() {
            "--from" => number(&mut words).map(|number| from = number),
            "--count" => number(&mut words).map(|number| count = number),
            "--help" | "-h" => None,
            _ if name.is_none() && !word.starts_with('-') => {
                name = Some(word);
                Some(())
            }
            _ => None,
        };
        if known.is_none() {
            eprintln!("{HELP}");
            targets::ALL.iter().for_each(|target| eprintln!("  {}", target.name));
            return ExitCode::from(2);
        }
    }
    let chosen: Vec<_> =
        targets::ALL.iter().filter(|target| name.as_deref().is_none_or(|name| name == target.name)).collect();
    if chosen.is_empty() {
        eprintln!("no such target; --help lists them");
        return ExitCode::from(2);
    }
    for target in chosen {
        match fuzz::run(target, from, count) {
            Ok(()) => println!("{}: {count} inputs survived", target.name),
            Err(crash) => {
                println!("{crash}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

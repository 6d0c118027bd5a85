//! Each mistake, made on purpose in the storage or the broker, breaks a promise that one of the two simulators notices.
//!
//! `cargo test -p duolog-testkit --features planted --test planted`

use duolog_storage::planted::{ALL, Bug, OF_LOG, plant};
use duolog_testkit::sim::{Plan, run};
use duolog_testkit::storm;

/// Seeds within which a mistake has to show.
const SEEDS: u64 = 400;

fn caught(bug: Bug, run: impl Fn(u64) -> Option<String>) -> bool {
    plant(Some(bug));
    let failure = (1..=SEEDS).find_map(run);
    plant(None);
    match &failure {
        Some(failure) => println!("{bug:?}: {}", failure.lines().next().unwrap_or_default()),
        None => println!("{bug:?}: not caught"),
    }
    failure.is_some()
}

/// One test, as a mistake is planted in the whole process.
#[test]
fn every_planted_bug_is_caught() {
    let mut missed: Vec<Bug> = Vec::new();
    for bug in OF_LOG {
        let of_seed = |seed| match bug {
            // It shows when something has gone bad at rest.
            Bug::PageCrcIgnored | Bug::CutAtFirstBadCrc => storm::run_rot(seed, 20).err(),
            _ => storm::run(seed).err(),
        };
        missed.extend((!caught(bug, of_seed)).then_some(bug));
    }
    for bug in ALL {
        // Without rewrites, whose faults the log alone shows sooner: more of the seeds find these.
        let plan = Plan { cleans: false, ..Plan::default() };
        let of_seed = |seed| run(seed, plan).err().map(|failure| failure.to_string());
        missed.extend((!caught(bug, of_seed)).then_some(bug));
    }
    assert!(missed.is_empty(), "not caught within {SEEDS} seeds: {missed:?}");
}

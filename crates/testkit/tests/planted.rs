//! Each of ten mistakes, made on purpose in the storage or the broker, breaks a promise that the simulator notices.
//!
//! `cargo test -p duolog-testkit --features planted --test planted`

use duolog_storage::planted::{ALL, plant};
use duolog_testkit::sim::{Plan, run};

/// Seeds within which a mistake has to show.
const SEEDS: u64 = 400;

#[test]
fn every_planted_bug_is_caught() {
    let mut missed = Vec::new();
    for bug in ALL {
        plant(Some(bug));
        match (1..=SEEDS).find_map(|seed| run(seed, Plan::default()).err()) {
            Some(failure) => println!("{bug:?}: {failure}"),
            None => missed.push(bug),
        }
    }
    plant(None);
    assert!(missed.is_empty(), "not caught within {SEEDS} seeds: {missed:?}");
}

//! Ten thousand damages at rest (bits flipped, blocks zeroed or swapped, files cut short, in every kind of file): each is
//! detected or harmless, nothing false is served, nothing is passed over, nothing is deleted.
//! Again: `DUOLOG_SEED=n DUOLOG_SEEDS=1`.
#![allow(clippy::unwrap_used)]

use duolog_testkit::storm::{Report, run_rot};

/// Damages of one directory.
const DAMAGES: u32 = 20;

#[test]
fn whatever_rots_nothing_false_is_served_and_nothing_is_deleted() {
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let seeds = number("DUOLOG_SEEDS").unwrap_or(500);
    let first = number("DUOLOG_SEED").unwrap_or(0);
    let mut total = Report::default();
    for seed in first..first + seeds {
        total.add(&run_rot(seed, DAMAGES).unwrap_or_else(|broken| panic!("{broken}")));
    }
    println!("{total:?}");
    if seeds >= 500 {
        assert!(total.hits.bits_flipped > 2_000 && total.hits.blocks_rotten > 4_000, "{total:?}");
        assert!(total.refused > 500 && total.damaged > 5_000 && total.rewritten > 100, "{total:?}");
    }
}

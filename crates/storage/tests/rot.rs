//! Ten thousand damages at rest (bits flipped, blocks zeroed, swapped or taken from another file, files cut short, in every kind
//! of file): each is detected or harmless, nothing false is served, nothing is passed over, nothing is deleted, the rest
//! goes on. `DUOLOG_TEST_FULL` does all of them, else as many as take some seconds. Again: `DUOLOG_SEED=n DUOLOG_SEEDS=1`.
#![allow(clippy::unwrap_used)]

mod common;

use duolog_testkit::disk::Damage;
use duolog_testkit::storm::{FileKind, Report, run_rot};

/// Rounds of damage of one directory, each in a copy of it.
const ROUNDS: u32 = 20;

#[test]
fn whatever_rots_nothing_false_is_served_and_nothing_is_deleted() {
    let seeds = common::seeds(200, 600);
    let count = seeds.end - seeds.start;
    let mut total = Report::default();
    for seed in seeds {
        total.add(&run_rot(seed, ROUNDS).unwrap_or_else(|broken| panic!("{broken}")));
    }
    let damages: u64 = total.rot.values().sum();
    for ((kind, damage), times) in &total.rot {
        println!("{kind:?} {damage:?}: {times}");
    }
    println!(
        "{damages} damages, {} openings refused, {} reads refused and {} for others' sake, appends taken and refused {:?}, doctor {:?}",
        total.refused, total.damaged, total.in_doubt, total.appended, total.examined
    );
    assert_eq!(total.in_doubt, 0, "what lies in whole files is served whatever happened to others");
    if count >= 200 {
        for kind in FileKind::ALL {
            for damage in Damage::ALL {
                // A spare holds zeros: these change nothing.
                let is_vain = matches!(damage, Damage::BlockZeroed | Damage::BlocksSwapped);
                let times = total.rot.get(&(kind, damage)).copied().unwrap_or(0);
                assert!(times > 0 || (kind == FileKind::Spare && is_vain), "no {damage:?} of a {kind:?}");
            }
        }
        assert!(count < 600 || damages >= 10_000, "only {damages} damages");
        assert!(total.refused > 200 && total.damaged > 2_000 && total.rewritten > 50, "{total:?}");
        assert!(total.appended.0 > 5_000 && total.appended.1 > 500 && total.examined.1 > 100, "{total:?}");
    }
}

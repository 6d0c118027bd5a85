//! Random commits, trims, settlements, rewrites, power cuts, kills and rot, by seed. Again: `DUOLOG_SEED=n DUOLOG_SEEDS=1`.
#![allow(clippy::unwrap_used)]

mod common;

use duolog_testkit::storm::{Report, run};

#[test]
fn whatever_happens_acknowledged_commits_are_there_and_the_rest_is_a_prefix() {
    let seeds = common::seeds(150, 150);
    let count = seeds.end - seeds.start;
    let mut total = Report::default();
    for seed in seeds {
        total.add(&run(seed).unwrap_or_else(|broken| panic!("{broken}")));
    }
    println!("{total:?}");
    if count >= 100 {
        let hits = total.hits;
        assert!(hits.power_cuts > 100 && hits.writes_torn > 20 && hits.names_lost > 20, "{hits:?}");
        assert!(hits.sync_errors > 10 && hits.write_errors > 10, "{hits:?}");
        assert!(total.rewritten > 200 && total.rewrites_cut > 10, "{total:?}");
        assert!(total.refused > 5 && total.damaged > 20, "{total:?}");
    }
}

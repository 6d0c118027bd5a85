//! A minute of seeds. More: `cargo run --release -p duolog-testkit --example simulate -- --seeds N`; a failure names its seed.

use duolog_testkit::sim::{Plan, Report, run};

/// Seeds of the quick tier, split over two threads; the full tier takes twenty times as many.
const SEEDS: u64 = 3000;

fn runs(seeds: impl Iterator<Item = u64>) -> Report {
    let mut total = Report::default();
    for seed in seeds {
        match run(seed, Plan::default()) {
            Ok(report) => total.add(&report),
            Err(failure) => panic!(
                "{failure}\nagain: cargo run --release -p duolog-testkit --example simulate -- --seed {seed}"
            ),
        }
    }
    total
}

#[test]
fn no_promise_is_broken() {
    let times = if std::env::var_os("DUOLOG_TEST_FULL").is_some() { 20 } else { 1 };
    let last = SEEDS * times;
    let other = std::thread::spawn(move || runs((1..=last).step_by(2)));
    let mut total = runs((2..=last).step_by(2));
    total.add(&other.join().expect("the other half of the seeds"));
    // A fault that never struck was not tested.
    assert!(total.never().is_empty(), "not seen in {last} seeds: {:?}", total.never());
    for (what, count) in total.rows() {
        println!("{count:>14}  {what}");
    }
}

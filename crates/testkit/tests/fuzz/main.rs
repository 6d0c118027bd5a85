//! A short fuzz run of every decoder. Longer ones: `cargo run --release -p duolog-testkit --example fuzz -- --help`.
#![allow(clippy::unwrap_used)]

mod targets;

use duolog_testkit::fuzz;

/// Inputs of each target in the quick tier; the full tier takes a hundred times as many.
const INPUTS: u64 = 20_000;

#[test]
fn no_decoder_panics() {
    let times = if std::env::var_os("DUOLOG_TEST_FULL").is_some() { 100 } else { 1 };
    for target in targets::ALL {
        // Each of these opens a whole log.
        let inputs = if target.name == "log-files" { INPUTS / 10 } else { INPUTS };
        if let Err(crash) = fuzz::run(target, 1, inputs * times) {
            panic!("{crash}");
        }
    }
}

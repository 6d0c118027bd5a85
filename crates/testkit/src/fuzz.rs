//! A fuzzer that `cargo test` can run: inputs are bred from good ones by seed, and a target must neither panic nor hang.
//!
//! It mutates where decoders are weak: lengths, counts, signs, ends. A failure names its seed and its bytes.
//! Adding a target: a [`Target`] in `tests/fuzz/targets.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Random;

/// A decoder under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// As the command line names it.
    pub name: &'static str,
    /// Inputs that are right, to breed from; at least one.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Takes any bytes. One that takes long per input is given fewer of them by whoever runs it.
    pub run: fn(&[u8]),
}

/// An input that a target did not survive.
#[derive(Clone, Debug, thiserror::Error)]
#[error("target {target}, seed {seed}, input {input_hex}: {message}")]
pub struct Crash {
    /// Which target.
    pub target: &'static str,
    /// Gives the same input again.
    pub seed: u64,
    /// The input.
    pub input_hex: String,
    /// The panic's own words.
    pub message: String,
}

/// Largest input that is bred, bytes.
const INPUT_BYTES: usize = 64 << 10;

/// Runs one input of a target, made from `seed`.
///
/// # Errors
/// The target panicked.
pub fn try_seed(target: &Target, seeds: &[Vec<u8>], seed: u64) -> Result<(), Crash> {
    let mut random = Random::new(seed);
    let input = breed(&mut random, seeds);
    try_input(target, seed, &input)
}

fn try_input(target: &Target, seed: u64, input: &[u8]) -> Result<(), Crash> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic without words".to_owned());
        let input_hex = input.iter().map(|byte| format!("{byte:02x}")).collect();
        Crash { target: target.name, seed, input_hex, message }
    })
}

/// Runs the good inputs as they are, then `count` bred ones from `first` on.
///
/// # Errors
/// The first input that the target did not survive.
pub fn run(target: &Target, first: u64, count: u64) -> Result<(), Crash> {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has nothing to breed from", target.name);
    for seed in &seeds {
        try_input(target, 0, seed)?;
    }
    for seed in first..first + count {
        try_seed(target, &seeds, seed)?;
    }
    Ok(())
}

/// A changed copy of one input, or a mixture of two, or noise.
fn breed(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    if random.one_in(50) {
        let length = random.index(200);
        return (0..length).map(|_| random.draw() as u8).collect();
    }
    let mut bytes = random.pick(seeds).clone();
    if random.one_in(5) {
        let other = random.pick(seeds);
        let (cut, from) = (random.index(bytes.len() + 1), random.index(other.len() + 1));
        bytes.truncate(cut);
        bytes.extend_from_slice(&other[from..]);
    }
    for _ in 0..1 + random.below(6) {
        mutate(random, &mut bytes);
    }
    bytes.truncate(INPUT_BYTES);
    bytes
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        bytes.push(random.draw() as u8);
        return;
    }
    let at = random.index(bytes.len());
    match random.below(9) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.draw() as u8,
        2 => bytes[at] = *random.pick(&[0, 1, 0x7f, 0x80, 0xff]),
        3 => drop(bytes.drain(at..)),
        4 => {
            let end = (at + 1 + random.index(8)).min(bytes.len());
            drop(bytes.drain(at..end));
        }
        5 => {
            let end = (at + 1 + random.index(32)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        6 => overwrite(bytes, at, &extreme(random).to_be_bytes()),
        7 => overwrite(bytes, at, &extreme(random).to_le_bytes()),
        _ => {
            let byte = random.draw() as u8;
            bytes.insert(at, byte);
        }
    }
}

/// A number at which decoders stumble.
fn extreme(random: &mut Random) -> i32 {
    let near = *random.pick(&[0, -1, i32::MIN, i32::MAX, i32::from(i16::MAX), 1 << 16, 1 << 24, 1 << 30]);
    near.wrapping_add(random.below(3) as i32 - 1)
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    // Sometimes two bytes, sometimes four: whatever fits.
    let end = (at + with.len()).min(bytes.len());
    bytes[at..end].copy_from_slice(&with[..end - at]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_target_is_caught_and_its_seed_repeats_it() {
        let weak = Target {
            name: "weak",
            seeds: || vec![b"length 0004 data".to_vec()],
            run: |bytes| assert!(bytes.len() < 20, "too long"),
        };
        let crash = run(&weak, 1, 1000).expect_err("some input is longer");
        let again = try_seed(&weak, &(weak.seeds)(), crash.seed).expect_err("the same input");
        assert_eq!(again.input_hex, crash.input_hex);
    }
}

//! For tests only: a simulated disk, chance by seed, and what judges a history.
//!
//! Place: beside the floors; a dev-dependency of the others. The production code runs on the simulated disk unchanged.

mod counters;
pub mod disk;
pub mod fuzz;
pub mod history;
mod random;
pub mod sim;
pub mod storm;
mod within;

pub use disk::SimDisk;
pub use random::Random;
pub use sim::ManualClock;
pub use within::within;

//! The simulator: the production broker and storage on a simulated disk, driven by seed, judged by what clients saw.
//!
//! One thread does everything in an order that the seed decides: clients ask, the shard takes a step, the log completes a
//! group, time passes, the power fails in the middle of a write. After each restart and at the end the [`History`] says
//! whether all that clients were told can be true. The same seed gives the same run.
//! Adding a verb: an arm in `clients.rs`, what was told of it in `told.rs`, a rule in `history.rs`. What has a part of the catalog to
//! itself is a scene: see `scene.rs`.
//!
//! [`History`]: crate::history::History

mod burials;
mod checks;
mod clients;
mod clock;
mod fanout;
mod keyed;
mod lengths;
mod node;
mod scene;
mod seen;
mod stage;
mod tenants;
mod told;
mod world;

pub use clock::ManualClock;
pub(crate) use clock::ms_before;
pub use seen::Seen;
pub use world::{Failure, Plan, Report, run};

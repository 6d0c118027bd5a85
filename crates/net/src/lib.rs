//! Accepting, limiting and shutting down connections, for every protocol alike.
//!
//! Place: floor 2, beside the broker, of which it knows nothing; it knows no wire format either. A frontend gets a
//! [`Connection`], a [`Budget`] from which it reserves bytes before it allocates them, and a [`Shutdown`] to watch.
//! What carries the bytes, TCP as it is or a WebSocket ([`OverWebSocket`]), is an arm of [`Connection`]; so will TLS be.

mod budget;
mod connection;
pub mod limits;
mod listener;
mod patience;
mod shutdown;
mod talk;
pub mod websocket;

pub use budget::{Budget, OverBudget, Reservation};
pub use connection::{Carrier, Connection};
pub use listener::{BindError, Context, Frontend, Limits, Listener};
pub use patience::{Patience, Patient, Phase};
pub use shutdown::Shutdown;
pub use talk::{Input, Next, Talk, TalkOptions, Then, talk};
pub use websocket::{OriginRule, OverWebSocket};

//! AMQP 0-9-1 as RabbitMQ speaks it: so far its codec.
//!
//! Place: floor 3. [`codec`] knows bytes alone: no socket, no clock, no broker.

pub mod codec;
pub mod limits;

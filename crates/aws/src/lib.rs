//! The SQS protocol (AWS JSON 1.0 and Query) and the SNS protocol (Query) over the broker's verbs.
//!
//! Place: floor 3. A queue is a topic read through a ledger: a send is a publish, a receive is a lease, a delete settles
//! it. `convert` is the only place where a record becomes a message or the other way round. docs/sqs.md says what is
//! supported and what is not (docs/sns.md of SNS), docs/mapping.md how records and messages correspond.

mod api;
pub mod codec;
mod connection;
mod convert;
mod entry;
mod error;
mod frontend;
pub mod limits;
mod md5;
mod options;
mod outbound;
mod policy;
mod settings;
mod sns;

pub use error::{ErrorCode, SqsError};
pub use frontend::AwsFrontend;
pub use options::{Authorities, AwsOptions, Secret};

//! What became of a commit, and the answers that wait to hear it.

use super::command::Reply;
use crate::errors::{AppendError, ChangeError, CursorError, SettleError, Stopped};

/// What became of the commit that an answer waits for.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// As durable as it asked to be.
    Durable,
    /// Refused for want of space; nothing was written.
    DiskFull,
    /// The log takes no more commits.
    Stopped(Stopped),
}

/// An answer that is held back until its commit is decided.
pub(crate) type Answer = Box<dyn FnOnce(&Verdict) + Send>;

/// An error that can say why a commit did not become durable.
pub(crate) trait Refused: From<Stopped> {
    /// There was no space.
    fn disk_full() -> Self;
}

macro_rules! refused {
    ($($error:ty),*) => {
        $(impl Refused for $error {
            fn disk_full() -> Self {
                Self::DiskFull
            }
        })*
    };
}

refused!(AppendError, ChangeError, CursorError, SettleError);

/// Answers `value` once durable, else why not.
pub(crate) fn when_durable<T, E>(reply: Reply<T, E>, value: T) -> Answer
where
    T: Send + 'static,
    E: Refused + Send + 'static,
{
    Box::new(move |verdict| {
        let answer = match verdict {
            Verdict::Durable => Ok(value),
            Verdict::DiskFull => Err(E::disk_full()),
            Verdict::Stopped(stopped) => Err(stopped.clone().into()),
        };
        // A caller that no longer listens needs no answer.
        let _ = reply.send(answer);
    })
}

/// Answers `error` once what it tells of is durable, and so in the catalog that the caller may look into.
pub(crate) fn refused_when_durable<T, E>(reply: Reply<T, E>, error: E) -> Answer
where
    T: Send + 'static,
    E: Refused + Send + 'static,
{
    Box::new(move |verdict| {
        let answer = match verdict {
            Verdict::Durable => Err(error),
            Verdict::DiskFull => Err(E::disk_full()),
            Verdict::Stopped(stopped) => Err(stopped.clone().into()),
        };
        // A caller that no longer listens needs no answer.
        let _ = reply.send(answer);
    })
}

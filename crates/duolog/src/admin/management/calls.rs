//! What a request asks for, done as a client of AMQP would do it.

use duolog_amqp::codec::client::ServerMethod;
use duolog_amqp::codec::{Arguments, ShortStr};
use duolog_amqp::{Answer, Caller, Refused};

use super::super::Admin;
use super::error::Refusal;

/// A name as a field of a method.
///
/// # Errors
/// `Bad` if it is too long for one.
pub fn short(text: &str) -> Result<ShortStr<'_>, Refusal> {
    ShortStr::new(text).ok_or_else(|| Refusal::Bad(format!("longer than 255 bytes: {text:.40}...")))
}

impl Admin {
    pub(super) fn caller(&self, vhost: &str) -> Result<Caller, Refusal> {
        self.amqp.caller(vhost, &self.budget).ok_or(Refusal::NotFound)
    }

    /// Does one method that has one answer.
    pub(super) async fn call<'a>(&self, vhost: &str, method: &impl Arguments<'a>) -> Result<Answer, Refusal> {
        let mut frames = Vec::new();
        method.write(&mut frames, 1);
        let mut caller = self.caller(vhost)?;
        let answers = caller.call(&frames, |_: &ServerMethod<'_>| true).await?;
        Ok(answers.into_iter().next_back().unwrap_or_default())
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused.code {
            404 => Self::NotFound,
            320 | 541 => Self::Unavailable(refused.text),
            _ => Self::Bad(refused.text),
        }
    }
}

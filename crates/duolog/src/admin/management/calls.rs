//! What a request asks for, done as a client of AMQP would do it.

use axum::http::StatusCode;
use duolog_amqp::codec::client::{ServerMethod, write_publish};
use duolog_amqp::codec::method::{BasicPublish, ConfirmSelect};
use duolog_amqp::codec::{Arguments, ShortStr};
use duolog_amqp::{Answer, CALLER_FRAME_BYTES, Caller, Refused};

use super::super::Admin;
use super::error::Refusal;

/// A name as a field of a method.
///
/// # Errors
/// `Bad` if it is too long for one.
pub fn short(text: &str) -> Result<ShortStr<'_>, Refusal> {
    ShortStr::new(text).ok_or_else(|| Refusal::Bad(format!("longer than 255 bytes: {text:.40}...")))
}

/// What a declaration is answered with.
pub fn declared(is_new: bool) -> StatusCode {
    if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT }
}

/// Publishes a mandatory message, and waits until it is durable; false if it goes nowhere.
///
/// # Errors
/// `Unavailable` if it is not stored.
pub async fn publish(
    caller: &mut Caller,
    (exchange, routing_key): (ShortStr<'_>, ShortStr<'_>),
    properties: &[u8],
    body: &[u8],
) -> Result<bool, Refusal> {
    let method = BasicPublish { exchange, routing_key, mandatory: true, ..BasicPublish::default() };
    let mut frames = Vec::new();
    ConfirmSelect { no_wait: true }.write(&mut frames, 1);
    write_publish(&mut frames, 1, &method, properties, body, CALLER_FRAME_BYTES);
    let is_last =
        |it: &ServerMethod<'_>| matches!(it, ServerMethod::BasicAck(_) | ServerMethod::BasicNack(_));
    let answers = caller.call(&frames, is_last).await?;
    let said = |is: fn(&ServerMethod<'_>) -> bool| {
        answers.iter().any(|it| ServerMethod::decode(&it.method).is_ok_and(|it| is(&it)))
    };
    if said(|it| matches!(it, ServerMethod::BasicNack(_))) {
        return Err(Refusal::Unavailable("the message cannot be stored now".to_owned()));
    }
    Ok(!said(|it| matches!(it, ServerMethod::BasicReturn(_))))
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
            // Of these 506 is: too little room, on the disk or in memory.
            320 | 506 | 541 => Self::Unavailable(refused.text),
            _ => Self::Bad(refused.text),
        }
    }
}

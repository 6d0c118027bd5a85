//! What a session does with each command.

use duolog_broker::live::Message;

use super::NatsSession;
use crate::ClientError;
use crate::codec::{Command, HEADER_VERSION, NO_RESPONDERS, Publish};
use crate::registry::tag;
use crate::subject;

/// Newest protocol of clients.
const PROTOCOL_NEWEST: i64 = 1;

impl NatsSession {
    pub(super) fn obey(&mut self, command: Command<'_>) -> Result<(), ClientError> {
        match command {
            Command::Publish(publish) => self.publish(publish),
            Command::Ping => {
                self.say(b"PONG\r\n");
                Ok(())
            }
            Command::Pong => {
                let now = self.registry.broker().clock().now().monotonic;
                if let Some(rtt_us) = self.pinger.pong(now) {
                    self.client.took(rtt_us);
                }
                Ok(())
            }
            Command::Subscribe { subject, queue, sid } => {
                self.subscribe(subject, queue, sid)?;
                self.confirm();
                Ok(())
            }
            Command::Unsubscribe { sid, max } => {
                self.unsubscribe(sid, max);
                self.confirm();
                Ok(())
            }
            Command::Connect(json) => {
                self.connect(json)?;
                self.confirm();
                Ok(())
            }
            Command::Info(json) => serde_json::from_slice::<serde::de::IgnoredAny>(json)
                .map(drop)
                .map_err(|_| ClientError::Unreadable),
            Command::Consent => Ok(()),
            Command::Complaint => Err(ClientError::Unreadable),
        }
    }

    fn confirm(&mut self) {
        if self.connect.verbose {
            self.say(b"+OK\r\n");
        }
    }

    fn publish(&mut self, publish: Publish<'_>) -> Result<(), ClientError> {
        let Publish { subject, reply, headers: block, payload } = publish;
        let headers = match block {
            None | Some([]) => &[],
            Some(_) if !self.connect.headers => return Err(ClientError::Unreadable),
            Some(block) => headers(block)?,
        };
        self.received.count(block.map_or(0, <[u8]>::len) + payload.len());
        if self.connect.pedantic && !subject::is_literal(subject) {
            // It is heard all the same, as it is with the peer.
            self.say(&ClientError::InvalidPublishSubject.line());
        }
        self.confirm();
        self.hand_replies();
        let message = Message { subject, reply, headers, payload };
        let heard =
            self.publisher.publish(message).map_err(|error| ClientError::of_publish(error, subject))?;
        self.is_unflushed = true;
        if heard == 0 && self.connect.no_responders && !reply.is_empty() {
            let nobody = Message { subject: reply, reply: &[], headers: NO_RESPONDERS, payload: &[] };
            self.publisher.publish_to_own(nobody);
        }
        Ok(())
    }

    fn subscribe(&mut self, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) -> Result<(), ClientError> {
        let limit = self.registry.options().subscriptions_max;
        {
            let subscriptions = self.client.subscriptions.lock();
            if limit.is_some_and(|limit| subscriptions.len() >= limit) {
                return Err(ClientError::MaximumSubscriptions);
            }
            if subscriptions.get(sid).is_some_and(|known| !known.is_over()) {
                // The first one counts, as with the peer.
                return Ok(());
            }
        }
        let pattern = subject::pattern(subject).ok_or(ClientError::InvalidSubject)?;
        self.flush();
        let tag = tag(sid, subject);
        let subscription = self
            .listener()
            .subscribe(pattern, queue, tag)
            .map_err(|error| ClientError::of_subscribe(error, subject))?;
        self.client.subscriptions.lock().insert(sid.into(), subscription);
        Ok(())
    }

    fn unsubscribe(&mut self, sid: &[u8], max: u64) {
        self.flush();
        let Some(listener) = &self.listener else { return };
        let mut subscriptions = self.client.subscriptions.lock();
        let Some(subscription) = subscriptions.get(sid) else { return };
        if max > 0 {
            listener.unsubscribe_after(subscription, max);
        } else {
            listener.unsubscribe(subscription);
        }
        if max == 0 || subscription.is_over() {
            subscriptions.remove(sid);
        }
    }

    fn connect(&mut self, json: &[u8]) -> Result<(), ClientError> {
        let connect = self.connect.clone().with(json).map_err(|_| ClientError::Unreadable)?;
        if !(0..=PROTOCOL_NEWEST).contains(&connect.protocol) {
            return Err(ClientError::InvalidClientProtocol);
        }
        if !connect.account.is_empty() {
            return Err(ClientError::AuthorizationViolation);
        }
        if connect.no_responders && !connect.headers {
            return Err(ClientError::NoRespondersNeedsHeaders);
        }
        self.client.introduces_itself(&connect);
        self.connect = connect;
        Ok(())
    }
}

/// What is behind the version of a header block.
fn headers(block: &[u8]) -> Result<&[u8], ClientError> {
    let rest = block.strip_prefix(HEADER_VERSION).filter(|rest| rest.ends_with(b"\r\n\r\n"));
    rest.ok_or(ClientError::InvalidHeaders)
}

//! SNS: topics, subscriptions and publishes over exchanges and bindings.
//!
//! A topic is an exchange of kind fanout, a subscription a binding with labels, a filter policy the binding's rules; so whoever publishes
//! to the exchange, in any protocol, reaches the subscribers. A published message becomes one record for all of them, with headers from
//! which `envelope` makes what SQS receives. `deliver` posts to endpoints what waits in the queues of their subscriptions (`http`). Adding an action: an arm in `dispatch`, a function beside its kind.
//! Source: SNS API Reference, version 2010-03-31; SNS Developer Guide.

mod archive;
mod attributes;
mod confirmation;
mod deliver;
mod delivery_policy;
pub(crate) mod envelope;
mod error;
mod fifo;
mod http;
mod log;
mod message;
mod notification;
mod params;
mod permissions;
mod publish;
mod replay;
mod signing;
mod subscribe;
mod subscription;
mod tags;
mod topic;
mod topics;
pub(crate) mod xml;

use std::borrow::Cow;

use bytes::Bytes;
use duolog_broker::Session;
use uuid::Uuid;

use crate::AwsFrontend;
use crate::codec::query::Form;
use crate::settings::Echo;

pub(crate) use deliver::{Deliveries, run as deliver};
use delivery_policy::DeliveryPolicy;
pub(crate) use error::{SnsCode, SnsError};
pub(crate) use fifo::Numbers;
pub(crate) use http::id_in as subscription_of_queue;
pub(crate) use params::Params;
pub use signing::Secret;
pub(crate) use signing::{Draw, PATH as CERTIFICATE_PATH, Signer};
pub(crate) use subscription::{park, unpark};
use xml::Xml;

/// The version that is spoken.
pub(crate) const VERSION: &str = "2010-03-31";
/// The namespace of all answers.
pub(crate) const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";

/// Actions that SQS does not have.
const OWN: [&str; 21] = [
    "ConfirmSubscription",
    "CreateTopic",
    "DeleteTopic",
    "GetDataProtectionPolicy",
    "GetSubscriptionAttributes",
    "GetTopicAttributes",
    "ListSubscriptions",
    "ListSubscriptionsByTopic",
    "ListTagsForResource",
    "ListTopics",
    "Publish",
    "PublishBatch",
    "PutDataProtectionPolicy",
    "SetSubscriptionAttributes",
    "SetTopicAttributes",
    "Subscribe",
    "TagResource",
    "Unsubscribe",
    "UntagResource",
    // Of both services; these parameters tell.
    "AddPermission",
    "RemovePermission",
];

/// Actions for telephones and for applications on them.
const NOT_SERVED: [&str; 21] = [
    "CheckIfPhoneNumberIsOptedOut",
    "CreatePlatformApplication",
    "CreatePlatformEndpoint",
    "CreateSMSSandboxPhoneNumber",
    "DeleteEndpoint",
    "DeletePlatformApplication",
    "DeleteSMSSandboxPhoneNumber",
    "GetEndpointAttributes",
    "GetPlatformApplicationAttributes",
    "GetSMSAttributes",
    "GetSMSSandboxAccountStatus",
    "ListEndpointsByPlatformApplication",
    "ListOriginationNumbers",
    "ListPhoneNumbersOptedOut",
    "ListPlatformApplications",
    "ListSMSSandboxPhoneNumbers",
    "OptInPhoneNumber",
    "SetEndpointAttributes",
    "SetPlatformApplicationAttributes",
    "SetSMSAttributes",
    "VerifySMSSandboxPhoneNumber",
];

/// True if a form is for SNS: by its version if it names one, else by the service that it is signed for, else by its action.
pub(crate) fn is_asked(form: &Form<'_>, service: Option<&str>) -> bool {
    match (form.get("Version").filter(|version| !version.is_empty()), service) {
        (Some(version), _) => version == VERSION,
        (None, Some(service)) => service == "sns",
        (None, None) => {
            let action = form.get("Action").unwrap_or("");
            let is_shared = matches!(action, "AddPermission" | "RemovePermission");
            (OWN.contains(&action) && (!is_shared || form.get("TopicArn").is_some()))
                || NOT_SERVED.contains(&action)
        }
    }
}

/// One request and what it is answered with.
pub(crate) struct Call<'a> {
    /// What all requests share.
    pub frontend: &'a AwsFrontend,
    /// Region and account, echoed.
    pub echo: Echo<'a>,
    /// What is asked for.
    pub action: &'a str,
    /// The parameters.
    pub params: Params<'a>,
    /// How the client called us: host, and port if there was one.
    pub host: &'a str,
    /// It says who makes it. Nobody verifies that.
    pub is_signed: bool,
    /// Names the request.
    pub id: Uuid,
}

/// What an action comes to.
pub(crate) type Answer = Result<Bytes, SnsError>;

impl Call<'_> {
    fn session(&self) -> &Session {
        &self.frontend.session
    }

    /// The answer with a result.
    fn answer(&self, write: impl FnOnce(&mut Xml)) -> Answer {
        Ok(xml::answer(self.action, self.id, Some(write)))
    }

    /// The answer without one.
    fn done(&self) -> Answer {
        Ok(xml::answer(self.action, self.id, None::<fn(&mut Xml)>))
    }

    fn topic_arn(&self, name: &str) -> String {
        crate::codec::arn::of_topic(self.echo.region, self.echo.account, name)
    }
}

/// A text of a client as a complaint shows it.
fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(100) {
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Carries out the action.
pub(crate) async fn dispatch(call: &Call<'_>) -> Answer {
    match call.action {
        "Publish" => publish::single(call).await,
        "PublishBatch" => publish::batch(call).await,
        "CreateTopic" => topics::create(call).await,
        "DeleteTopic" => topics::delete(call).await,
        "ListTopics" => topics::list(call),
        "GetTopicAttributes" => topics::get_attributes(call),
        "SetTopicAttributes" => topics::set_attributes(call).await,
        "GetDataProtectionPolicy" => topics::get_protection(call),
        "PutDataProtectionPolicy" => topics::put_protection(call).await,
        "Subscribe" => subscribe::subscribe(call).await,
        "Unsubscribe" => subscribe::unsubscribe(call).await,
        "ConfirmSubscription" => subscribe::confirm(call).await,
        "ListSubscriptions" => subscription::list(call),
        "ListSubscriptionsByTopic" => subscription::list_of_topic(call),
        "GetSubscriptionAttributes" => subscription::get_attributes(call),
        "SetSubscriptionAttributes" => subscription::set_attributes(call).await,
        "TagResource" => tags::tag(call).await,
        "UntagResource" => tags::untag(call).await,
        "ListTagsForResource" => tags::list(call),
        "AddPermission" => permissions::add(call).await,
        "RemovePermission" => permissions::remove(call).await,
        action if NOT_SERVED.contains(&action) => Err(SnsError::invalid(format!(
            "Invalid parameter: Action Reason: {action} is not served here: there are no text messages and no mobile push."
        ))),
        action => Err(SnsError::new(
            SnsCode::InvalidAction,
            format!("The action {} is not valid for this endpoint.", shown(action)),
        )),
    }
}

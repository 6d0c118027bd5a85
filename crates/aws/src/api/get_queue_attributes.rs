//! GetQueueAttributes. The counts are exact, whatever their names say.

use std::borrow::Cow;

use duolog_broker::Depth;

use super::{Answer, Call};
use crate::codec::{arn, request, response};
use crate::settings::{READABLE, Settings, unknown_attribute};

const COUNTS: [&str; 3] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
];

pub(super) async fn handle(call: &Call<'_>) -> Answer {
    let request: request::GetQueueAttributes<'_> = call.read()?;
    let queue = call.queue(request.queue_url.as_ref())?;
    let asked = request.attribute_names.kept.iter();
    if let Some(unknown) = asked.clone().find(|name| !is_known(name)) {
        return Err(unknown_attribute(unknown));
    }
    let asked: Vec<&str> = asked.map(|name| name.as_str()).collect();
    let wants = |name: &str| asked.contains(&"All") || asked.contains(&name);
    let depth = match COUNTS.iter().any(|name| wants(name)) {
        true => Some(call.session.depth(queue.id).await?),
        false => None,
    };
    let settings = Settings::from(&*queue);
    let seconds = |ms: i64| Some((ms / 1000).to_string());
    let mut pairs = Vec::with_capacity(READABLE.len() + COUNTS.len());
    for name in READABLE.iter().filter(|name| wants(name)) {
        let value = match *name {
            "QueueArn" => Some(arn::of_queue(call.echo.region, call.echo.account, &queue.name)),
            "CreatedTimestamp" => seconds(queue.created_at.0),
            "LastModifiedTimestamp" => seconds(queue.modified_at.0),
            setting => settings.get(call.echo, setting),
        };
        if let Some(value) = value {
            pairs.push((Cow::Borrowed(*name), value));
        }
    }
    if let Some(depth) = depth {
        let counts = COUNTS.iter().zip(counts(&depth)).filter(|(name, _)| wants(name));
        pairs.extend(counts.map(|(name, count)| (Cow::Borrowed(*name), count.to_string())));
    }
    call.answer(&response::Attributes { attributes: response::Map(pairs) })
}

fn counts(depth: &Depth) -> [u64; 3] {
    [depth.available, depth.in_flight, depth.delayed]
}

fn is_known(name: &str) -> bool {
    name == "All" || READABLE.contains(&name) || COUNTS.contains(&name)
}

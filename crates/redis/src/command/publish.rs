//! PUBLISH and SPUBLISH. The former is mostly served without coming here: see `Client::serve`.

use super::{Call, Command, FAST, LOADING, PUBSUB, STALE};

const FLAGS: u32 = PUBSUB | LOADING | STALE | FAST;

/// See the module.
pub const COMMANDS: &[Command] = &[
    Command::new("publish", 3, FLAGS, publish)
        .about("pubsub", "2.0.0", "Sends a message to a channel")
        .grows("O(N+M) where N is the number of subscribers and M the number of patterns that could match"),
    Command::new("spublish", 3, FLAGS, spublish)
        .about("pubsub", "7.0.0", "Sends a message to a shard channel")
        .grows("O(N) where N is the number of subscribers")
        .keys([1, 1, 1]),
];

fn publish(call: &mut Call<'_, '_>) {
    let heard = call.client.publish(call.args.get(1), call.args.get(2));
    answer(call, heard);
}

fn spublish(call: &mut Call<'_, '_>) {
    let heard = call.client.publish_shard(call.args.get(1), call.args.get(2));
    answer(call, heard);
}

fn answer(call: &mut Call<'_, '_>, heard: Result<u64, &'static [u8]>) {
    match heard {
        Ok(heard) => call.reply.integer(heard.cast_signed()),
        Err(refusal) => call.reply.error(refusal),
    }
}

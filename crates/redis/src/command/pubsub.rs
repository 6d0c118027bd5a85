//! PUBSUB: who listens to what.

use duolog_broker::live::Pattern;

use super::{Call, Command, LOADING, PUBSUB, STALE, help};
use crate::error;
use crate::subject::{SHARD_PREFIX, is_channel, of_shard};

const FLAGS: u32 = PUBSUB | LOADING | STALE;

/// See the module.
pub const COMMANDS: &[Command] = &[Command::container(
    "pubsub",
    &[
        Command::new("pubsub|channels", -2, FLAGS, channels)
            .about("pubsub", "2.8.0", "Lists the channels that somebody listens to")
            .grows("O(N) where N is the number of channels"),
        Command::new("pubsub|help", 2, LOADING | STALE, show_help).about(
            "pubsub",
            "6.2.0",
            "Shows the subcommands",
        ),
        Command::new("pubsub|numpat", 2, FLAGS, numpat).about("pubsub", "2.8.0", "Counts the patterns"),
        Command::new("pubsub|numsub", -2, FLAGS, numsub)
            .about("pubsub", "2.8.0", "Counts the subscribers of channels")
            .grows("O(N) where N is the number of names"),
        Command::new("pubsub|shardchannels", -2, FLAGS, shardchannels)
            .about("pubsub", "7.0.0", "Lists the shard channels that somebody listens to")
            .grows("O(N) where N is the number of shard channels"),
        Command::new("pubsub|shardnumsub", -2, FLAGS, shardnumsub)
            .about("pubsub", "7.0.0", "Counts the subscribers of shard channels")
            .grows("O(N) where N is the number of names"),
    ],
)
.about("pubsub", "2.8.0", "Who listens to what")];

fn channels(call: &mut Call<'_, '_>) {
    list(call, |subject| is_channel(subject).then_some(subject));
}

fn shardchannels(call: &mut Call<'_, '_>) {
    list(call, |subject| subject.strip_prefix(SHARD_PREFIX));
}

/// Lists the names that `name_of` makes of subjects, and that match the pattern if there is one.
fn list(call: &mut Call<'_, '_>, name_of: fn(&[u8]) -> Option<&[u8]>) {
    if call.args.len() > 3 {
        let refusal = error::subcommand_arguments("pubsub", call.args.get(1));
        return call.reply.error(&refusal);
    }
    let pattern = (call.args.len() == 3).then(|| Pattern::glob(call.args.get(2)));
    let mut names: Vec<Vec<u8>> = Vec::new();
    call.client.server.broker.live().literals(&mut |subject, _| {
        if let Some(name) = name_of(subject)
            && pattern.as_ref().is_none_or(|pattern| pattern.matches(name))
        {
            names.push(name.to_vec());
        }
    });
    call.reply.array(names.len());
    for name in names {
        call.reply.bulk(&name);
    }
}

fn numsub(call: &mut Call<'_, '_>) {
    count(call, |call, name| call.client.server.broker.live().count(name));
}

fn shardnumsub(call: &mut Call<'_, '_>) {
    count(call, |call, name| call.client.server.broker.live().count(&of_shard(name)));
}

fn count(call: &mut Call<'_, '_>, of: fn(&Call<'_, '_>, &[u8]) -> u64) {
    let names = call.args.from(2);
    call.reply.array(2 * names.len());
    for name in names {
        let listening = of(call, name);
        call.reply.bulk(name);
        call.reply.integer(listening.cast_signed());
    }
}

fn numpat(call: &mut Call<'_, '_>) {
    let patterns = call.client.server.broker.live().globs();
    call.reply.integer(patterns.cast_signed());
}

fn show_help(call: &mut Call<'_, '_>) {
    help(
        call,
        "PUBSUB",
        &[
            (
                "CHANNELS [<pattern>]",
                "Channels that somebody listens to; those that match, if a pattern is given.",
            ),
            ("NUMPAT", "Number of patterns that somebody listens by."),
            (
                "NUMSUB [<channel> ...]",
                "For each of these channels how many listen to it, patterns not counted.",
            ),
            ("SHARDCHANNELS [<pattern>]", "As CHANNELS, of shard channels."),
            ("SHARDNUMSUB [<shardchannel> ...]", "As NUMSUB, of shard channels."),
        ],
    );
}

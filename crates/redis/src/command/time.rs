//! TIME.

use super::{Call, Command, FAST, LOADING, STALE};

/// See the module.
pub const COMMANDS: &[Command] = &[Command::new("time", 1, LOADING | STALE | FAST, time)
    .about("server", "2.6.0", "Tells the server's time")
    .tips(&["nondeterministic_output"])];

fn time(call: &mut Call<'_, '_>) {
    // The clock is one of milliseconds.
    let ms = call.client.server.broker.now().0.max(0);
    call.reply.array(2);
    call.reply.bulk((ms / 1000).to_string().as_bytes());
    call.reply.bulk((ms % 1000 * 1000).to_string().as_bytes());
}

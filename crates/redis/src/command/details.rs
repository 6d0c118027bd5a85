//! COMMAND: the table, told to clients.

use duolog_broker::live::Pattern;

use super::{CONNECTION, Call, Command, LOADING, STALE, TABLE, help, lookup, top_level};
use crate::codec::Reply;
use crate::error;

const FLAGS: u32 = LOADING | STALE | CONNECTION;
const UNORDERED: &[&str] = &["nondeterministic_output_order"];
const ALL: &str = "O(N) where N is the number of commands";

/// See the module.
pub const COMMANDS: &[Command] = &[Command::new("command", -1, FLAGS, all)
    .about("server", "2.8.13", "Tells all commands in detail")
    .grows(ALL)
    .tips(UNORDERED)
    .with(&[
        Command::new("command|count", 2, FLAGS, count).about("server", "2.8.13", "Counts the commands"),
        Command::new("command|docs", -2, FLAGS, docs)
            .about("server", "7.0.0", "Tells what commands are for")
            .grows(ALL)
            .tips(UNORDERED),
        Command::new("command|getkeys", -4, FLAGS, getkeys)
            .about("server", "2.8.13", "Tells which arguments of a command are keys")
            .grows("O(N) where N is the number of arguments"),
        Command::new("command|getkeysandflags", -4, FLAGS, getkeys)
            .about("server", "7.0.0", "Tells which arguments of a command are keys, and how they are used")
            .grows("O(N) where N is the number of arguments"),
        Command::new("command|help", 2, FLAGS, show_help).about("server", "5.0.0", "Shows the subcommands"),
        Command::new("command|info", -2, FLAGS, info)
            .about("server", "2.8.13", "Tells commands in detail")
            .grows(ALL)
            .tips(UNORDERED),
        Command::new("command|list", -2, FLAGS, list)
            .about("server", "7.0.0", "Lists the names of commands")
            .grows(ALL)
            .tips(UNORDERED),
    ])];

fn all(call: &mut Call<'_, '_>) {
    call.reply.array(top_level().count());
    for command in top_level() {
        tell(&mut call.reply, command);
    }
}

fn info(call: &mut Call<'_, '_>) {
    if call.args.len() == 2 {
        return all(call);
    }
    let names = call.args.from(2);
    call.reply.array(names.len());
    for name in names {
        match lookup(name) {
            Some((_, command)) => tell(&mut call.reply, command),
            None => call.reply.null(),
        }
    }
}

fn count(call: &mut Call<'_, '_>) {
    call.reply.integer(top_level().count() as i64);
}

fn tell(reply: &mut Reply<'_>, command: &Command) {
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.integer(i64::from(command.arity));
    let flags: Vec<_> = command.flag_names().collect();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.simple(flag));
    command.keys.iter().for_each(|key| reply.integer(i64::from(*key)));
    let categories = command.categories();
    reply.set(categories.len());
    categories.iter().for_each(|category| reply.simple(category));
    reply.set(command.tips.len());
    command.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    // Where else keys could be: nowhere.
    reply.set(0);
    reply.set(command.subcommands.len());
    command.subcommands.iter().for_each(|subcommand| tell(reply, subcommand));
}

fn docs(call: &mut Call<'_, '_>) {
    let known: Vec<&Command> = if call.args.len() == 2 {
        top_level().collect()
    } else {
        call.args.from(2).filter_map(lookup).map(|(_, command)| command).collect()
    };
    call.reply.map(known.len());
    for command in known {
        document(&mut call.reply, command);
    }
}

fn document(reply: &mut Reply<'_>, command: &Command) {
    reply.bulk(command.name.as_bytes());
    reply.map(4 + usize::from(!command.subcommands.is_empty()));
    for (key, value) in [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group),
        ("complexity", command.complexity),
    ] {
        reply.bulk(key.as_bytes());
        reply.bulk(value.as_bytes());
    }
    if !command.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(command.subcommands.len());
        command.subcommands.iter().for_each(|subcommand| document(reply, subcommand));
    }
}

fn list(call: &mut Call<'_, '_>) {
    let args = call.args;
    let listed: Vec<&Command> = match args.len() {
        2 => top_level().collect(),
        5 if args.is(2, "filterby") && args.is(3, "module") => Vec::new(),
        5 if args.is(2, "filterby") && args.is(3, "aclcat") => {
            let wanted = [b"@", args.get(4)].concat();
            let within = |command: &Command| {
                command.categories().iter().any(|it| it.as_bytes().eq_ignore_ascii_case(&wanted))
            };
            TABLE.iter().copied().filter(|command| within(command)).collect()
        }
        5 if args.is(2, "filterby") && args.is(3, "pattern") => {
            let pattern = Pattern::glob(&args.get(4).to_ascii_lowercase());
            TABLE.iter().copied().filter(|command| pattern.matches(command.name.as_bytes())).collect()
        }
        _ => return call.reply.error(error::SYNTAX),
    };
    call.reply.array(listed.len());
    listed.iter().for_each(|command| call.reply.bulk(command.name.as_bytes()));
}

/// No command has keys: what shard channels are cut by are no keys either.
fn getkeys(call: &mut Call<'_, '_>) {
    let refusal: &[u8] = match lookup(call.args.get(2)) {
        None => b"ERR Invalid command specified",
        Some((_, command)) if !command.takes(call.args.len() - 2) => {
            b"ERR Invalid number of arguments specified for command"
        }
        Some(_) => b"ERR The command has no key arguments",
    };
    call.reply.error(refusal);
}

fn show_help(call: &mut Call<'_, '_>) {
    help(
        call,
        "COMMAND",
        &[
            ("(no subcommand)", "All commands in detail."),
            ("COUNT", "Number of commands."),
            ("DOCS [<command-name> ...]", "What these commands are for; all, if none is named."),
            ("GETKEYS <full-command>", "Which of these arguments are keys."),
            ("GETKEYSANDFLAGS <full-command>", "Which of these arguments are keys, and how they are used."),
            ("INFO [<command-name> ...]", "These commands in detail; all, if none is named."),
            ("LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]", "Names of commands."),
        ],
    );
}

//! The `duolog` binary: it wires what the crates below decide.
//!
//! `serve` runs a broker, `topic`, `queue`, `group`, `exchange`, `bindings` and `binding` talk to one over its admin API, `bench` loads
//! one, `doctor` looks at the directory of one that does not run. Only here are the system's clock and chance read; everything below
//! gets them as parameters.

mod admin;
mod bench;
mod bindings;
mod cli;
mod clock;
mod config;
mod descriptors;
mod doctor;
mod serve;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// One durable log: read it as a stream with Kafka clients, work it as a queue with SQS clients.
#[derive(Debug, Parser)]
#[command(name = "duolog", version, propagate_version = true, arg_required_else_help = true)]
struct Duolog {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker.
    ///
    /// One line per listener goes to standard output, then `ready`; logs go to standard error. SIGTERM finishes what was
    /// accepted, syncs and exits with 0; a second one exits at once. Every option can also be given by the variable
    /// shown beside it or by its name with underscores in the configuration file: option over variable over file.
    Serve(Box<config::ServeArgs>),
    /// Topics: list, describe, create, delete, peek, trim
    Topic {
        #[command(flatten)]
        target: cli::Target,
        #[command(subcommand)]
        command: cli::TopicCommand,
    },
    /// Queues on topics: list, describe, create, delete, purge, replay
    Queue {
        #[command(flatten)]
        target: cli::Target,
        #[command(subcommand)]
        command: cli::QueueCommand,
    },
    /// Consumer groups: list, describe, delete
    Group {
        #[command(flatten)]
        target: cli::Target,
        #[command(subcommand)]
        command: cli::GroupCommand,
    },
    /// Exchanges, which route by key and headers: list, describe, create, delete, publish, bind, unbind
    Exchange {
        #[command(flatten)]
        target: cli::Target,
        #[command(subcommand)]
        command: cli::ExchangeCommand,
    },
    /// Show what is bound to exchanges: where each routes to, and when
    ///
    /// `exchange bind` and `exchange unbind` change it. Captures and echoes of live subjects are not shown here: `binding list` has
    /// them.
    Bindings {
        #[command(flatten)]
        target: cli::Target,
        #[command(flatten)]
        graph: cli::Graph,
    },
    /// Captures and echoes, between live subjects and topics: list, capture, echo, delete
    ///
    /// What is bound to exchanges is shown by `bindings` and changed by `exchange bind`.
    Binding {
        #[command(flatten)]
        target: cli::Target,
        #[command(subcommand)]
        command: cli::BindingCommand,
    },
    /// Examine a data directory that no broker uses: what is damaged, what can be done, what can be read
    ///
    /// Changes nothing in it. Exits with 1 if anything is damaged.
    Doctor(doctor::DoctorArgs),
    /// Load a broker and print figures
    Bench {
        #[command(subcommand)]
        command: bench::BenchCommand,
    },
}

fn numbers_may_be_negative(command: clap::Command) -> clap::Command {
    command.allow_negative_numbers(true).mut_subcommands(numbers_may_be_negative)
}

fn main() -> ExitCode {
    // So that `-1` is called no valid value of its option, and not an option itself.
    let matches = numbers_may_be_negative(Duolog::command()).get_matches();
    let duolog = Duolog::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let done = match duolog.command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Topic { target, command } => cli::run(target, command),
        Command::Queue { target, command } => cli::run(target, command),
        Command::Group { target, command } => cli::run(target, command),
        Command::Exchange { target, command } => cli::run(target, command),
        Command::Bindings { target, graph } => cli::run(target, graph),
        Command::Binding { target, command } => cli::run(target, command),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Bench { command } => bench::run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("duolog: {error:#}");
            // As clap does for what it finds wrong itself.
            ExitCode::from(if error.is::<config::ConfigError>() { 2 } else { 1 })
        }
    }
}

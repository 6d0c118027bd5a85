//! Runs a broker: binds, recovers, serves, ends.
//!
//! Order: everything that can be refused is refused before the log is opened; `ready` is said when all listeners serve;
//! at the end nothing new is accepted, what was accepted is finished, then the shard and the log are closed.

mod banner;
mod listeners;
mod logging;
mod signals;
mod store;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use duolog_amqp::{AmqpFrontend, AmqpOptions};
use duolog_aws::{Authorities, AwsFrontend, AwsOptions};
use duolog_broker::{Broker, BrokerOptions, Permissive, Principal};
use duolog_kafka::{KafkaFrontend, KafkaOptions};
use duolog_nats::{NatsFrontend, NatsOptions};
use duolog_net::{Budget, Context, Shutdown};
use duolog_redis::{RedisFrontend, RedisOptions};
use tracing::{error, info, warn};

use crate::bindings::Bindings;
use crate::clock::SystemClock;
use crate::config::{Config, ServeArgs};

use self::listeners::Bound;
pub use self::listeners::{Addresses, Parts};
use self::signals::Signals;

/// How long connections get to finish after a signal; with the shard's end it stays below ten seconds.
const CONNECTIONS_GRACE: Duration = Duration::from_secs(5);
/// How long the shard and the log get after that.
const STOP_GRACE: Duration = Duration::from_secs(4);

/// Runs until a signal or a failure.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub fn run(arguments: ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(arguments)?;
    logging::start(&config)?;
    end_with_a_broken_thread();
    crate::descriptors::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(1, usize::from))
        .thread_name("serve")
        .enable_all()
        .build()
        .context("cannot start the threads")?;
    let done = runtime.block_on(serve(&config));
    // Nothing is left on it but what did not end in time.
    runtime.shutdown_background();
    done
}

/// A thread that the broker cannot do without does not end unnoticed: what it had in its hands would never be answered.
/// What it had acknowledged is on disk, and whoever supervises the process starts it again.
fn end_with_a_broken_thread() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        let thread = std::thread::current();
        if matches!(thread.name(), Some("log" | "shard" | "reader" | "cleaner" | "echo" | "forward")) {
            std::process::abort();
        }
    }));
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let bound = Bound::all(&config.listen)?;
    let log = store::open(config)?;
    let broker = start_broker(config, log)?;
    let context = Context {
        budget: Budget::new(config.memory_budget),
        shutdown: Shutdown::new(),
        limits: config.limits,
    };
    let anonymous = || broker.session(Principal::anonymous());
    let kafka = Arc::new(KafkaFrontend::new(anonymous(), kafka_options(config)?));
    let aws = Arc::new(AwsFrontend::new(anonymous(), aws_options(config)?));
    let redis = Arc::new(RedisFrontend::new(anonymous(), redis_options(config)?));
    let nats = Arc::new(NatsFrontend::new(anonymous(), nats_options(config)?));
    let amqp =
        AmqpFrontend::start(anonymous(), amqp_options()?).await.context("the AMQP frontend cannot start")?;
    let bindings = Bindings::start(&broker, config).await.context("the bindings cannot be put in force")?;
    anonymous().start_forwards().await.context("topics cannot be forwarded")?;
    let parts = Parts {
        config,
        broker: &broker,
        context: &context,
        kafka,
        aws,
        amqp: Arc::new(amqp),
        nats,
        redis,
        bindings,
    };
    let (served, addresses) = bound.serve(&parts);
    banner::show(config, &addresses);
    announce(&addresses);
    info!(version = env!("CARGO_PKG_VERSION"), data_dir = %config.data_dir.display(), "ready");

    let failed = tokio::select! {
        signal = signals.next() => {
            info!(signal, "shutting down; a second signal ends at once");
            None
        }
        stopped = broker.failed() => {
            error!(reason = %stopped.reason, "the shard has stopped by itself");
            Some(stopped)
        }
    };
    context.shutdown.begin();
    served.close();
    if tokio::time::timeout(CONNECTIONS_GRACE, served.wait()).await.is_err() {
        warn!("some connections did not end in time and are cut off");
    }
    let ending = broker.clone();
    let stopped = tokio::task::spawn_blocking(move || ending.stop());
    let in_time = tokio::time::timeout(STOP_GRACE, stopped).await.is_ok();
    match failed {
        Some(stopped) => Err(anyhow!(
            "the broker stopped by itself: {}. Nothing acknowledged is lost; see to the disk and start it again",
            stopped.reason
        )),
        None if !in_time => Err(anyhow!("the log could not be closed in time; the next start recovers it")),
        None => {
            info!("stopped");
            Ok(())
        }
    }
}

fn start_broker(config: &Config, log: Arc<dyn duolog_storage::Log>) -> anyhow::Result<Broker> {
    let options = BrokerOptions {
        durability: config.durability,
        seed: chance()?,
        retention_check_ms: u64::try_from(config.retention_check.as_millis()).unwrap_or(u64::MAX),
        live_bytes_max: config.live_bytes_max,
    };
    Broker::start(log, Arc::new(SystemClock::new()), Arc::new(Permissive), options).map_err(|stopped| {
        anyhow!("the state in {} cannot be read: {}", config.data_dir.display(), stopped.reason)
    })
}

fn kafka_options(config: &Config) -> anyhow::Result<KafkaOptions> {
    Ok(KafkaOptions {
        advertised: config.kafka.advertised.clone().map(|it| (it.host, it.port)),
        data_dir: config.data_dir.display().to_string(),
        auto_create: config.kafka.auto_create,
        default_partitions: config.topics.partitions,
        retention_ms: config.topics.retention_ms,
        retention_bytes: config.topics.retention_bytes,
        message_bytes_max: config.topics.batch_bytes_max,
        catch_up_bytes_per_second: config.kafka.catch_up_bytes_per_second,
        initial_rebalance_delay: config.kafka.rebalance_delay,
        offsets_retention: config.kafka.offsets_retention,
        seed: chance()?,
        ..KafkaOptions::default()
    })
}

fn aws_options(config: &Config) -> anyhow::Result<AwsOptions> {
    let advertised = config.aws_advertised.clone().map(|it| (it.host, it.port));
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
    let authorities = match &config.sns_ca_file {
        None => Authorities::default(),
        Some(path) => {
            let shown = path.display();
            let pem = std::fs::read(path).with_context(|| format!("sns_ca_file {shown} cannot be read"))?;
            Authorities::with(&pem).map_err(|why| anyhow!("sns_ca_file {shown} cannot be used: {why}"))?
        }
    };
    Ok(AwsOptions {
        advertised,
        seed: chance()?,
        secret: secret.into(),
        private_endpoints: config.sns_private_endpoints,
        authorities,
        ..AwsOptions::default()
    })
}

fn redis_options(config: &Config) -> anyhow::Result<RedisOptions> {
    Ok(RedisOptions {
        buffer_hard_bytes: config.redis.buffer_hard,
        buffer_soft_bytes: config.redis.buffer_soft,
        buffer_soft_ms: u64::try_from(config.redis.soft_time.as_millis()).unwrap_or(u64::MAX),
        connections_max: config.limits.connections_max,
        data_dir: config.data_dir.display().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: chance()?,
    })
}

fn nats_options(config: &Config) -> anyhow::Result<NatsOptions> {
    Ok(NatsOptions {
        payload_bytes_max: config.nats.max_payload,
        pending_bytes_max: config.nats.pending_bytes_max,
        write_deadline: config.nats.write_deadline,
        ping_interval: config.nats.ping_interval,
        connections_max: config.limits.connections_max,
        seed: chance()?,
        ..NatsOptions::default()
    })
}

fn amqp_options() -> anyhow::Result<AmqpOptions> {
    Ok(AmqpOptions {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: chance()?,
        ..AmqpOptions::default()
    })
}

/// A draw of chance: the seed of what is derived from it.
fn chance() -> anyhow::Result<u64> {
    getrandom::u64().map_err(|error| anyhow!("the system gives no random numbers: {error}"))
}

/// What scripts wait for. That nobody reads it is no failure.
fn announce(addresses: &Addresses) {
    let mut lines = String::new();
    for (protocol, address) in addresses {
        lines += &format!("listening protocol={protocol} addr={address}\n");
    }
    lines += "ready\n";
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// Set in the process that is to end: this test runs itself again there.
    const INSIDE: &str = "DUOLOG_TEST_BROKEN_THREAD";

    #[test]
    fn a_panic_in_a_thread_that_the_broker_needs_ends_the_process_and_no_other_does() {
        if let Ok(name) = std::env::var(INSIDE) {
            super::end_with_a_broken_thread();
            let broken = std::thread::Builder::new().name(name).spawn(|| panic!("of the test"));
            // Unless the process has ended.
            drop(broken.expect("a thread").join());
            std::process::exit(7);
        }
        let this = std::env::current_exe().expect("a path");
        let status_with = |thread: &str| {
            let mut again = Command::new(&this);
            again.env(INSIDE, thread).arg("a_panic_in_a_thread_that_the_broker_needs");
            again.output().expect("it runs").status
        };
        for thread in ["log", "shard", "reader", "cleaner", "forward"] {
            assert_eq!(status_with(thread).signal(), Some(6), "{thread} is aborted");
        }
        assert_eq!(status_with("serve").code(), Some(7));
    }
}

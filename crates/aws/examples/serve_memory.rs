//! Serves SQS on a log in memory: `cargo run -p duolog-aws --example serve_memory -- 127.0.0.1:4566`.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use duolog_aws::{AwsFrontend, AwsOptions};
use duolog_broker::{Broker, BrokerOptions, Clock, Monotonic, Now, Permissive, Principal};
use duolog_net::{Budget, Context, Limits, Listener, Shutdown};
use duolog_record::Timestamp;
use duolog_storage::{Durability, MemoryLog};

/// The system's clocks.
struct SystemClock {
    started: Instant,
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            monotonic: Monotonic(self.started.elapsed().as_micros() as u64),
            wall: Timestamp(wall.as_millis() as i64),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4566".to_owned());
    let clock = Arc::new(SystemClock { started: Instant::now() });
    let seed = clock.now().wall.0.cast_unsigned();
    let options = BrokerOptions { durability: Durability::Sync, seed, retention_check_ms: 60_000 };
    let broker = Broker::start(Arc::new(MemoryLog::new()), clock, Arc::new(Permissive), options)?;
    let options = AwsOptions { seed, ..AwsOptions::default() };
    let frontend = Arc::new(AwsFrontend::new(broker.session(Principal::anonymous()), options));
    let context =
        Context { budget: Budget::new(512 << 20), shutdown: Shutdown::new(), limits: Limits::default() };
    let listener = Listener::bind(address.parse()?)?;
    println!("listening protocol=aws addr={}", listener.address());
    println!("ready");
    listener.run(frontend, context).await;
    Ok(())
}

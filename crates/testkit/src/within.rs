//! How long a test waits for what happens in other tasks.

use std::time::Duration;

/// Far more than a busy machine takes: whoever waits so long waits in vain.
const PATIENCE: Duration = Duration::from_secs(20);

/// A wait that must end by itself.
///
/// # Panics
/// If it has not ended after 20 seconds.
#[track_caller]
pub fn within<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let at = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(done) => done,
            Err(_) => panic!("it takes too long: {at}"),
        }
    }
}

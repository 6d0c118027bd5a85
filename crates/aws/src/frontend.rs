//! [`AwsFrontend`] is what the binary gives to a listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use duolog_broker::Session;
use duolog_net::{Connection, Context, Frontend, Shutdown};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::sns::{Deliveries, Draw, Numbers, Signer, SnsError};
use crate::{AwsOptions, connection, sns};

/// The SQS and SNS protocols on one broker. Give it to as many listeners as there are.
pub struct AwsFrontend {
    pub(crate) session: Session,
    pub(crate) options: AwsOptions,
    requests: AtomicU64,
    tokens: Draw,
    signer: OnceCell<Arc<Signer>>,
    /// Of messages in ordered topics.
    pub(crate) numbers: Numbers,
    /// Deliveries that are not made.
    pub(crate) dropped: AtomicU64,
    /// Those to endpoints.
    pub(crate) deliveries: Deliveries,
}

impl AwsFrontend {
    /// A frontend whose connections act as the principal of `session`.
    #[must_use]
    pub fn new(session: Session, options: AwsOptions) -> Self {
        Self {
            session,
            requests: AtomicU64::new(0),
            tokens: Draw::new(options.secret, "token"),
            signer: OnceCell::new(),
            numbers: Numbers::default(),
            dropped: AtomicU64::new(0),
            deliveries: Deliveries::new(options.private_endpoints, options.authorities.clone()),
            options,
        }
    }

    /// How many deliveries to SNS subscriptions were dropped because their protocol is not served.
    #[must_use]
    pub fn dropped_deliveries(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// What became of the attempts to deliver to `http` and `https` endpoints since the start: delivered, failed, moved to a dead-letter
    /// queue, given up.
    #[must_use]
    pub fn endpoint_deliveries(&self) -> [(&'static str, u64); 4] {
        self.deliveries.counts()
    }

    /// Delivers to `http` and `https` endpoints until `shutdown` begins: spawn it once beside the listeners.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        sns::deliver(self, shutdown).await;
    }

    /// Signs messages; made when it is first needed.
    pub(crate) async fn signer(&self) -> Result<Arc<Signer>, SnsError> {
        let load = || Signer::load(&self.session, self.options.secret);
        self.signer.get_or_try_init(load).await.map(Arc::clone)
    }

    /// A token that nobody can guess.
    pub(crate) fn next_token(&self) -> String {
        self.tokens.block().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// An id for the next request: the seed's stream of UUIDs.
    pub(crate) fn next_request_id(&self) -> Uuid {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let low = mix(self.options.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let bits = (u128::from(mix(low)) << 64) | u128::from(low);
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

impl Frontend for AwsFrontend {
    fn protocol(&self) -> &'static str {
        "aws"
    }

    async fn serve(self: Arc<Self>, connection: Connection, context: Context) {
        connection::serve(self, connection, context).await;
    }
}

/// SplitMix64's finaliser. Source: Steele, Lea, Flood 2014.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

//! Settings of the frontend.

pub use crate::outbound::Authorities;
pub use crate::sns::Secret;

/// Settings of the frontend.
#[derive(Clone, Debug)]
pub struct AwsOptions {
    /// The account of queue URLs and ARNs, if a client's access key is not itself twelve digits.
    pub account: String,
    /// The region of ARNs, if the request is not signed for one.
    pub region: String,
    /// Host and port of queue URLs; `None` follows the request's `Host` header, which is right behind port forwarding
    /// and name translation alike.
    pub advertised: Option<(String, u16)>,
    /// Seed of request ids: randomness is a parameter.
    pub seed: u64,
    /// What the key that SNS messages are signed with is drawn from, and tokens are: nobody else may know it.
    pub secret: Secret,
    /// SNS may deliver to endpoints at addresses that are not of the public internet.
    pub private_endpoints: bool,
    /// Whom `https` endpoints are believed by.
    pub authorities: Authorities,
}

impl Default for AwsOptions {
    fn default() -> Self {
        Self {
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            advertised: None,
            seed: 0,
            secret: Secret::default(),
            private_endpoints: false,
            authorities: Authorities::default(),
        }
    }
}

//! Who a request says it is: access key, region and service of the SigV4 credential scope. The signature is not verified yet.
//!
//! `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=..., Signature=...`, or the scope
//! alone in the parameter `X-Amz-Credential`.
//! Source: AWS General Reference, "Signature Version 4".

/// What the credential scope says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential<'a> {
    /// The access key.
    pub access_key: &'a str,
    /// The region that the request is signed for.
    pub region: &'a str,
    /// The service that it is signed for.
    pub service: &'a str,
}

impl<'a> Credential<'a> {
    /// Reads an `Authorization` header; `None` if it holds no scope.
    #[must_use]
    pub fn parse(authorization: &'a str) -> Option<Self> {
        let (_, rest) = authorization.split_once("Credential=")?;
        Self::of_scope(rest.split([',', ' ']).next()?)
    }

    /// Reads the scope itself, as a URL that is signed beforehand holds it; `None` if it is none.
    #[must_use]
    pub fn of_scope(scope: &'a str) -> Option<Self> {
        // An access key may hold slashes in theory, so the scope is read from its end.
        let mut parts = scope.rsplitn(5, '/');
        let (_terminator, service, region, _date) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let access_key = parts.next()?;
        let legal = |part: &str| {
            (1..=64).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        legal(region).then_some(Self { access_key, region, service })
    }

    /// The account, where the access key is an account's twelve digits: the convention of stand-ins.
    #[must_use]
    pub fn account(&self) -> Option<&'a str> {
        let digits = self.access_key.len() == 12 && self.access_key.bytes().all(|b| b.is_ascii_digit());
        digits.then_some(self.access_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_and_account_come_from_the_scope() {
        let header = "AWS4-HMAC-SHA256 Credential=123456789012/20261124/eu-central-1/sqs/aws4_request, SignedHeaders=host, Signature=00";
        let credential = Credential::parse(header).expect("a scope");
        assert_eq!((credential.region, credential.account()), ("eu-central-1", Some("123456789012")));
        let test =
            Credential::parse("AWS4-HMAC-SHA256 Credential=test/20261124/us-east-1/sqs/aws4_request,x");
        assert_eq!(test.map(|c| (c.access_key, c.account())), Some(("test", None)));
    }

    #[test]
    fn nonsense_has_no_scope() {
        for header in ["", "Bearer x", "Credential=", "Credential=a/b/c", "Credential=k/d/../s/aws4_request"]
        {
            assert_eq!(Credential::parse(header), None, "{header}");
        }
    }
}

//! The key that messages are signed with, and its certificate.
//!
//! The key is drawn once, when it is first needed, and kept as a label of an exchange in a namespace of its own, so that it is as durable
//! as what it signs. The certificate follows from the key: it is served under its own digest, and the same after each restart.
//! Source: SNS Developer Guide, "Verifying the signatures of messages"; RFC 5280 (the certificate), RFC 8017 (PKCS#1 v1.5).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use duolog_broker::errors::ChangeError;
use duolog_broker::routing::{ExchangeKind, ExchangeSpec};
use duolog_broker::{Labels, Session};
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey};
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::{Pkcs1v15Sign, PrivateKey};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{SnsCode, SnsError};
use crate::limits::SNS_KEY_BITS;

/// What the path of a certificate begins with.
pub(crate) const PATH: &str = "/SimpleNotificationService-";
const NAMESPACE: &str = "duolog-aws";
const NAME: &str = "signing-key";
const LABEL: &str = "aws.sns.key";

/// What keys and tokens are drawn from: randomness is a parameter.
#[derive(Clone, Copy, Default)]
pub struct Secret([u8; 32]);

impl From<[u8; 32]> for Secret {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Draws from a secret: SHA-256 over it, a purpose and a number. Source: NIST SP 800-90A, "Hash_DRBG", without reseeding.
pub(crate) struct Draw {
    secret: Secret,
    purpose: &'static str,
    number: AtomicU64,
}

impl Draw {
    pub fn new(secret: Secret, purpose: &'static str) -> Self {
        Self { secret, purpose, number: AtomicU64::new(0) }
    }

    pub fn block(&self) -> [u8; 32] {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let mut hash = Sha256::new();
        hash.update(self.secret.0);
        hash.update(number.to_be_bytes());
        hash.update(self.purpose.as_bytes());
        hash.finalize().into()
    }
}

impl TryRng for &Draw {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut word = [0; 4];
        self.try_fill_bytes(&mut word)?;
        Ok(u32::from_be_bytes(word))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut word = [0; 8];
        self.try_fill_bytes(&mut word)?;
        Ok(u64::from_be_bytes(word))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Self::Error> {
        for piece in to.chunks_mut(32) {
            piece.copy_from_slice(&self.block()[..piece.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for &Draw {}

/// Signs messages.
pub(crate) struct Signer {
    key: PrivateKey,
    /// Masks the use of the key, so that how long it takes tells nothing of it.
    blinding: Draw,
    /// PEM.
    pub certificate: String,
    /// Names the certificate.
    pub id: String,
}

impl Signer {
    fn new(key: PrivateKey, secret: Secret) -> Result<Self, String> {
        let blinding = Draw::new(secret, "blinding");
        let der = certificate(&key, &blinding)?;
        let id = Sha256::digest(&der).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let text = STANDARD.encode(&der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        let certificate =
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
        Ok(Self { key, blinding, certificate, id })
    }

    /// PKCS#1 v1.5 with SHA-256 (the second version of signatures) or SHA-1 (the first).
    ///
    /// # Errors
    /// If the key cannot.
    pub fn sign(&self, is_second: bool, text: &[u8]) -> Result<Vec<u8>, String> {
        let mut blinding = &self.blinding;
        let signed = match is_second {
            true => {
                self.key.sign_with_rng(&mut blinding, Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(text))
            }
            false => self.key.sign_with_rng(&mut blinding, Pkcs1v15Sign::new::<Sha1>(), &Sha1::digest(text)),
        };
        signed.map_err(|error| error.to_string())
    }

    /// The broker's signer, whose key is drawn now if there is none.
    ///
    /// # Errors
    /// `InternalError` if what is kept is no key; what the broker says.
    pub async fn load(session: &Session, secret: Secret) -> Result<Arc<Self>, SnsError> {
        let failed =
            |error: String| SnsError::new(SnsCode::InternalError, format!("The signing key: {error}."));
        loop {
            let kept = session.catalog().exchange(NAMESPACE, NAME).map(|it| it.labels.get(LABEL).cloned());
            if let Some(kept) = kept {
                let der = kept.and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
                let key = PrivateKey::from_pkcs8_der(&der).map_err(|error| failed(error.to_string()))?;
                return Signer::new(key, secret).map(Arc::new).map_err(failed);
            }
            let draw = move || {
                let draw = Draw::new(secret, "key");
                let key = PrivateKey::new(&mut &draw, SNS_KEY_BITS).map_err(|error| error.to_string())?;
                let der = key.to_pkcs8_der().map_err(|error| error.to_string())?;
                Ok(STANDARD.encode(der.as_bytes()))
            };
            let drawn = tokio::task::spawn_blocking(draw).await;
            let text = drawn.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
            let spec = ExchangeSpec {
                namespace: NAMESPACE.to_owned(),
                labels: Labels::from([(LABEL.to_owned(), text)]),
                ..ExchangeSpec::new(NAME, ExchangeKind::Direct)
            };
            match session.create_exchange(spec).await {
                // It is read back: only what is kept may sign.
                Ok(_) | Err(ChangeError::Exists(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A certificate of the key by itself, in DER.
///
/// ```text
/// SEQUENCE { SEQUENCE { serial, algorithm, issuer, SEQUENCE { from, to }, subject, public key }, algorithm, BIT STRING signature }
/// ```
fn certificate(key: &PrivateKey, mut blinding: &Draw) -> Result<Vec<u8>, String> {
    // sha256WithRSAEncryption, 1.2.840.113549.1.1.11.
    let algorithm = der(0x30, &[&[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11], &[5, 0]]);
    // commonName, 2.5.4.3.
    let common_name =
        der(0x30, &[&[0x06, 3, 0x55, 4, 3], &der(0x0c, &[b"duolog simple notification service"])]);
    let name = der(0x30, &[&der(0x31, &[&common_name])]);
    let validity = der(0x30, &[&der(0x17, &[b"250101000000Z"]), &der(0x17, &[b"491231235959Z"])]);
    let public = key.to_public_key().to_public_key_der().map_err(|error| error.to_string())?;
    let serial = Sha256::digest(public.as_bytes());
    // A positive number.
    let serial = der(0x02, &[&[1], &serial[..15]]);
    let told = der(0x30, &[&serial, &algorithm, &name, &validity, &name, public.as_bytes()]);
    let signature = key
        .sign_with_rng(&mut blinding, Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(&told))
        .map_err(|error| error.to_string())?;
    Ok(der(0x30, &[&told, &algorithm, &der(0x03, &[&[0], &signature])]))
}

/// A value in DER: tag, length, content.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = (content.len() as u32).to_be_bytes();
    let digits = &length[length.iter().take(3).filter(|byte| **byte == 0).count()..];
    let mut out = vec![tag];
    if content.len() >= 128 {
        out.push(0x80 | digits.len() as u8);
    }
    out.extend_from_slice(digits);
    out.extend_from_slice(&content);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lengths_are_written_as_der_has_them() {
        assert_eq!(der(4, &[b"ab", b"c"]), [4, 3, b'a', b'b', b'c']);
        assert_eq!(der(4, &[&[0; 128]])[..3], [4, 0x81, 128]);
        assert_eq!(der(4, &[&[0; 300]])[..4], [4, 0x82, 1, 44]);
        assert_eq!(der(4, &[&[0; 70_000]])[..5], [4, 0x83, 1, 17, 112]);
    }

    #[test]
    fn a_signature_can_be_verified_and_a_key_comes_again() {
        let secret = Secret::from([7; 32]);
        let key = || PrivateKey::new(&mut &Draw::new(secret, "key"), 1024).unwrap();
        let signer = Signer::new(key(), secret).unwrap();
        assert_eq!(Signer::new(key(), secret).unwrap().id, signer.id, "drawn from the same secret");
        let public = signer.key.to_public_key();
        let second = signer.sign(true, b"text").unwrap();
        assert!(public.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(b"text"), &second).is_ok());
        let first = signer.sign(false, b"text").unwrap();
        assert!(public.verify(Pkcs1v15Sign::new::<Sha1>(), &Sha1::digest(b"text"), &first).is_ok());
        assert!(public.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(b"other"), &second).is_err());
        assert!(!format!("{secret:?}").contains('7'));
    }
}

//! What stands before a body: request headers v0, v1 and v2, response headers v0 and v1.
//!
//! Source: Kafka protocol guide, "Request header", "Response header"; KIP-511 (ApiVersions answers with header v0).

use bytes::Bytes;

use super::{Api, ApiKey, DecodeError, Decoder, Encoder, Frame, Wire};

/// The header of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// As sent: need not be an api of ours.
    pub api_key: i16,
    /// As sent.
    pub api_version: i16,
    /// Returned in the response.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads the part that every version has: key, version, correlation id.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn decode_start(from: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            api_key: Wire::decode(from)?,
            api_version: Wire::decode(from)?,
            correlation_id: Wire::decode(from)?,
            client_id: None,
        })
    }

    /// Reads the rest and sets the decoder to the body's version. The client id is never compact.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode_rest(&mut self, api: ApiKey, from: &mut Decoder) -> Result<(), DecodeError> {
        let flexible = api.is_flexible(self.api_version);
        from.switch(self.api_version, false);
        self.client_id = Wire::decode(from)?;
        from.switch(self.api_version, flexible);
        if flexible { from.tags(|_, _| Ok(())) } else { Ok(()) }
    }
}

/// Reads the body of a request. Bytes after the last field are ignored, as Kafka does: librdkafka sends some.
/// Source: librdkafka#5049.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode_body<T: Wire>(from: &mut Decoder) -> Result<T, DecodeError> {
    T::decode(from)
}

/// A request as a client sends it.
#[must_use]
pub fn encode_request<T: Api>(version: i16, correlation_id: i32, client_id: Option<&str>, body: &T) -> Frame {
    let flexible = T::KEY.is_flexible(version);
    let mut to = Encoder::new(version, false);
    (T::KEY as i16).encode(&mut to);
    version.encode(&mut to);
    correlation_id.encode(&mut to);
    client_id.map(str::to_owned).encode(&mut to);
    to.switch(version, flexible);
    if flexible {
        to.put_tags(&[]);
    }
    body.encode(&mut to);
    to.finish()
}

/// A response as the broker sends it.
#[must_use]
pub fn encode_response<T: Wire>(api: ApiKey, version: i16, correlation_id: i32, body: &T) -> Frame {
    let flexible = api.is_flexible(version);
    let mut to = Encoder::new(version, flexible);
    correlation_id.encode(&mut to);
    if flexible && api != ApiKey::ApiVersions {
        to.put_tags(&[]);
    }
    body.encode(&mut to);
    to.finish()
}

/// Reads a response as a client does, its size already taken off.
///
/// # Errors
/// See [`DecodeError`]; bytes after the last field are `Trailing`.
pub fn decode_response<T: Api>(version: i16, frame: Bytes) -> Result<(i32, T::Response), DecodeError> {
    let flexible = T::KEY.is_flexible(version);
    let mut from = Decoder::new(frame, version, flexible);
    let correlation_id = Wire::decode(&mut from)?;
    if flexible && T::KEY != ApiKey::ApiVersions {
        from.tags(|_, _| Ok(()))?;
    }
    let body = T::Response::decode(&mut from)?;
    from.finish()?;
    Ok((correlation_id, body))
}

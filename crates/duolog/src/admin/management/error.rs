//! What this API answers when it refuses.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::WWW_AUTHENTICATE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use duolog_broker::errors::ChangeError;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Deserializer};
use serde_json::{Map, Value, json};

/// A refusal.
#[derive(Debug)]
pub enum Refusal {
    /// There is no such thing.
    NotFound,
    /// The request makes no sense, or stands in the way of what is there.
    Bad(String),
    /// A page that there is not, with the name of the error.
    BadPage(&'static str, String),
    /// A check of health that fails, with what it says besides.
    Unhealthy(String, Map<String, Value>),
    /// Who asks is to say who they are.
    Unauthorized,
    /// Not now.
    Unavailable(String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let said = |status: StatusCode, error: &str, reason: String| {
            (status, Json(json!({ "error": error, "reason": reason }))).into_response()
        };
        match self {
            Self::NotFound => said(StatusCode::NOT_FOUND, "Object Not Found", "Not Found".to_owned()),
            Self::BadPage(error, reason) => said(StatusCode::BAD_REQUEST, error, reason),
            Self::Unhealthy(reason, more) => {
                let mut told = json!({ "status": "failed", "reason": reason });
                more.into_iter().for_each(|(key, value)| told[key] = value);
                (StatusCode::SERVICE_UNAVAILABLE, Json(told)).into_response()
            }
            Self::Bad(reason) => said(StatusCode::BAD_REQUEST, "bad_request", reason),
            Self::Unavailable(reason) => said(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", reason),
            Self::Unauthorized => {
                (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic realm=\"Duolog\"")]).into_response()
            }
        }
    }
}

impl From<ChangeError> for Refusal {
    fn from(error: ChangeError) -> Self {
        let reason = error.to_string();
        match error {
            ChangeError::NotFound(_) => Self::NotFound,
            ChangeError::Exists(_)
            | ChangeError::Denied
            | ChangeError::Invalid { .. }
            | ChangeError::InUse(_)
            | ChangeError::OverLimit(_) => Self::Bad(reason),
            ChangeError::DiskFull | ChangeError::Stopped(_) => Self::Unavailable(reason),
        }
    }
}

/// For everything that is not routed.
pub async fn no_such_path() -> Refusal {
    Refusal::NotFound
}

/// For a path that is there, and a method that it does not take.
pub async fn no_such_method() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

/// A JSON body, whatever its type is said to be: command lines leave that out.
pub struct Document<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Document<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        let text = if bytes.is_empty() { &b"{}"[..] } else { &bytes };
        let refused = |error: serde_json::Error| Refusal::Bad(error.to_string()).into_response();
        serde_json::from_slice(text).map(Self).map_err(refused)
    }
}

/// A whole number, which some clients write as a string.
pub fn number<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let value = Value::deserialize(from)?;
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let number = number.and_then(|it| usize::try_from(it).ok());
    number.ok_or_else(|| serde::de::Error::custom("a whole number was expected"))
}

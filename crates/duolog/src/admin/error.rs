//! What the admin API answers when it refuses: a status, a word for programs and a sentence for people.

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use duolog_broker::errors::{AppendError, ChangeError, CursorError, FetchError, LeaseError};
use serde_json::json;

/// A refusal.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    /// The request makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "invalid", message: message.into() }
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "not_found", message: message.into() }
    }

    /// It stands in the way of what is there.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self { status: StatusCode::CONFLICT, code: "conflict", message: message.into() }
    }

    /// The request could not be read.
    pub fn refused(status: StatusCode, message: String) -> Self {
        let code = match status {
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
            _ => "invalid",
        };
        Self { status, code, message }
    }

    fn denied(message: String) -> Self {
        Self { status: StatusCode::FORBIDDEN, code: "denied", message }
    }

    /// Not now.
    pub fn unavailable(message: String) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code: "unavailable", message }
    }

    /// Our fault, or the disk's.
    pub fn internal(message: String) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: "internal", message }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.code, "message": self.message }))).into_response()
    }
}

/// For everything that is not routed.
pub async fn no_such_path(uri: Uri) -> ApiError {
    ApiError::not_found(format!("there is nothing at {}; docs/admin-api.md lists what there is", uri.path()))
}

/// For a path that is there, and a method that it does not take.
pub async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    ApiError {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "method_not_allowed",
        message: format!("{} does not take {method}; docs/admin-api.md lists what there is", uri.path()),
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        let message = error.to_string();
        match error {
            AppendError::NotFound => Self::not_found(message),
            AppendError::Denied => Self::denied(message),
            AppendError::TooLarge { .. } => Self::refused(StatusCode::PAYLOAD_TOO_LARGE, message),
            AppendError::Malformed(_)
            | AppendError::OutOfOrder { .. }
            | AppendError::StaleEpoch { .. }
            | AppendError::TransactionsUnsupported => Self::invalid(message),
            AppendError::Quarantined(_) => Self::internal(message),
            AppendError::DiskFull => {
                Self { status: StatusCode::INSUFFICIENT_STORAGE, code: "disk_full", message }
            }
            AppendError::Overloaded
            | AppendError::DedupFull
            | AppendError::CursorMoved
            | AppendError::QueueFull(_)
            | AppendError::Stopped(_) => Self::unavailable(message),
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        let message = error.to_string();
        match error {
            ChangeError::Exists(_) => Self { status: StatusCode::CONFLICT, code: "exists", message },
            ChangeError::NotFound(_) => Self::not_found(message),
            ChangeError::Denied => Self::denied(message),
            ChangeError::Invalid { .. } => Self::invalid(message),
            ChangeError::InUse(_) => Self { status: StatusCode::CONFLICT, code: "in_use", message },
            ChangeError::OverLimit(_) => {
                Self { status: StatusCode::UNPROCESSABLE_ENTITY, code: "over_limit", message }
            }
            ChangeError::DiskFull => {
                Self { status: StatusCode::INSUFFICIENT_STORAGE, code: "disk_full", message }
            }
            ChangeError::Stopped(_) => Self::unavailable(message),
        }
    }
}

impl From<CursorError> for ApiError {
    fn from(error: CursorError) -> Self {
        let message = error.to_string();
        match error {
            CursorError::NotFound(_) => Self::not_found(message),
            CursorError::Denied => Self::denied(message),
            CursorError::MetadataTooLarge(_) | CursorError::TooMany(_) | CursorError::Full(_) => {
                Self::invalid(message)
            }
            CursorError::DiskFull => {
                Self { status: StatusCode::INSUFFICIENT_STORAGE, code: "disk_full", message }
            }
            CursorError::Stopped(_) => Self::unavailable(message),
        }
    }
}

impl From<FetchError> for ApiError {
    fn from(error: FetchError) -> Self {
        let message = error.to_string();
        match error {
            FetchError::NotFound(_) => Self::not_found(message),
            FetchError::Denied => Self::denied(message),
            FetchError::OutOfRange { .. } => Self::invalid(message),
            FetchError::Storage(_) => Self::internal(message),
            FetchError::Stopped(_) => Self::unavailable(message),
        }
    }
}

impl From<LeaseError> for ApiError {
    fn from(error: LeaseError) -> Self {
        let message = error.to_string();
        match error {
            LeaseError::NotFound => Self::not_found(message),
            LeaseError::Denied => Self::denied(message),
            LeaseError::OverLimit { .. } | LeaseError::Overloaded | LeaseError::Stopped(_) => {
                Self::unavailable(message)
            }
            LeaseError::Storage(_) => Self::internal(message),
        }
    }
}

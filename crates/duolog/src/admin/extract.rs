//! Bodies, queries and path segments as values; what does not fit is refused in the API's own words.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// A JSON body.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let refused = |error: JsonRejection| ApiError::refused(error.status(), error.body_text());
        axum::Json::from_request(request, state).await.map(|axum::Json(it)| Self(it)).map_err(refused)
    }
}

/// The part of the path that is a name.
pub struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let refused = |error: PathRejection| ApiError::refused(error.status(), error.body_text());
        Path::from_request_parts(parts, state).await.map(|Path(it)| Self(it)).map_err(refused)
    }
}

/// The two parts of the path that are names.
pub struct Names(pub String, pub String);

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let refused = |error: PathRejection| ApiError::refused(error.status(), error.body_text());
        let names = Path::from_request_parts(parts, state).await;
        names.map(|Path((one, other))| Self(one, other)).map_err(refused)
    }
}

/// What stands behind the question mark.
pub struct Options<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Options<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let refused = |error: QueryRejection| ApiError::refused(error.status(), error.body_text());
        Query::from_request_parts(parts, state).await.map(|Query(it)| Self(it)).map_err(refused)
    }
}

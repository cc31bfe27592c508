//! Extractors whose refusals are problem documents like all others.

use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{header, request::Parts},
};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::{Error, State};

/// Bytes of a body that is JSON.
const JSON_BYTES_MAX: usize = 64 * 1024;

/// Nothing that is stored has it: PostgreSQL cannot hold it.
const NUL: &str = "a parameter has the character U+0000";

fn has_nul(encoded: &str) -> bool {
    encoded.contains("%00")
}

/// The parameters of the query.
pub(crate) struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        if parts.uri.query().is_some_and(has_nul) {
            return Err(Error::BadQuery(NUL.into()));
        }
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                let source = std::error::Error::source(&rejection);
                Err(Error::BadQuery(
                    source.map_or(rejection.body_text(), ToString::to_string),
                ))
            }
        }
    }
}

/// The parameter in the path.
pub(crate) struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        if has_nul(parts.uri.path()) {
            return Err(Error::BadPath(NUL.into()));
        }
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(rejection) => Err(Error::BadPath(rejection.body_text())),
        }
    }
}

/// The body, which says that it is JSON: a form of another site cannot.
pub(crate) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<State> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &State) -> Result<Self, Error> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let is_json = content_type
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .is_some_and(|mime| mime.trim().eq_ignore_ascii_case("application/json"));
        if !is_json {
            return Err(Error::NotJson);
        }
        let body = to_bytes(request.into_body(), JSON_BYTES_MAX);
        let body = timeout(state.config.idle_timeout(), body).await;
        let bytes = body.map_err(|_| Error::Slow)?.map_err(refuse)?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Error::BadJson(error.to_string()))
    }
}

fn refuse(error: axum::Error) -> Error {
    let error = error.into_inner();
    if error.is::<LengthLimitError>() {
        return Error::LongJson {
            bytes_max: JSON_BYTES_MAX,
        };
    }
    Error::BadBody(error.to_string())
}

//! The one place where errors become answers: RFC 9457 problem documents.

use std::{collections::BTreeMap, io};

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::task::JoinError;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder},
};
use uuid::Uuid;

/// Why a request has no answer. The text is for the client, except where the fault is ours.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A parameter of the query.
    #[error("{0}")]
    BadQuery(String),
    /// A parameter in the path.
    #[error("{0}")]
    BadPath(String),
    /// Days that make no range.
    #[error("{0}")]
    BadRange(String),
    /// A cursor of another list, or none of ours.
    #[error(
        "the cursor does not belong to this list: take it from `next` and repeat the other parameters"
    )]
    BadCursor,
    /// The connection broke within the body, or its encoding is wrong.
    #[error("the body did not arrive whole: {0}")]
    BadBody(String),
    /// A body that is not the multipart/form-data it claims to be.
    #[error("{0}")]
    BadMultipart(String),
    /// A body that is not the JSON that the route takes.
    #[error("{0}")]
    BadJson(String),
    /// A body that does not say that it is JSON, as a form of another site cannot.
    #[error("the body must be JSON, with the content type application/json")]
    NotJson,
    /// A body that is too long for what the route takes.
    #[error("a body of JSON has at most {bytes_max} bytes")]
    LongJson {
        /// The limit.
        bytes_max: usize,
    },
    /// Nobody is known to ask.
    #[error(
        "this needs a token that is known and neither expired nor revoked: send it as `Authorization: Bearer`, or sign in; \
         `ruad token create` makes one"
    )]
    Unauthenticated {
        /// What stands on the button that leads to an OpenID provider, if there is one.
        sign_in_label: Option<String>,
    },
    /// The token does not allow it.
    #[error("{detail}")]
    Forbidden {
        /// What is missing.
        detail: String,
    },
    /// Somebody asks too often.
    #[error("this is asked for too often: try again in {retry_after_secs} seconds")]
    TooManyRequests {
        /// When the next request is answered.
        retry_after_secs: u64,
    },
    /// A browser that is signed in changes something without the CSRF token.
    #[error(
        "requests with a session that change something need the header X-CSRF-Token with `csrf_token` of /api/v1/session"
    )]
    Csrf,
    /// No such token.
    #[error("there is no token with this id")]
    UnknownToken,
    /// No such route.
    #[error("there is nothing here; /docs lists what there is")]
    UnknownRoute,
    /// The route does not know the method.
    #[error("this route does not know this method; the header Allow lists those it knows")]
    MethodNotAllowed,
    /// No report names this policy domain.
    #[error("no report names the policy domain {0}")]
    UnknownDomain(String),
    /// No such report.
    #[error("there is no report {0}")]
    UnknownReport(Uuid),
    /// The records of the report were dropped because of their age.
    #[error(
        "the records of report {0} are kept no longer; the report itself and its messages in summaries are"
    )]
    RecordsExpired(Uuid),
    /// No such delivery.
    #[error("there is no delivery {0}")]
    UnknownDelivery(Uuid),
    /// The bytes of the delivery are not kept, or no longer.
    #[error("the bytes of delivery {0} are not kept")]
    NotKept(Uuid),
    /// An upload beyond the limit.
    #[error("an upload has at most {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// An upload that takes too long.
    #[error("the upload took too long")]
    Slow,
    /// As many uploads as there may be are in progress.
    #[error("too many uploads at a time; try again")]
    Busy,
    /// The request names another host than this one.
    #[error(
        "the API listens on loopback only and asks for no token, so the host must be localhost or a loopback address such as \
         127.0.0.1"
    )]
    ForbiddenHost,
    /// Somebody comes through a proxy where no token is asked for.
    #[error(
        "this came through a proxy, and without tokens whoever reaches the proxy could read and delete everything: set \
         http.access = \"token\" in the configuration of ruad"
    )]
    BehindProxy,
    /// A web page of another host wants to change something.
    #[error("requests that change something are refused from pages of other origins")]
    ForbiddenOrigin,
    /// A long list for a client that could not tell whether it is complete.
    #[error("a list of this length needs HTTP/1.1; with limit it comes in parts")]
    OldHttp,
    /// A page of an export.
    #[error("a page of an export: {0}")]
    Export(#[source] io::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// An upload could not be taken in.
    #[error(transparent)]
    Intake(#[from] ingest::Error),
    /// An upload could not be spooled.
    #[error("spooling an upload: {0}")]
    Spool(#[from] io::Error),
    /// A task of ours broke off.
    #[error("a task broke off: {0}")]
    Task(#[from] JoinError),
}

/// Why a request has no answer (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// The status in words.
    #[schema(example = "Not Found")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What to do about it, for people.
    #[schema(example = "no report names the policy domain example.org")]
    detail: String,
    /// The stable reason, for programs.
    #[schema(example = "unknown_domain")]
    code: &'static str,
    /// With `unauthenticated`, where people can sign in at an OpenID provider (`GET /api/v1/session/oidc`): what the button
    /// says that leads there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Single sign-on")]
    sign_in_label: Option<String>,
}

impl Error {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BadQuery(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad_query"),
            Self::BadPath(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad_path"),
            Self::BadRange(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad_range"),
            Self::BadCursor => (StatusCode::UNPROCESSABLE_ENTITY, "bad_cursor"),
            Self::BadBody(_) => (StatusCode::BAD_REQUEST, "bad_body"),
            Self::BadMultipart(_) => (StatusCode::BAD_REQUEST, "bad_multipart"),
            Self::BadJson(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad_json"),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json"),
            Self::LongJson { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::Unauthenticated { .. } => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Self::Forbidden { .. } => (StatusCode::FORBIDDEN, "forbidden"),
            Self::TooManyRequests { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests"),
            Self::Csrf => (StatusCode::FORBIDDEN, "csrf"),
            Self::UnknownToken => (StatusCode::NOT_FOUND, "unknown_token"),
            Self::UnknownRoute => (StatusCode::NOT_FOUND, "unknown_route"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::UnknownDomain(_) => (StatusCode::NOT_FOUND, "unknown_domain"),
            Self::UnknownReport(_) => (StatusCode::NOT_FOUND, "unknown_report"),
            Self::RecordsExpired(_) => (StatusCode::GONE, "records_expired"),
            Self::UnknownDelivery(_) => (StatusCode::NOT_FOUND, "unknown_delivery"),
            Self::NotKept(_) => (StatusCode::NOT_FOUND, "not_kept"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "timeout"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::ForbiddenHost => (StatusCode::FORBIDDEN, "forbidden_host"),
            Self::BehindProxy => (StatusCode::FORBIDDEN, "behind_proxy"),
            Self::ForbiddenOrigin => (StatusCode::FORBIDDEN, "forbidden_origin"),
            Self::OldHttp => (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "old_http"),
            // An upload is never lost to a fault of ours, whatever it is: it is to be tried again.
            Self::Intake(_) | Self::Spool(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Store(error) if error.is_too_slow() => {
                (StatusCode::SERVICE_UNAVAILABLE, "too_slow")
            }
            Self::Store(_) if self.is_passing() => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Store(_) | Self::Task(_) | Self::Export(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        }
    }

    /// The stable reason, for programs.
    pub(crate) fn code(&self) -> &'static str {
        self.status_and_code().1
    }

    /// Whether it is over as soon as the database is back.
    fn is_passing(&self) -> bool {
        let (Self::Store(error) | Self::Intake(ingest::Error::Store(error))) = self else {
            return false;
        };
        error.is_passing() || matches!(error, store::Error::Closed)
    }

    /// What the client may know. What is wrong with us goes to the log, once, here.
    fn detail(&self, status: StatusCode) -> String {
        if !status.is_server_error() || matches!(self, Self::Busy | Self::OldHttp) {
            return self.to_string();
        }
        if self.is_passing() {
            tracing::warn!(error = %self, "a request failed for the time being");
        } else {
            tracing::error!(error = %self, "a request failed");
        }
        match status {
            StatusCode::SERVICE_UNAVAILABLE if self.code() == "too_slow" => {
                "this takes the database too long: ask for fewer days or a shorter list, or try again later".into()
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                "this is not possible at the moment; nothing is lost, try again".into()
            }
            _ => "the fault is on this side; the log of the server says more".into(),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        let retry_after = match &self {
            Self::TooManyRequests { retry_after_secs } => {
                Some(HeaderValue::from(*retry_after_secs))
            }
            _ => None,
        };
        let problem = Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: self.detail(status),
            code,
            sign_in_label: match self {
                Self::Unauthenticated { sign_in_label } => sign_in_label,
                _ => None,
            },
        };
        let mut response = (status, axum::Json(problem)).into_response();
        let headers = response.headers_mut();
        if let Some(retry_after) = retry_after {
            headers.insert(header::RETRY_AFTER, retry_after);
        }
        let mut set =
            |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
        set(header::CONTENT_TYPE, "application/problem+json");
        match code {
            "busy" => _ = set(header::RETRY_AFTER, "1"),
            "unavailable" => _ = set(header::RETRY_AFTER, "5"),
            // Soon, it would only be as slow again.
            "too_slow" => _ = set(header::RETRY_AFTER, "30"),
            "unauthenticated" => _ = set(header::WWW_AUTHENTICATE, "Bearer realm=\"ruad\""),
            "timeout" => _ = set(header::CONNECTION, "close"),
            _ => {}
        }
        response
    }
}

/// Every operation may be answered with a problem document.
impl IntoResponses for Problem {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        let response = ResponseBuilder::new()
            .description("A problem document with a stable `code`")
            .content("application/problem+json", content)
            .build();
        BTreeMap::from([("default".to_owned(), response.into())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_to_be_tried_again() {
        let response = Error::from(io::Error::other("disk full")).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
    }

    #[test]
    fn what_we_did_wrong_stays_with_us() {
        let error = Error::from(store::Error::Corrupt {
            table: "reports",
            column: "sha256",
            detail: "3 bytes".into(),
        });
        assert_eq!(
            error.status_and_code(),
            (StatusCode::INTERNAL_SERVER_ERROR, "internal")
        );
        assert!(
            !error
                .detail(StatusCode::INTERNAL_SERVER_ERROR)
                .contains("sha256")
        );
    }
}

//! Tokens.

use axum::{Json, extract, http::StatusCode};
use serde::{Deserialize, Serialize};
use store::{DomainList, NewToken, Scope};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    Error, State,
    access::Viewer,
    error::Problem,
    extract::{JsonBody, Path},
};

/// Tokens, the newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenList {
    items: Vec<Token>,
    /// Always null: all of them are on one page.
    #[schema(example = json!(null))]
    next: Option<String>,
}

/// A token, without its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct Token {
    /// The part of it that is no secret.
    #[schema(example = "5f0c1d2e3a4b5c6d")]
    token_id: String,
    /// What it is for.
    #[schema(example = "Grafana")]
    name: Option<String>,
    scope: TokenScope,
    /// The policy domains it is restricted to, each with the names below it; null for all.
    #[schema(example = json!(["example.org"]))]
    domains: Option<Vec<String>>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// From when on it is refused; null for never.
    #[serde(with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    /// When it was last used, to the minute.
    #[serde(with = "time::serde::rfc3339::option")]
    last_used_at: Option<OffsetDateTime>,
    /// Since when it is refused; null as long as it is not.
    #[serde(with = "time::serde::rfc3339::option")]
    revoked_at: Option<OffsetDateTime>,
    state: TokenState,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TokenScope {
    /// All answers, but for tokens and the audit.
    Read,
    /// Uploads, and nothing else.
    Ingest,
    /// Everything.
    Admin,
}

/// Whether a token lets somebody in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TokenState {
    /// It does.
    Valid,
    /// Its time is over.
    Expired,
    /// Somebody revoked it.
    Revoked,
}

/// A token that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeToken {
    #[serde(flatten)]
    described: Token,
    /// The token itself, for `Authorization: Bearer`. It is not to be had again.
    #[schema(example = "ruad_5f0c1d2e3a4b5c6d_...")]
    token: String,
}

/// A token to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRequest {
    scope: TokenScope,
    /// What it is for.
    #[schema(
        example = "Grafana",
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: Option<String>,
    /// The policy domains it is restricted to, each with the names below it; all, if left out.
    #[schema(value_type = Option<Vec<DomainName>>, example = json!(["example.org"]), min_items = 1)]
    domains: Option<Vec<String>>,
    /// After how many days it is refused; never, if left out.
    #[schema(example = 365, minimum = 1, maximum = 36500)]
    expires_days: Option<u32>,
}

/// The name of a domain, in any case and with or without dots around it; beyond ASCII as it is in the DNS (`xn--...`).
#[derive(ToSchema)]
#[schema(value_type = String, pattern = r"^\s*\.*[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.*\s*$", example = "example.org")]
#[expect(dead_code, reason = "only described: the list of domains reads them")]
struct DomainName(String);

impl From<Scope> for TokenScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Read => Self::Read,
            Scope::Ingest => Self::Ingest,
            Scope::Admin => Self::Admin,
        }
    }
}

impl From<TokenScope> for Scope {
    fn from(scope: TokenScope) -> Self {
        match scope {
            TokenScope::Read => Self::Read,
            TokenScope::Ingest => Self::Ingest,
            TokenScope::Admin => Self::Admin,
        }
    }
}

impl From<store::Token> for Token {
    fn from(token: store::Token) -> Self {
        Self {
            state: match (token.revoked_at, token.is_expired) {
                (Some(_), _) => TokenState::Revoked,
                (None, true) => TokenState::Expired,
                (None, false) => TokenState::Valid,
            },
            token_id: token.token_id,
            name: token.name,
            scope: token.scope.into(),
            domains: token.domains.map(|domains| domains.names().into()),
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
            revoked_at: token.revoked_at,
        }
    }
}

impl TryFrom<TokenRequest> for NewToken {
    type Error = Error;

    fn try_from(request: TokenRequest) -> Result<Self, Error> {
        let domains = request.domains.map(DomainList::new).transpose();
        let domains = domains.map_err(|error| Error::BadJson(format!("domains: {error}")))?;
        Self::new(request.name, request.scope.into())
            .and_then(|new| new.for_domains(domains).expiring(request.expires_days))
            .map_err(|error| Error::BadJson(error.to_string()))
    }
}

/// All tokens
///
/// With those that are refused, and without their secrets, which are not known.
#[utoipa::path(
    get, path = "/api/v1/tokens", operation_id = "list_tokens", tag = "Access",
    responses((status = 200, description = "Tokens, the newest first", body = TokenList), Problem)
)]
pub(super) async fn list(
    extract::State(state): extract::State<State>,
) -> Result<Json<TokenList>, Error> {
    let tokens = state.store().tokens().await?;
    Ok(Json(TokenList {
        items: tokens.into_iter().map(Token::from).collect(),
        next: None,
    }))
}

/// Make a token
///
/// The answer is the only place where it is ever shown.
#[utoipa::path(
    post, path = "/api/v1/tokens", operation_id = "create_token", tag = "Access", request_body = TokenRequest,
    responses(
        (status = 201, description = "The token", body = MadeToken),
        (status = 413, description = "`too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`not_json`: the content type is another one", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "`bad_json`", body = Problem, content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn create(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    JsonBody(request): JsonBody<TokenRequest>,
) -> Result<(StatusCode, Json<MadeToken>), Error> {
    let new = NewToken::try_from(request)?;
    let (token, text) = state.store().create_token(&new, &viewer.actor).await?;
    let made = MadeToken {
        described: token.into(),
        token: text.reveal().to_owned(),
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Revoke a token
///
/// It is refused from now on, and the sessions that it began end. It stays in the list.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{token_id}", operation_id = "revoke_token", tag = "Access",
    params(("token_id" = String, Path, description = "The token")),
    responses(
        (status = 204, description = "It is revoked"),
        (status = 404, description = "`unknown_token`", body = Problem, content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn revoke(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    Path(token_id): Path<String>,
) -> Result<StatusCode, Error> {
    if state.store().revoke_token(&token_id, &viewer.actor).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Error::UnknownToken)
    }
}

//! Signing in at an OpenID provider, for browsers.

use axum::{
    extract,
    http::{HeaderMap, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use store::{Action, Actor, Change, Holder, Identity};
use utoipa::IntoParams;

use super::session;
use crate::{
    Error, State,
    client::Client,
    error::Problem,
    extract::Query,
    oidc::{Attempt, Failure, Provider, attempt_cookie, attempt_in},
};

/// What is kept of a reason that the provider, or whoever pretends to be it, gives.
const REASON_CHARS_MAX: usize = 500;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BeginQuery {
    /// The path of the page to come back to.
    #[param(example = "/reports")]
    return_to: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CallbackQuery {
    /// What the identity is to be had for.
    code: Option<String>,
    /// To which sign-in this is the answer.
    state: Option<String>,
    /// Why there is no code.
    error: Option<String>,
    /// The same in words.
    error_description: Option<String>,
}

/// Sign in at the OpenID provider
///
/// For browsers: sends them to the provider, with a cookie that lasts for ten minutes and is only for the way back. When the
/// provider cannot be asked, it sends them to the page instead, which says so.
#[utoipa::path(
    get, path = "/api/v1/session/oidc", operation_id = "begin_oidc", tag = "Access", params(BeginQuery),
    responses(
        (status = 303, description = "To the provider"),
        (status = 404, description = "`unknown_route`: there is no provider", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "`bad_query`: `return_to` is no path of a page", body = Problem,
            content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn begin(
    extract::State(state): extract::State<State>,
    client: Client,
    Query(query): Query<BeginQuery>,
) -> Result<Response, Error> {
    let provider = provider(&state)?;
    state.rates.refusal(client.address)?;
    let attempt = Attempt::begin(query.return_to, (state.clock)())?;
    Ok(match provider.sign_in_url(&attempt).await {
        Ok(url) => see_other(url, [attempt_cookie(Some(&attempt), client)]),
        Err(failure) => {
            tracing::warn!(reason = %failure, "nobody can sign in at the OpenID provider");
            see_other(page_about(&failure), [])
        }
    })
}

/// Come back from the OpenID provider
///
/// For browsers: the provider sends them here. Begins a session of 12 hours, as signing in with a token does, with what the
/// configuration grants. When that comes to nothing, the page says why.
#[utoipa::path(
    get, path = "/api/v1/session/oidc/callback", operation_id = "finish_oidc", tag = "Access", params(CallbackQuery),
    responses(
        (status = 303, description = "To the page: signed in, or with the reason why not in `sign_in`"),
        (status = 404, description = "`unknown_route`: there is no provider", body = Problem,
            content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn callback(
    extract::State(state): extract::State<State>,
    client: Client,
    headers: HeaderMap,
    Query(query): Query<CallbackQuery>,
) -> Result<Response, Error> {
    let provider = provider(&state)?;
    // Each asks the provider for something, whoever sends it.
    state.rates.refusal(client.address)?;
    let now = (state.clock)();
    let attempt = attempt_in(&headers)
        .zip(query.state.as_deref())
        .and_then(|(cookie, answer_to)| Attempt::answered(cookie, answer_to, now));
    let Some(attempt) = attempt else {
        record_failure(&state, client, &Failure::Stale).await?;
        return Ok(see_other(page_about(&Failure::Stale), []));
    };
    // Whatever comes of it, it is over.
    let over = attempt_cookie(None, client);
    match identity(&state, provider, &attempt, query).await {
        Ok(identity) => {
            let holder = Holder::Identity(identity);
            let (cookie, _) = session::begin(&state, client, holder).await?;
            Ok(see_other(attempt.return_to, [over, cookie]))
        }
        Err(failure) => {
            record_failure(&state, client, &failure).await?;
            Ok(see_other(page_about(&failure), [over]))
        }
    }
}

fn provider(state: &State) -> Result<&Provider, Error> {
    state.provider.as_deref().ok_or(Error::UnknownRoute)
}

async fn identity(
    state: &State,
    provider: &Provider,
    attempt: &Attempt,
    query: CallbackQuery,
) -> Result<Identity, Failure> {
    let Some(code) = query.code else {
        let error = query.error.unwrap_or_else(|| "it gave no code".into());
        let description = query.error_description.unwrap_or_default();
        return Err(Failure::Refused(format!("{error} {description}")));
    };
    provider.identity(attempt, code, (state.clock)()).await
}

async fn record_failure(state: &State, client: Client, failure: &Failure) -> Result<(), Error> {
    // The database cannot hold every character.
    let reason = failure.to_string();
    let visible = reason.trim().chars().filter(|char| !char.is_control());
    let reason: String = visible.take(REASON_CHARS_MAX).collect();
    tracing::info!(code = failure.code(), reason, "a sign-in failed");
    let mut change =
        Change::new(Action::SignInFailed).with(json!({ "code": failure.code(), "reason": reason }));
    if let Some(identity) = failure.identity() {
        change = change.of(identity);
    }
    let nobody = Actor::nobody().at(Some(client.address));
    state.store().record_change(&nobody, &change).await?;
    Ok(())
}

/// The page, which says in words why nobody is signed in.
fn page_about(failure: &Failure) -> String {
    format!("/?sign_in={}", failure.code())
}

fn see_other<const COOKIES: usize>(url: String, cookies: [String; COOKIES]) -> Response {
    let cookies = cookies.map(|cookie| (header::SET_COOKIE, cookie));
    (
        StatusCode::SEE_OTHER,
        AppendHeaders(cookies),
        [(header::LOCATION, url)],
    )
        .into_response()
}

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
    cookie,
    error::Problem,
    extract::Query,
    oidc::{Attempt, Failure, Provider},
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

#[derive(Default, Deserialize, IntoParams)]
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
    let attempt = Attempt::begin(query.return_to, (state.clock)())?;
    if let Err(error) = state.rates.sign_in(client.address) {
        return Ok(failed(&error));
    }
    Ok(match provider.sign_in_url(&attempt).await {
        Ok(url) => see_other(url, [cookie::ATTEMPT.set(attempt.cookie(), client)]),
        Err(failure) => {
            tracing::warn!(reason = %failure, "nobody can sign in at the OpenID provider");
            see_other(page_about(failure.code()), [])
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
    query: Result<Query<CallbackQuery>, Error>,
) -> Result<Response, Error> {
    let provider = provider(&state)?;
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let now = (state.clock)();
    let attempt = cookie::ATTEMPT
        .find(&headers, client)
        .zip(query.state.as_deref())
        .and_then(|(cookie, answer_to)| {
            let attempt = Attempt::answered(cookie, answer_to, now)?;
            let is_first = state.rates.is_first_answer(answer_to);
            is_first.then_some(attempt)
        });
    let finished = match attempt {
        Some(attempt) => match identity(&state, provider, &attempt, query).await {
            Ok(identity) => let_in(&state, client, &headers, attempt, identity).await,
            Err(failure) => refuse(&state, client, &failure).await,
        },
        None => refuse_stale(&state, client).await,
    };
    Ok(finished.unwrap_or_else(|error| failed(&error)))
}

/// An answer to nobody, which anybody can make up, as often as they like.
async fn refuse_stale(state: &State, client: Client) -> Result<Response, Error> {
    state.rates.sign_in(client.address)?;
    record_failure(state, client, &Failure::Stale).await?;
    Ok(see_other(page_about(Failure::Stale.code()), []))
}

async fn let_in(
    state: &State,
    client: Client,
    headers: &HeaderMap,
    attempt: Attempt,
    identity: Identity,
) -> Result<Response, Error> {
    let holder = Holder::Identity(identity);
    let (cookie, _) = session::begin(state, client, headers, holder).await?;
    // Whatever comes of an attempt, it is over.
    let over = cookie::ATTEMPT.end(client);
    Ok(see_other(attempt.return_to, [over, cookie]))
}

async fn refuse(state: &State, client: Client, failure: &Failure) -> Result<Response, Error> {
    record_failure(state, client, failure).await?;
    let over = cookie::ATTEMPT.end(client);
    Ok(see_other(page_about(failure.code()), [over]))
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
fn page_about(code: &str) -> String {
    format!("/?sign_in={code}")
}

/// The same for what goes wrong here: a browser shows its answer to somebody.
fn failed(error: &Error) -> Response {
    let code = match error {
        Error::TooManyRequests { .. } => error.code(),
        _ => {
            tracing::warn!(%error, "a sign-in failed");
            "failed"
        }
    };
    see_other(page_about(code), [])
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

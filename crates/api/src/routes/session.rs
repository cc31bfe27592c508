//! Signing in and out, for browsers.

use axum::{
    Json, extract,
    http::{HeaderMap, HeaderName, StatusCode, header},
};
use serde::{Deserialize, Serialize};
use store::{Action, Actor, Change, Holder, token_id_in};
use utoipa::ToSchema;

use super::tokens::TokenScope;
use crate::{
    Error, State, access::Viewer, client::Client, cookie, error::Problem, extract::JsonBody,
};

/// Who the client is, and what it may do.
#[derive(Serialize, ToSchema)]
pub(super) struct Session {
    access: AccessMode,
    scope: TokenScope,
    /// The policy domains that it sees, each with the names below it; null for all.
    #[schema(example = json!(["example.org"]))]
    domains: Option<Vec<String>>,
    /// For the header `X-CSRF-Token` of each request that changes something; null where none is needed.
    #[schema(example = json!(null))]
    csrf_token: Option<String>,
    /// The name of its token, or of the identity that it is.
    #[schema(example = "the web page of our team")]
    name: Option<String>,
}

/// Whether tokens are asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AccessMode {
    /// They are not: anybody may do everything.
    Open,
    /// They are.
    Token,
}

/// A token to sign in with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// As it was printed when it was made.
    token: String,
}

impl Session {
    fn of(state: &State, viewer: &Viewer) -> Self {
        let session = viewer.session.as_ref();
        Self {
            access: match state.asks_for_token {
                true => AccessMode::Token,
                false => AccessMode::Open,
            },
            scope: viewer.scope.into(),
            domains: viewer
                .domains
                .as_ref()
                .map(|domains| domains.names().into()),
            csrf_token: session.map(|session| session.csrf_token.reveal().to_owned()),
            name: viewer.name.clone(),
        }
    }
}

/// Who am I?
///
/// What the token, or the session of the browser, allows.
#[utoipa::path(
    get, path = "/api/v1/session", operation_id = "get_session", tag = "Access",
    responses((status = 200, description = "What the client may do", body = Session), Problem)
)]
pub(super) async fn get(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
) -> Json<Session> {
    Json(Session::of(&state, &viewer))
}

/// Sign in
///
/// Begins a session of 12 hours for a browser: sets a cookie that stands for the token. It ends before if the token does.
/// Where access is open there is no need to, and no cookie.
#[utoipa::path(
    post, path = "/api/v1/session", operation_id = "sign_in", tag = "Access", request_body = SignIn,
    responses(
        (status = 200, description = "Signed in", body = Session),
        (status = 401, description = "`unauthenticated`: the token is unknown, expired or revoked", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "`too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`not_json`: the content type is another one", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "`bad_json`", body = Problem, content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn sign_in(
    extract::State(state): extract::State<State>,
    client: Client,
    headers: HeaderMap,
    viewer: Result<Viewer, Error>,
    JsonBody(sign_in): JsonBody<SignIn>,
) -> Result<(Option<[(HeaderName, String); 1]>, Json<Session>), Error> {
    let store = state.store();
    if let Ok(viewer) = viewer {
        // Access is open.
        return Ok((None, Json(Session::of(&state, &viewer))));
    }
    let text = sign_in.token.trim();
    state.rates.may_look_up(client.address, text)?;
    let Some(token) = store.token(text).await? else {
        state.rates.refusal(client.address, Some(text))?;
        let mut change = Change::new(Action::SignInFailed);
        if let Some(token_id) = token_id_in(text) {
            change = change.of(token_id);
        }
        let nobody = Actor::nobody().at(Some(client.address));
        store.record_change(&nobody, &change).await?;
        return Err(Error::Unauthenticated {
            sign_in_label: None,
        });
    };
    state.rates.proved(text);
    state.rates.request(&token.token_id)?;
    let (cookie, viewer) = begin(&state, client, &headers, Holder::Token(token)).await?;
    let cookie = Some([(header::SET_COOKIE, cookie)]);
    Ok((cookie, Json(Session::of(&state, &viewer))))
}

/// Begins a session in place of the one that a browser had before: returns its cookie, and who that is.
pub(super) async fn begin(
    state: &State,
    client: Client,
    headers: &HeaderMap,
    holder: Holder,
) -> Result<(String, Viewer), Error> {
    let before = cookie::SESSION.find(headers, client);
    let begun = state
        .store()
        .begin_session(&holder, before, Some(client.address));
    let session = begun.await?;
    let cookie = cookie::SESSION.set(session.secret(), client);
    let viewer = Viewer::new(holder, Some(session));
    Ok((cookie, viewer))
}

/// Sign out
///
/// Ends the session of the browser. A token stays as it is, and so does the session at an OpenID provider.
#[utoipa::path(
    delete, path = "/api/v1/session", operation_id = "sign_out", tag = "Access",
    responses((status = 204, description = "Signed out"), Problem)
)]
pub(super) async fn sign_out(
    extract::State(state): extract::State<State>,
    client: Client,
    viewer: Viewer,
) -> Result<(StatusCode, [(HeaderName, String); 1]), Error> {
    if let Some(session) = &viewer.session {
        let ended = state.store().end_session(session, &viewer.actor);
        ended.await?;
    }
    let cookie = cookie::SESSION.end(client);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]))
}

//! Who may ask for what.
//!
//! Every request comes through [`admit`] before it comes to a handler: it finds out who asks (a [`Viewer`]), looks up in
//! [`NEEDS`] what the route needs, and refuses what does not fit. What a viewer who is restricted to some policy domains
//! gets to see is up to the handlers: what is outside of these domains does not exist for it.

mod credentials;
mod document;
mod rate;

use std::time::Duration;

use axum::{
    extract::{self, FromRequestParts, MatchedPath, Request},
    http::{HeaderMap, Method, header, request::Parts},
    middleware::Next,
    response::Response,
};
use store::{Actor, DomainList, Holder, Scope, Session, Visible};
use tokio::time::sleep;

use crate::{Error, State, body, client::Client};

pub(crate) use document::describe;
pub use rate::RateLimit;
pub(crate) use rate::Rates;

/// What a route asks of whoever calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it tells no more than that ruad runs here.
    Nothing,
    /// Any token.
    AnyToken,
    /// Scope `read`. Somebody who is restricted to some domains gets the answer for these.
    Read,
    /// Scope `read`, unrestricted.
    ReadAll,
    /// Scope `ingest`. Somebody who is restricted to some domains brings reports for these.
    Ingest,
    /// Scope `admin`. Somebody who is restricted to some domains changes what is of these.
    Admin,
    /// Scope `admin`, unrestricted.
    AdminAll,
}

/// What each route needs. A route that is not here needs all there is, so nobody can forget it.
static NEEDS: [(Need, &[&str]); 7] = [
    (
        Need::Nothing,
        &[
            // The page is the same for everybody: what it shows, it asks for.
            "GET /",
            "GET /domains/{domain}",
            "GET /sources/{ip}",
            "GET /reports",
            "GET /reports/{report_uid}",
            "GET /deliveries",
            "GET /deliveries/{delivery_id}",
            "GET /mailboxes",
            "GET /upload",
            "GET /tokens",
            "GET /audit",
            "GET /assets/{*path}",
            "GET /healthz",
            "GET /readyz",
            "POST /api/v1/session",
            "GET /api/v1/session/oidc",
            "GET /api/v1/session/oidc/callback",
        ],
    ),
    (
        Need::AnyToken,
        &[
            "GET /api/v1/session",
            "DELETE /api/v1/session",
            "GET /api/v1/openapi.json",
            "GET /docs",
            "GET /docs.css",
        ],
    ),
    (Need::Ingest, &["POST /api/v1/reports"]),
    (
        Need::Read,
        &[
            "GET /api/v1/domains",
            "GET /api/v1/domains/{domain}/summary",
            "GET /api/v1/domains/{domain}/sources",
            "GET /api/v1/domains/{domain}/sources/{ip}/records",
            "GET /api/v1/domains/{domain}/reporters",
            "GET /api/v1/domains/{domain}/policies",
            "GET /api/v1/sources/{ip}",
            "GET /api/v1/reports",
            "GET /api/v1/reports/{report_uid}",
            "GET /api/v1/reports/{report_uid}/records",
            "GET /api/v1/deliveries",
            "GET /api/v1/deliveries/{delivery_id}",
            "GET /api/v1/deliveries/{delivery_id}/raw",
        ],
    ),
    (Need::ReadAll, &["GET /api/v1/mailboxes", "GET /metrics"]),
    (
        Need::Admin,
        &[
            "POST /api/v1/deliveries/{delivery_id}/retry",
            "DELETE /api/v1/deliveries/{delivery_id}",
        ],
    ),
    (
        Need::AdminAll,
        &[
            "GET /api/v1/tokens",
            "POST /api/v1/tokens",
            "DELETE /api/v1/tokens/{token_id}",
            "GET /api/v1/audit",
        ],
    ),
];

/// Every route, as its method and path.
pub(crate) fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let routes = NEEDS.iter().flat_map(|(_, routes)| routes.iter());
    routes.filter_map(|route| route.split_once(' '))
}

/// What a route is declared to need.
fn declared(method: &Method, path: &str) -> Option<Need> {
    let asked = Some((method.as_str(), path));
    let (need, _) = NEEDS
        .iter()
        .find(|(_, routes)| routes.iter().any(|route| route.split_once(' ') == asked))?;
    Some(*need)
}

impl Need {
    /// What a route needs; without a path: what is no route.
    fn of(method: &Method, path: Option<&str>) -> Self {
        let method = match *method {
            Method::HEAD => &Method::GET,
            _ => method,
        };
        let Some(path) = path else {
            // Nothing is there; whoever is not let in need not know.
            return Self::AnyToken;
        };
        declared(method, path).unwrap_or(Self::AdminAll)
    }

    fn check(self, viewer: &Viewer) -> Result<(), Error> {
        let (scope, is_unrestricted) = match self {
            Self::Nothing | Self::AnyToken => return Ok(()),
            Self::Read => (Scope::Read, false),
            Self::ReadAll => (Scope::Read, true),
            Self::Ingest => (Scope::Ingest, false),
            Self::Admin => (Scope::Admin, false),
            Self::AdminAll => (Scope::Admin, true),
        };
        if viewer.scope != scope && viewer.scope != Scope::Admin {
            return Err(Error::Forbidden {
                detail: format!(
                    "this needs a token with the scope {}; yours has {}",
                    scope.as_str(),
                    viewer.scope.as_str()
                ),
            });
        }
        if is_unrestricted && viewer.domains.is_some() {
            return Err(Error::Forbidden {
                detail: "this needs a token that is not restricted to some domains".into(),
            });
        }
        Ok(())
    }
}

/// Who asks, and what they may see. A handler that answers from the database takes one.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    pub(crate) scope: Scope,
    /// The policy domains it is restricted to.
    pub(crate) domains: Option<DomainList>,
    /// The name of its token, or of the identity that it is.
    pub(crate) name: Option<String>,
    /// Who that is for the audit, and for the limit of requests.
    pub(crate) actor: Actor,
    /// Where it is a browser that is signed in.
    pub(crate) session: Option<Session>,
}

impl Viewer {
    /// Anybody, where no token is asked for.
    fn anybody() -> Self {
        Self {
            scope: Scope::Admin,
            domains: None,
            name: None,
            actor: Actor::open(),
            session: None,
        }
    }

    /// Whoever has a token, or is signed in.
    pub(crate) fn new(holder: Holder, session: Option<Session>) -> Self {
        match holder {
            Holder::Token(token) => Self {
                actor: Actor::token(&token),
                scope: token.scope,
                domains: token.domains,
                name: token.name,
                session,
            },
            Holder::Identity(identity) => Self {
                actor: Actor::identity(&identity),
                scope: identity.scope,
                domains: identity.domains,
                name: identity.name.or(Some(identity.subject)),
                session,
            },
        }
    }

    /// Whether a policy domain, as it is stored, exists for this viewer.
    pub(crate) fn sees(&self, domain: &str) -> bool {
        self.domains
            .as_ref()
            .is_none_or(|domains| domains.holds(domain))
    }

    /// The policy domains that the answers to this viewer are about.
    pub(crate) async fn visible(&self, state: &State) -> Result<Visible, Error> {
        Ok(state.store().visible(self.domains.as_ref()).await?)
    }

    /// The state for uploads of this viewer, which stores reports for its domains only.
    pub(crate) fn restrict(&self, mut state: State) -> State {
        if let Some(domains) = &self.domains {
            state.intake = state.intake.restricted_to(domains.clone());
        }
        state
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Viewer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let viewer = parts.extensions.get::<Self>();
        viewer.cloned().ok_or(Error::Unauthenticated {
            sign_in_label: None,
        })
    }
}

/// Lets a request through to its route, with its [`Viewer`], or refuses it.
pub(crate) async fn admit(
    extract::State(state): extract::State<State>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let (mut parts, body) = request.into_parts();
    let route = route.as_ref().map(MatchedPath::as_str);
    match viewer(&state, route, &parts).await {
        Ok(Some(viewer)) => _ = parts.extensions.insert(viewer),
        Ok(None) => {}
        Err(error) => {
            // A client that is still sending when its connection is closed does not get to see the answer.
            if !parts.headers.contains_key(header::EXPECT) {
                state.tasks.spawn(body::discard(body));
            }
            return Err(error);
        }
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Looks once more at what a request showed, while its answer goes on and on: a token may be revoked meanwhile. Each part of such
/// an answer counts as a request; one too many comes later.
pub(crate) async fn readmit(state: &State, request: &mut Parts) -> Result<(), Error> {
    let route = request.extensions.get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    loop {
        match viewer(state, route, request).await {
            Ok(Some(viewer)) => {
                request.extensions.insert(viewer);
                return Ok(());
            }
            Ok(None) => return Ok(()),
            Err(Error::TooManyRequests { retry_after_secs }) => {
                sleep(Duration::from_secs(retry_after_secs)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Who asks; `None` where that does not matter.
async fn viewer(
    state: &State,
    route: Option<&str>,
    request: &Parts,
) -> Result<Option<Viewer>, Error> {
    let client = Client::of_request(&request.extensions);
    let need = Need::of(&request.method, route);
    let mut viewer = if !state.asks_for_token {
        Viewer::anybody()
    } else if need == Need::Nothing {
        return Ok(None);
    } else {
        let found = credentials::find(state, &request.headers, client).await?;
        let Some(viewer) = found else {
            let provider = state.provider.as_ref();
            return Err(Error::Unauthenticated {
                sign_in_label: provider.map(|provider| provider.config.label.clone()),
            });
        };
        if need != Need::Ingest {
            state.rates.request(viewer.actor.as_str())?;
        }
        viewer
    };
    viewer.actor = viewer.actor.at(Some(client.address));
    need.check(&viewer)?;
    if let Some(session) = &viewer.session
        && !request.method.is_safe()
        && !csrf_token(&request.headers).is_some_and(|token| session.admits(token))
    {
        return Err(Error::Csrf);
    }
    Ok(Some(viewer))
}

/// What a page of another site cannot make a browser send.
fn csrf_token(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-csrf-token")?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewer(scope: Scope, domains: &[&str]) -> Viewer {
        Viewer {
            scope,
            domains: DomainList::new(domains.iter().map(|name| (*name).to_owned())).ok(),
            ..Viewer::anybody()
        }
    }

    #[test]
    fn each_operation_of_the_document_is_declared() {
        for (path, item) in &crate::openapi().paths.paths {
            for (method, _) in document::operations(&mut item.clone()) {
                assert!(declared(&method, path).is_some(), "{method} {path}");
            }
        }
    }

    #[test]
    fn what_is_not_declared_needs_everything() {
        assert_eq!(
            Need::of(&Method::PUT, Some("/api/v1/domains")),
            Need::AdminAll
        );
        assert_eq!(Need::of(&Method::GET, Some("/new")), Need::AdminAll);
        assert_eq!(Need::of(&Method::HEAD, Some("/healthz")), Need::Nothing);
        assert_eq!(Need::of(&Method::GET, None), Need::AnyToken);
    }

    #[test]
    fn scopes_do_what_they_say() {
        let needs = [
            Need::AnyToken,
            Need::Read,
            Need::ReadAll,
            Need::Ingest,
            Need::Admin,
            Need::AdminAll,
        ];
        for (scope, domains, expected) in [
            (
                Scope::Read,
                &[][..],
                [true, true, true, false, false, false],
            ),
            (Scope::Ingest, &[], [true, false, false, true, false, false]),
            (Scope::Admin, &[], [true; 6]),
            (
                Scope::Read,
                &["a.example"],
                [true, true, false, false, false, false],
            ),
            (
                Scope::Ingest,
                &["a.example"],
                [true, false, false, true, false, false],
            ),
            (
                Scope::Admin,
                &["a.example"],
                [true, true, false, true, true, false],
            ),
        ] {
            let viewer = viewer(scope, domains);
            let may = needs.map(|need| need.check(&viewer).is_ok());
            assert_eq!(may, expected, "{scope:?} {domains:?}");
        }
    }
}

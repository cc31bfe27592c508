//! A token endpoint as mail providers have it (RFC 6749), and the introspection by which Dovecot asks whether a token
//! is good (RFC 7662).

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// How the endpoint fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// 400 `invalid_grant`: the user has to consent again.
    InvalidGrant,
    /// 500 with a page that is not JSON.
    Down,
    /// No answer at all.
    Stall,
}

/// What was asked for a token, and what was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenRequest {
    pub(crate) grant_type: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) refresh_token: String,
    pub(crate) scope: String,
    /// 0 if it was never answered.
    pub(crate) status: u16,
}

/// The endpoint; it ends when dropped.
pub(crate) struct Tokens {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

struct State {
    lifetime: Duration,
    rotating: bool,
    failure: Option<Failure>,
    number: u64,
    /// Secret and user, by client id.
    clients: HashMap<String, (String, String)>,
    /// User by refresh token.
    refresh_tokens: HashMap<String, String>,
    /// User and end, by access token.
    access_tokens: HashMap<String, (String, Instant)>,
    requests: Vec<TokenRequest>,
    introspection_count: usize,
}

impl Tokens {
    /// Nobody has any rights yet; tokens live for an hour.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            lifetime: Duration::from_secs(3600),
            rotating: false,
            failure: None,
            number: 0,
            clients: HashMap::new(),
            refresh_tokens: HashMap::new(),
            access_tokens: HashMap::new(),
            requests: Vec::new(),
            introspection_count: 0,
        }));
        let serving = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self {
            address,
            state,
            serving,
        }
    }

    /// For `token_url`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// For `dovecot::Options`.
    pub(crate) fn introspection_url(&self) -> String {
        format!("http://{}/introspect", self.address)
    }

    /// A client that may ask for tokens: with refresh tokens, and with its own credentials for one user's mail.
    pub(crate) fn allow_client(&self, client_id: &str, client_secret: &str, user: &str) {
        let secret_and_user = (client_secret.to_owned(), user.to_owned());
        self.state()
            .clients
            .insert(client_id.to_owned(), secret_and_user);
    }

    /// A user's consent.
    pub(crate) fn refresh_token(&self, user: &str) -> String {
        self.state().new_refresh_token(user)
    }

    /// Of the access tokens from now on.
    pub(crate) fn set_lifetime(&self, lifetime: Duration) {
        self.state().lifetime = lifetime;
    }

    /// From now on a refresh token is good for one use, and each answer has a new one.
    pub(crate) fn rotate(&self) {
        self.state().rotating = true;
    }

    /// From now on it fails; with `None` it works again.
    pub(crate) fn fail(&self, failure: Option<Failure>) {
        self.state().failure = failure;
    }

    /// Access tokens given so far are good no longer, whatever their lifetime.
    pub(crate) fn revoke_access(&self) {
        self.state().access_tokens.clear();
    }

    /// What has been asked for, in order.
    pub(crate) fn requests(&self) -> Vec<TokenRequest> {
        self.state().requests.clone()
    }

    /// How often a mail server has asked about a token.
    pub(crate) fn introspection_count(&self) -> usize {
        self.state().introspection_count
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    // Connections end with the set, and the set with the endpoint.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let answer = service_fn(|request| answer(request, &state));
            // A client may go away at any time.
            _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    state: &Mutex<State>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let basic = basic_credentials(&request);
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(response(400, Bytes::new())),
    };
    let form = form(&String::from_utf8_lossy(&body));
    if path == "/introspect" {
        let token = form.get("token").cloned().unwrap_or_default();
        let answer = state.lock().unwrap().introspect(&token);
        return Ok(response(200, answer.to_string()));
    }
    let outcome = state.lock().unwrap().grant(&form, basic);
    Ok(match outcome {
        Ok((status, body)) => response(status, body.to_string()),
        Err(Failure::Down) => response(500, "<h1>Something went wrong</h1>"),
        Err(Failure::Stall) => std::future::pending().await,
        Err(Failure::InvalidGrant) => response(400, refusal("invalid_grant").to_string()),
    })
}

impl State {
    /// Status and body, unless it has been told to fail.
    fn grant(
        &mut self,
        form: &HashMap<String, String>,
        basic: Option<(String, String)>,
    ) -> Result<(u16, Value), Failure> {
        let value = |name: &str| form.get(name).cloned().unwrap_or_default();
        let (client_id, client_secret) =
            basic.unwrap_or_else(|| (value("client_id"), value("client_secret")));
        let mut request = TokenRequest {
            grant_type: value("grant_type"),
            client_id,
            client_secret,
            refresh_token: value("refresh_token"),
            scope: value("scope"),
            status: 0,
        };
        let outcome = match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self.decide(&request)),
        };
        request.status = match &outcome {
            Ok((status, _)) => *status,
            Err(Failure::InvalidGrant) => 400,
            Err(Failure::Down) => 500,
            Err(Failure::Stall) => 0,
        };
        self.requests.push(request);
        outcome
    }

    fn decide(&mut self, request: &TokenRequest) -> (u16, Value) {
        let client = self.clients.get(&request.client_id).cloned();
        let Some((secret, own_user)) = client else {
            return (401, refusal("invalid_client"));
        };
        if secret != request.client_secret {
            return (401, refusal("invalid_client"));
        }
        let user = match request.grant_type.as_str() {
            "client_credentials" => own_user,
            "refresh_token" => match self.refresh_tokens.get(&request.refresh_token) {
                Some(user) => user.clone(),
                None => return (400, refusal("invalid_grant")),
            },
            _ => return (400, refusal("unsupported_grant_type")),
        };
        let access_token = self.new_token("access");
        let end = Instant::now() + self.lifetime;
        self.access_tokens
            .insert(access_token.clone(), (user.clone(), end));
        let mut answer = json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": self.lifetime.as_secs(),
        });
        if self.rotating && self.refresh_tokens.remove(&request.refresh_token).is_some() {
            answer["refresh_token"] = self.new_refresh_token(&user).into();
        }
        (200, answer)
    }

    fn introspect(&mut self, token: &str) -> Value {
        self.introspection_count += 1;
        match self.access_tokens.get(token) {
            Some((user, end)) if Instant::now() < *end => json!({"active": true, "email": user}),
            Some(_) | None => json!({"active": false}),
        }
    }

    fn new_refresh_token(&mut self, user: &str) -> String {
        let token = self.new_token("refresh");
        self.refresh_tokens.insert(token.clone(), user.to_owned());
        token
    }

    /// With every character that a token may have and that forms and headers treat in their own way.
    fn new_token(&mut self, kind: &str) -> String {
        self.number += 1;
        format!("{kind}+{}/-._~=", self.number)
    }
}

fn refusal(error: &str) -> Value {
    json!({"error": error, "error_description": "as the test wants it"})
}

fn response(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

/// Client id and secret in the header, which RFC 6749 section 2.3.1 prefers to the form.
fn basic_credentials(request: &Request<Incoming>) -> Option<(String, String)> {
    let header = request.headers().get("authorization")?.to_str().ok()?;
    let decoded = BASE64_STANDARD
        .decode(header.strip_prefix("Basic ")?)
        .ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((unescape(id), unescape(secret)))
}

fn form(body: &str) -> HashMap<String, String> {
    body.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (unescape(name), unescape(value)))
        .collect()
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match after {
            [high, low, ..] if *first == b'%' => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 16).ok()),
            _ => None,
        };
        rest = match escaped {
            Some(_) => &after[2..],
            None => after,
        };
        let plain = if *first == b'+' { b' ' } else { *first };
        bytes.push(escaped.unwrap_or(plain));
    }
    String::from_utf8(bytes).unwrap_or_default()
}

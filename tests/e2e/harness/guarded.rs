//! A service that asks for tokens, and its clients.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use serde_json::Value;
use server::Config;
use store::{Actor, DomainList, NewToken, Scope};

use super::{Database, Response, Service, http};

/// Whoever sends requests, with what it shows to be let in.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    headers: Vec<(String, String)>,
}

/// A token for a test: its text.
pub(crate) async fn make_token(database: &Database, scope: Scope, domains: &[&str]) -> String {
    let store = database.store();
    let domains = DomainList::new(domains.iter().map(|name| (*name).to_owned())).ok();
    let new = NewToken::new(Some(format!("a test, {}", scope.as_str())), scope);
    let new = new.unwrap().for_domains(domains);
    let (_, text) = store.create_token(&new, &Actor::cli()).await.unwrap();
    store.close().await;
    text.reveal().to_owned()
}

/// The id in a token.
pub(crate) fn id_of(token: &str) -> &str {
    token.split('_').nth(1).unwrap()
}

impl Service {
    /// One that asks for tokens; there is one already, so that none is made for a first start.
    pub(crate) async fn guarded() -> Self {
        Self::guarded_on(Database::fresh().await).await
    }

    pub(crate) async fn guarded_on(database: Database) -> Self {
        Self::guarded_with(database, |_| {}).await
    }

    /// The same with settings of the test's choice.
    pub(crate) async fn guarded_with(database: Database, adjust: impl FnOnce(&mut Config)) -> Self {
        make_token(&database, Scope::Admin, &[]).await;
        Self::start_with(database, |config| {
            config.http.access = server::Access::Token;
            // Tests ask more often than anybody who is refused.
            config.http.rate_limit.refusals_per_minute = 0;
            adjust(config);
        })
        .await
    }

    /// A client with a new token.
    pub(crate) async fn client(&self, scope: Scope, domains: &[&str]) -> Client {
        let token = make_token(&self.database, scope, domains).await;
        self.nobody().bearer(&token)
    }

    /// A client that shows nothing.
    pub(crate) fn nobody(&self) -> Client {
        Client::of(self.address)
    }
}

impl Client {
    /// One that shows nothing.
    pub(crate) fn of(address: SocketAddr) -> Self {
        Self {
            address,
            headers: Vec::new(),
        }
    }

    /// The same with a header more.
    pub(crate) fn header(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    pub(crate) fn bearer(&self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Response {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        http::send(self.address, request).await.unwrap()
    }

    pub(crate) async fn post_json(&self, path: &str, json: &Value) -> Response {
        self.header("content-type", "application/json")
            .send(Method::POST, path, json.to_string())
            .await
    }

    pub(crate) async fn ask(&self, path: &str) -> Response {
        self.send(Method::GET, path, "").await
    }

    /// Asserts that it is answered.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.ask(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// Asserts that it is stored.
    pub(crate) async fn store(&self, body: impl Into<Bytes>) -> Value {
        let answer = self.send(Method::POST, "/api/v1/reports", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }
}

//! `ruad serve` inside the test's process.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use serde_json::Value;
use server::{Config, Secret};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Database, Response, eventually, http};
use crate::reports::{Source, Totals};

/// Everything of the generator's time.
const ALL_DAYS: &str = "from=2020-01-01&to=2026-12-31";

/// A running service with its database.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) database: Database,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        Self::start_with(Database::fresh().await, |_| {}).await
    }

    /// With a database and settings of the test's choice.
    pub(crate) async fn start_with(database: Database, adjust: impl FnOnce(&mut Config)) -> Self {
        let service = Self::begin(database, adjust).await;
        service.becomes_ready().await;
        service
    }

    /// Listens, and may not be ready yet.
    pub(crate) async fn begin(database: Database, adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.database.url = Secret::from(database.url.as_str());
        // Made-up reports are of fixed days, which would be too old.
        config.retention.records = 0;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        config.listen = address;
        adjust(&mut config);
        let shutdown = CancellationToken::new();
        let run = server::run(config, listener, shutdown.clone());
        let running = tokio::spawn(async { run.await.unwrap() });
        Self {
            address,
            database,
            shutdown,
            running,
        }
    }

    pub(crate) async fn becomes_ready(&self) {
        eventually("readiness", async || {
            matches!(self.try_request(Method::GET, "/readyz", "").await, Ok(answer) if answer.status == 200)
        })
        .await;
    }

    /// Stops it and returns the database as it left it.
    pub(crate) async fn stop(self) -> Database {
        self.shutdown.cancel();
        self.running.await.unwrap();
        self.database
    }

    pub(crate) async fn try_request(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> std::io::Result<Response> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .body(Full::new(body.into()))
            .unwrap();
        http::send(self.address, request).await
    }

    /// A request with headers of the test's choice.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Response {
        http::send(self.address, request).await.unwrap()
    }

    pub(crate) async fn request(&self, method: Method, path: &str) -> Response {
        self.try_request(method, path, "").await.unwrap()
    }

    pub(crate) async fn upload(&self, body: impl Into<Bytes>) -> Response {
        self.try_request(Method::POST, "/api/v1/reports", body)
            .await
            .unwrap()
    }

    /// An upload with a content type, as forms have it.
    pub(crate) async fn upload_as(&self, content_type: &str, body: impl Into<Bytes>) -> Response {
        let request = Request::post("/api/v1/reports")
            .header("host", self.address.to_string())
            .header("content-type", content_type)
            .body(Full::new(body.into()))
            .unwrap();
        http::send(self.address, request).await.unwrap()
    }

    /// Asserts that it is stored.
    pub(crate) async fn store(&self, body: impl Into<Bytes>) -> Value {
        let answer = self.upload(body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.request(Method::GET, path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// The items of a list from all its pages, and how many pages there were.
    pub(crate) async fn pages(&self, path: &str) -> (Vec<Value>, usize) {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut cursor = String::new();
        for page in 1.. {
            let json = self.get(&format!("{path}{cursor}")).await;
            items.extend(json["items"].as_array().unwrap().iter().cloned());
            match json["next"].as_str() {
                Some(next) => cursor = format!("{separator}cursor={}", query(next)),
                None => return (items, page),
            }
        }
        unreachable!("the pages have an end")
    }

    pub(crate) async fn list(&self, path: &str) -> Vec<Value> {
        self.pages(path).await.0
    }

    /// The sources of a domain over all days.
    pub(crate) async fn sources(&self, domain: &str) -> BTreeMap<IpAddr, Source> {
        let items = self
            .list(&format!(
                "/api/v1/domains/{domain}/sources?{ALL_DAYS}&limit=7"
            ))
            .await;
        let count = items.len();
        let sources: BTreeMap<IpAddr, Source> = items
            .into_iter()
            .map(|item| serde_json::from_value::<Source>(item).unwrap())
            .map(|source| (source.source_ip, source))
            .collect();
        assert_eq!(sources.len(), count, "no source is listed twice");
        sources
    }

    /// The sums of a domain over all days.
    pub(crate) async fn totals(&self, domain: &str) -> Totals {
        let summary = self
            .get(&format!("/api/v1/domains/{domain}/summary?{ALL_DAYS}"))
            .await;
        serde_json::from_value(summary).unwrap()
    }
}

/// A value for a query string.
pub(crate) fn query(value: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

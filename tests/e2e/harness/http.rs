//! HTTP, as plain as it gets: one connection for each request.

use std::{io, net::SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, Uri, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The word of the first outcome in the answer to an upload.
    pub(crate) fn outcomes(&self) -> Vec<String> {
        let json = self.json();
        let reports = json["reports"]
            .as_array()
            .unwrap_or_else(|| panic!("{json}"));
        reports
            .iter()
            .map(|report| report["outcome"].as_str().unwrap().into())
            .collect()
    }

    /// Asserts a problem document (RFC 9457) with this status and returns its code.
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let json = self.json();
        assert_eq!(json["status"], status, "{json}");
        assert!(json["title"].is_string(), "{json}");
        json["code"].as_str().unwrap().into()
    }
}

/// Sends a request; `Err` when the server is not there or goes away.
pub(crate) async fn send(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> io::Result<Response> {
    send_over(TcpStream::connect(address).await?, request).await
}

/// The same over a connection that is there.
pub(crate) async fn send_over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> io::Result<Response> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let response = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    connection.abort();
    Ok(Response {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    })
}

/// Sends a form to a URL of this machine.
pub(crate) async fn form_post(url: &str, form: String) -> io::Result<Response> {
    let uri: Uri = url.parse().unwrap();
    let host = uri.authority().unwrap().as_str();
    let request = Request::post(uri.path())
        .header("host", host)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::new(form.into()))
        .unwrap();
    send(host.parse().unwrap(), request).await
}

/// Writes bytes as they are and returns what the server says until it closes the connection.
pub(crate) async fn raw_exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has seen enough may close before it has read everything.
    _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

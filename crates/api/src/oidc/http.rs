//! How the provider is asked.

use std::{pin::Pin, time::Duration};

use ingest::mailbox::{is_safe_for_secrets, trust_issued};
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};

use super::{OidcConfig, OidcError};

/// How long the provider may take for an answer. Somebody is waiting.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a provider says of itself, its keys and its tokens are some kilobytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// The provider names an address that secrets must not go to.
    #[error("it names the address {0}, which is not https://")]
    Unsafe(String),
    /// It says too much.
    #[error("its answer is too long")]
    TooLong,
    /// The network, or TLS.
    #[error(transparent)]
    Request(#[from] reqwest::Error),
    /// A header that is none.
    #[error(transparent)]
    Http(#[from] openidconnect::http::Error),
}

/// Asks the provider, and nobody else.
#[derive(Debug)]
pub(super) struct Http(reqwest::Client);

impl Http {
    pub(super) fn new(config: &OidcConfig) -> Result<Self, OidcError> {
        let mut client = reqwest::Client::builder();
        if config.issuer.starts_with("http://") {
            // This machine itself: a proxy is another one.
            client = client.no_proxy();
        }
        let client = client
            .tls_backend_preconfigured(trust_issued(config.ca_file.as_deref())?)
            // Secrets go where they were meant to go.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        Ok(Self(client))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = request.uri().to_string();
        if !is_safe_for_secrets(&url) {
            return Err(HttpError::Unsafe(url));
        }
        let mut answer = self.0.execute(request.try_into()?).await?;
        let mut response = openidconnect::http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            *headers = std::mem::take(answer.headers_mut());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(HttpError::TooLong);
            }
        }
        Ok(response.body(body)?)
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

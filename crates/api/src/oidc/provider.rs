//! The provider: what it says of itself, and the exchange of a code for an identity.

use std::{error::Error, sync::Arc, time::Duration};

use chrono::DateTime;
use ingest::mailbox::is_safe_for_secrets;
use openidconnect::{
    AuthType, AuthenticationFlow, AuthorizationCode, ClaimsVerificationError, ClientId,
    ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, Nonce,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope,
    SignatureVerificationError, TokenResponse as _,
    core::{
        CoreClient, CoreClientAuthMethod, CoreIdToken, CoreJwsSigningAlgorithm,
        CoreProviderMetadata, CoreResponseType,
    },
    url,
};
use store::Identity;
use time::OffsetDateTime;
use tokio::{sync::Mutex, time::Instant};
use tokio_rustls::rustls;

use super::{
    Attempt, Failure, OidcConfig,
    claims::Claims,
    http::{Http, HttpError},
};

/// How long what a provider says of itself is believed, its keys included.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// How long it is left alone when it could not be asked: many may want to sign in, and each would wait for it.
const AWAY_FOR: Duration = Duration::from_secs(2);

/// Signatures that need the provider's private key. What else a token may claim to be signed with, "none" and the
/// client's own secret among it, is refused.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// A client of a provider that said where its endpoints are.
type KnownClient = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Why nobody can sign in at a provider.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The certificates that are trusted.
    #[error("http.oidc: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP client.
    #[error("http.oidc: {0}")]
    Http(#[from] reqwest::Error),
}

/// An OpenID provider. It is asked what it says of itself when that is needed first, and again after an hour or when a token is
/// signed with a key that is not known: it may be away while ruad starts.
#[derive(Debug)]
pub struct Provider {
    pub(crate) config: OidcConfig,
    http: Http,
    /// Held while it is asked, so that whoever comes meanwhile waits for the same answer.
    answer: Mutex<Option<Answer>>,
}

/// What it said of itself, or why it did not, and when.
#[derive(Clone, Debug)]
struct Answer {
    said: Result<Arc<CoreProviderMetadata>, String>,
    at: Instant,
}

impl Answer {
    fn is_fresh(&self) -> bool {
        let kept_for = match self.said {
            Ok(_) => KEPT_FOR,
            Err(_) => AWAY_FOR,
        };
        self.at.elapsed() < kept_for
    }
}

impl Provider {
    /// The provider of a configuration, if it names one.
    pub fn open(config: &OidcConfig) -> Result<Option<Self>, OidcError> {
        if config.issuer.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            config: config.clone(),
            http: Http::new(config)?,
            answer: Mutex::default(),
        }))
    }

    /// Where a browser goes to sign in.
    pub(crate) async fn sign_in_url(&self, attempt: &Attempt) -> Result<String, Failure> {
        let client = self.client(&*self.metadata().await?)?;
        let verifier = PkceCodeVerifier::new(attempt.verifier());
        let (state, nonce) = (attempt.state(), attempt.nonce());
        let scopes = self.config.scopes.iter().filter(|scope| *scope != "openid");
        let (url, ..) = client
            .authorize_url(
                AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
                || CsrfToken::new(state),
                || Nonce::new(nonce),
            )
            .add_scopes(scopes.cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(url.into())
    }

    /// Who signed in, for the code that the provider gave the browser.
    pub(crate) async fn identity(
        &self,
        attempt: &Attempt,
        code: String,
        now: OffsetDateTime,
    ) -> Result<Identity, Failure> {
        let asked_at = Instant::now();
        let metadata = self.metadata().await?;
        let token = self.exchange(&metadata, attempt, code).await?;
        let nonce = Nonce::new(attempt.nonce());
        match self.verify(&metadata, &token, &nonce, now) {
            Err(error) if may_be_of_new_key(&error) => {
                let metadata = self.metadata_unless(|answer| answer.at > asked_at).await?;
                self.verify(&metadata, &token, &nonce, now)
            }
            verified => verified,
        }
        .map_err(|error| Failure::NotVerified(in_full(&error)))?;
        Claims::of_verified(&token.to_string())?.identity(&self.config)
    }

    async fn exchange(
        &self,
        metadata: &CoreProviderMetadata,
        attempt: &Attempt,
        code: String,
    ) -> Result<CoreIdToken, Failure> {
        let answer = self
            .client(metadata)?
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| Failure::Unavailable(error.to_string()))?
            .set_pkce_verifier(PkceCodeVerifier::new(attempt.verifier()))
            .request_async(&self.http)
            .await
            .map_err(|error| match error {
                RequestTokenError::ServerResponse(refusal) => Failure::Refused(refusal.to_string()),
                RequestTokenError::Request(error) => Failure::Unavailable(in_full(&error)),
                RequestTokenError::Parse(error, _) => Failure::NotVerified(in_full(&error)),
                RequestTokenError::Other(error) => Failure::Unavailable(error),
            })?;
        let token = answer.id_token().cloned();
        token.ok_or_else(|| Failure::NotVerified("it gave no ID token".into()))
    }

    fn verify(
        &self,
        metadata: &CoreProviderMetadata,
        token: &CoreIdToken,
        nonce: &Nonce,
        now: OffsetDateTime,
    ) -> Result<(), ClaimsVerificationError> {
        let now = DateTime::from_timestamp(now.unix_timestamp(), 0);
        let verifier = openidconnect::core::CoreIdTokenVerifier::new_public_client(
            ClientId::new(self.config.client_id.clone()),
            metadata.issuer().clone(),
            metadata.jwks().clone(),
        )
        .set_allowed_algs(ALGORITHMS)
        // Without a time, every token has expired.
        .set_time_fn(move || now.unwrap_or(DateTime::<chrono::Utc>::MAX_UTC));
        token.claims(&verifier, nonce).map(drop)
    }

    fn client(&self, metadata: &CoreProviderMetadata) -> Result<KnownClient, Failure> {
        let unusable = |error: url::ParseError| Failure::Unavailable(error.to_string());
        let redirect_url = RedirectUrl::new(self.config.redirect_url.clone()).map_err(unusable)?;
        let secret = self.config.client_secret.reveal().to_owned();
        let client = CoreClient::from_provider_metadata(
            metadata.clone(),
            ClientId::new(self.config.client_id.clone()),
            Some(ClientSecret::new(secret)),
        );
        // In the header unless the provider takes it in the form alone (OpenID Connect Discovery 1.0 section 3).
        let methods = metadata.token_endpoint_auth_methods_supported();
        let takes = |method| methods.is_none_or(|methods| methods.contains(&method));
        let auth_type = match takes(CoreClientAuthMethod::ClientSecretBasic) {
            true => AuthType::BasicAuth,
            false => AuthType::RequestBody,
        };
        Ok(client
            .set_redirect_uri(redirect_url)
            .set_auth_type(auth_type))
    }

    /// What the provider says of itself.
    async fn metadata(&self) -> Result<Arc<CoreProviderMetadata>, Failure> {
        self.metadata_unless(Answer::is_fresh).await
    }

    /// The same, asked anew unless the last answer will do.
    async fn metadata_unless(
        &self,
        will_do: impl Fn(&Answer) -> bool,
    ) -> Result<Arc<CoreProviderMetadata>, Failure> {
        let mut last = self.answer.lock().await;
        let answer = match last.take().filter(will_do) {
            Some(answer) => answer,
            None => Answer {
                said: self.discover().await.map(Arc::new),
                at: Instant::now(),
            },
        };
        last.insert(answer)
            .said
            .clone()
            .map_err(Failure::Unavailable)
    }

    async fn discover(&self) -> Result<CoreProviderMetadata, String> {
        let issuer = IssuerUrl::new(self.config.issuer.clone());
        let issuer = issuer.map_err(|error| in_full(&error))?;
        let metadata = CoreProviderMetadata::discover_async(issuer, &self.http)
            .await
            .map_err(|error| in_full(&error))?;
        // Where browsers are sent, and ask by themselves; the HTTP client sees to all other addresses.
        let place = metadata.authorization_endpoint().as_str();
        if !is_safe_for_secrets(place) {
            return Err(HttpError::Unsafe(place.to_owned()).to_string());
        }
        Ok(metadata)
    }
}

/// Whether a signature may be good after all: providers change their keys. Not every token says which key it is signed with.
fn may_be_of_new_key(error: &ClaimsVerificationError) -> bool {
    matches!(
        error,
        ClaimsVerificationError::SignatureVerification(
            SignatureVerificationError::NoMatchingKey | SignatureVerificationError::CryptoError(_)
        )
    )
}

/// An error with its causes, in one line.
fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

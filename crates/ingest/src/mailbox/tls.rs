//! TLS: the system's roots, more from a file, or one certificate and no other.

use std::{
    fmt, fs, io,
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls_platform_verifier::Verifier as PlatformVerifier;
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::{Config, config::parse_fingerprint, fault::Fault};

/// How one server is trusted, and which certificate it showed.
pub(crate) struct Trust {
    pub(crate) config: ClientConfig,
    verifier: Arc<Verifier>,
}

impl Trust {
    /// How the IMAP server is trusted. Reads the certificates anew, so that a renewed file needs no restart.
    pub(crate) fn new(mailbox: &Config) -> Result<Self, Fault> {
        let provider = Arc::new(ring::default_provider());
        let rule = match parse_fingerprint(&mailbox.certificate_sha256) {
            Some(pin) => Rule::Pinned(pin),
            None => issued(mailbox.ca_file.as_deref(), &provider)?,
        };
        Self::with(rule, provider)
    }

    /// How the token endpoint is trusted: another server, with another certificate.
    pub(crate) fn for_tokens(mailbox: &Config) -> Result<Self, Fault> {
        let provider = Arc::new(ring::default_provider());
        Self::with(issued(mailbox.ca_file.as_deref(), &provider)?, provider)
    }

    fn with(rule: Rule, provider: Arc<CryptoProvider>) -> Result<Self, Fault> {
        let verifier = Arc::new(Verifier {
            rule,
            provider: Arc::clone(&provider),
            shown: OnceLock::new(),
        });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::TrustedCertificates(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        Ok(Self { config, verifier })
    }

    /// SHA-256 of the certificate that the server showed.
    pub(crate) fn fingerprint(&self) -> Option<&str> {
        self.verifier.shown.get().map(String::as_str)
    }

    /// Tells a certificate that is not trusted from other failures.
    pub(crate) fn fault(&self, host: &str, error: io::Error) -> Fault {
        let reason = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        match reason {
            Some(Error::InvalidCertificate(reason)) => Fault::Certificate {
                host: host.into(),
                reason: in_words(reason),
                fingerprint: self.fingerprint().unwrap_or_default().into(),
            },
            _ => Fault::Tls {
                host: host.into(),
                error,
            },
        }
    }
}

/// What a connection to a server with this certificate is made with, whatever its name; no other is trusted.
pub fn trust_only(certificate: &CertificateDer<'_>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let pin = Sha256::digest(certificate).into();
    Trust::with(Rule::Pinned(pin), provider)
        .map(|trust| trust.config)
        .map_err(|fault| Error::General(fault.to_string()))
}

/// What a connection to a server is made with whose certificate was issued by an authority that the system trusts, or one
/// that is in a file.
pub fn trust_issued(ca_file: Option<&Path>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    issued(ca_file, &provider)
        .and_then(|rule| Trust::with(rule, provider))
        .map(|trust| trust.config)
        .map_err(|fault| Error::General(fault.to_string()))
}

fn in_words(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => "its issuer is unknown".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; check the clock".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it was issued for another name".into()
        }
        CertificateError::ApplicationVerificationFailure => {
            "it is not the one of certificate_sha256".into()
        }
        other => other.to_string(),
    }
}

fn issued(ca_file: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Rule, Fault> {
    let mut roots = Vec::new();
    if let Some(file) = ca_file {
        let broken = |error: &dyn fmt::Display| {
            Fault::TrustedCertificates(format!("ca_file {}: {error}", file.display()))
        };
        let pem = fs::read(file).map_err(|error| broken(&error))?;
        roots = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| broken(&error))?;
        if roots.is_empty() {
            return Err(broken(&"no certificate in it"));
        }
    }
    PlatformVerifier::new_with_extra_roots(roots, Arc::clone(provider))
        .map(|verifier| Rule::Issued(Box::new(verifier)))
        .map_err(|error| {
            Fault::TrustedCertificates(format!(
                "the system's certificates cannot be read: {error}; install ca-certificates or set ca_file"
            ))
        })
}

/// Which certificates are trusted.
#[derive(Debug)]
enum Rule {
    /// Those issued by a trusted authority for the server's name.
    Issued(Box<PlatformVerifier>),
    /// This one.
    Pinned([u8; 32]),
}

#[derive(Debug)]
struct Verifier {
    rule: Rule,
    provider: Arc<CryptoProvider>,
    shown: OnceLock<String>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let fingerprint: [u8; 32] = Sha256::digest(end_entity).into();
        self.shown.get_or_init(|| store::hex(&fingerprint));
        match &self.rule {
            Rule::Issued(verifier) => verifier.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            Rule::Pinned(pin) if *pin == fingerprint => Ok(ServerCertVerified::assertion()),
            Rule::Pinned(_) => Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            )),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

//! TLS by certificate files. They are read again when they change, so that a renewed certificate needs no restart.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};

/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// The section `[http.tls]` of the config file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate and those that vouch for it (PEM), its own first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// Its private key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

impl TlsConfig {
    /// Finds what cannot work, without a look at the files.
    pub fn check(&self) -> Result<(), TlsError> {
        self.files().map(drop)
    }

    fn files(&self) -> Result<Option<Files>, TlsError> {
        match (&self.certificate_file, &self.key_file) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(Files {
                certificate: certificate.clone(),
                key: key.clone(),
            })),
            (Some(_), None) | (None, Some(_)) => Err(TlsError::Incomplete),
        }
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One file without the other.
    #[error("http.tls needs certificate_file and key_file")]
    Incomplete,
    /// A file cannot be read.
    #[error("reading {}: {error}", file.display())]
    Read {
        /// Which one.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {error}", file.display())]
    Pem {
        /// Which one.
        file: PathBuf,
        /// Why.
        error: pem::Error,
    },
    /// The two do not fit together, or cannot be used.
    #[error("the certificate and its key: {0}")]
    Unusable(#[from] rustls::Error),
}

/// What connections are accepted with.
#[derive(Clone)]
pub struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

/// The certificate as it is now.
#[derive(Debug)]
struct Certificate {
    files: Files,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Clone, Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    /// What it was made of.
    pem: Pem,
}

/// The bytes of both files.
#[derive(Clone, PartialEq, Eq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl Tls {
    /// Reads the files; `None` when none are named.
    pub fn open(config: &TlsConfig) -> Result<Option<Self>, TlsError> {
        let Some(files) = config.files()? else {
            return Ok(None);
        };
        let pem = files.read()?;
        let current = RwLock::new(Current {
            key: files.certified_key(&pem)?,
            pem,
        });
        let certificate = Arc::new(Certificate { files, current });
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate,
        }))
    }

    /// Reads the files again every ten seconds. Where they do not fit together, as while they are being replaced, the certificate
    /// stays as it was.
    pub(crate) async fn keep_fresh(&self) {
        let mut failed = None;
        loop {
            sleep(RELOAD_INTERVAL).await;
            match self.certificate.reload() {
                Ok(false) => failed = None,
                Ok(true) => {
                    failed = None;
                    tracing::info!("the certificate was renewed");
                }
                Err(error) => {
                    let error = error.to_string();
                    if failed.as_ref() != Some(&error) {
                        tracing::error!(
                            error,
                            "the certificate could not be read again; the one before is used on"
                        );
                    }
                    failed = Some(error);
                }
            }
        }
    }
}

impl Certificate {
    /// Whether there is a new certificate.
    fn reload(&self) -> Result<bool, TlsError> {
        let pem = self.files.read()?;
        if pem == self.current().pem {
            return Ok(false);
        }
        let key = self.files.certified_key(&pem)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Current { key, pem };
        Ok(true)
    }

    fn current(&self) -> Current {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(current.key.clone())
    }
}

impl Files {
    fn read(&self) -> Result<Pem, TlsError> {
        let read = |file: &Path| {
            fs::read(file).map_err(|error| TlsError::Read {
                file: file.into(),
                error,
            })
        };
        Ok(Pem {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }

    fn certified_key(&self, pem: &Pem) -> Result<Arc<CertifiedKey>, TlsError> {
        let broken = |file: &Path| {
            let file = file.to_owned();
            move |error| TlsError::Pem { file, error }
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem.certificate)
            .collect::<Result<_, _>>()
            .map_err(broken(&self.certificate))?;
        if chain.is_empty() {
            return Err(broken(&self.certificate)(pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(broken(&self.key))?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
        Ok(Arc::new(key))
    }
}

//! Certificates for servers on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// The names a server here is reached by.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// Who a server says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Issued for this machine by the authority in `ca_file`.
    Trusted,
    /// Issued for this machine by an authority that nobody knows.
    UnknownAuthority,
    /// Issued for this machine by itself.
    SelfSigned,
    /// Issued by the authority in `ca_file`, for another machine.
    OtherName,
    /// Issued for this machine by the authority in `ca_file`, years ago.
    Expired,
}

/// An authority, and the certificate of one server.
pub(crate) struct Certificates {
    /// The authority to trust, PEM.
    pub(crate) ca_file: PathBuf,
    /// The server's certificate and its key, PEM.
    pub(crate) certificate_file: PathBuf,
    pub(crate) key_file: PathBuf,
    /// SHA-256 of the server's certificate, in lower-case hexadecimal digits.
    pub(crate) sha256: String,
}

impl Certificates {
    /// Makes them as files in a folder.
    pub(crate) fn make(folder: &Path, identity: Identity) -> Self {
        let (trusted, trusted_pem) = authority("ruad test authority");
        let key = KeyPair::generate().unwrap();
        let params = params_for(identity);
        let certificate = match identity {
            Identity::SelfSigned => params.self_signed(&key),
            Identity::UnknownAuthority => params.signed_by(&key, &authority("nobody").0),
            Identity::Trusted | Identity::OtherName | Identity::Expired => {
                params.signed_by(&key, &trusted)
            }
        }
        .unwrap();
        let write = |name: &str, pem: &str| {
            let path = folder.join(name);
            fs::write(&path, pem).unwrap();
            path
        };
        Self {
            ca_file: write("ca.pem", &trusted_pem),
            certificate_file: write("certificate.pem", &certificate.pem()),
            key_file: write("key.pem", &key.serialize_pem()),
            sha256: fingerprint(&certificate),
        }
    }
}

fn params_for(identity: Identity) -> CertificateParams {
    let names = match identity {
        Identity::OtherName => vec!["elsewhere.example".to_owned()],
        Identity::Trusted
        | Identity::UnknownAuthority
        | Identity::SelfSigned
        | Identity::Expired => NAMES.map(str::to_owned).to_vec(),
    };
    let mut params = CertificateParams::new(names).unwrap();
    if identity == Identity::Expired {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    params
}

fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

fn fingerprint(certificate: &Certificate) -> String {
    <sha2::Sha256 as sha2::Digest>::digest(certificate.der())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

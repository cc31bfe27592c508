//! Mail with DKIM signatures. It also serves the unit tests of `ingest`.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use mail_auth::{
    common::{crypto::Ed25519Key, headers::HeaderWriter as _},
    dkim::DkimSigner,
};

/// A key of one domain.
pub(crate) struct DkimKey {
    domain: String,
    selector: String,
    /// PKCS #8: a signer takes its key for good.
    private: Vec<u8>,
}

impl DkimKey {
    /// A new key.
    pub(crate) fn new(domain: &str, selector: &str) -> Self {
        Self {
            domain: domain.into(),
            selector: selector.into(),
            private: Ed25519Key::generate_pkcs8().unwrap(),
        }
    }

    /// The name of its record.
    pub(crate) fn record_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }

    /// Its record.
    pub(crate) fn record(&self) -> String {
        let public = BASE64.encode(self.key().public_key());
        format!("v=DKIM1; k=ed25519; p={public}")
    }

    /// The mail, with a signature of From, To, Subject and Date on top.
    pub(crate) fn sign(&self, mail: &[u8]) -> Vec<u8> {
        let signer = DkimSigner::from_key(self.key())
            .domain(&self.domain)
            .selector(&self.selector)
            .headers(["From", "To", "Subject", "Date"]);
        let signature = signer.sign(mail).unwrap();
        [signature.to_header().as_bytes(), mail].concat()
    }

    fn key(&self) -> Ed25519Key {
        Ed25519Key::from_pkcs8_maybe_unchecked_der(&self.private).unwrap()
    }
}

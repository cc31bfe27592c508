//! DKIM signatures (RFC 6376), as strictly as they are verified here.
//!
//! mail-auth does the cryptography. It is given the keys, so that it never looks up anything itself, and only those
//! signatures that follow the rules of [`is_acceptable`].

use std::{borrow::Borrow, collections::HashMap, hash::Hash, io, sync::Arc, time::Instant};

use futures_util::FutureExt as _;
use mail_auth::{
    AuthenticatedMessage, DkimResult, DnsError, Error, MessageAuthenticator, Parameters,
    ResolverCache, Txt,
    common::{
        crypto::Algorithm,
        headers::Header,
        parse::TxtRecordParser as _,
        resolver::ToFqdn as _,
        verify::{DomainKey, VerifySignature as _},
    },
    dkim::Signature,
};
use report::Body;

use super::domain;
use crate::body::whole;

/// RFC 6376 section 6.1 lets a verifier limit how many signatures it tries. The topmost are those of the servers
/// nearest to us, and no real mail has as many.
const SIGNATURES_MAX: usize = 10;

/// Longer signatures are not verified: the names of the fields they list are compared with each other.
const SIGNATURE_BYTES_MAX: usize = 16 * 1024;

/// Who claims to have signed a mail.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Signer {
    /// The domain that answers for the mail: `d=`.
    pub(super) domain: String,
    /// The name of the key's record.
    pub(super) key_name: String,
    /// The same name as mail-auth asks for it.
    cache_key: Box<str>,
}

impl Signer {
    /// `None` if the key cannot be looked up.
    fn of(signature: &Signature) -> Option<Self> {
        let domain = domain::plain(&signature.d)?;
        let key_name = domain::plain(&format!("{}._domainkey.{domain}", signature.s))?;
        Some(Self {
            domain,
            key_name,
            cache_key: signature.domain_key().to_fqdn().into(),
        })
    }
}

/// Keys by the names mail-auth asks for, and nothing else.
#[derive(Default)]
pub(super) struct Keys(HashMap<Box<str>, Txt>);

impl Keys {
    /// Takes the first key that counts among the records of its name, if there is one.
    pub(super) fn add(&mut self, signer: Signer, texts: &[Vec<u8>]) {
        let mut usable = texts.iter().filter(|text| is_usable(text));
        let key = usable.find_map(|text| DomainKey::parse(text).ok());
        if let Some(key) = key {
            self.0
                .insert(signer.cache_key, Txt::DomainKey(Arc::new(key)));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl ResolverCache<Box<str>, Txt> for Keys {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let unknown = || Txt::Error(Error::Dns(DnsError::InvalidRecordType));
        Some(self.0.get(name).cloned().unwrap_or_else(unknown))
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}

/// Who claims to have signed the mail, with signatures that are worth verifying.
pub(super) fn signers(message: &AuthenticatedMessage) -> Vec<Signer> {
    acceptable(message)
        .filter_map(|signature| Signer::of(&signature.header))
        .collect()
}

/// The domains with a valid signature. Hashes the whole mail.
pub(super) fn verify(
    mail: &Body,
    keys: &Keys,
    authenticator: &MessageAuthenticator,
) -> io::Result<Vec<String>> {
    let mail = whole(mail)?;
    // Strict: with an `l=` tag, a signature does not cover what was added to the body (RFC 6376 section 8.2), and a
    // report could be added. Such signatures do not count.
    let Some(mut message) = AuthenticatedMessage::parse_with_opts(&mail, None, true) else {
        return Ok(Vec::new());
    };
    message.dkim_headers = acceptable(&message).cloned().map(as_received).collect();
    let parameters = Parameters::new(&message).with_txt_cache(keys);
    // All it asks for is at hand, so there is nothing to wait for.
    let verified = authenticator.verify_dkim(parameters).now_or_never();
    let mut domains = Vec::new();
    for output in verified.unwrap_or_default() {
        if *output.result() == DkimResult::Pass
            && let Some(signature) = output.signature()
            && let Some(domain) = domain::plain(&signature.d)
            && !domains.contains(&domain)
        {
            domains.push(domain);
        }
    }
    Ok(domains)
}

fn acceptable<'m, 'x>(
    message: &'m AuthenticatedMessage<'x>,
) -> impl Iterator<Item = &'m Header<'x, Signature>> {
    let signatures = message.dkim_headers.iter();
    signatures
        .filter(|signature| is_acceptable(signature))
        .take(SIGNATURES_MAX)
}

/// The rules that mail-auth leaves to its caller.
fn is_acceptable(signature: &Header<Signature>) -> bool {
    let Header { value, header, .. } = signature;
    // RFC 8301 section 3.1: rsa-sha1 must not count. Section 3.2, keys under 1024 bits, is obeyed by ring.
    header.a != Algorithm::RsaSha1
        // RFC 6376 section 3.5: `v=` must be there, and 1.
        && header.v == 1
        // RFC 6376 section 6.1.1: who does not sign the From field answers for nobody.
        && header.h.iter().any(|name| name.trim().eq_ignore_ascii_case("from"))
        && value.len() <= SIGNATURE_BYTES_MAX
}

/// What RFC 6376 section 3.6.1 says of keys and mail-auth does not obey.
fn is_usable(record: &[u8]) -> bool {
    let may_list = |tag, words: &[&str]| {
        let listed = values(record, tag);
        let is_one = |value: &&[u8]| words.iter().any(|word| is_same(value, word));
        listed.is_empty() || listed.iter().any(is_one)
    };
    // `t=y`: the domain is testing DKIM, and its mail must not be treated differently from mail without a signature.
    let is_testing = values(record, "t").iter().any(|flag| is_same(flag, "y"));
    // SHA-256 is the only hash algorithm that counts here.
    !is_testing && may_list("h", &["sha256"]) && may_list("s", &["*", "email"])
}

/// What a tag lists between colons (RFC 6376 section 3.2).
fn values<'r>(record: &'r [u8], tag: &str) -> Vec<&'r [u8]> {
    let tags = record.split(|byte| *byte == b';').filter_map(|piece| {
        let equals = piece.iter().position(|byte| *byte == b'=')?;
        let (name, value) = piece.split_at(equals);
        is_same(name.trim_ascii(), tag).then(|| &value[1..])
    });
    let values = tags.flat_map(|list| list.split(|byte| *byte == b':'));
    values
        .map(<[u8]>::trim_ascii)
        .filter(|value| !value.is_empty())
        .collect()
}

fn is_same(bytes: &[u8], word: &str) -> bool {
    bytes.eq_ignore_ascii_case(word.as_bytes())
}

/// The signature as it was when the mail arrived, without what does not matter here.
///
/// RFC 6376 section 3.5 compares `x=` with the time of arrival. Mail is read from a mailbox much later at times, and
/// expiry is there against mail sent again: a report sent again is a duplicate. Third-party signatures (RFC 6541) and
/// reports of failures (RFC 6651) would cost lookups and are no part of DMARC.
fn as_received<'x>(signature: Header<'x, Signature>) -> Header<'x, Signature> {
    Header {
        header: Signature {
            x: 0,
            atps: None,
            r: false,
            ..signature.header
        },
        ..signature
    }
}

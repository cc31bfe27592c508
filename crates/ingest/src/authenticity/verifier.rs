//! From a mail to what is known of its sender.

use std::{collections::HashSet, io, sync::Arc, thread::available_parallelism};

use futures_util::{StreamExt as _, stream};
use mail_auth::{
    common::parse::TxtRecordParser as _,
    dmarc::{Alignment, Dmarc},
    hickory_resolver::net::NetError,
};
use report::Body;
use store::Authenticity;
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{
    Check, DnsConfig, Method,
    dkim::{self, Keys, Signer},
    domain,
    head::{from_domain, with_head},
    resolver::{LOOKUPS_MAX, NoAnswer, Resolver},
    results::{self, Results},
};

/// Names cannot be looked up.
#[derive(Debug, thiserror::Error)]
#[error("setting up lookups in the DNS: {0}; dns.servers can name the servers")]
pub struct Error(Box<NetError>);

impl Error {
    pub(super) fn new(error: NetError) -> Self {
        Self(Box::new(error))
    }
}

/// Checks mail. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    resolver: Arc<Resolver>,
    /// Hashing is work for a core, and holds a mail in memory: no more at a time than there are.
    workers: Arc<Semaphore>,
}

/// What is to be done with a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is taken, with what is known of its sender, if that was checked.
    Take(Option<Authenticity>),
    /// It must be authentic and is not.
    Refuse(Authenticity),
    /// It must be authentic, and whether it is cannot be found out now. Another time it can.
    Later,
}

impl Verdict {
    fn of(authenticity: Authenticity, check: &Check) -> Self {
        match authenticity.dmarc_pass {
            Some(false) if check.require_authentic => Self::Refuse(authenticity),
            None if check.require_authentic => Self::Later,
            Some(_) | None => Self::Take(Some(authenticity)),
        }
    }
}

impl Verifier {
    /// A verifier that looks names up as configured.
    pub fn new(dns: &DnsConfig) -> Result<Self, Error> {
        let cores = available_parallelism().map_or(1, usize::from);
        Ok(Self {
            resolver: Arc::new(Resolver::new(dns)?),
            workers: Arc::new(Semaphore::new(cores)),
        })
    }

    /// Checks a mail as its mailbox or listener asks for.
    ///
    /// Whatever the DNS does, lookups take up to 46 s: twice, for the keys and for the DMARC record, up to 15 s of
    /// waiting for a turn and 8 s of looking up. Waiting for a core, of which hashing takes one for each mail at a time,
    /// is bounded by the mails at hand alone.
    ///
    /// `Err` means that the bytes of the mail cannot be read.
    pub(crate) async fn verify(&self, check: &Check, mail: &Body) -> io::Result<Verdict> {
        let authenticity = match check.method {
            Method::Off => return Ok(Verdict::Take(None)),
            Method::Dkim => self.by_dkim(mail.clone()).await?,
            Method::AuthenticationResults => {
                self.by_results(mail.clone(), check.authserv_id.clone())
                    .await?
            }
        };
        Ok(Verdict::of(authenticity, check))
    }

    async fn by_results(&self, mail: Body, authserv_id: String) -> io::Result<Authenticity> {
        let read = move || {
            with_head(&mail, |message| {
                let from = from_domain(message)?;
                let results = results::results(message, &authserv_id, &from);
                Some((from, results))
            })
        };
        let Some((from, results)) = self.blocking(read).await?.flatten() else {
            return Ok(not_authentic());
        };
        let Results {
            dmarc_pass,
            dkim_domains,
        } = results;
        // A result that is no answer stays one however often the mail is read: the signatures must do.
        let mut domains = dkim_domains.iter();
        let is_pass =
            dmarc_pass.unwrap_or_else(|| domains.any(|domain| domain::are_aligned(domain, &from)));
        Ok(Authenticity {
            from_domain: Some(from),
            dkim_domains,
            dmarc_pass: Some(is_pass),
        })
    }

    async fn by_dkim(&self, mail: Body) -> io::Result<Authenticity> {
        let head = mail.clone();
        let read = move || {
            with_head(&head, |message| {
                Some((from_domain(message)?, dkim::signers(message)))
            })
        };
        let Some((from, signers)) = self.blocking(read).await?.flatten() else {
            return Ok(not_authentic());
        };
        let (keys, unanswered) = self.keys(&from, signers).await;
        let dkim_domains = if keys.is_empty() {
            Vec::new()
        } else {
            let resolver = Arc::clone(&self.resolver);
            self.blocking(move || dkim::verify(&mail, &keys, resolver.authenticator()))
                .await?
        };
        let is_pass = self.is_pass(&from, &dkim_domains, &unanswered);
        Ok(Authenticity {
            dmarc_pass: is_pass.await.ok(),
            from_domain: Some(from),
            dkim_domains,
        })
    }

    /// The keys of these signers, and the domains whose keys could not be found out.
    ///
    /// Those that decide about alignment come first. The others are looked up nonetheless, as far as there is time: who
    /// else signed a mail is shown as well.
    async fn keys(&self, from: &str, signers: Vec<Signer>) -> (Keys, Vec<String>) {
        let mut known = HashSet::new();
        let mut signers = signers;
        signers.retain(|signer| known.insert(signer.clone()));
        signers.sort_by_key(|signer| !domain::are_aligned(&signer.domain, from));
        let mut keys = Keys::default();
        if signers.is_empty() {
            return (keys, Vec::new());
        }
        let Ok(turn) = self.resolver.turn().await else {
            let unanswered = signers.into_iter().map(|signer| signer.domain);
            return (keys, unanswered.collect());
        };
        let lookups = signers.into_iter().map(async |signer| {
            let texts = turn.texts(&signer.key_name).await;
            (signer, texts)
        });
        let mut unanswered = Vec::new();
        let mut answers = stream::iter(lookups).buffer_unordered(LOOKUPS_MAX);
        while let Some((signer, texts)) = answers.next().await {
            match texts {
                Ok(texts) => keys.add(signer, &texts),
                Err(NoAnswer) => unanswered.push(signer.domain),
            }
        }
        (keys, unanswered)
    }

    /// Whether one of the domains is aligned with the From domain (RFC 7489 section 3.1.1).
    async fn is_pass(
        &self,
        from: &String,
        verified: &[String],
        unanswered: &[String],
    ) -> Result<bool, NoAnswer> {
        // Alignment of a domain with itself needs no lookup, and is that of nearly all mail.
        if verified.contains(from) {
            return Ok(true);
        }
        let is_aligned = |domain: &String| domain::are_aligned(domain, from);
        if verified.iter().any(is_aligned) && !self.is_strict(from).await? {
            return Ok(true);
        }
        if unanswered.iter().any(is_aligned) {
            return Err(NoAnswer);
        }
        Ok(false)
    }

    /// Whether a domain allows no alignment but with itself: `adkim=s` in its DMARC record, which is its own or that of
    /// its organizational domain (RFC 7489 section 6.6.3, RFC 9989 section 4.10.1). Without a record it does allow it.
    async fn is_strict(&self, from: &str) -> Result<bool, NoAnswer> {
        let turn = self.resolver.turn().await?;
        let organizational = domain::organizational(from);
        let own = (organizational != from).then_some(from);
        for name in own.into_iter().chain([organizational]) {
            let name = format!("_dmarc.{name}");
            let texts = turn.texts(&name).await?;
            let mut records = texts.iter().filter_map(|text| Dmarc::parse(text).ok());
            // RFC 7489 section 6.6.3: several records are as good as none.
            if let (Some(record), None) = (records.next(), records.next()) {
                return Ok(record.adkim == Alignment::Strict);
            }
        }
        Ok(false)
    }

    /// Works on a mail aside, where neither its size nor a panic does harm.
    async fn blocking<T: Default + Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let _worker = self.workers.acquire().await.map_err(io::Error::other)?;
        match spawn_blocking(work).await {
            Ok(done) => done,
            // A defect must not keep the mail behind it waiting: nothing in this one counts as verified.
            Err(error) if error.is_panic() => {
                tracing::error!("checking the sender of a mail panicked; please report this");
                Ok(T::default())
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// What is known of a mail without a From domain: DMARC has nothing to hold on to.
fn not_authentic() -> Authenticity {
    Authenticity {
        dmarc_pass: Some(false),
        ..Authenticity::default()
    }
}

#[cfg(test)]
mod tests;

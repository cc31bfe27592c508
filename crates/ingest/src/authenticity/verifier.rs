//! From a mail to what is known of its sender.

use std::{collections::HashSet, io, sync::Arc, thread::available_parallelism, time::Duration};

use futures_util::future::join_all;
use mail_auth::{
    common::parse::TxtRecordParser as _,
    dmarc::{Alignment, Dmarc},
    hickory_resolver::net::NetError,
};
use report::Body;
use store::Authenticity;
use tokio::{sync::Semaphore, task::spawn_blocking, time::Instant};

use super::{
    Check, DnsConfig, Method,
    dkim::{self, Keys, Signer},
    domain,
    head::{from_domain, with_head},
    resolver::{NoAnswer, Resolver},
    results::{self, Results},
};

/// What all lookups for one mail may take. Finding out that nobody answers takes 2 s more.
const LOOKUPS_TIMEOUT: Duration = Duration::from_secs(8);

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

    /// Checks a mail as its mailbox or listener asks for. Takes up to 10 s, whatever the DNS does.
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
        let deadline = Instant::now() + LOOKUPS_TIMEOUT;
        let (keys, unanswered) = self.keys(signers, deadline).await;
        let dkim_domains = if keys.is_empty() {
            Vec::new()
        } else {
            let resolver = Arc::clone(&self.resolver);
            self.blocking(move || dkim::verify(&mail, &keys, resolver.authenticator()))
                .await?
        };
        let is_pass = self.is_pass(&from, &dkim_domains, &unanswered, deadline);
        Ok(Authenticity {
            dmarc_pass: is_pass.await.ok(),
            from_domain: Some(from),
            dkim_domains,
        })
    }

    /// The keys of these signers, and the domains whose keys could not be found out.
    async fn keys(&self, signers: Vec<Signer>, deadline: Instant) -> (Keys, Vec<String>) {
        let signers: HashSet<Signer> = signers.into_iter().collect();
        let lookups = signers.into_iter().map(async |signer| {
            let texts = self.resolver.texts(&signer.key_name, deadline).await;
            (signer, texts)
        });
        let mut keys = Keys::default();
        let mut unanswered = Vec::new();
        for (signer, texts) in join_all(lookups).await {
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
        deadline: Instant,
    ) -> Result<bool, NoAnswer> {
        // Alignment of a domain with itself needs no lookup, and is that of nearly all mail.
        if verified.contains(from) {
            return Ok(true);
        }
        let is_aligned = |domain: &String| domain::are_aligned(domain, from);
        if verified.iter().any(is_aligned) && !self.is_strict(from, deadline).await? {
            return Ok(true);
        }
        if unanswered.iter().any(is_aligned) {
            return Err(NoAnswer);
        }
        Ok(false)
    }

    /// Whether a domain allows no alignment but with itself: `adkim=s` in its DMARC record, which is its own or that of
    /// its organizational domain (RFC 7489 section 6.6.3, RFC 9989 section 4.10.1). Without a record it does allow it.
    async fn is_strict(&self, from: &str, deadline: Instant) -> Result<bool, NoAnswer> {
        let organizational = domain::organizational(from);
        let own = (organizational != from).then_some(from);
        for name in own.into_iter().chain([organizational]) {
            let name = format!("_dmarc.{name}");
            let texts = self.resolver.texts(&name, deadline).await?;
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

//! How often somebody may ask.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use serde::{Deserialize, Serialize};
use store::derive;
use tokio::time::sleep;

use crate::{Error, oidc::ATTEMPT_SECS};

/// How often those are forgotten who have not asked for long.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// How long it counts that credentials were good.
const PROVEN_FOR: Duration = Duration::from_secs(10 * 60);

/// The section `[http.rate_limit]` of the config file. Where no tokens are asked for, nothing is limited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimit {
    /// Requests with one token, or of one identity; 0 is any number. Uploads have limits of their own.
    pub requests_per_minute: u32,
    /// Requests of one address that show no valid token, and apart from them sign-ins at an OpenID provider that it begins; 0 is
    /// any number.
    pub refusals_per_minute: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            requests_per_minute: 6_000,
            refusals_per_minute: 60,
        }
    }
}

/// Who has asked how often.
#[derive(Debug)]
pub(crate) struct Rates {
    requests: Option<DefaultKeyedRateLimiter<String>>,
    refusals: Option<DefaultKeyedRateLimiter<IpAddr>>,
    /// Addresses that were refused too often, and until when.
    shut: Mutex<HashMap<IpAddr, Instant>>,
    /// Credentials that were good of late, by a hash of theirs, and until when that counts.
    proven: Mutex<HashMap<String, Instant>>,
    /// Sign-ins at an OpenID provider that are begun, or answered to nobody. Who is refused elsewhere may still sign in.
    sign_ins: Option<DefaultKeyedRateLimiter<IpAddr>>,
    /// Answers of the provider, by the attempt that they are to, each of which has one.
    answers: DefaultKeyedRateLimiter<String>,
}

impl Rates {
    pub(crate) fn new(limit: &RateLimit) -> Self {
        let once = Quota::with_period(Duration::from_secs(ATTEMPT_SECS.unsigned_abs()));
        let once = once.expect("an attempt lasts for some time");
        let quota = |per_minute| NonZeroU32::new(per_minute).map(Quota::per_minute);
        Self {
            requests: quota(limit.requests_per_minute).map(RateLimiter::keyed),
            refusals: quota(limit.refusals_per_minute).map(RateLimiter::keyed),
            shut: Mutex::default(),
            proven: Mutex::default(),
            sign_ins: quota(limit.refusals_per_minute).map(RateLimiter::keyed),
            answers: RateLimiter::keyed(once),
        }
    }

    /// One more request of somebody who is let in.
    pub(crate) fn request(&self, who: &str) -> Result<(), Error> {
        check(self.requests.as_ref(), &who.to_owned()).map_err(too_many)
    }

    /// Whether the database may be asked about credentials. Of an address that was refused too often it is not: it could be kept
    /// busy with guesses. Those that were good of late are asked about all the same, as whoever guesses may share the address
    /// of somebody else.
    pub(crate) fn may_look_up(&self, address: IpAddr, credentials: &str) -> Result<(), Error> {
        let now = Instant::now();
        let shut_until = lock(&self.shut).get(&network(address)).copied();
        let Some(until) = shut_until.filter(|until| *until > now) else {
            return Ok(());
        };
        let proven_until = lock(&self.proven).get(&key(credentials)).copied();
        if proven_until.is_some_and(|until| until > now) {
            return Ok(());
        }
        Err(too_many(until - now))
    }

    /// Credentials turned out to be good.
    pub(crate) fn proved(&self, credentials: &str) {
        let until = Instant::now() + PROVEN_FOR;
        lock(&self.proven).insert(key(credentials), until);
    }

    /// One more request that is refused for want of a token. Credentials that it shows were good before are so no more.
    pub(crate) fn refusal(&self, address: IpAddr, credentials: Option<&str>) -> Result<(), Error> {
        if let Some(credentials) = credentials {
            lock(&self.proven).remove(&key(credentials));
        }
        let address = network(address);
        let checked = check(self.refusals.as_ref(), &address);
        checked.map_err(|wait| {
            lock(&self.shut).insert(address, Instant::now() + wait);
            too_many(wait)
        })
    }

    /// One more sign-in at an OpenID provider that is begun, or whose answer nobody here asked for.
    pub(crate) fn sign_in(&self, address: IpAddr) -> Result<(), Error> {
        check(self.sign_ins.as_ref(), &network(address)).map_err(too_many)
    }

    /// Whether this is the first answer to an attempt: each asks the provider for something, and an attempt is all it costs.
    pub(crate) fn is_first_answer(&self, attempt: &str) -> bool {
        self.answers.check_key(&attempt.to_owned()).is_ok()
    }

    /// Forgets those who may ask as often as anybody, from time to time.
    pub(crate) async fn keep_small(&self) {
        loop {
            sleep(FORGET_INTERVAL).await;
            if let Some(requests) = &self.requests {
                requests.retain_recent();
            }
            for addresses in [&self.refusals, &self.sign_ins].into_iter().flatten() {
                addresses.retain_recent();
            }
            self.answers.retain_recent();
            let now = Instant::now();
            lock(&self.shut).retain(|_, until| *until > now);
            lock(&self.proven).retain(|_, until| *until > now);
        }
    }
}

/// How long to wait, where there is no share left.
fn check<K: Clone + Eq + std::hash::Hash>(
    limiter: Option<&DefaultKeyedRateLimiter<K>>,
    key: &K,
) -> Result<(), Duration> {
    let Some(limiter) = limiter else {
        return Ok(());
    };
    let checked = limiter.check_key(key);
    checked.map_err(|until| until.wait_time_from(DefaultClock::default().now()))
}

fn too_many(wait: Duration) -> Error {
    Error::TooManyRequests {
        retry_after_secs: wait.as_secs() + 1,
    }
}

/// Credentials are kept nowhere.
fn key(credentials: &str) -> String {
    derive("proven", credentials).reveal().to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done while the lock is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whoever has one IPv6 address has the 2^64 beside it as well.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_share_of_its_own() {
        let rates = Rates::new(&RateLimit {
            requests_per_minute: 2,
            refusals_per_minute: 1,
        });
        assert!(rates.request("a").is_ok() && rates.request("a").is_ok());
        let refused = rates.request("a").unwrap_err();
        let Error::TooManyRequests { retry_after_secs } = refused else {
            panic!("{refused}")
        };
        assert!((1..=31).contains(&retry_after_secs), "{retry_after_secs}");
        assert!(rates.request("b").is_ok());
        let ip = |text: &str| text.parse().unwrap();
        assert!(rates.refusal(ip("2001:db8::1"), None).is_ok());
        assert!(rates.refusal(ip("2001:db8::2"), None).is_err());
        assert!(rates.refusal(ip("2001:db8:0:1::1"), None).is_ok());
        assert!(rates.sign_in(ip("2001:db8::2")).is_ok());
        assert!(rates.sign_in(ip("2001:db8::1")).is_err());
        assert!(rates.is_first_answer("a") && rates.is_first_answer("b"));
        assert!(!rates.is_first_answer("a"));
    }

    #[test]
    fn an_address_that_guesses_is_not_looked_up_but_for_who_was_let_in_before() {
        let rates = Rates::new(&RateLimit {
            requests_per_minute: 0,
            refusals_per_minute: 1,
        });
        let address = "192.0.2.1".parse().unwrap();
        rates.proved("good");
        assert!(rates.refusal(address, Some("bad")).is_ok());
        assert!(rates.may_look_up(address, "bad").is_ok());
        assert!(rates.refusal(address, Some("bad")).is_err());
        assert!(rates.may_look_up(address, "bad").is_err());
        assert!(rates.may_look_up(address, "good").is_ok());
        assert!(
            rates
                .may_look_up("192.0.2.2".parse().unwrap(), "bad")
                .is_ok()
        );
        assert!(rates.refusal(address, Some("good")).is_err());
        assert!(rates.may_look_up(address, "good").is_err(), "it is revoked");
    }

    #[test]
    fn none_is_any_number() {
        let rates = Rates::new(&RateLimit {
            requests_per_minute: 0,
            refusals_per_minute: 0,
        });
        assert!((0..1_000).all(|_| rates.request("a").is_ok()));
    }
}

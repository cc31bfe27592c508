//! How often somebody may ask.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::Error;

/// How often those are forgotten who have not asked for long.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// The section `[http.rate_limit]` of the config file. Where no tokens are asked for, nothing is limited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimit {
    /// Requests with one token, or of one identity; 0 is any number. Uploads have limits of their own.
    pub requests_per_minute: u32,
    /// Requests of one address that show no valid token; 0 is any number.
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
}

impl Rates {
    pub(crate) fn new(limit: &RateLimit) -> Self {
        let quota = |per_minute| NonZeroU32::new(per_minute).map(Quota::per_minute);
        Self {
            requests: quota(limit.requests_per_minute).map(RateLimiter::keyed),
            refusals: quota(limit.refusals_per_minute).map(RateLimiter::keyed),
        }
    }

    /// One more request of somebody who is let in.
    pub(crate) fn request(&self, who: &str) -> Result<(), Error> {
        check(self.requests.as_ref(), &who.to_owned())
    }

    /// One more request that is refused for want of a token.
    pub(crate) fn refusal(&self, address: IpAddr) -> Result<(), Error> {
        check(self.refusals.as_ref(), &network(address))
    }

    /// Forgets those who may ask as often as anybody, from time to time.
    pub(crate) async fn keep_small(&self) {
        loop {
            sleep(FORGET_INTERVAL).await;
            if let Some(requests) = &self.requests {
                requests.retain_recent();
            }
            if let Some(refusals) = &self.refusals {
                refusals.retain_recent();
            }
        }
    }
}

fn check<K: Clone + Eq + std::hash::Hash>(
    limiter: Option<&DefaultKeyedRateLimiter<K>>,
    key: &K,
) -> Result<(), Error> {
    let Some(limiter) = limiter else {
        return Ok(());
    };
    limiter.check_key(key).map_err(|until| {
        let wait = until.wait_time_from(DefaultClock::default().now());
        Error::TooManyRequests {
            retry_after_secs: wait.as_secs() + 1,
        }
    })
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
        assert!(rates.refusal(ip("2001:db8::1")).is_ok());
        assert!(rates.refusal(ip("2001:db8::2")).is_err());
        assert!(rates.refusal(ip("2001:db8:0:1::1")).is_ok());
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

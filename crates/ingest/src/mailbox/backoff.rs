//! Pauses that grow.

use std::time::Duration;

use tokio::time::Instant;

use super::{Config, fault::Pause};

const FIRST: Duration = Duration::from_secs(1);

/// Whatever the first pause, nobody waits longer for credentials that were set right.
const CREDENTIALS_MAX: Duration = Duration::from_secs(6 * 60 * 60);

/// Pauses since all was well.
#[derive(Default)]
pub(super) struct Backoff {
    short: u32,
    credentials: u32,
    until: Option<Instant>,
    refused: Option<Box<Config>>,
}

impl Backoff {
    /// All is well.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Begins a pause. `used` is what the failed session was begun with.
    pub(super) fn begin(&mut self, pause: Pause, used: &Config) {
        self.until = Some(Instant::now() + self.next(pause, used));
        self.refused = (pause == Pause::Credentials).then(|| Box::new(used.clone()));
    }

    /// When the pause at hand ends.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// What was refused, if the pause is for that.
    pub(super) fn refused(&self) -> Option<&Config> {
        self.refused.as_deref()
    }

    /// The next pause, up to a fifth shorter than it could be: mailboxes of one server do not all come back at once.
    fn next(&mut self, pause: Pause, config: &Config) -> Duration {
        let (first, max, number) = match pause {
            Pause::Brief | Pause::Short => (
                FIRST,
                Duration::from_secs(config.retry_max_secs),
                &mut self.short,
            ),
            Pause::Credentials => {
                let first = Duration::from_secs(config.credentials_retry_secs);
                (first, CREDENTIALS_MAX.max(first), &mut self.credentials)
            }
        };
        let doubled = first.saturating_mul(2_u32.saturating_pow(*number)).min(max);
        *number += 1;
        let random = (uuid::Uuid::now_v7().as_u128() % 1_000) as u32;
        doubled - doubled / 5 * random / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit() {
        let config = Config::default();
        let mut backoff = Backoff::default();
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let expected = Duration::from_secs(expected);
            let pause = backoff.next(Pause::Short, &config);
            assert!(pause <= expected && pause >= expected * 4 / 5, "{pause:?}");
        }
        let first = backoff.next(Pause::Credentials, &config).as_secs();
        assert!((480..=600).contains(&first), "{first}");
    }
}

//! The one place that reads the clock.

use time::OffsetDateTime;

/// Now, in UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "everything else is told the time"
)]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

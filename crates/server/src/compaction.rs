//! What has arrived in the rollup is merged in the background.

use std::time::Duration;

use store::{Compacted, Error, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;

/// How often to look how much there is.
const INTERVAL: Duration = Duration::from_secs(10);

/// With fewer sums there is time.
const MANY_SUMS: i64 = 100_000;

/// But not more than this.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// An import leaves so much to others: answers are quick nevertheless.
const LEFT_BY_IMPORT: i64 = 1_000_000;

/// Merges what arrives. A job that is broken off is as if it had not begun.
pub(crate) async fn keep(store: &Store) {
    let mut compacted_at = None;
    let mut failing = false;
    loop {
        match turn(store, &mut compacted_at).await {
            Ok(()) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "the rollup could not be merged; it is tried again every ten seconds");
                }
                failing = true;
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Merges what there is, if it is much or has waited for long.
async fn turn(store: &Store, compacted_at: &mut Option<Instant>) -> Result<(), Error> {
    let least = match compacted_at {
        Some(at) if at.elapsed() < WAIT_MAX => MANY_SUMS,
        _ => 1,
    };
    while store.arrived_sum_count().await? >= least {
        match store.compact(clock::now()).await? {
            Compacted::Moved(sum_count) => tracing::debug!(sum_count, "arrivals were merged"),
            Compacted::Nothing | Compacted::Busy => break,
        }
        *compacted_at = Some(Instant::now());
    }
    Ok(())
}

/// Merges most of what an import brought, until it is told to stop.
pub(crate) async fn compact_import(store: &Store, stop: &CancellationToken) {
    let compacted = stop.run_until_cancelled(async {
        while store.arrived_sum_count().await? > LEFT_BY_IMPORT
            && matches!(store.compact(clock::now()).await?, Compacted::Moved(_))
        {}
        Ok::<(), Error>(())
    });
    if let Some(Err(error)) = compacted.await {
        tracing::warn!(%error, "the rollup could not be merged; ruad serve does it later");
    }
}

//! Ids of deliveries that may be seen more than once.

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::{Builder, Uuid};

/// The same id for the same thing, however often it is met: a version 7 UUID with the time of the thing, and with a
/// SHA-256 over its identity in the place of chance.
pub(crate) fn delivery_id(time: OffsetDateTime, identity: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in identity {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&digest[..10]);
    let milliseconds = time.unix_timestamp_nanos() / 1_000_000;
    Builder::from_unix_timestamp_millis(milliseconds.max(0) as u64, &bytes).into_uuid()
}

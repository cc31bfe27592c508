//! Ids for deliveries that are found where they lie, and may be found again after a crash.

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::{Builder, Uuid};

/// The same id for the same thing: shaped like a version 7 UUID, with the thing's own time and, where others have chance, a
/// hash of what tells it from everything else.
///
/// Whoever dies between the commit and moving a mail or file on finds it again, and the ledger knows its id.
pub(crate) fn delivery_id(time: OffsetDateTime, identity: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in identity {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut chance = [0; 10];
    chance.copy_from_slice(&digest[..10]);
    let millis = time.unix_timestamp_nanos() / 1_000_000;
    // 48 bits; a time before 1970 is the doing of a wrong clock.
    let millis = millis.clamp(0, (1 << 48) - 1) as u64;
    Builder::from_unix_timestamp_millis(millis, &chance).into_uuid()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_same_thing_has_the_same_id_and_others_have_others() {
        let time = datetime!(2026-07-01 12:00:00.123 UTC);
        let id = delivery_id(time, &[b"ab", b"c"]);
        assert_eq!(id, delivery_id(time, &[b"ab", b"c"]));
        for other in [
            delivery_id(time, &[b"a", b"bc"]),
            delivery_id(time, &[b"ab", b"c", b""]),
            delivery_id(time + time::Duration::MILLISECOND, &[b"ab", b"c"]),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn it_is_a_version_7_uuid_of_its_time() {
        let time = datetime!(2026-07-01 12:00:00.123 UTC);
        let id = delivery_id(time, &[]);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
        assert_eq!(seconds, time.unix_timestamp() as u64);
        assert_eq!(nanos, 123_000_000);
        let first = delivery_id(datetime!(1960-01-01 0:00 UTC), &[]);
        assert_eq!(first.get_timestamp().unwrap().to_unix().0, 0);
    }
}

//! Arrays of PostgreSQL read at once. What sqlx has for it costs ten times as much for each element.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sqlx::{
    Decode, Postgres, Type,
    error::BoxDynError,
    postgres::{PgTypeInfo, PgValueFormat, PgValueRef, types::Oid},
};
use time::Date;

use crate::copy::EPOCH;

/// An array of one dimension without nulls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Elements<T>(pub(crate) Vec<T>);

impl<T> Elements<T> {
    /// Keeps those whose place is marked.
    pub(crate) fn keep(&mut self, marked: &[bool]) {
        let mut marked = marked.iter();
        self.0.retain(|_| marked.next() == Some(&true));
        self.0.shrink_to_fit();
    }
}

/// The count at a place, of counts that are not written when each of them is 1.
pub(crate) fn count_at(counts: &Option<Elements<i32>>, place: usize) -> Option<i32> {
    match counts {
        Some(counts) => counts.0.get(place).copied(),
        None => Some(1),
    }
}

/// A type that can be the element of such an array.
pub(crate) trait Element: Sized {
    /// The number of the array's type in `pg_type`.
    const ARRAY_OID: u32;

    /// Reads one, `None` if it is not of this type.
    fn read(bytes: &[u8]) -> Option<Self>;
}

impl Element for i16 {
    const ARRAY_OID: u32 = 1005;

    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl Element for i32 {
    const ARRAY_OID: u32 = 1007;

    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl Element for i64 {
    const ARRAY_OID: u32 = 1016;

    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl Element for Date {
    const ARRAY_OID: u32 = 1182;

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::from_julian_day(EPOCH.checked_add(i32::read(bytes)?)?).ok()
    }
}

impl Element for IpAddr {
    const ARRAY_OID: u32 = 1041;

    /// Address family, prefix length, whether it is a network, length, address.
    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes.get(4..)? {
            address if address.len() == 4 => {
                let octets: [u8; 4] = address.try_into().ok()?;
                Some(Self::V4(Ipv4Addr::from(octets)))
            }
            address => {
                let octets: [u8; 16] = address.try_into().ok()?;
                Some(Self::V6(Ipv6Addr::from(octets)))
            }
        }
    }
}

impl<T: Element> Type<Postgres> for Elements<T> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(T::ARRAY_OID))
    }
}

impl<T: Element> Decode<'_, Postgres> for Elements<T> {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        if value.format() != PgValueFormat::Binary {
            return Err("an array came as text".into());
        }
        read_array(value.as_bytes()?)
            .map(Self)
            .ok_or_else(|| "an array is not of the type and form expected".into())
    }
}

/// Reads dimensions (0 or 1), whether there are nulls, type, length and first index, then each element behind its length.
fn read_array<T: Element>(bytes: &[u8]) -> Option<Vec<T>> {
    let (dimensions, bytes) = bytes.split_first_chunk::<4>()?;
    if i32::from_be_bytes(*dimensions) == 0 {
        return Some(Vec::new());
    }
    let count = i32::read(bytes.get(8..12)?)?;
    let mut rest = bytes.get(16..)?;
    // An element takes four bytes at least.
    let mut elements = Vec::with_capacity(usize::try_from(count).ok()?.min(rest.len() / 4));
    for _ in 0..count {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (element, behind) = behind.split_at_checked(length)?;
        elements.push(T::read(element)?);
        rest = behind;
    }
    Some(elements)
}

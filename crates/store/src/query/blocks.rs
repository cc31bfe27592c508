//! The rollup as it is read: blocks of sums of one domain and day.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::{Stream, TryStreamExt as _};
use report::Disposition;
use serde::Deserialize;
use sqlx::{PgPool, types::Json};
use time::Date;

use crate::{
    Error,
    elements::{Elements, count_at},
    query::{Range, address},
    rollup::{Sum, SumKey},
};

/// A row of the view `source_day_rows`.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) domain_id: i64,
    pub(crate) day: Date,
    pub(crate) source_ips: Elements<IpAddr>,
    pub(crate) key_numbers: Elements<i16>,
    pub(crate) message_counts: Elements<i64>,
    pub(crate) report_counts: Option<Elements<i32>>,
    pub(crate) source_report_counts: Option<Elements<i32>>,
    pub(crate) keys: Json<Vec<Key>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Key {
    dkim_aligned: Option<bool>,
    spf_aligned: Option<bool>,
    disposition: Option<String>,
    header_from: Option<String>,
}

impl Block {
    /// What the sums are kept by; a sum has the number of its key.
    pub(crate) fn keys(&self) -> Result<Vec<SumKey<'_>>, Error> {
        self.keys.iter().map(Key::read).collect()
    }

    pub(crate) fn sum_count(&self) -> usize {
        self.source_ips.0.len()
    }

    /// Leaves out the sums of addresses outside of a part: a row may hold addresses from the first to the last there is, and
    /// only what belongs to the part is to be held while it is added up.
    pub(crate) fn within(mut self, part: Span) -> Self {
        let inside: Vec<bool> = self
            .source_ips
            .0
            .iter()
            .map(|ip| part.contains(*ip))
            .collect();
        if !inside.contains(&false) {
            return self;
        }
        self.source_ips.keep(&inside);
        self.key_numbers.keep(&inside);
        self.message_counts.keep(&inside);
        let counts = [&mut self.report_counts, &mut self.source_report_counts];
        for counts in counts.into_iter().flatten() {
            counts.keep(&inside);
        }
        self
    }

    /// The sums, each with the number of its key among [`Block::keys`], from 0.
    pub(crate) fn sums<'a>(
        &'a self,
        keys: &'a [SumKey<'a>],
    ) -> impl Iterator<Item = Result<(usize, Sum<'a>), Error>> {
        let columns = self.source_ips.0.iter().zip(&self.message_counts.0);
        columns.zip(&self.key_numbers.0).enumerate().map(
            move |(place, ((source_ip, message_count), number))| {
                let number = (*number as usize).wrapping_sub(1);
                let key = keys.get(number).ok_or_else(|| corrupt("key_numbers"))?;
                let sum = Sum {
                    source_ip: *source_ip,
                    key: *key,
                    message_count: *message_count as u64,
                    report_count: count_at(&self.report_counts, place).unwrap_or(0) as u32,
                    source_report_count: count_at(&self.source_report_counts, place).unwrap_or(0)
                        as u32,
                };
                Ok((number, sum))
            },
        )
    }
}

impl Key {
    pub(crate) fn read(&self) -> Result<SumKey<'_>, Error> {
        let disposition = match self.disposition.as_deref() {
            Some(word) => Some(Disposition::from_word(word).ok_or_else(|| corrupt("keys"))?),
            None => None,
        };
        Ok(SumKey {
            dkim_aligned: self.dkim_aligned,
            spf_aligned: self.spf_aligned,
            disposition,
            header_from: self.header_from.as_deref(),
        })
    }
}

fn corrupt(column: &'static str) -> Error {
    Error::Corrupt {
        table: "source_day_rows",
        column,
        detail: "a block does not fit together".into(),
    }
}

/// Addresses from one to another, IPv4 before IPv6 as PostgreSQL orders them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    first: IpAddr,
    last: IpAddr,
    /// The first one that does not belong to it, if it ends before `last`.
    before: Option<IpAddr>,
}

impl Span {
    /// Every address.
    pub(crate) const ALL: Self = Self {
        first: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        last: IpAddr::V6(Ipv6Addr::new(
            0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff,
        )),
        before: None,
    };

    /// The addresses of a network.
    pub(crate) fn of_net(address: IpAddr, prefix: u8) -> Self {
        let (first, last) = match address {
            IpAddr::V4(address) => {
                let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
                let bits = address.to_bits();
                (
                    Ipv4Addr::from_bits(bits & !host).into(),
                    Ipv4Addr::from_bits(bits | host).into(),
                )
            }
            IpAddr::V6(address) => {
                let host = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
                let bits = address.to_bits();
                (
                    Ipv6Addr::from_bits(bits & !host).into(),
                    Ipv6Addr::from_bits(bits | host).into(),
                )
            }
        };
        Self {
            first,
            last,
            before: None,
        }
    }

    /// The same in parts that begin at these addresses, which are in order.
    pub(crate) fn cut(self, at: &[IpAddr]) -> Vec<Self> {
        let mut rest = self;
        let mut parts = Vec::with_capacity(at.len() + 1);
        for cut in at {
            if *cut > rest.first && *cut <= rest.last {
                parts.push(Self {
                    before: Some(*cut),
                    ..rest
                });
                rest.first = *cut;
            }
        }
        parts.push(rest);
        parts
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.first <= address
            && address <= self.last
            && self.before.is_none_or(|before| address < before)
    }

    /// The same bounds for PostgreSQL, the last one included.
    fn bounds(&self) -> (String, String) {
        let last = self.before.unwrap_or(self.last);
        (self.first.to_string(), last.to_string())
    }
}

/// What the rollup holds of a domain over some days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Grows with every report that is stored and does not change when sums are merged: equal versions mean that nothing
    /// new came in.
    pub(crate) version: Version,
    /// Sums to be read.
    pub(crate) sum_count: i64,
}

/// Reports counted for their sources, and messages.
pub(crate) type Version = (i64, i64);

/// What the rollup holds of a domain over some days, `None` if that is nothing.
pub(crate) async fn extent(
    pool: &PgPool,
    domain_id: i64,
    range: Range,
) -> Result<Option<Extent>, Error> {
    let row = sqlx::query!(
        r#"
        select
            to_count(sum(source_report_count)) as "source_report_count!",
            to_count(sum(message_count)) as "message_count!",
            sum(sum_count) as "sum_count!"
        from source_day_totals
        where domain_id = $1
            and day between $2 and $3
        group by domain_id
        "#,
        domain_id,
        range.from,
        range.to
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Extent {
        version: (row.source_report_count, row.message_count),
        sum_count: row.sum_count,
    }))
}

/// Sums that are added up at a time on average, about 80 bytes each, and as many that are read meanwhile, half of that: others are
/// merged, and other answers made, at the same time. What each part has is known from samples only: some have a third more.
const PART_SUMS_MAX: i64 = 150_000;

/// Addresses of each part that are looked at to tell where the parts begin. Each costs PostgreSQL some 25 microseconds.
const SAMPLES_OF_PART: i64 = 30;

/// Parts of the addresses with so many sums that each can be added up in memory.
///
/// A row may hold addresses from the first to the last there is, so its bounds do not tell: a sample of what it holds does.
pub(crate) async fn parts(
    pool: &PgPool,
    domain_id: i64,
    range: Range,
    span: Span,
    extent: Extent,
) -> Result<Vec<Span>, Error> {
    if extent.sum_count <= PART_SUMS_MAX {
        return Ok(vec![span]);
    }
    let part_count = extent.sum_count / PART_SUMS_MAX + 1;
    let samples = part_count * SAMPLES_OF_PART;
    let (first, last) = span.bounds();
    let sample = sqlx::query_scalar!(
        r#"
        select host(source_ips[n]) as "source_ip!"
        from source_day_rows
        cross join lateral generate_series(1 + floor(random() * $6::integer)::integer, sum_count, $6) as n
        where domain_id = $1
            and day between $2 and $3
            and last_source >= $4::text::inet
            and first_source <= $5::text::inet
        order by source_ips[n]
        "#,
        domain_id,
        range.from,
        range.to,
        first,
        last,
        i32::try_from(extent.sum_count / samples).unwrap_or(i32::MAX)
    )
    .fetch_all(pool)
    .await?;
    let part_count = usize::try_from(part_count).unwrap_or(1);
    let cuts: Vec<IpAddr> = sample
        .chunks(sample.len().div_ceil(part_count).max(1))
        .skip(1)
        .map(|part| address("source_day_rows", &part[0]))
        .collect::<Result<_, _>>()?;
    Ok(span.cut(&cuts))
}

/// Blocks of a domain with sums of some addresses.
pub(crate) fn blocks(
    pool: &PgPool,
    domain_id: i64,
    range: Range,
    span: Span,
) -> impl Stream<Item = Result<Block, Error>> {
    let (first, last) = span.bounds();
    sqlx::query_as!(
        Block,
        r#"
        select
            domain_id as "domain_id!",
            day as "day!",
            source_ips as "source_ips!: Elements<IpAddr>",
            key_numbers as "key_numbers!: Elements<i16>",
            message_counts as "message_counts!: Elements<i64>",
            report_counts as "report_counts: Elements<i32>",
            source_report_counts as "source_report_counts: Elements<i32>",
            keys as "keys!: Json<Vec<Key>>"
        from source_day_rows
        where domain_id = $1
            and day between $2 and $3
            and last_source >= $4::text::inet
            and first_source <= $5::text::inet
        "#,
        domain_id,
        range.from,
        range.to,
        first,
        last
    )
    .fetch(pool)
    .map_err(Error::from)
}

/// The addresses in the rollup of some domains, as they are in its blocks: some are there many times.
pub(crate) fn addresses(
    pool: &PgPool,
    domain_ids: &[i64],
    range: Range,
    span: Span,
) -> impl Stream<Item = Result<(i64, Vec<IpAddr>), Error>> {
    let (first, last) = span.bounds();
    sqlx::query!(
        r#"
        select domain_id as "domain_id!", source_ips as "source_ips!: Elements<IpAddr>"
        from source_day_rows
        where domain_id = any($1)
            and day between $2 and $3
            and last_source >= $4::text::inet
            and first_source <= $5::text::inet
        "#,
        domain_ids,
        range.from,
        range.to,
        first,
        last
    )
    .map(|row| (row.domain_id, row.source_ips.0))
    .fetch(pool)
    .map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn of_a_block_only_the_part_is_held() {
        let block = Block {
            domain_id: 1,
            day: Date::MIN,
            source_ips: Elements(["192.0.2.1", "192.0.2.2", "198.51.100.1"].map(ip).to_vec()),
            key_numbers: Elements(vec![1, 1, 1]),
            message_counts: Elements(vec![10, 20, 30]),
            report_counts: None,
            source_report_counts: Some(Elements(vec![1, 0, 3])),
            keys: Json(Vec::new()),
        };
        let [_, part] = Span::ALL.cut(&[ip("192.0.2.2")])[..] else {
            panic!("two parts")
        };
        let block = block.within(part);
        assert_eq!(block.source_ips.0, [ip("192.0.2.2"), ip("198.51.100.1")]);
        assert_eq!(block.key_numbers.0, [1, 1]);
        assert_eq!(block.message_counts.0, [20, 30]);
        assert!(block.report_counts.is_none());
        assert_eq!(block.source_report_counts.unwrap().0, [0, 3]);
    }

    #[test]
    fn a_network_is_from_its_first_to_its_last_address() {
        let net = Span::of_net(ip("192.0.2.77"), 26);
        assert!(!net.contains(ip("192.0.2.63")));
        assert!(net.contains(ip("192.0.2.64")) && net.contains(ip("192.0.2.127")));
        assert!(!net.contains(ip("192.0.2.128")) && !net.contains(ip("2001:db8::1")));
        let all = Span::of_net(ip("::"), 0);
        assert!(all.contains(ip("2001:db8::1")) && !all.contains(ip("255.255.255.255")));
        let one = Span::of_net(ip("2001:db8::1"), 128);
        assert!(one.contains(ip("2001:db8::1")) && !one.contains(ip("2001:db8::2")));
    }

    #[test]
    fn parts_leave_no_address_out_and_share_none() {
        let cuts = [ip("10.0.0.0"), ip("192.0.2.0"), ip("2001:db8::")];
        for span in [Span::ALL, Span::of_net(ip("0.0.0.0"), 0)] {
            let parts = span.cut(&cuts);
            for address in [
                "0.0.0.0",
                "9.255.255.255",
                "10.0.0.0",
                "192.0.2.9",
                "2001:db8::",
            ] {
                let holders = parts.iter().filter(|part| part.contains(ip(address)));
                assert_eq!(holders.count(), usize::from(span.contains(ip(address))));
            }
        }
    }
}

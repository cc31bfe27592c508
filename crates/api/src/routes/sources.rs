//! The sources of a domain: the main answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::{Json, extract};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{SourceFilter, SourceKey, SourceRow};
use time::Date;
use utoipa::{IntoParams, ToSchema};

use super::domains;
use crate::{
    Error, State,
    access::Viewer,
    cursor::{self, Limit, Place},
    days::{Asked, day},
    error::Problem,
    extract::{Path, Query},
    totals::Totals,
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// First day.
    #[serde(default, with = "day::option")]
    from: Option<Date>,
    /// Last day.
    #[serde(default, with = "day::option")]
    to: Option<Date>,
    /// What comes first: the sources with most messages (the default), or with most that fail DMARC.
    #[serde(default)]
    #[param(inline, required = false)]
    sort: Sort,
    /// Only messages that pass DMARC, or only those that fail.
    pass: Option<bool>,
    /// Only messages with this author domain.
    #[param(value_type = Option<String>, max_length = 255)]
    header_from: Option<HeaderFrom>,
    /// Only sources in this network: an address and a prefix length.
    #[param(value_type = Option<String>, format = "cidr", example = "192.0.2.0/24")]
    net: Option<Net>,
    /// Items at most.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 1000, default = 100, required = false)]
    limit: Limit,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Sort {
    #[default]
    Messages,
    Failures,
}

/// An author domain as it is stored.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct HeaderFrom(String);

impl TryFrom<String> for HeaderFrom {
    type Error = String;

    /// A domain has at most 253 characters (RFC 1035 section 2.3.4). What is longer must not stay in memory as a question.
    fn try_from(text: String) -> Result<Self, String> {
        const CHARS_MAX: usize = 255;
        match text.chars().count() {
            ..=CHARS_MAX => Ok(Self(domains::stored_name(&text))),
            count => Err(format!(
                "header_from has {count} characters; a domain has at most {CHARS_MAX}"
            )),
        }
    }
}

/// A network in the notation of CIDR; a bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Net(IpAddr, u8);

impl TryFrom<String> for Net {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no network such as 192.0.2.0/24 or 2001:db8::/32");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.as_str(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|&prefix| prefix <= bits)
                .ok_or_else(wrong)?,
            None => bits,
        };
        Ok(Self(first_address(address, prefix), prefix))
    }
}

/// The address without the bits of hosts.
fn first_address(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// The sources of a domain, greatest first.
#[derive(Serialize, ToSchema)]
pub(super) struct SourceList {
    /// First day; null when there is no data at all.
    #[serde(with = "day::option")]
    #[schema(example = "2024-05-01")]
    from: Option<Date>,
    /// Last day.
    #[serde(with = "day::option")]
    #[schema(example = "2024-05-30")]
    to: Option<Date>,
    items: Vec<Source>,
    /// Cursor to what follows.
    #[schema(example = json!(null))]
    next: Option<String>,
}

/// One source of a domain over a range of days, as far as its messages match the filter.
#[derive(Serialize, ToSchema)]
struct Source {
    /// The sending host.
    #[schema(value_type = String, example = "192.0.2.1")]
    source_ip: IpAddr,
    #[serde(flatten)]
    totals: Totals,
    /// Reports that name it in the range, whatever the filter.
    #[schema(example = 31)]
    report_count: i64,
    /// First day with such a message.
    #[serde(with = "day")]
    #[schema(example = "2024-05-01")]
    first_day: Date,
    /// Last day with such a message.
    #[serde(with = "day")]
    #[schema(example = "2024-05-30")]
    last_day: Date,
    /// What is known about the address; null where nothing is.
    #[schema(example = json!(null))]
    source: Option<Value>,
}

impl From<SourceRow> for Source {
    fn from(row: SourceRow) -> Self {
        Self {
            source_ip: row.source_ip,
            totals: row.totals.into(),
            report_count: row.report_count,
            first_day: row.first_day,
            last_day: row.last_day,
            source: None,
        }
    }
}

/// The place after a source: how the list is sorted, and by what number and address it stands where it does.
#[derive(Serialize, Deserialize)]
struct Key {
    sort: Sort,
    count: i64,
    source_ip: IpAddr,
}

impl Key {
    fn of(sort: Sort, row: &SourceRow) -> Self {
        let count = match sort {
            Sort::Messages => row.totals.message_count,
            Sort::Failures => row.totals.dmarc_fail_count(),
        };
        Self {
            sort,
            count,
            source_ip: row.source_ip,
        }
    }
}

/// The sources of a domain
///
/// Every address that sends mail in the name of the domain, with what became of its messages.
#[utoipa::path(
    get, path = "/api/v1/domains/{domain}/sources", operation_id = "list_domain_sources", tag = "Domains",
    params(("domain" = String, Path, description = "The policy domain"), ListQuery),
    responses(
        (status = 200, description = "Sources, greatest first", body = SourceList),
        (status = 404, description = "`unknown_domain`: no report names it", body = Problem,
            content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn list(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    Path(domain): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Json<SourceList>, Error> {
    let place: Option<Place<Key>> = cursor::decode(query.cursor.as_deref())?;
    if place
        .as_ref()
        .is_some_and(|place| place.after.sort != query.sort)
    {
        return Err(Error::BadCursor);
    }
    let (domain_id, _) = domains::find(&state, &viewer, &domain).await?;
    let asked = Asked {
        from: query.from,
        to: query.to,
    };
    let days = asked
        .at(place.as_ref())?
        .resolve(
            state.today(),
            state.store().last_day(Some(domain_id), state.latest_day()),
        )
        .await?;
    let filter = SourceFilter {
        sort: match query.sort {
            Sort::Messages => store::SourceSort::Messages,
            Sort::Failures => store::SourceSort::Failures,
        },
        pass: query.pass,
        header_from: query.header_from.map(|HeaderFrom(domain)| domain),
        net: query.net.map(|Net(address, prefix)| (address, prefix)),
        after: place.map(|place| SourceKey {
            count: place.after.count,
            source_ip: place.after.source_ip,
        }),
    };
    let mut rows = state
        .store()
        .sources(domain_id, days.range, &filter, query.limit.rows())
        .await?;
    let next = query
        .limit
        .cut(&mut rows, |row| days.after(Key::of(query.sort, row)));
    Ok(Json(SourceList {
        from: days.from(),
        to: days.to(),
        items: rows.into_iter().map(Source::from).collect(),
        next,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, address: &str, prefix: u8) {
        let net = Net::try_from(text.to_owned());
        assert_eq!(net, Ok(Net(address.parse().unwrap(), prefix)));
    }

    #[test]
    fn networks_are_read_with_or_without_host_bits() {
        check("192.0.2.0/24", "192.0.2.0", 24);
        check("192.0.2.77/24", "192.0.2.0", 24);
        check("192.0.2.77/0", "0.0.0.0", 0);
        check("192.0.2.77", "192.0.2.77", 32);
        check("2001:db8::7/32", "2001:db8::", 32);
        check("2001:db8::7/0", "::", 0);
        check("2001:db8::7", "2001:db8::7", 128);
    }

    #[test]
    fn author_domains_are_as_long_as_domains() {
        let header_from = HeaderFrom::try_from("Example.ORG.".to_owned());
        assert_eq!(header_from, Ok(HeaderFrom("example.org".into())));
        assert!(HeaderFrom::try_from("a".repeat(255)).is_ok());
        assert!(HeaderFrom::try_from("a".repeat(256)).is_err());
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "/",
            "192.0.2.0/33",
            "192.0.2.0/",
            "192.0.2/24",
            "::/129",
            "example.org",
            "1.2.3.4/-1",
        ] {
            assert!(Net::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}

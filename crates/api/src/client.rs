//! Who asks, as far as the network tells.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use axum::{
    extract::{self, FromRequestParts, Request},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, header, request::Parts},
    middleware::Next,
    response::Response,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::{Error, State};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Browsers that came over TLS once come no other way for a year.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// An address or a network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Net(IpNet);

impl Net {
    /// The addresses of this machine to itself.
    pub(crate) fn loopback() -> Vec<Self> {
        let nets: [IpNet; 2] = [
            Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
            Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128).into(),
        ];
        nets.map(Self).to_vec()
    }
}

impl TryFrom<String> for Net {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        IpNet::from_str(&text)
            .or_else(|_| IpAddr::from_str(&text).map(IpNet::from))
            .map(Self)
            .map_err(|_| format!("{text:?} is no address and no network, such as 192.0.2.0/24"))
    }
}

impl From<Net> for String {
    fn from(net: Net) -> Self {
        net.to_string()
    }
}

impl fmt::Display for Net {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) is_tls: bool,
}

/// Who made a request, before any proxy that is trusted to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// Whether nobody on the way could read along.
    pub(crate) is_https: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Ok(Self::of_request(&parts.extensions))
    }
}

impl Client {
    /// Who made the request with these extensions.
    pub(crate) fn of_request(extensions: &Extensions) -> Self {
        *extensions
            .get()
            .expect("identify comes before every handler")
    }

    /// Each proxy adds at the right whom it heard: what is left of the first address that is not trusted may be made up.
    fn of(peer: Peer, headers: &HeaderMap, trusted: &[Net]) -> Self {
        let is_trusted = |address: IpAddr| {
            let address = address.to_canonical();
            trusted.iter().any(|net| net.0.contains(&address))
        };
        let mut client = Self {
            address: peer.address.to_canonical(),
            is_https: peer.is_tls,
        };
        if !is_trusted(client.address) {
            return client;
        }
        client.is_https |= last(headers, &FORWARDED_PROTO).as_deref() == Some("https");
        let lines: Vec<Cow<'_, str>> = texts(headers, &FORWARDED_FOR).collect();
        let hops = lines.iter().flat_map(|line| line.split(',')).rev();
        for hop in hops {
            let Some(address) = address_of(hop.trim()) else {
                break;
            };
            client.address = address.to_canonical();
            if !is_trusted(client.address) {
                break;
            }
        }
        client
    }
}

/// Some proxies add the port.
fn address_of(hop: &str) -> Option<IpAddr> {
    let with_port = || {
        hop.parse()
            .ok()
            .map(|address: std::net::SocketAddr| address.ip())
    };
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    hop.parse().ok().or_else(with_port).or_else(in_brackets)
}

/// The lines of a field. What a client put there, be it no text, must not hide what a proxy wrote behind it.
fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Cow<'a, str>> {
    let values = headers.get_all(name).into_iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()))
}

fn last(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let line = texts(headers, name).last()?;
    line.rsplit(',').next().map(|last| last.trim().to_owned())
}

/// Lets the handlers know who asks.
pub(crate) async fn identify(
    extract::State(state): extract::State<State>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = *request
        .extensions()
        .get::<Peer>()
        .expect("whoever accepts a connection notes its other end");
    let client = Client::of(peer, request.headers(), &state.config.trusted_proxies);
    request.extensions_mut().insert(client);
    let mut response = next.run(request).await;
    if client.is_https {
        response
            .headers_mut()
            .insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[(&'static str, &str)], trusted: &[&str]) -> (String, bool) {
        let peer = Peer {
            address: peer.parse().unwrap(),
            is_tls: false,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in forwarded {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let trusted: Vec<Net> = trusted
            .iter()
            .map(|net| Net::try_from(net.to_string()).unwrap())
            .collect();
        let client = Client::of(peer, &headers, &trusted);
        (client.address.to_string(), client.is_https)
    }

    #[test]
    fn only_trusted_proxies_tell_who_asks() {
        let forwarded = [
            ("x-forwarded-for", "198.51.100.66, 203.0.113.9"),
            ("x-forwarded-for", "10.0.0.7"),
            ("x-forwarded-proto", "https"),
        ];
        for (peer, trusted, expected) in [
            ("192.0.2.1", &[][..], ("192.0.2.1", false)),
            ("10.0.0.1", &["192.0.2.0/24"], ("10.0.0.1", false)),
            ("10.0.0.1", &["10.0.0.1"], ("10.0.0.7", true)),
            ("::ffff:10.0.0.1", &["10.0.0.0/8"], ("203.0.113.9", true)),
        ] {
            let (address, is_https) = client(peer, &forwarded, trusted);
            assert_eq!((address.as_str(), is_https), expected, "{peer} {trusted:?}");
        }
    }

    #[test]
    fn what_a_proxy_says_may_have_ports_and_nonsense() {
        for (forwarded, expected) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::9]:443", "2001:db8::9"),
            ("[2001:db8::9]", "2001:db8::9"),
            ("203.0.113.9, unknown", "127.0.0.1"),
            ("\u{fc}, 203.0.113.9", "203.0.113.9"),
            ("", "127.0.0.1"),
        ] {
            let headers = [
                ("x-forwarded-for", forwarded),
                ("x-forwarded-proto", "https, http"),
            ];
            let told = client("127.0.0.1", &headers, &["127.0.0.1"]);
            assert_eq!(told, (expected.into(), false), "{forwarded}");
        }
    }

    #[test]
    fn a_network_is_written_as_it_is_read() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1/32"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            let net = Net::try_from(text.to_owned()).unwrap();
            assert_eq!(net.to_string(), expected);
        }
        assert!(Net::try_from("example.org".to_owned()).is_err());
    }
}

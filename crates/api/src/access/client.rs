//! Where a request comes from.

use std::net::IpAddr;

use axum::{
    extract::FromRequestParts,
    http::{Extensions, HeaderMap, request::Parts},
};

use crate::Error;

/// The other end of the connection that a request came over; whoever accepts it notes it there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
}

/// Who asks, as far as the network tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    /// Unknown where nobody noted it.
    pub(crate) address: Option<IpAddr>,
    /// Whether nobody could read the request on its way.
    pub(crate) is_https: bool,
}

impl Client {
    /// The one place that tells a client from a proxy in front of ruad, and believes what that says.
    ///
    /// A proxy on this machine is believed that a request came to it over HTTPS.
    pub(crate) fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let address = extensions
            .get::<Peer>()
            .map(|peer| peer.address.to_canonical());
        let is_proxy = address.is_some_and(|address| address.is_loopback());
        let says_https = headers
            .get("x-forwarded-proto")
            .is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"));
        Self {
            address,
            is_https: is_proxy && says_https,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Ok(Self::of(&parts.headers, &parts.extensions))
    }
}

//! Cookies: how they are set, and how they are found again.

use axum::http::{HeaderMap, header};

use crate::client::Client;

/// A cookie of ours. Scripts cannot read it.
pub(crate) struct Cookie {
    name: &'static str,
    /// The name over HTTPS: browsers take a cookie that is called so from nobody but this very host, over HTTPS, and send it
    /// with every path. Without the prefix any host of the same domain could set one for this host.
    https_name: &'static str,
    same_site: &'static str,
    secs: i64,
}

/// A browser that is signed in. Browsers do not send it with what pages of other sites make them ask for.
pub(crate) const SESSION: Cookie = Cookie {
    name: "ruad_session",
    https_name: "__Host-ruad_session",
    same_site: "Strict",
    secs: store::SESSION_SECS as i64,
};

/// A sign-in at an OpenID provider that is under way: it must come along when the provider sends the browser back.
pub(crate) const ATTEMPT: Cookie = Cookie {
    name: "ruad_oidc",
    https_name: "__Host-ruad_oidc",
    same_site: "Lax",
    secs: crate::oidc::ATTEMPT_SECS,
};

impl Cookie {
    /// Sets it.
    pub(crate) fn set(&self, value: &str, client: Client) -> String {
        self.with(value, self.secs, client)
    }

    /// Ends it.
    pub(crate) fn end(&self, client: Client) -> String {
        self.with("", 0, client)
    }

    fn with(&self, value: &str, max_age: i64, client: Client) -> String {
        let name = self.name_for(client);
        let same_site = self.same_site;
        let secure = if client.is_https { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite={same_site}{secure}")
    }

    /// What a request has in it. Of several somebody else has set one, and nobody knows which.
    pub(crate) fn find<'h>(&self, headers: &'h HeaderMap, client: Client) -> Option<&'h str> {
        let name = self.name_for(client);
        let mut values = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|cookies| cookies.to_str().ok())
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter_map(|(found, value)| (found == name).then_some(value));
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    fn name_for(&self, client: Client) -> &'static str {
        match client.is_https {
            true => self.https_name,
            false => self.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(is_https: bool) -> Client {
        Client {
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            is_https,
        }
    }

    fn found(is_https: bool, lines: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, header::HeaderValue::from_static(line));
        }
        let found = SESSION.find(&headers, client(is_https));
        found.map(str::to_owned)
    }

    #[test]
    fn a_cookie_is_found_among_others_and_once() {
        for (is_https, lines, expected) in [
            (false, &["a=b; c"][..], None),
            (
                false,
                &["x_ruad_session=no; ruad_session=yes; z=1"],
                Some("yes"),
            ),
            (false, &["a=b", "ruad_session=yes"], Some("yes")),
            (false, &["ruad_session=1; ruad_session=2"], None),
            (false, &["ruad_session=1", "ruad_session=1"], None),
            (false, &["__Host-ruad_session=no"], None),
            (true, &["ruad_session=no"], None),
            (
                true,
                &["ruad_session=no; __Host-ruad_session=yes"],
                Some("yes"),
            ),
            (
                true,
                &["__Host-ruad_session=1; __Host-ruad_session=2"],
                None,
            ),
        ] {
            assert_eq!(found(is_https, lines).as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn over_https_it_is_of_this_host_alone() {
        assert_eq!(
            SESSION.set("s", client(false)),
            "ruad_session=s; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"
        );
        assert_eq!(
            SESSION.set("s", client(true)),
            "__Host-ruad_session=s; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            ATTEMPT.end(client(true)),
            "__Host-ruad_oidc=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"
        );
    }
}

//! What a client shows to be let in: a token, or the cookie of a session.

use axum::http::{HeaderMap, header};
use store::{Holder, SESSION_SECS};

use super::Viewer;
use crate::{Error, State, client::Client};

const COOKIE: &str = "ruad_session";

/// Whoever has the credentials of a request. A token counts more than a cookie, which browsers send by themselves.
pub(super) async fn find(state: &State, headers: &HeaderMap) -> Result<Option<Viewer>, Error> {
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        let Some(text) = authorization.to_str().ok().and_then(bearer) else {
            return Ok(None);
        };
        let token = state.store().token(text).await?;
        return Ok(token.map(|token| Viewer::new(Holder::Token(token), None)));
    }
    let Some(secret) = session_secret(headers) else {
        return Ok(None);
    };
    let Some((session, holder)) = state.store().session(secret).await? else {
        return Ok(None);
    };
    // Whoever takes the provider out of the configuration means those as well who signed in there.
    if matches!(holder, Holder::Identity(_)) && state.provider.is_none() {
        return Ok(None);
    }
    Ok(Some(Viewer::new(holder, Some(session))))
}

/// The cookie that begins a session, or without a secret: that ends it.
///
/// Scripts cannot read it, and browsers do not send it with what pages of other sites make them ask for.
pub(crate) fn session_cookie(secret: Option<&str>, client: Client) -> String {
    let secure = if client.is_https { "; Secure" } else { "" };
    let (secret, max_age) = match secret {
        Some(secret) => (secret, SESSION_SECS),
        None => ("", 0),
    };
    format!("{COOKIE}={secret}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}")
}

/// The token of an `Authorization: Bearer` (RFC 6750).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn session_secret(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_what_stands_behind_bearer() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        for other in ["", "Bearer", "Basic abc", "abc"] {
            assert_eq!(bearer(other), None, "{other}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=b; c".parse().unwrap());
        assert_eq!(session_secret(&headers), None);
        let cookies = "x_ruad_session=no; ruad_session=yes; z=1";
        headers.append(header::COOKIE, cookies.parse().unwrap());
        assert_eq!(session_secret(&headers), Some("yes"));
    }

    #[test]
    fn only_over_https_the_cookie_is_for_https_only() {
        let client = |is_https| Client {
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            is_https,
        };
        assert_eq!(
            session_cookie(Some("s"), client(false)),
            "ruad_session=s; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"
        );
        assert!(session_cookie(Some("s"), client(true)).ends_with("; Secure"));
        assert!(
            session_cookie(None, client(false)).starts_with("ruad_session=; Path=/; Max-Age=0;")
        );
    }
}

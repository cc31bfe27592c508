//! What a client shows to be let in: a token, or the cookie of a session.

use axum::http::{HeaderMap, header};
use store::Holder;

use super::Viewer;
use crate::{Error, State, client::Client, cookie};

/// What a request shows.
#[derive(Clone, Copy)]
enum Credentials<'h> {
    Token(&'h str),
    Session(&'h str),
}

impl<'h> Credentials<'h> {
    /// A token counts more than a cookie, which browsers send by themselves.
    fn of(headers: &'h HeaderMap, client: Client) -> Option<Self> {
        match headers.get(header::AUTHORIZATION) {
            Some(authorization) => {
                let text = authorization.to_str().ok().and_then(bearer);
                text.map(Self::Token)
            }
            None => cookie::SESSION.find(headers, client).map(Self::Session),
        }
    }

    fn text(self) -> &'h str {
        let (Self::Token(text) | Self::Session(text)) = self;
        text
    }

    async fn viewer(self, state: &State) -> Result<Option<Viewer>, Error> {
        let (session, holder) = match self {
            Self::Token(text) => {
                let token = state.store().token(text).await?;
                return Ok(token.map(|token| Viewer::new(Holder::Token(token), None)));
            }
            Self::Session(secret) => match state.store().session(secret).await? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        // Whoever takes the provider out of the configuration means those as well who signed in there.
        if matches!(holder, Holder::Identity(_)) && state.provider.is_none() {
            return Ok(None);
        }
        Ok(Some(Viewer::new(holder, Some(session))))
    }
}

/// Whoever has the credentials of a request; `None` if they are not good, which has been counted.
pub(super) async fn find(
    state: &State,
    headers: &HeaderMap,
    client: Client,
) -> Result<Option<Viewer>, Error> {
    let shown = Credentials::of(headers, client);
    let found = match shown {
        Some(shown) => {
            state.rates.may_look_up(client.address, shown.text())?;
            shown.viewer(state).await?
        }
        None => None,
    };
    match (shown, &found) {
        (Some(shown), Some(_)) => state.rates.proved(shown.text()),
        (shown, _) => state
            .rates
            .refusal(client.address, shown.map(Credentials::text))?,
    }
    Ok(found)
}

/// The token of an `Authorization: Bearer` (RFC 6750).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
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
}

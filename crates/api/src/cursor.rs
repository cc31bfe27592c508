//! Keyset pagination: how many items, and where a list goes on.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use time::Date;
use utoipa::IntoParams;

use crate::{Error, days::day};

const LIMIT_MAX: u32 = 1000;

/// What a list is asked for that has nothing else to choose.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Items at most.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 1000, default = 100, required = false)]
    pub limit: Limit,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// How many items to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub(crate) struct Limit(u32);

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

tokio::task_local! {
    /// The greatest limit where it is not the usual one.
    static LONGER_MAX: u32;
}

/// Runs a handler for a page that may be longer than clients can ask for.
pub(crate) async fn with_limit_max<F: Future>(limit_max: u32, handler: F) -> F::Output {
    LONGER_MAX.scope(limit_max, handler).await
}

impl TryFrom<u32> for Limit {
    type Error = String;

    fn try_from(limit: u32) -> Result<Self, String> {
        let limit_max = LONGER_MAX.try_with(|max| *max).unwrap_or(LIMIT_MAX);
        if (1..=limit_max).contains(&limit) {
            Ok(Self(limit))
        } else {
            Err(format!("{limit} is not from 1 to {limit_max}"))
        }
    }
}

impl Limit {
    /// One row more than is shown tells whether there is more.
    pub(crate) fn rows(self) -> i64 {
        i64::from(self.0) + 1
    }

    /// Takes the row too many off and gives the cursor to what follows, if anything does.
    pub(crate) fn cut<R, K: Serialize>(
        self,
        rows: &mut Vec<R>,
        key: impl FnOnce(&R) -> K,
    ) -> Option<String> {
        let shown = self.0 as usize;
        if rows.len() <= shown {
            return None;
        }
        rows.truncate(shown);
        rows.last().map(|row| encode(&key(row)))
    }

    /// The same of a page that may end early because of its size.
    pub(crate) fn cut_page<R, K: Serialize>(
        self,
        page: store::Page<R>,
        key: impl FnOnce(&R) -> K,
    ) -> (Vec<R>, Option<String>) {
        let mut rows = page.rows;
        if page.is_cut && rows.len() <= self.0 as usize {
            let next = rows.last().map(|row| encode(&key(row)));
            return (rows, next);
        }
        let next = self.cut(&mut rows, key);
        (rows, next)
    }
}

/// The place after an item in a list over a range of days. The range is part of it: a default range moves when reports
/// arrive, and the pages of one list must not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place<K> {
    #[serde(with = "day")]
    pub from: Date,
    #[serde(with = "day")]
    pub to: Date,
    pub after: K,
}

/// Reads a cursor; only such as [`Limit::cut`] made for the same list are accepted.
pub(crate) fn decode<K: DeserializeOwned>(cursor: Option<&str>) -> Result<Option<K>, Error> {
    let Some(cursor) = cursor else {
        return Ok(None);
    };
    let json = BASE64_URL_SAFE_NO_PAD
        .decode(cursor)
        .map_err(|_| Error::BadCursor)?;
    let key: Value = serde_json::from_slice(&json).map_err(|_| Error::BadCursor)?;
    // No key of ours has it: PostgreSQL cannot hold it.
    if has_nul(&key) {
        return Err(Error::BadCursor);
    }
    serde_json::from_value(key)
        .map(Some)
        .map_err(|_| Error::BadCursor)
}

fn has_nul(key: &Value) -> bool {
    match key {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.values().any(has_nul),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn encode(key: &impl Serialize) -> String {
    let json = serde_json::to_vec(key).expect("keys are strings and numbers");
    BASE64_URL_SAFE_NO_PAD.encode(json)
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_key() {
        let place = Place {
            from: date!(2024 - 01 - 01),
            to: date!(2024 - 01 - 30),
            after: (12_i64, "example.org".to_owned()),
        };
        let mut rows = vec![1, 2, 3];
        let cursor = Limit(2).cut(&mut rows, |_| place.clone());
        assert_eq!(rows, [1, 2]);
        assert_eq!(decode(cursor.as_deref()).unwrap(), Some(place));
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let mut rows = vec![1, 2];
        assert_eq!(Limit(2).cut(&mut rows, |&row| row), None);
        assert_eq!(rows, [1, 2]);
    }

    #[test]
    fn strange_cursors_are_refused() {
        for cursor in ["", "?", "e30", "AAAA", "WzEsMl0"] {
            assert!(
                matches!(decode::<Place<i32>>(Some(cursor)), Err(Error::BadCursor)),
                "{cursor}"
            );
        }
        assert_eq!(decode::<Place<i32>>(None).unwrap(), None);
        let with_nul = encode(&(1, "a\0b"));
        let refused = decode::<(i64, String)>(Some(&with_nul));
        assert!(matches!(refused, Err(Error::BadCursor)));
    }

    #[test]
    fn limits_are_capped() {
        assert!(Limit::try_from(0).is_err());
        assert!(Limit::try_from(1001).is_err());
        assert_eq!(Limit::try_from(1000).unwrap().rows(), 1001);
    }
}

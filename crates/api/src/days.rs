//! Ranges of UTC days: what was asked for, and what is answered.

use serde::Deserialize;
use store::Range;
use time::Date;
use utoipa::IntoParams;

use crate::{
    Error,
    cursor::{Limit, Place},
};

/// A day as clients write it and read it.
pub(crate) mod day {
    use serde::Deserializer;
    use time::Date;

    pub(crate) use written::serialize;

    time::serde::format_description!(written, Date, "[year]-[month]-[day]");

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Date, D::Error> {
        askable(written::deserialize(from)?)
    }

    /// The same where there may be none.
    pub(crate) mod option {
        use serde::Deserializer;
        use time::Date;

        pub(crate) use super::written::option::serialize;
        use super::{askable, written};

        pub(crate) fn deserialize<'a, D: Deserializer<'a>>(
            from: D,
        ) -> Result<Option<Date>, D::Error> {
            let day = written::option::deserialize(from)?;
            day.map(askable).transpose()
        }
    }

    fn askable<E: serde::de::Error>(day: Date) -> Result<Date, E> {
        match store::is_askable(day) {
            true => Ok(day),
            false => Err(E::custom(format!("{day} is in no year from 1 to 9999"))),
        }
    }
}

/// Days of a range at most: ten years.
const DAYS_MAX: i64 = 3660;

/// The ends of a range as a client gave them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub from: Option<Date>,
    pub to: Option<Date>,
}

/// What a list over a range of days is asked for that has nothing else to choose.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RangeQuery {
    /// First day.
    #[serde(default, with = "day::option")]
    from: Option<Date>,
    /// Last day.
    #[serde(default, with = "day::option")]
    to: Option<Date>,
    /// Items at most.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 1000, default = 100, required = false)]
    pub limit: Limit,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

impl RangeQuery {
    pub(crate) fn asked(&self) -> Asked {
        Asked {
            from: self.from,
            to: self.to,
        }
    }
}

/// The days to ask the store for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Days {
    pub range: Range,
    /// What the answer states: nothing, when no range was asked for and there is no data to derive one from.
    pub stated: Option<Range>,
}

impl Days {
    pub(crate) fn from(&self) -> Option<Date> {
        self.stated.map(|range| range.from)
    }

    pub(crate) fn to(&self) -> Option<Date> {
        self.stated.map(|range| range.to)
    }

    /// The place in the list after the item with this key.
    pub(crate) fn after<K>(&self, key: K) -> Place<K> {
        Place {
            from: self.range.from,
            to: self.range.to,
            after: key,
        }
    }
}

impl Asked {
    /// The range of the list that a cursor belongs to, which must not be contradicted.
    pub(crate) fn at<K>(self, place: Option<&Place<K>>) -> Result<Self, Error> {
        let Some(place) = place else {
            return Ok(self);
        };
        let same = self.from.is_none_or(|from| from == place.from)
            && self.to.is_none_or(|to| to == place.to);
        if !same {
            return Err(Error::BadCursor);
        }
        Ok(Self {
            from: Some(place.from),
            to: Some(place.to),
        })
    }

    /// The days meant; `last_day` is asked only where the default depends on it.
    pub(crate) async fn resolve(
        self,
        today: Date,
        last_day: impl Future<Output = Result<Option<Date>, store::Error>>,
    ) -> Result<Days, Error> {
        let (from, to) = match (self.from, self.to) {
            (Some(from), Some(to)) => (from, to),
            (None, Some(to)) => (Range::up_to(to).from, to),
            (Some(from), None) => (from, last_day.await?.unwrap_or(today).max(from)),
            (None, None) => match last_day.await? {
                Some(to) => (Range::up_to(to).from, to),
                None => {
                    return Ok(Days {
                        range: Range {
                            from: today,
                            to: today,
                        },
                        stated: None,
                    });
                }
            },
        };
        if from > to {
            return Err(Error::BadRange(format!("from {from} is after to {to}")));
        }
        if (to - from).whole_days() >= DAYS_MAX {
            return Err(Error::BadRange(format!(
                "a range has at most {DAYS_MAX} days"
            )));
        }
        let range = Range { from, to };
        Ok(Days {
            range,
            stated: Some(range),
        })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    const TODAY: Date = date!(2024 - 06 - 30);

    async fn resolve(
        from: Option<Date>,
        to: Option<Date>,
        last_day: Option<Date>,
    ) -> Result<Days, Error> {
        Asked { from, to }
            .resolve(TODAY, std::future::ready(Ok(last_day)))
            .await
    }

    async fn range(from: Option<Date>, to: Option<Date>, last_day: Option<Date>) -> (Date, Date) {
        let days = resolve(from, to, last_day).await.unwrap();
        assert_eq!(days.stated, Some(days.range));
        (days.range.from, days.range.to)
    }

    #[tokio::test]
    async fn the_default_is_the_last_thirty_days_with_data() {
        let last_day = Some(date!(2013 - 03 - 15));
        let expected = (date!(2013 - 02 - 14), date!(2013 - 03 - 15));
        assert_eq!(range(None, None, last_day).await, expected);
        assert_eq!(range(None, last_day, None).await, expected);
    }

    #[tokio::test]
    async fn no_range_begins_before_the_year_1() {
        let to = date!(0001 - 01 - 05);
        assert_eq!(
            range(None, Some(to), None).await,
            (date!(0001 - 01 - 01), to)
        );
    }

    #[test]
    fn days_are_of_years_that_the_database_knows() {
        #[derive(serde::Deserialize)]
        struct Asked(#[serde(with = "day")] Date);
        let read = |text: &str| serde_json::from_value::<Asked>(text.into());
        for day in ["0001-01-01", "2024-02-29", "9999-12-31"] {
            assert_eq!(read(day).unwrap().0.to_string(), day);
        }
        for day in ["0000-12-31", "-0001-01-01", "-9999-01-05", "2023-02-29"] {
            assert!(read(day).is_err(), "{day}");
        }
    }

    #[tokio::test]
    async fn a_beginning_after_the_last_day_is_a_range_of_one_day() {
        let from = date!(2024 - 01 - 01);
        assert_eq!(
            range(Some(from), None, Some(date!(2013 - 03 - 15))).await,
            (from, from)
        );
        assert_eq!(range(Some(from), None, None).await, (from, TODAY));
    }

    #[tokio::test]
    async fn without_data_no_range_is_stated() {
        assert_eq!(resolve(None, None, None).await.unwrap().stated, None);
    }

    #[tokio::test]
    async fn impossible_ranges_are_refused() {
        for (from, to) in [
            (date!(2024 - 01 - 02), date!(2024 - 01 - 01)),
            (date!(2000 - 01 - 01), date!(2020 - 01 - 01)),
        ] {
            assert!(matches!(
                resolve(Some(from), Some(to), None).await,
                Err(Error::BadRange(_))
            ));
        }
    }

    #[test]
    fn a_cursor_keeps_its_range() {
        let place = Place {
            from: TODAY,
            to: TODAY,
            after: 1,
        };
        let asked = Asked::default().at(Some(&place)).unwrap();
        assert_eq!((asked.from, asked.to), (Some(TODAY), Some(TODAY)));
        let other = Asked {
            from: Some(date!(2024 - 01 - 01)),
            to: None,
        };
        assert!(matches!(other.at(Some(&place)), Err(Error::BadCursor)));
    }
}

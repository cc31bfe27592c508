//! Times as parsedmarc writes them.

/// Seconds since 1970 of a time such as `2024-03-01 23:59:59`, taken as UTC.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let (date, time) = text.trim().split_once([' ', 'T'])?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time.trim_end_matches('Z'), ':')?;
    let is_valid = (1..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    is_valid.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// Days since 1970 in the Gregorian calendar, counted in years that begin in March, so that leap days come last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(seconds("1970-01-01 00:00:00"), Some(0));
        assert_eq!(seconds("2024-02-29 23:59:59"), Some(1_709_251_199));
        assert_eq!(seconds("2024-03-01 00:00:00"), Some(1_709_251_200));
        assert_eq!(seconds("2023-12-31T00:00:00Z"), Some(1_703_980_800));
        for text in [
            "",
            "2024-03-01",
            "2024-13-01 00:00:00",
            "a-b-c d:e:f",
            "2024-03-01 00:00",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}

//! Where a queue begins on a topic that exists: the value of the tag `duolog:start`.
//!
//! `earliest`, `latest`, an offset, a time (`2026-11-24T08:00:00Z`), or an age (`90s`, `30m`, `2h`, `7d`).

use duolog_broker::Start;
use duolog_record::{Offset, Timestamp};

const SECOND_MS: i64 = 1000;
const DAY_MS: i64 = 86_400 * SECOND_MS;

/// Reads a start; `None` if it is none of the forms.
pub(super) fn parse(text: &str, now: Timestamp) -> Option<Start> {
    match text {
        "earliest" => return Some(Start::Earliest),
        "latest" => return Some(Start::Latest),
        _ => {}
    }
    if let Ok(offset) = text.parse() {
        return Some(Start::Offset(Offset(offset)));
    }
    let at = age(text).map(|age| now.0.saturating_sub(age)).or_else(|| time(text))?;
    Some(Start::Time(Timestamp(at)))
}

/// Milliseconds of an age.
fn age(text: &str) -> Option<i64> {
    let unit = match text.bytes().last()? {
        b's' => SECOND_MS,
        b'm' => 60 * SECOND_MS,
        b'h' => 3600 * SECOND_MS,
        b'd' => DAY_MS,
        _ => return None,
    };
    let count: u32 = text.get(..text.len() - 1)?.parse().ok()?;
    i64::from(count).checked_mul(unit)
}

/// Milliseconds since the epoch of `YYYY-MM-DDTHH:MM:SSZ`; tags may hold no other form of RFC 3339.
fn time(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:ddZ";
    let fits = bytes.len() == shape.len()
        && bytes.iter().zip(shape).all(|(byte, kind)| match kind {
            b'd' => byte.is_ascii_digit(),
            kind => byte == kind,
        });
    if !fits {
        return None;
    }
    let number = |at: usize, digits: usize| text.get(at..at + digits)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = (hour * 60 + minute) * 60 + second;
    Some(days_since_epoch(year, month, day) * DAY_MS + seconds * SECOND_MS)
}

/// Days from 1970-01-01 in the Gregorian calendar; years begin in March so that a leap day is a year's last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_read() {
        let now = Timestamp(10 * DAY_MS);
        let time = |ms| Some(Start::Time(Timestamp(ms)));
        assert_eq!(parse("earliest", now), Some(Start::Earliest));
        assert_eq!(parse("latest", now), Some(Start::Latest));
        assert_eq!(parse("120000", now), Some(Start::Offset(Offset(120_000))));
        assert_eq!(parse("2h", now), time(10 * DAY_MS - 7_200_000));
        assert_eq!(parse("7d", now), time(3 * DAY_MS));
        assert_eq!(parse("1970-01-01T00:00:00Z", now), time(0));
        assert_eq!(parse("2026-11-24T08:00:00Z", now), time(1_795_507_200_000));
        assert_eq!(parse("2000-02-29T23:59:59Z", now), time(951_868_799_000));
    }

    #[test]
    fn other_forms_are_not() {
        for text in ["", "s", "-1", "2 h", "2026-13-01T00:00:00Z", "2026-11-24", "ä", "99999999999d"] {
            assert_eq!(parse(text, Timestamp(0)), None, "{text}");
        }
    }
}

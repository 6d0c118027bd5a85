//! Points in time and in a log, as people write them: `earliest`, `latest`, an offset, `2026-11-24T08:00:00Z`, `2h` (ago).
//!
//! Source: RFC 3339 for times; the civil calendar arithmetic is the proleptic Gregorian one over 400-year eras.

use duolog_record::{Offset, Timestamp};

use crate::Start;

/// Units of a length of time, in milliseconds.
pub const LENGTHS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;
const DAY_MS: i64 = 86_400_000;

/// Reads a point. A length of time counts back from `now`.
///
/// # Errors
/// Says what is accepted.
pub fn parse(text: &str, now: Timestamp) -> Result<Start, String> {
    match text {
        "earliest" => return Ok(Start::Earliest),
        "latest" => return Ok(Start::Latest),
        _ => (),
    }
    if let Ok(offset) = text.parse() {
        return Ok(Start::Offset(Offset(offset)));
    }
    if let Some(ms) = in_units(text, LENGTHS) {
        let back = i64::try_from(ms).unwrap_or(i64::MAX);
        return Ok(Start::Time(Timestamp(now.0.saturating_sub(back))));
    }
    time(text).map(Start::Time).ok_or_else(|| {
        format!("{text:?} is none of: earliest, latest, an offset, a time as in 2026-11-24T08:00:00Z, an age as in 2h")
    })
}

/// The whole number before a known unit, in the smallest of the units.
#[must_use]
pub fn in_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Reads an RFC 3339 time; a date alone is its midnight, UTC.
fn time(text: &str) -> Option<Timestamp> {
    let (date, clock) = match text.split_once(['T', 't', ' ']) {
        Some((date, clock)) => (date, Some(clock)),
        None => (text, None),
    };
    let [year, month, day] = fields(date, '-', [4, 2, 2])?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let midnight = days_since_epoch(year, month, day) * DAY_MS;
    let within = clock.map_or(Some(0), of_day)?;
    Some(Timestamp(midnight + within))
}

/// Milliseconds since midnight UTC of `HH:MM:SS[.fraction](Z|+HH:MM|-HH:MM)`.
fn of_day(clock: &str) -> Option<i64> {
    let zone_at = clock.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = clock.split_at(zone_at);
    let offset_minutes = if zone.eq_ignore_ascii_case("z") {
        0
    } else {
        let [hours, minutes] = fields(&zone[1..], ':', [2, 2])?;
        let minutes = in_range(hours, 23)? * 60 + in_range(minutes, 59)?;
        if zone.starts_with('-') { -minutes } else { minutes }
    };
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(clock, rest)| (clock, Some(rest)));
    let [hour, minute, second] = fields(clock, ':', [2, 2, 2])?;
    let second = in_range(second, 59)?;
    let ms = match fraction {
        None => 0,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{digits:0<3}")[..3].parse().ok()?
        }
        Some(_) => return None,
    };
    let minutes = in_range(hour, 23)? * 60 + in_range(minute, 59)? - offset_minutes;
    Some((minutes * 60 + second) * 1000 + ms)
}

fn in_range(value: i64, max: i64) -> Option<i64> {
    (value <= max).then_some(value)
}

/// Exactly `N` fields of digits, each of its width.
fn fields<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut out = [0; N];
    for (out, width) in out.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *out = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Years are counted from March, so that the leap day is the last of its year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// As RFC 3339, UTC, to the second.
#[must_use]
pub fn shown(at_ms: i64) -> String {
    let (days, of_day) = (at_ms.div_euclid(DAY_MS) + 719_468, at_ms.rem_euclid(DAY_MS) / 1000);
    let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * of_era + of_era / 4 - of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + of_era + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn check(text: &str, expected: Start) {
        assert_eq!(parse(text, Timestamp(10_000_000)), Ok(expected), "{text}");
    }

    #[test]
    fn points_are_read() {
        check("earliest", Start::Earliest);
        check("latest", Start::Latest);
        check("0", Start::Offset(Offset(0)));
        check("120000", Start::Offset(Offset(120_000)));
        check("2h", Start::Time(Timestamp(10_000_000 - 7_200_000)));
        check("1970-01-01T00:00:00Z", Start::Time(Timestamp(0)));
        check("1970-01-02", Start::Time(Timestamp(86_400_000)));
        check("2026-11-24T08:00:00Z", Start::Time(Timestamp(1_795_507_200_000)));
        check("2026-11-24T09:00:00.25+01:00", Start::Time(Timestamp(1_795_507_200_250)));
        check("2000-02-29T00:00:00z", Start::Time(Timestamp(951_782_400_000)));
    }

    #[test]
    fn what_is_no_point_is_refused() {
        for text in [
            "",
            "soon",
            "-1",
            "2026-13-01",
            "2026-02-29",
            "2026-11-24T25:00:00Z",
            "2026-11-24T08:00:00",
            "1.5h",
        ] {
            assert!(parse(text, Timestamp(0)).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for day in (-800_000..800_000).step_by(397) {
            let at = day * 86_400_000 + 12_345_000;
            let text = shown(at);
            if text.len() == 20 && !text.starts_with('-') {
                assert_eq!(parse(&text, Timestamp(0)), Ok(Start::Time(Timestamp(at))), "{text}");
            }
        }
    }
}

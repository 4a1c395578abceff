//! Points in time as AWS writes them, as seconds since 1970.

const DAY: u64 = 86_400;
/// The last year that four digits can name.
const LAST_YEAR: u64 = 9999;

/// `20260101T000000Z` (ISO 8601, basic format).
pub(crate) fn basic(seconds: u64) -> String {
    let (days, time) = (seconds / DAY, seconds % DAY);
    let (mut year, mut rest) = (1970, days);
    while rest >= days_in_year(year) && year < LAST_YEAR {
        rest -= days_in_year(year);
        year += 1;
    }
    let mut month = 1;
    while month < 12 && rest >= days_in_month(year, month) {
        rest -= days_in_month(year, month);
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!(
        "{year:04}{month:02}{:02}T{hour:02}{minute:02}{second:02}Z",
        rest + 1
    )
}

/// Reads `20260101T000000Z`.
pub(crate) fn parse_basic(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    // Other text could not be cut at these places.
    if !text.is_ascii() || date.len() != 8 || time.len() != 6 {
        return None;
    }
    let date = [&date[..4], &date[4..6], &date[6..]];
    seconds(date, [&time[..2], &time[2..4], &time[4..]])
}

/// Reads `2026-01-01T00:00:00Z` (RFC 3339, in UTC).
pub(crate) fn parse_extended(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let date: Vec<&str> = date.split('-').collect();
    let time: Vec<&str> = time.split(':').collect();
    seconds(date.try_into().ok()?, time.try_into().ok()?)
}

fn seconds(date: [&str; 3], time: [&str; 3]) -> Option<u64> {
    let [year, month, day] = [
        number(date[0], 4)?,
        number(date[1], 2)?,
        number(date[2], 2)?,
    ];
    let [hour, minute, second] = [
        number(time[0], 2)?,
        number(time[1], 2)?,
        number(time[2], 2)?,
    ];
    let is_legal = year >= 1970
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !is_legal {
        return None;
    }
    let years: u64 = (1970..year).map(days_in_year).sum();
    let months: u64 = (1..month).map(|month| days_in_month(year, month)).sum();
    Some((years + months + day - 1) * DAY + hour * 3600 + minute * 60 + second)
}

fn number(text: &str, digits: usize) -> Option<u64> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn days_in_year(year: u64) -> u64 {
    337 + days_in_month(year, 2)
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar_in_both_directions() {
        for (at, text) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_767_225_599, "20251231T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
            (253_402_300_799, "99991231T235959Z"),
        ] {
            assert_eq!(basic(at), text);
            assert_eq!(parse_basic(text), Some(at));
        }
        assert_eq!(parse_extended("2000-02-29T00:00:00Z"), Some(951_782_400));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "Z",
            "TZ",
            "20260101",
            "20260101T000000",
            "20260229T000000Z",
            "20261301T000000Z",
            "20260100T000000Z",
            "20260101T240000Z",
            "20260101T006000Z",
            "+0260101T000000Z",
            "2026é01T000000Z",
            "2026010éT00000Z",
            "202é601T000000Z",
            "20260101T0é000Z",
            "19691231T235959Z",
            "2026-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_basic(text), None, "{text}");
        }
        for text in ["2026-01-01", "2026-1-1T00:00:00Z", "20260101T000000Z"] {
            assert_eq!(parse_extended(text), None, "{text}");
        }
        assert!(
            basic(u64::MAX).starts_with("9999"),
            "no date is too late to be written"
        );
    }
}

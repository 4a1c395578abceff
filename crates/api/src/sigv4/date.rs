//! The time format of signatures, `20260101T000000Z`, converted to seconds since 1970.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

const BASIC: &str = "%Y%m%dT%H%M%SZ";

/// Parses a time of the years 1970 to 9999; `None` if it is not valid.
pub(crate) fn parse_basic(text: &str) -> Option<u64> {
    // `strptime` would accept signs and fewer digits.
    let is_basic = |(at, byte): (usize, u8)| match at {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    if text.len() != 16 || !text.bytes().enumerate().all(is_basic) {
        return None;
    }
    let time = DateTime::strptime(BASIC, text).ok()?;
    let time = TimeZone::UTC.to_timestamp(time).ok()?;
    u64::try_from(time.as_second()).ok()
}

/// Formats a time; a time after the year 9999 becomes its end.
pub(crate) fn basic(at: u64) -> String {
    let time = i64::try_from(at).ok();
    let time = time.and_then(|at| Timestamp::from_second(at).ok());
    time.unwrap_or(Timestamp::MAX).strftime(BASIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (at, text) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_767_225_599, "20251231T235959Z"),
        ] {
            assert_eq!(basic(at), text);
            assert_eq!(parse_basic(text), Some(at));
        }
        assert!(basic(u64::MAX).starts_with("9999"));
    }

    #[test]
    fn other_forms_and_days_that_are_none_are_refused() {
        for text in [
            "",
            "20260101",
            "20260101T000000",
            "20260229T000000Z",
            "20260101T240000Z",
            "20260101T006000Z",
            "+0260101T000000Z",
            "2026é01T000000Z",
            "19691231T235959Z",
            "2026-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_basic(text), None, "{text}");
        }
    }
}

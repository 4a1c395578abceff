//! Wall-clock time as text, in UTC, without a time-zone database.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Appends `time` in the given strftime-like format; `None` is ISO 8601 with milliseconds, as Envoy prints it.
/// Supported: `%Y %m %d %H %M %S %F %T %s %z %Z %f %3f %6f %9f`; other directives are printed as written.
pub(crate) fn render(time: SystemTime, format: Option<&str>, out: &mut String) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let nanos = since.subsec_nanos();
    let (year, month, day) = civil(i64::try_from(seconds / 86_400).unwrap_or(0));
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let format = format
        .filter(|format| !format.is_empty())
        .unwrap_or("%Y-%m-%dT%H:%M:%S.%3fZ");
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let Some(mut directive) = chars.next() else {
            break;
        };
        let mut digits = 9;
        if let Some(width) = directive
            .to_digit(10)
            .filter(|width| (1..=9).contains(width))
        {
            digits = width as usize;
            directive = chars.next().unwrap_or('f');
        }
        let _ = match directive {
            'Y' => write!(out, "{year:04}"),
            'm' => write!(out, "{month:02}"),
            'd' => write!(out, "{day:02}"),
            'H' => write!(out, "{hour:02}"),
            'M' => write!(out, "{minute:02}"),
            'S' => write!(out, "{second:02}"),
            'F' => write!(out, "{year:04}-{month:02}-{day:02}"),
            'T' => write!(out, "{hour:02}:{minute:02}:{second:02}"),
            's' => write!(out, "{seconds}"),
            'z' => write!(out, "+0000"),
            'Z' => write!(out, "UTC"),
            'f' => {
                let text = format!("{nanos:09}");
                out.push_str(&text[..digits]);
                Ok(())
            }
            '%' => write!(out, "%"),
            other => write!(out, "%{other}"),
        };
    }
}

/// Year, month and day of a day count since 1970-01-01 in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_print_in_utc() {
        let mut out = String::new();
        render(
            UNIX_EPOCH + Duration::new(1_709_210_096, 7_000_000),
            None,
            &mut out,
        );
        assert_eq!(out, "2024-02-29T12:34:56.007Z");
        out.clear();
        render(
            UNIX_EPOCH + Duration::from_secs(86_399),
            Some("%F %T %s"),
            &mut out,
        );
        assert_eq!(out, "1970-01-01 23:59:59 86399");
    }
}

//! The headers of a signed request. The signature itself is a placeholder: servers that check signatures
//! refuse it, and say so.

use std::time::{SystemTime, UNIX_EPOCH};
use tombolo_model::Scope;

const ACCESS_KEY: &str = "TOMBOLO";

/// `X-Amz-Date` and `Authorization` for a call now.
pub(super) fn headers(scope: &Scope, service: &str) -> (String, String) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let date = basic_date(now);
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{}/{}/{service}/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature={:064}",
        &date[..8],
        scope.region,
        0
    );
    (date, authorization)
}

/// `20260101T000000Z` (ISO 8601, basic format) of seconds since 1970.
fn basic_date(seconds: u64) -> String {
    let (mut days, time) = (seconds / 86_400, seconds % 86_400);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!(
        "{year:04}{month:02}{:02}T{hour:02}{minute:02}{second:02}Z",
        days + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        for (seconds, date) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_767_225_599, "20251231T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(basic_date(seconds), date);
        }
    }
}

//! Ages in a short form.

use k8s_openapi::jiff::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// The time since an RFC 3339 timestamp, as `kubectl` writes it; `None` when the timestamp is invalid.
pub(crate) fn since(time: &str) -> Option<String> {
    let time: Timestamp = time.parse().ok()?;
    let time = Duration::from_secs(u64::try_from(time.as_second()).ok()?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(age(now.saturating_sub(time)))
}

/// One unit, or two while the larger one is small: `5s`, `3m10s`, `5h47m`, `13h`, `2d`.
fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    // Below the first bound two units are shown, below the second one.
    match seconds {
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => two(seconds, MINUTE, "m", 1, "s"),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => two(seconds, HOUR, "h", MINUTE, "m"),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => two(seconds, DAY, "d", HOUR, "h"),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two(seconds, YEAR, "y", DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

fn two(seconds: u64, large: u64, large_name: &str, small: u64, small_name: &str) -> String {
    let whole = seconds / large;
    match seconds % large / small {
        0 => format!("{whole}{large_name}"),
        rest => format!("{whole}{large_name}{rest}{small_name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        for (seconds, text) in [
            (0, "0s"),
            (5, "5s"),
            (119, "119s"),
            (120, "2m"),
            (190, "3m10s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (20_820, "5h47m"),
            (28_799, "7h59m"),
            (28_800, "8h"),
            (46_800, "13h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_071_999, "729d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), text, "{seconds} s");
        }
    }

    #[test]
    fn a_time_that_is_none_has_no_age() {
        let long_ago = since("2001-01-01T00:00:00Z").expect("a time");
        assert!(long_ago.ends_with('y'), "{long_ago}");
        assert_eq!(since(""), None);
        assert_eq!(since("9999-01-01T00:00:00Z").as_deref(), Some("0s"));
    }
}

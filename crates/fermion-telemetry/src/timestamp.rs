//! Times as RFC 3339 text in UTC, to the microsecond.

use std::time::{SystemTime, UNIX_EPOCH};

/// `2026-11-21T01:02:03.000004Z`. Times before 1970 come out as its first moment.
pub fn rfc3339(time: SystemTime) -> String {
    String::from_utf8(rfc3339_bytes(time).to_vec()).expect("it is ASCII")
}

/// The same where no text of its own is needed.
pub(crate) fn rfc3339_bytes(time: SystemTime) -> [u8; 27] {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    // Every line of a log has one, and the formatter of the standard library takes ten times as long.
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    for (number, digits) in [
        (year, 0..4),
        (month, 5..7),
        (day, 8..10),
        (hour, 11..13),
        (minute, 14..16),
        (second, 17..19),
        (u64::from(since.subsec_micros()), 20..26),
    ] {
        let mut left = number;
        for digit in text[digits].iter_mut().rev() {
            *digit += u8::try_from(left % 10).unwrap_or(0);
            left /= 10;
        }
    }
    text
}

/// Year, month and day of a day counted from 1970-01-01, by Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>): years begin in March there, so that leap days come last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn known_moments() {
        for (second, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(second)), text);
        }
        assert_eq!(
            rfc3339(UNIX_EPOCH + Duration::from_micros(1)),
            "1970-01-01T00:00:00.000001Z"
        );
    }
}

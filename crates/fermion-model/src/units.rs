//! Sizes and durations as people write them: `64MiB`, `50ms`. One parser for the manifest and for the flags.

use std::time::Duration;

/// The text is not a number with a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct UnitError {
    text: String,
    expected: &'static str,
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// Parses a size in bytes: a whole number and `B`, `KiB`, `MiB` or `GiB`.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let refuse = || UnitError {
        text: text.to_owned(),
        expected: "a size such as 512KiB, 64MiB or 1GiB",
    };
    let (number, unit) = split(text.trim());
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let scale: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(refuse()),
    };
    number.checked_mul(scale).ok_or_else(refuse)
}

/// Parses a duration: a whole number and `us`, `ms`, `s`, `m` or `h`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let refuse = || UnitError {
        text: text.to_owned(),
        expected: "a duration such as 50ms, 2s or 5m",
    };
    let (number, unit) = split(text.trim());
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let micros: u64 = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return Err(refuse()),
    };
    number
        .checked_mul(micros)
        .map(Duration::from_micros)
        .ok_or_else(refuse)
}

/// Writes a size in the largest unit that divides it.
pub fn format_bytes(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes > 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// Writes a duration in the largest unit that divides it.
pub fn format_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    for (scale, unit) in [
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1_000, "ms"),
    ] {
        if micros > 0 && micros.is_multiple_of(scale) {
            return format!("{}{unit}", micros / scale);
        }
    }
    format!("{micros}us")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_round_trip() {
        for text in ["1B", "1KiB", "64MiB", "1GiB", "1536KiB", "0B"] {
            assert_eq!(format_bytes(parse_bytes(text).unwrap()), text);
        }
        for text in ["1us", "50ms", "2s", "5m", "1h", "1500ms"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn refuses_what_has_no_unit_or_overflows() {
        for bad in ["", "64", "MiB", "-1MiB", "1.5MiB", "64mb", "99999999999GiB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        for bad in ["", "5", "ms", "-1s", "1d", "99999999999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}

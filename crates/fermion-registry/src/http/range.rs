//! Parts of content: what a reader asks for (RFC 9110, section 14), and where a writer says its piece belongs (OCI
//! distribution specification, "Pushing a blob in chunks").

/// What of some content goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it: nothing was asked, or something that may be passed over.
    Whole,
    /// From the first to the last byte, both included.
    Bytes { first: u64, last: u64 },
    /// What was asked for is not there.
    Nothing,
}

/// Reads a `Range` field for content of `length` bytes. Several ranges at once, and other units, are passed over.
pub(super) fn wanted(field: Option<&str>, length: u64) -> Part {
    let Some(range) = field.and_then(|field| field.trim().strip_prefix("bytes=")) else {
        return Part::Whole;
    };
    let Some((first, last)) = range.split_once('-') else {
        return Part::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        return match number(last) {
            None => Part::Whole,
            Some(0) => Part::Nothing,
            Some(_) if length == 0 => Part::Nothing,
            Some(bytes) => Part::Bytes {
                first: length.saturating_sub(bytes),
                last: length - 1,
            },
        };
    }
    let Some(first) = number(first) else {
        return Part::Whole;
    };
    let last = match last {
        "" => u64::MAX,
        last => match number(last) {
            Some(last) => last,
            None => return Part::Whole,
        },
    };
    if first >= length || last < first {
        return Part::Nothing;
    }
    Part::Bytes {
        first,
        last: last.min(length - 1),
    }
}

/// Reads the `Content-Range` of a chunk: its first and last byte, both included; none if it cannot be read.
pub(super) fn chunk(field: &str) -> Option<(u64, u64)> {
    let range = field.trim();
    let range = range.strip_prefix("bytes ").unwrap_or(range);
    let range = range.split_once('/').map_or(range, |(range, _)| range);
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last && last < u64::MAX).then_some((first, last))
}

/// Digits and nothing else: no sign, no spaces.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_readers() {
        let bytes = |first, last| Part::Bytes { first, last };
        for (field, want) in [
            ("bytes=0-0", bytes(0, 0)),
            ("bytes=500-1499", bytes(500, 1499)),
            ("bytes=500-", bytes(500, 2047)),
            ("bytes=-500", bytes(1548, 2047)),
            ("bytes=-5000", bytes(0, 2047)),
            ("bytes=2000-5000", bytes(2000, 2047)),
            ("bytes=500-0", Part::Nothing),
            ("bytes=2048-", Part::Nothing),
            ("bytes=5000-10000", Part::Nothing),
            ("bytes=-0", Part::Nothing),
            ("bytes=0-1,5-6", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=99999999999999999999-", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("bytes", Part::Whole),
        ] {
            assert_eq!(wanted(Some(field), 2048), want, "{field}");
        }
        assert_eq!(wanted(None, 0), Part::Whole);
        assert_eq!(wanted(Some("bytes=-1"), 0), Part::Nothing);
        assert_eq!(wanted(Some("bytes=0-"), 0), Part::Nothing);
    }

    #[test]
    fn ranges_of_writers() {
        for (field, want) in [
            ("0-1023", Some((0, 1023))),
            ("bytes 5-5/9", Some((5, 5))),
            ("1-0", None),
            ("", None),
            ("-", None),
            ("0-", None),
            ("0-18446744073709551615", None),
            ("a-b", None),
        ] {
            assert_eq!(chunk(field), want, "{field}");
        }
    }
}

//! W3C trace context, level 1 (<https://www.w3.org/TR/trace-context/>): read from the caller strictly, or begun here,
//! and passed to the guest. Ids are unique, not secret.

use std::cell::Cell;

use http::header::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-` + 32 + `-` + 16 + `-` + 2 characters.
const TRACEPARENT_BYTES: usize = 55;

/// Where one request stands in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Shared by every hop; also the request id.
    pub trace_id: [u8; 16],
    /// The caller's span; none if the trace begins here.
    pub parent_id: Option<[u8; 8]>,
    /// The span of this request, which is what the guest sees as its parent.
    pub span_id: [u8; 8],
    /// The trace flags; bit 0 is "sampled".
    pub flags: u8,
}

impl TraceContext {
    /// A trace that begins here, not sampled.
    pub fn fresh() -> Self {
        Self {
            trace_id: random_id(),
            parent_id: None,
            span_id: random_u64().to_be_bytes(),
            flags: 0,
        }
    }

    /// The caller's trace if its one `traceparent` is valid, else a fresh one.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let parsed = match (values.next(), values.next()) {
            (Some(value), None) => parse(value.as_bytes()),
            _ => None,
        };
        match parsed {
            Some((trace_id, parent_id, flags)) => Self {
                trace_id,
                parent_id: Some(parent_id),
                span_id: random_u64().to_be_bytes(),
                flags,
            },
            None => Self::fresh(),
        }
    }

    /// The header for the next hop, with this request's span as the parent.
    pub fn traceparent(&self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&self.trace_id, &mut text[3..35]);
        write_hex(&self.span_id, &mut text[36..52]);
        write_hex(&[self.flags & 1], &mut text[53..55]);
        HeaderValue::from_bytes(&text).expect("hex digits and hyphens make a header value")
    }

    /// 32 lower-case hex digits.
    pub fn trace_id_hex(&self) -> String {
        trace_id_hex(&self.trace_id)
    }

    /// Puts this context on the request for the guest; a `tracestate` stays only beside a `traceparent` that held.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        if self.parent_id.is_none() {
            headers.remove(TRACESTATE);
        }
        headers.insert(TRACEPARENT, self.traceparent());
    }
}

pub(crate) fn trace_id_hex(trace_id: &[u8; 16]) -> String {
    let mut text = [0; 32];
    write_hex(trace_id, &mut text);
    text.iter().map(|&b| char::from(b)).collect()
}

/// Lower-case hexadecimal digits, two a byte.
pub(crate) fn write_hex(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// The bytes of `2 * N` lower-case hexadecimal digits.
pub(crate) fn read_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn parse(text: &[u8]) -> Option<([u8; 16], [u8; 8], u8)> {
    if text.len() < TRACEPARENT_BYTES || text[2] != b'-' || text[35] != b'-' || text[52] != b'-' {
        return None;
    }
    let [version] = read_hex::<1>(&text[..2])?;
    // Version 0 has exactly four fields; later versions may append some after another hyphen.
    let length_holds = match version {
        0 => text.len() == TRACEPARENT_BYTES,
        0xff => false,
        _ => text.len() == TRACEPARENT_BYTES || text[TRACEPARENT_BYTES] == b'-',
    };
    if !length_holds {
        return None;
    }
    let trace_id = read_hex::<16>(&text[3..35])?;
    let parent_id = read_hex::<8>(&text[36..52])?;
    let [flags] = read_hex::<1>(&text[53..55])?;
    (trace_id != [0; 16] && parent_id != [0; 8]).then_some((trace_id, parent_id, flags & 1))
}

/// 16 bytes that are unique, not secret.
pub(crate) fn random_id() -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&random_u64().to_be_bytes());
    id[8..].copy_from_slice(&random_u64().to_be_bytes());
    id
}

thread_local! {
    static RANDOM: Cell<[u64; 2]> = Cell::new(seed());
}

fn seed() -> [u64; 2] {
    let mut words = [0; 2];
    for word in &mut words {
        *word = getrandom::u64().unwrap_or_else(|_| {
            // Without the system's randomness ids are still unique in this process: an address differs per thread.
            std::ptr::from_ref(word).addr() as u64
        });
    }
    if words == [0; 2] { [1, 2] } else { words }
}

/// The next value of this thread's xorshift128+ generator (Vigna, "Further scramblings of Marsaglia's xorshift
/// generators"); never zero, which trace context forbids as an id.
fn random_u64() -> u64 {
    RANDOM.with(|cell| {
        let [mut a, b] = cell.get();
        let sum = a.wrapping_add(b);
        a ^= a << 23;
        cell.set([b, a ^ b ^ (a >> 18) ^ (b >> 5)]);
        sum.max(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn from(values: &[&str]) -> TraceContext {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        TraceContext::from_headers(&headers)
    }

    #[test]
    fn a_valid_parent_is_continued_with_our_span() {
        for text in [
            GOOD.to_owned(),
            format!("cc{}", &GOOD[2..]),
            format!("cc{}-what", &GOOD[2..]),
        ] {
            let context = from(&[&text]);
            assert_eq!(context.trace_id_hex(), &GOOD[3..35], "{text}");
            let out = context.traceparent();
            let out = out.to_str().unwrap();
            assert_eq!((&out[..36], &out[52..]), (&GOOD[..36], "-01"));
            assert_ne!(&out[36..52], &GOOD[36..52]);
            assert_eq!(from(&[out]).parent_id, Some(context.span_id));
        }
    }

    #[test]
    fn anything_else_begins_a_fresh_trace() {
        let bad = [
            String::new(),
            GOOD[..54].to_owned(),
            format!("{GOOD}0"),
            format!("{GOOD}-00"),
            format!("ff{}", &GOOD[2..]),
            format!("cc{}.what", &GOOD[2..]),
            GOOD.to_uppercase(),
            GOOD.replace('-', "_"),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace("4bf", "4bg"),
        ];
        for text in &bad {
            let context = from(&[text]);
            assert_eq!(context.parent_id, None, "{text}");
            assert_ne!(context.trace_id_hex(), &GOOD[3..35], "{text}");
        }
        assert_eq!(from(&[GOOD, GOOD]).parent_id, None, "two of them");
    }

    #[test]
    fn tracestate_stays_only_with_a_valid_parent() {
        for (parent, stays) in [(GOOD, true), ("nonsense", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, HeaderValue::from_str(parent).unwrap());
            headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
            TraceContext::from_headers(&headers).inject(&mut headers);
            assert_eq!(headers.contains_key(TRACESTATE), stays);
            assert_eq!(headers.get_all(TRACEPARENT).iter().count(), 1);
        }
    }

    #[test]
    fn ids_do_not_repeat() {
        let mut seen = std::collections::HashSet::new();
        assert!((0..10_000).all(|_| seen.insert(random_u64())));
    }
}

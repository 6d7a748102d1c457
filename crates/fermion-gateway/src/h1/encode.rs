//! An answer's head, chunks and trailers as HTTP/1.1 bytes.

use http::StatusCode;
use http::header::{self, HeaderMap};
use http::response::Parts;

use super::decoder::may_trail;
use crate::clock;

/// Asks a caller who waits for it to send the body.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How the caller learns where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// There is none.
    NoBody,
    /// The head says the length.
    Length,
    /// Each piece says its own.
    Chunked,
    /// The connection closes.
    Close,
}

/// What the head needs to know besides the answer's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) is_head: bool,
    pub(crate) is_http_10: bool,
    pub(crate) keep_alive: bool,
    /// The body's length where it is known and the answer does not say it.
    pub(crate) length: Option<u64>,
}

/// Writes the head; returns how the body ends and whether the connection can be used again.
pub(crate) fn head(out: &mut Vec<u8>, parts: &Parts, facts: Facts) -> (BodyEnd, bool) {
    let status = parts.status;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("-").as_bytes());
    out.extend_from_slice(b"\r\n");
    let (mut has_length, mut has_date) = (false, false);
    for (name, value) in &parts.headers {
        has_length |= name == header::CONTENT_LENGTH;
        has_date |= name == header::DATE;
        field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    if !has_date {
        field(out, b"date", &clock::date());
    }
    let has_no_content = status == StatusCode::NO_CONTENT;
    let (end, keep_alive) = if facts.is_head || has_no_content || status == StatusCode::NOT_MODIFIED {
        (BodyEnd::NoBody, facts.keep_alive)
    } else if has_length || facts.length.is_some() {
        (BodyEnd::Length, facts.keep_alive)
    } else if facts.is_http_10 {
        (BodyEnd::Close, false)
    } else {
        (BodyEnd::Chunked, facts.keep_alive)
    };
    match (end, facts.length) {
        (BodyEnd::Chunked, _) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        (BodyEnd::Length, Some(length)) if !has_length => length_field(out, length),
        (BodyEnd::NoBody, Some(length)) if !has_length && facts.is_head && length > 0 => {
            length_field(out, length)
        }
        _ => {}
    }
    if !keep_alive {
        out.extend_from_slice(b"connection: close\r\n");
    } else if facts.is_http_10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
    (end, keep_alive)
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn length_field(out: &mut Vec<u8>, length: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = length;
    loop {
        at -= 1;
        digits[at] = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    field(out, b"content-length", &digits[at..]);
}

/// The line before a chunk of so many bytes.
pub(crate) fn chunk_line(out: &mut Vec<u8>, length: usize) {
    let mut shift = usize::BITS - length.leading_zeros().min(usize::BITS - 1);
    shift = shift.div_ceil(4) * 4;
    while shift > 0 {
        shift -= 4;
        out.push(b"0123456789abcdef"[length >> shift & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// The last chunk and what follows it.
pub(crate) fn last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if may_trail(name) {
            field(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_without_leading_zeros() {
        for n in [1_usize, 9, 10, 15, 16, 255, 256, 4096, 65535, 65536, usize::MAX] {
            let mut out = Vec::new();
            chunk_line(&mut out, n);
            assert_eq!(out, format!("{n:x}\r\n").into_bytes());
            out.clear();
            length_field(&mut out, n as u64);
            assert_eq!(out, format!("content-length: {n}\r\n").into_bytes());
        }
    }

    #[test]
    fn trailers_follow_the_last_chunk_but_never_framing() {
        let mut fields = HeaderMap::new();
        fields.insert("x-sum", "42".parse().unwrap());
        fields.insert("content-length", "1".parse().unwrap());
        let mut out = Vec::new();
        last_chunk(&mut out, Some(&fields));
        assert_eq!(out, b"0\r\nx-sum: 42\r\n\r\n");
    }
}

//! A request body out of a connection's bytes (RFC 9112 sections 6 and 7). Chunk sizes are hexadecimal digits and
//! nothing else, every line ends with CR LF, and extensions and trailers are bounded.

use bytes::{Bytes, BytesMut};
use fermion_model::Fault;
use fermion_model::fault::Failure;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

use super::head::refuse_bare_line_feeds;
use crate::limits::{CHUNK_LINE_BYTES_MAX, HEADERS_MAX, TRAILERS_BYTES_MAX};

/// Where the decoder is in one body.
#[derive(Debug, Clone)]
pub(crate) enum Decoder {
    /// So many bytes are left.
    Length(u64),
    /// A chunk-size line is next.
    ChunkLine,
    /// So many bytes of this chunk are left.
    Chunk(u64),
    /// The line end after a chunk is next.
    ChunkEnd,
    /// The last chunk was seen; trailers or an empty line are next.
    Trailers,
    /// The body is over.
    Done,
}

/// What decoding a little further gave.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// A piece of the body, or its trailers.
    Frame(Frame<Bytes>),
    /// The body is over.
    End,
    /// More bytes are needed.
    NeedMore,
}

fn bad(detail: &str) -> Failure {
    Failure::new(Fault::BadRequest, detail)
}

impl Decoder {
    pub(crate) fn length(bytes: u64) -> Self {
        Self::Length(bytes)
    }

    pub(crate) fn chunked() -> Self {
        Self::ChunkLine
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Done | Self::Length(0))
    }

    /// Bytes to come, if the head said how many.
    pub(crate) fn bytes_left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Done => Some(0),
            _ => None,
        }
    }

    /// Takes the next piece off the front of `buffer`.
    pub(crate) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, Failure> {
        loop {
            *self = match self {
                Self::Length(0) | Self::Done => return Ok(Decoded::End),
                Self::Length(left) | Self::Chunk(left) if buffer.is_empty() && *left > 0 => {
                    return Ok(Decoded::NeedMore);
                }
                Self::Length(left) => return Ok(Decoded::Frame(take(buffer, left))),
                Self::Chunk(0) => Self::ChunkEnd,
                Self::Chunk(left) => return Ok(Decoded::Frame(take(buffer, left))),
                Self::ChunkEnd => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        drop(buffer.split_to(2));
                        Self::ChunkLine
                    }
                    None if buffer.is_empty() || buffer[0] == b'\r' => return Ok(Decoded::NeedMore),
                    _ => return Err(bad("a chunk that is longer than its size")),
                },
                Self::ChunkLine => match chunk_line(buffer)? {
                    None => return Ok(Decoded::NeedMore),
                    Some(0) => Self::Trailers,
                    Some(size) => Self::Chunk(size),
                },
                Self::Trailers => match trailers(buffer)? {
                    None => return Ok(Decoded::NeedMore),
                    Some(fields) => {
                        *self = Self::Done;
                        let end = if fields.is_empty() {
                            Decoded::End
                        } else {
                            Decoded::Frame(Frame::trailers(fields))
                        };
                        return Ok(end);
                    }
                },
            };
        }
    }
}

fn take(buffer: &mut BytesMut, left: &mut u64) -> Frame<Bytes> {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
    *left -= length as u64;
    Frame::data(buffer.split_to(length).freeze())
}

fn chunk_line(buffer: &mut BytesMut) -> Result<Option<u64>, Failure> {
    let window = &buffer[..buffer.len().min(CHUNK_LINE_BYTES_MAX)];
    let Some(end) = window.iter().position(|&b| b == b'\n') else {
        if buffer.len() >= CHUNK_LINE_BYTES_MAX {
            return Err(bad("a chunk-size line that is too long"));
        }
        return Ok(None);
    };
    let Some(line) = window[..end].strip_suffix(b"\r") else {
        return Err(bad("a chunk-size line that does not end with CR LF"));
    };
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let rest = line[digits..].trim_ascii_start();
    let is_clean =
        (1..=16).contains(&digits) && (rest.is_empty() || rest[0] == b';') && !rest.contains(&b'\r');
    let text = std::str::from_utf8(&line[..digits]).ok().filter(|_| is_clean);
    let size = text
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or_else(|| bad("a chunk size"))?;
    drop(buffer.split_to(end + 1));
    Ok(Some(size))
}

fn trailers(buffer: &mut BytesMut) -> Result<Option<HeaderMap>, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let (length, parsed) = match httparse::parse_headers(buffer, &mut fields) {
        Ok(httparse::Status::Complete(parsed)) => parsed,
        Ok(httparse::Status::Partial) if buffer.len() > TRAILERS_BYTES_MAX => return Err(too_large()),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(too_large()),
        Err(_) => return Err(bad("a trailer field")),
    };
    if length > TRAILERS_BYTES_MAX {
        return Err(too_large());
    }
    refuse_bare_line_feeds(&buffer[..length])?;
    let mut map = HeaderMap::new();
    for field in parsed {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| bad("a trailer's name"))?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| bad("a trailer's value"))?;
        if may_trail(&name) {
            map.append(name, value);
        }
    }
    drop(buffer.split_to(length));
    Ok(Some(map))
}

fn too_large() -> Failure {
    Failure::new(Fault::HeadersTooLarge, "trailers")
}

/// Fields that change how a message is read may not come after it (RFC 9110 section 6.5.1); they are left out.
pub(crate) fn may_trail(name: &HeaderName) -> bool {
    !matches!(
        *name,
        header::AUTHORIZATION
            | header::CACHE_CONTROL
            | header::CONNECTION
            | header::CONTENT_ENCODING
            | header::CONTENT_LENGTH
            | header::CONTENT_RANGE
            | header::CONTENT_TYPE
            | header::HOST
            | header::MAX_FORWARDS
            | header::SET_COOKIE
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `text` fed in pieces of `step` bytes; returns body, trailers and what is left.
    fn run(mut decoder: Decoder, text: &[u8], step: usize) -> Result<(Vec<u8>, usize, usize), Fault> {
        let (mut buffer, mut body, mut trailers) = (BytesMut::new(), Vec::new(), 0);
        let mut pieces = text.chunks(step);
        loop {
            match decoder.decode(&mut buffer).map_err(|failure| failure.fault)? {
                Decoded::Frame(frame) => match frame.into_data() {
                    Ok(data) => body.extend_from_slice(&data),
                    Err(frame) => trailers += frame.trailers_ref().map_or(0, HeaderMap::len),
                },
                Decoded::End => {
                    return Ok((
                        body,
                        trailers,
                        buffer.len() + pieces.map(<[u8]>::len).sum::<usize>(),
                    ));
                }
                Decoded::NeedMore => {
                    buffer.extend_from_slice(pieces.next().expect("the body ends within the text"))
                }
            }
        }
    }

    #[test]
    fn decodes_at_every_split() {
        let chunked = b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nx-t: 1\r\nhost: no\r\n\r\nGET";
        for step in 1..chunked.len() {
            let (body, trailers, left) = run(Decoder::chunked(), chunked, step).unwrap();
            assert_eq!(
                (&body[..], trailers, left),
                (&b"abc0123456789"[..], 1, 3),
                "{step}"
            );
        }
        assert_eq!(
            run(Decoder::length(3), b"abcGET", 1).unwrap(),
            (b"abc".to_vec(), 0, 3)
        );
    }

    #[test]
    fn refuses_loose_chunks() {
        let long = format!("1;{}\r\n", "x".repeat(CHUNK_LINE_BYTES_MAX));
        for bad in [
            "\r\n",
            "-1\r\n",
            "0x1\r\n",
            "g\r\n",
            "1\nabc",
            "1 1\r\n",
            "1\r\nab\r\n",
            "1\r\na\n\n",
            "1;\rx\r\n",
            "11111111111111111\r\n",
            "+1\r\na\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\n a: b\r\n\r\n",
            &long,
        ] {
            assert_eq!(
                run(Decoder::chunked(), bad.as_bytes(), 1).err(),
                Some(Fault::BadRequest),
                "{bad:?}"
            );
        }
        let flood = format!("0\r\na: {}\r\n\r\n", "x".repeat(TRAILERS_BYTES_MAX));
        assert_eq!(
            run(Decoder::chunked(), flood.as_bytes(), 512).err(),
            Some(Fault::HeadersTooLarge)
        );
    }
}

//! A request's head from its bytes: strict where leniency has let two servers read one message differently (RFC 9112
//! sections 2.2, 3.2, 6.3), and bounded in every dimension.

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use fermion_model::Fault;
use fermion_model::fault::Failure;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version};

use super::decoder::Decoder;
use crate::limits::{
    HEAD_BYTES_MAX, HEADER_BYTES_MAX, HEADERS_BYTES_MAX, HEADERS_MAX, REQUEST_LINE_OVERHEAD_BYTES_MAX,
    URI_BYTES_MAX,
};

/// One request's head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) request: Request<()>,
    pub(crate) framing: Framing,
}

/// What the head says about the message around it.
#[derive(Debug, Clone)]
pub(crate) struct Framing {
    /// None without a body.
    pub(crate) body: Option<Decoder>,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
    pub(crate) wants_trailers: bool,
    pub(crate) is_http_10: bool,
}

#[derive(Clone, Copy, Default)]
struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// Where `part` lies in `whole`, of which it is a slice no further in than [`HEAD_BYTES_MAX`].
    fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr().addr() - whole.as_ptr().addr();
        let narrow = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        Self {
            start: narrow(start),
            end: narrow(start + part.len()),
        }
    }

    fn slice(self, whole: &Bytes) -> Bytes {
        whole.slice(usize::from(self.start)..usize::from(self.end))
    }
}

/// Positions of the parts, so that the buffer can be split before they are taken from it.
struct Layout {
    length: usize,
    is_http_10: bool,
    method: Method,
    uri: Span,
    fields: [(Span, Span); HEADERS_MAX],
    count: usize,
}

fn bad(detail: impl Into<String>) -> Failure {
    Failure::new(Fault::BadRequest, detail)
}

/// Takes one head off the front of `buffer`, or nothing if it is not complete yet.
pub(crate) fn parse(buffer: &mut BytesMut) -> Result<Option<Head>, Failure> {
    // RFC 9112 section 2.2: empty lines before a request are skipped.
    while buffer.starts_with(b"\r\n") {
        buffer.advance(2);
    }
    let Some(layout) = locate(buffer)? else {
        refuse_if_too_long(buffer)?;
        return Ok(None);
    };
    let raw = buffer.split_to(layout.length).freeze();
    refuse_bare_line_feeds(&raw)?;
    let uri = layout.uri.slice(&raw);
    if uri.len() > URI_BYTES_MAX {
        return Err(Failure::new(Fault::UriTooLong, format!("{} bytes", uri.len())));
    }
    if layout.length.saturating_sub(usize::from(layout.uri.end)) > HEADERS_BYTES_MAX {
        return Err(Failure::new(
            Fault::HeadersTooLarge,
            format!("{} bytes", layout.length),
        ));
    }
    let uri = Uri::from_maybe_shared(uri).map_err(|error| bad(format!("request target: {error}")))?;
    let mut request = Request::new(());
    *request.method_mut() = layout.method;
    *request.uri_mut() = uri;
    *request.version_mut() = if layout.is_http_10 {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
    let mut reader = FieldReader::new(layout.is_http_10);
    let headers = request.headers_mut();
    headers.reserve(layout.count);
    for (name, value) in &layout.fields[..layout.count] {
        let size = usize::from(value.end.saturating_sub(name.start));
        if size > HEADER_BYTES_MAX {
            return Err(Failure::new(
                Fault::HeadersTooLarge,
                format!("one field of {size} bytes"),
            ));
        }
        let name = HeaderName::from_bytes(&raw[usize::from(name.start)..usize::from(name.end)])
            .map_err(|error| bad(error.to_string()))?;
        let value =
            HeaderValue::from_maybe_shared(value.slice(&raw)).map_err(|error| bad(error.to_string()))?;
        reader.read(&name, &value)?;
        headers.append(name, value);
    }
    let framing = reader.finish(headers)?;
    Ok(Some(Head { request, framing }))
}

fn locate(buffer: &[u8]) -> Result<Option<Layout>, Failure> {
    let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let length = match parsed.parse_with_uninit_headers(buffer, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Failure::new(
                Fault::HeadersTooLarge,
                format!("more than {HEADERS_MAX} fields"),
            ));
        }
        Err(error) => return Err(bad(format!("request head: {error}"))),
    };
    if length > HEAD_BYTES_MAX {
        refuse_if_too_long(&buffer[..length])?;
    }
    let (Some(method), Some(uri), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(bad("request line"));
    };
    let mut layout = Layout {
        length,
        is_http_10: version == 0,
        method: Method::from_bytes(method.as_bytes()).map_err(|error| bad(error.to_string()))?,
        uri: Span::of(uri.as_bytes(), buffer),
        fields: [(Span::default(), Span::default()); HEADERS_MAX],
        count: parsed.headers.len(),
    };
    for (at, field) in layout.fields.iter_mut().zip(&*parsed.headers) {
        *at = (
            Span::of(field.name.as_bytes(), buffer),
            Span::of(field.value, buffer),
        );
    }
    Ok(Some(layout))
}

/// An incomplete head is refused as soon as no completion of it could be accepted.
fn refuse_if_too_long(buffer: &[u8]) -> Result<(), Failure> {
    let line_max = URI_BYTES_MAX + REQUEST_LINE_OVERHEAD_BYTES_MAX;
    if buffer.len() > line_max && !buffer[..line_max].contains(&b'\n') {
        return Err(Failure::new(
            Fault::UriTooLong,
            format!("a request line of more than {line_max} bytes"),
        ));
    }
    if buffer.len() > HEAD_BYTES_MAX {
        return Err(Failure::new(
            Fault::HeadersTooLarge,
            format!("a head of more than {HEAD_BYTES_MAX} bytes"),
        ));
    }
    Ok(())
}

/// The parser takes a lone line feed for a line end; a proxy in front may not, so nobody gets to use the difference.
pub(super) fn refuse_bare_line_feeds(raw: &[u8]) -> Result<(), Failure> {
    let mut before = 0;
    for &byte in raw {
        if byte == b'\n' && before != b'\r' {
            return Err(bad("a line that does not end with CR LF"));
        }
        before = byte;
    }
    Ok(())
}

/// Gathers from the fields what concerns the message itself.
struct FieldReader {
    is_http_10: bool,
    hosts: u32,
    content_length: Option<u64>,
    is_chunked: bool,
    asks_close: bool,
    asks_keep_alive: bool,
    expects_continue: bool,
    wants_trailers: bool,
}

impl FieldReader {
    fn new(is_http_10: bool) -> Self {
        Self {
            is_http_10,
            hosts: 0,
            content_length: None,
            is_chunked: false,
            asks_close: false,
            asks_keep_alive: false,
            expects_continue: false,
            wants_trailers: false,
        }
    }

    fn read(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), Failure> {
        match *name {
            header::HOST => self.hosts += 1,
            header::CONTENT_LENGTH => {
                if self.content_length.is_some() {
                    return Err(bad("more than one content-length"));
                }
                self.content_length = Some(parse_length(value.as_bytes())?);
            }
            header::TRANSFER_ENCODING => {
                if self.is_chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                    return Err(bad("a transfer-encoding other than chunked"));
                }
                self.is_chunked = true;
            }
            header::CONNECTION => {
                self.asks_close |= has_token(value, b"close");
                self.asks_keep_alive |= has_token(value, b"keep-alive");
            }
            header::EXPECT => self.expects_continue |= value.as_bytes().eq_ignore_ascii_case(b"100-continue"),
            header::TE => self.wants_trailers |= has_token(value, b"trailers"),
            _ => {}
        }
        Ok(())
    }

    fn finish(self, headers: &mut HeaderMap) -> Result<Framing, Failure> {
        if self.is_chunked && self.content_length.is_some() {
            return Err(bad("both content-length and transfer-encoding"));
        }
        if self.is_chunked && self.is_http_10 {
            return Err(bad("transfer-encoding in HTTP/1.0"));
        }
        if self.hosts > 1 || (self.hosts == 0 && !self.is_http_10) {
            return Err(bad(format!("{} host fields", self.hosts)));
        }
        let body = match self.content_length {
            _ if self.is_chunked => {
                headers.remove(header::TRANSFER_ENCODING);
                Some(Decoder::chunked())
            }
            Some(length) if length > 0 => Some(Decoder::length(length)),
            _ => None,
        };
        Ok(Framing {
            keep_alive: !self.asks_close && (!self.is_http_10 || self.asks_keep_alive),
            expects_continue: self.expects_continue && body.is_some() && !self.is_http_10,
            wants_trailers: self.wants_trailers && !self.is_http_10,
            is_http_10: self.is_http_10,
            body,
        })
    }
}

fn parse_length(text: &[u8]) -> Result<u64, Failure> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(text)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse().ok());
    length.ok_or_else(|| bad("a content-length that is not a number"))
}

fn has_token(value: &HeaderValue, token: &[u8]) -> bool {
    value.as_bytes().split(|&b| b == b',').any(|part| {
        let name = part.split(|&b| b == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(token)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head>, Fault> {
        parse(&mut BytesMut::from(text)).map_err(|failure| failure.fault)
    }

    #[test]
    fn takes_one_head_and_leaves_the_rest() {
        let mut buffer = BytesMut::from("GET /a?b HTTP/1.1\r\nhost: x\r\nx-y:  z \r\n\r\nGET / HTT");
        let head = parse(&mut buffer).unwrap().unwrap();
        assert_eq!(head.request.uri(), "/a?b");
        assert_eq!(head.request.headers()["x-y"], "z");
        assert!(head.framing.keep_alive && head.framing.body.is_none());
        assert_eq!(&buffer[..], b"GET / HTT");
        assert!(parse(&mut buffer).unwrap().is_none());
    }

    #[test]
    fn keep_alive_follows_version_and_connection() {
        for (text, keep) in [
            (
                "GET / HTTP/1.1\r\nhost: x\r\nconnection: foo, Close\r\n\r\n",
                false,
            ),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n", true),
        ] {
            assert_eq!(read(text).unwrap().unwrap().framing.keep_alive, keep, "{text}");
        }
    }

    #[test]
    fn refuses_what_two_servers_could_read_differently() {
        let post = |fields: &str| format!("POST / HTTP/1.1\r\nhost: x\r\n{fields}\r\n\r\n");
        let bad = [
            post("content-length: 3\r\ntransfer-encoding: chunked"),
            post("transfer-encoding: chunked\r\ncontent-length: 3"),
            post("transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
            post("transfer-encoding: gzip, chunked"),
            post("transfer-encoding: xchunked"),
            post("transfer-encoding:\x0bchunked"),
            post("content-length: -1"),
            post("content-length: +1"),
            post("content-length: 1, 1"),
            post("content-length: 1\r\ncontent-length: 2"),
            post("content-length: 99999999999999999999"),
            post("content-length: "),
            post("a b: c"),
            post("a : c"),
            post(": c"),
            post("a: b\r\n folded"),
            post("a: b\rc"),
            post("a: b\0c"),
            "POST / HTTP/1.1\nhost: x\n\n".to_owned(),
            "POST / HTTP/1.1\r\nhost: x\r\na: b\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n".to_owned(),
            "GET / HTTP/9.9\r\nhost: x\r\n\r\n".to_owned(),
            "GET / HTTP/1.2\r\nhost: x\r\n\r\n".to_owned(),
            "GET  / HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
            "GET /\r\nhost: x\r\n\r\n".to_owned(),
            "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
            "\x16\x03\x01\x02\x00".to_owned(),
        ];
        for text in bad {
            assert_eq!(read(&text).err(), Some(Fault::BadRequest), "{text:?}");
        }
    }

    #[test]
    fn every_excess_has_its_fault() {
        let get = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nhost: x\r\n{fields}\r\n");
        let long = "u".repeat(URI_BYTES_MAX);
        assert!(read(&get(&format!("/{}", &long[1..]), "")).unwrap().is_some());
        assert_eq!(read(&get(&format!("/{long}"), "")).err(), Some(Fault::UriTooLong));
        assert_eq!(read(&format!("GET /{long}{long}")).err(), Some(Fault::UriTooLong));
        let fields = |count: usize| (0..count).map(|i| format!("a{i}: b\r\n")).collect::<String>();
        assert!(read(&get("/", &fields(HEADERS_MAX - 1))).unwrap().is_some());
        assert_eq!(
            read(&get("/", &fields(HEADERS_MAX))).err(),
            Some(Fault::HeadersTooLarge)
        );
        let one = format!("a: {}\r\n", "v".repeat(HEADER_BYTES_MAX));
        assert_eq!(read(&get("/", &one)).err(), Some(Fault::HeadersTooLarge));
        let field = format!("a: {}\r\n", "v".repeat(HEADER_BYTES_MAX - 100));
        assert!(read(&get("/", &field.repeat(2))).unwrap().is_some());
        assert_eq!(
            read(&get("/", &field.repeat(3))).err(),
            Some(Fault::HeadersTooLarge)
        );
        let endless = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}", "v".repeat(HEAD_BYTES_MAX));
        assert_eq!(read(&endless).err(), Some(Fault::HeadersTooLarge));
    }
}

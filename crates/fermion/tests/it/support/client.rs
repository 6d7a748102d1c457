//! A blocking HTTP/1.1 client that hides nothing: raw bytes out if need be, and of an answer also how it ended.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;

type Fields = Vec<(String, String)>;

/// An answer as it came.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// False if the connection broke off before the body's end.
    pub(crate) whole: bool,
}

impl Response {
    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// Every value of a header.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        first(&self.trailers, name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// Expects a whole answer with this status and body.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.text(), self.whole), (status, body, true));
    }

    /// The stable code of the platform's own answer, after a check that every part of it agrees.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        assert!(self.whole, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem: serde_json::Value = serde_json::from_slice(&self.body).expect("a problem is JSON");
        assert_eq!(problem["status"], self.status, "{problem}");
        for part in ["type", "title", "blame"] {
            assert!(problem[part].is_string(), "{problem}");
        }
        let code = problem["code"].as_str().expect("a problem has a code").to_owned();
        let status = self.header("proxy-status").expect("a problem has a proxy-status");
        assert!(status.starts_with("fermion; error="), "{status}");
        assert!(status.ends_with(&format!("; details=\"{code}\"")), "{status}");
        code
    }

    /// Whose fault the platform's own answer says it is.
    #[track_caller]
    pub(crate) fn blame(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).expect("a problem is JSON");
        problem["blame"].as_str().expect("a problem has blame").to_owned()
    }
}

fn first<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    let found = fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

/// One connection; requests on it follow one another.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("the server accepts")
    }

    pub(crate) fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Sends these bytes. The server may have left already, which is no error: its answer tells.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// No more will be sent.
    pub(crate) fn finish(&mut self) {
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// A second handle, to write with while this one reads.
    pub(crate) fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a socket can be cloned")
    }

    /// The answer to a request with this method.
    #[track_caller]
    pub(crate) fn response(&mut self, method: &str) -> Response {
        self.try_response(method).expect("an answer")
    }

    /// The same; none if the connection is closed instead.
    pub(crate) fn try_response(&mut self, method: &str) -> Option<Response> {
        let mut response = self.head()?;
        while response.status < 200 {
            response = self.head()?;
        }
        if method == "HEAD" || matches!(response.status, 204 | 304) {
            return Some(response);
        }
        response.whole = self.read_body(&mut response).is_some();
        Some(response)
    }

    /// The next head, of an interim answer too; none if the connection is closed instead.
    pub(crate) fn head(&mut self) -> Option<Response> {
        let line = self.line()?;
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|code| code.parse().ok());
        Some(Response {
            status: status.unwrap_or_else(|| panic!("{line:?} is no status line")),
            headers: self.fields()?,
            body: Vec::new(),
            trailers: Vec::new(),
            whole: true,
        })
    }

    fn read_body(&mut self, response: &mut Response) -> Option<()> {
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(piece) = self.chunk()? {
                response.body.extend_from_slice(&piece);
            }
            response.trailers = self.fields()?;
            return Some(());
        }
        let Some(length) = response.header("content-length") else {
            while self.fill() {}
            response.body = std::mem::take(&mut self.buffer);
            return Some(());
        };
        let length: usize = length.parse().expect("content-length is a number");
        while self.buffer.len() < length && self.fill() {}
        let have = length.min(self.buffer.len());
        response.body = self.buffer.drain(..have).collect();
        (have == length).then_some(())
    }

    /// The next chunk, `Some(None)` at the last one, none if the connection breaks off.
    #[expect(clippy::option_option, reason = "a broken body and an ended one differ")]
    pub(crate) fn chunk(&mut self) -> Option<Option<Vec<u8>>> {
        let line = self.line()?;
        let size = usize::from_str_radix(&line, 16).expect("a chunk says its size");
        if size == 0 {
            return Some(None);
        }
        while self.buffer.len() < size + 2 {
            if !self.fill() {
                return None;
            }
        }
        let piece = self.buffer.drain(..size).collect();
        self.buffer.drain(..2);
        Some(Some(piece))
    }

    fn fields(&mut self) -> Option<Fields> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                assert_eq!(line, "", "a field has a colon");
                return Some(fields);
            };
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8(line).expect("heads are text"));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Everything until the server closes.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let (bytes, closed) = self.all_within(PATIENCE);
        assert!(
            closed,
            "the server does not close, after {:?}",
            String::from_utf8_lossy(&bytes)
        );
        bytes
    }

    /// Everything until the server closes, and true, or until it is silent for so long.
    pub(crate) fn all_within(&mut self, silence: Duration) -> (Vec<u8>, bool) {
        self.stream
            .set_read_timeout(Some(silence))
            .expect("a socket can have a timeout");
        let mut piece = [0; 64 * 1024];
        let closed = loop {
            match self.stream.read(&mut piece) {
                Ok(0) => break true,
                Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
                Err(error) => break error.kind() != io::ErrorKind::WouldBlock,
            }
        };
        (std::mem::take(&mut self.buffer), closed)
    }

    /// Reads more; false at the end, however it came. A server that says nothing for too long fails the test.
    fn fill(&mut self) -> bool {
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("the server says nothing"),
            Err(_) => false,
        }
    }
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    method: String,
    path: String,
    headers: String,
    body: Option<Vec<u8>>,
    /// Sent in chunks of this size.
    chunk_bytes: Option<usize>,
    trailers: String,
}

impl Ask {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: String::new(),
            body: None,
            chunk_bytes: None,
            trailers: String::new(),
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: Some(body.into()),
            ..Self::new("POST", path)
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    pub(crate) fn chunked(mut self, chunk_bytes: usize) -> Self {
        self.chunk_bytes = Some(chunk_bytes);
        self
    }

    /// Sends the body in one chunk and this field after it.
    pub(crate) fn trailer(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("trailer: {name}\r\n");
        self.trailers += &format!("{name}: {value}\r\n");
        self.chunk_bytes.get_or_insert(64 * 1024);
        self
    }

    /// Head and body as they go over the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Self {
            method,
            path,
            headers,
            ..
        } = self;
        let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: test.example\r\n{headers}").into_bytes();
        match (&self.body, self.chunk_bytes) {
            (None, _) => bytes.extend_from_slice(b"\r\n"),
            (Some(body), None) => {
                bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
                bytes.extend_from_slice(body);
            }
            (Some(body), Some(size)) => {
                bytes.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
                for chunk in body.chunks(size) {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(format!("0\r\n{}\r\n", self.trailers).as_bytes());
            }
        }
        bytes
    }

    /// Sends it on a connection of its own, body and answer at the same time.
    #[track_caller]
    pub(crate) fn send(&self, address: SocketAddr) -> Response {
        self.try_send(address).expect("an answer")
    }

    /// The same; none if the connection is refused or closed without an answer.
    pub(crate) fn try_send(&self, address: SocketAddr) -> Option<Response> {
        let mut connection = Connection::try_open(address).ok()?;
        self.send_on(&mut connection)
    }

    /// Sends it on this connection.
    pub(crate) fn send_on(&self, connection: &mut Connection) -> Option<Response> {
        let bytes = self.bytes();
        let mut writer = connection.writer();
        std::thread::scope(|scope| {
            if bytes.len() > 32 * 1024 {
                // The server may answer, and close, before it has read everything.
                scope.spawn(move || drop(writer.write_all(&bytes)));
            } else {
                drop(writer.write_all(&bytes));
            }
            connection.try_response(&self.method)
        })
    }
}

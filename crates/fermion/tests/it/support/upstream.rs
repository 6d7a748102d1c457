//! The outside world: an HTTP/1.1 server whose paths behave well or badly, and which can hold its answers back until a
//! test lets them go, so that what happens at the same time is known and not hoped for.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::PATIENCE;

/// An upstream that could write nothing for so long is being held back.
const HELD_BACK_AFTER: Duration = Duration::from_secs(1);

/// A listening upstream. Its threads end with the test process.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    gate: Arc<Gate>,
    seen: Arc<Seen>,
}

/// What has come to it.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// Bytes written to `/endless` when its reader stopped reading.
    held_back: Mutex<Option<u64>>,
    stopped: Condvar,
    /// True while every connection is closed without a word.
    is_down: AtomicBool,
}

/// Where requests to `/hold` wait.
#[derive(Default)]
struct Gate {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    held: usize,
    most_held: usize,
    is_open: bool,
}

struct Received {
    method: String,
    path: String,
    head: String,
    body: Vec<u8>,
    trailers: String,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let gate = Arc::new(Gate::default());
        let seen = Arc::new(Seen::default());
        let shared = (gate.clone(), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (gate, seen) = shared.clone();
                seen.connections.fetch_add(1, SeqCst);
                // A caller that leaves ends its thread.
                std::thread::spawn(move || drop(serve(&stream, &gate, &seen)));
            }
        });
        Self { address, gate, seen }
    }

    /// The option of `fermion serve` that grants it.
    pub(crate) fn grant(&self) -> [String; 2] {
        ["--allow-http".to_owned(), self.address.to_string()]
    }

    /// A path of the edge guests that calls `path` here; `behaviour` may end with a query of its own.
    pub(crate) fn via(&self, behaviour: &str, path: &str) -> String {
        let join = if behaviour.contains('?') { '&' } else { '?' };
        let url = super::encode(&format!("http://{}{path}", self.address));
        format!("{behaviour}{join}url={url}")
    }

    /// Returns once so many requests wait at `/hold` at the same time.
    #[track_caller]
    pub(crate) fn wait_held(&self, count: usize) {
        let state = self.gate.state.lock().unwrap();
        let (_state, timed_out) = self
            .gate
            .changed
            .wait_timeout_while(state, PATIENCE, |state| state.held < count)
            .unwrap();
        assert!(
            !timed_out.timed_out(),
            "{count} requests do not come to the upstream at once"
        );
    }

    /// The most that ever waited at once.
    pub(crate) fn most_held(&self) -> usize {
        self.gate.state.lock().unwrap().most_held
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(SeqCst)
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(SeqCst)
    }

    /// From now on it closes what comes in without an answer, or answers again.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.seen.is_down.store(is_down, SeqCst);
    }

    /// Bytes that had been written to `/endless` when it could write no more.
    #[track_caller]
    pub(crate) fn held_back(&self) -> u64 {
        let held_back = self.seen.held_back.lock().unwrap();
        let (held_back, _) = self
            .seen
            .stopped
            .wait_timeout_while(held_back, PATIENCE, |held_back| held_back.is_none())
            .unwrap();
        held_back.expect("it is held back some time")
    }

    /// Lets everything go that waits or will come.
    pub(crate) fn release(&self) {
        self.gate.state.lock().unwrap().is_open = true;
        self.gate.changed.notify_all();
    }
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.held += 1;
        state.most_held = state.most_held.max(state.held);
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| !state.is_open).unwrap();
        state.held -= 1;
    }
}

fn serve(stream: &TcpStream, gate: &Gate, seen: &Seen) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = receive(&mut reader)? {
        seen.requests.fetch_add(1, SeqCst);
        if seen.is_down.load(SeqCst) {
            break;
        }
        if request.path == "/endless" {
            return endless(stream, seen);
        }
        if !answer(stream, &mut reader, &request, gate)? {
            break;
        }
    }
    Ok(())
}

/// Writes until nobody reads any more.
fn endless(mut stream: &TcpStream, seen: &Seen) -> io::Result<()> {
    stream.set_write_timeout(Some(HELD_BACK_AFTER))?;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (piece, mut written) = (vec![b'z'; 64 * 1024], 0);
    while let Ok(count) = stream.write(&piece) {
        written += count as u64;
    }
    *seen.held_back.lock().unwrap() = Some(written);
    seen.stopped.notify_all();
    Ok(())
}

fn receive(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Received>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut request = Received {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        head: fields(reader)?,
        body: Vec::new(),
        trailers: String::new(),
    };
    let head = request.head.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    if head.contains("transfer-encoding: chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            if size == 0 {
                break;
            }
            let start = request.body.len();
            request.body.resize(start + size, 0);
            reader.read_exact(&mut request.body[start..])?;
            reader.read_line(&mut String::new())?;
        }
        request.trailers = fields(reader)?;
    } else if let Some(length) = length {
        request.body.resize(length.parse().map_err(io::Error::other)?, 0);
        reader.read_exact(&mut request.body)?;
    }
    Ok(Some(request))
}

fn fields(reader: &mut BufReader<&TcpStream>) -> io::Result<String> {
    let mut all = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.trim_end().is_empty() {
            return Ok(all);
        }
        all += line.trim_end();
        all.push('\n');
    }
}

/// False if the connection is over.
fn answer(
    mut stream: &TcpStream,
    reader: &mut BufReader<&TcpStream>,
    request: &Received,
    gate: &Gate,
) -> io::Result<bool> {
    let mut segments = request.path.split(['/', '?']).skip(1);
    let name = segments.next().unwrap_or_default();
    let number = segments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    match name {
        "echo" => whole(stream, 200, &request.body)?,
        "request" => {
            let Received {
                method,
                path,
                head,
                trailers,
                ..
            } = request;
            let body = String::from_utf8_lossy(&request.body);
            let text = format!("{method} {path}\n{head}body {body}\n{trailers}");
            whole(stream, 200, text.as_bytes())?;
        }
        "status" => whole(stream, number, b"status\n")?,
        "redirect" => stream.write_all(b"HTTP/1.1 302 Found\r\nlocation: /echo\r\ncontent-length: 0\r\n\r\n")?,
        "bytes" => {
            let size = usize::from(number) * 1024;
            let piece = vec![b'z'; size];
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            for chunk in piece.chunks(16 * 1024) {
                stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
                stream.write_all(chunk)?;
                stream.write_all(b"\r\n")?;
            }
            stream.write_all(b"0\r\n\r\n")?;
        }
        "trailers" => stream.write_all(
            b"HTTP/1.1 200 OK\r\ntrailer: x-up\r\ntransfer-encoding: chunked\r\n\r\n3\r\nup\n\r\n0\r\nx-up: 7\r\n\r\n",
        )?,
        "cut" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nten bytes\n")?;
            return Ok(false);
        }
        "cut-chunked" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\nten bytes\n\r\n")?;
            return Ok(false);
        }
        "silent" => return reader.read(&mut [0]).map(|_| false),
        "stall" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nten bytes\n")?;
            return reader.read(&mut [0]).map(|_| false);
        }
        "junk" => stream.write_all(b"this is not HTTP\r\n\r\n")?,
        "events" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
            stream.write_all(b"b\r\ndata: one\n\n\r\n")?;
            gate.pass();
            stream.write_all(b"b\r\ndata: two\n\n\r\n0\r\n\r\n")?;
        }
        "once" => {
            whole(stream, 200, b"once\n")?;
            return Ok(false);
        }
        "hold" => {
            gate.pass();
            whole(stream, 200, b"held\n")?;
        }
        _ => whole(stream, 404, b"no such path\n")?,
    }
    Ok(true)
}

fn whole(mut stream: &TcpStream, status: u16, body: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-length: {}\r\nx-upstream: yes\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())
}

//! The benchmark's client where `wrk` cannot say what is asked: an open loop, in which requests are due at a rate
//! whatever the server does, and bodies that stream. Prints one JSON object.
//!
//! ```text
//! load open ADDRESS SECONDS NAME:RATE:CONNECTIONS:PATH...
//! load stream ADDRESS SECONDS source|sink|echo BYTES CONNECTIONS PATH
//! ```
//!
//! In the open loop `due` counts from the moment a request was due, so that a server that stalls cannot hide it by
//! slowing its callers down, and `sent` from the moment a connection was free for it. A request for which no connection
//! is free waits; what is left at the end is `unsent`.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io::{Error, ErrorKind, Result, Write as _};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

/// After this a request has failed.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// A pause shorter than this is spent looking at the clock: a timer would be a millisecond late.
const SPIN_MAX: Duration = Duration::from_millis(2);
const CHUNK_BYTES: usize = 64 * 1024;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = LocalSet::new().block_on(&runtime, async {
        match words.as_slice() {
            ["open", address, seconds, targets @ ..] => open(address, number(seconds)?, targets).await,
            ["stream", address, seconds, kind, bytes, connections, path] => {
                stream(
                    address,
                    number(seconds)?,
                    kind,
                    number(bytes)?,
                    number(connections)?,
                    path,
                )
                .await
            }
            _ => Err(wrong("usage: see the head of load.rs")),
        }
    })?;
    writeln!(std::io::stdout(), "{report}")
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, what.into())
}

fn number(text: &str) -> Result<u64> {
    text.parse().map_err(|_| wrong(format!("no number: {text}")))
}

/// A body of so many zeros.
struct Zeros(u64);

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        static CHUNK: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];
        let bytes = usize::try_from(self.0).unwrap_or(usize::MAX).min(CHUNK.len());
        self.0 -= bytes as u64;
        Poll::Ready((bytes > 0).then(|| Ok(Frame::data(Bytes::from_static(&CHUNK[..bytes])))))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

async fn connect(address: &str) -> Result<SendRequest<Zeros>> {
    let socket = tokio::net::TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(socket)).await.map_err(Error::other)?;
    spawn_local(connection);
    Ok(sender)
}

/// Sends one request and reads its answer; gives the status and the bytes of the answer's body.
async fn exchange(
    sender: &mut SendRequest<Zeros>,
    method: &Method,
    path: &str,
    bytes: u64,
) -> Result<(u16, u64)> {
    sender.ready().await.map_err(Error::other)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .body(Zeros(bytes))
        .map_err(Error::other)?;
    let answer = sender.send_request(request).await.map_err(Error::other)?;
    let status = answer.status().as_u16();
    let (mut body, mut read) = (answer.into_body(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Error::other)?;
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok((status, read))
}

/// One row of requests that are due at a rate.
struct Row {
    name: String,
    rate: f64,
    path: String,
    due: RefCell<VecDeque<Instant>>,
    ready: Semaphore,
    seen: RefCell<BTreeMap<String, Vec<(Duration, Duration)>>>,
}

async fn open(address: &str, seconds: u64, targets: &[&str]) -> Result<Value> {
    let begun = Instant::now();
    let (mut rows, mut clients) = (Vec::new(), Vec::new());
    for target in targets {
        let parts: Vec<&str> = target.splitn(4, ':').collect();
        let [name, rate, connections, path] = parts[..] else {
            return Err(wrong(format!("not NAME:RATE:CONNECTIONS:PATH: {target}")));
        };
        let row = Rc::new(Row {
            name: name.into(),
            rate: rate.parse().map_err(|_| wrong(format!("no rate: {rate}")))?,
            path: path.into(),
            due: RefCell::default(),
            ready: Semaphore::new(0),
            seen: RefCell::default(),
        });
        for _ in 0..number(connections)? {
            clients.push(spawn_local(client(Rc::clone(&row), address.to_owned())));
        }
        rows.push(row);
    }
    let length = Duration::from_secs(seconds);
    let mut sent = vec![0_u32; rows.len()];
    loop {
        let now = begun.elapsed();
        if now >= length {
            break;
        }
        let mut next = length;
        for (row, sent) in rows.iter().zip(&mut sent) {
            loop {
                let due = Duration::from_secs_f64(f64::from(*sent) / row.rate);
                if due > now {
                    next = next.min(due);
                    break;
                }
                *sent += 1;
                row.due.borrow_mut().push_back(begun + due);
                row.ready.add_permits(1);
            }
        }
        match next.saturating_sub(begun.elapsed()) {
            pause if pause > SPIN_MAX => sleep(pause - SPIN_MAX).await,
            _ => tokio::task::yield_now().await,
        }
    }
    let report = rows.iter().zip(&sent).map(|(row, sent)| {
        let unsent = row.due.borrow_mut().drain(..).count();
        row.ready.close();
        (row, *sent, unsent)
    });
    let report: Vec<_> = report.collect();
    for client in clients {
        client.await.map_err(Error::other)?;
    }
    let told = report
        .iter()
        .map(|(row, offered, unsent)| (row.name.clone(), tell(row, *offered, *unsent, seconds)));
    Ok(Value::Object(told.collect()))
}

/// One connection of a row, made anew when it broke.
async fn client(row: Rc<Row>, address: String) {
    let mut sender = None;
    while let Ok(permit) = row.ready.acquire().await {
        permit.forget();
        let Some(due) = row.due.borrow_mut().pop_front() else {
            continue;
        };
        let begun = Instant::now();
        let asked = timeout(ANSWER_MAX, async {
            let mut fresh = match sender.take() {
                Some(sender) => sender,
                None => connect(&address).await?,
            };
            let (status, _) = exchange(&mut fresh, &Method::GET, &row.path, 0).await?;
            Ok::<_, Error>((status, fresh))
        });
        let outcome = match asked.await {
            Ok(Ok((status, fresh))) => {
                sender = Some(fresh).filter(|sender| !sender.is_closed());
                status.to_string()
            }
            Ok(Err(_)) => "broken".into(),
            Err(_) => "timeout".into(),
        };
        let mut seen = row.seen.borrow_mut();
        let times = (due.elapsed(), begun.elapsed());
        seen.entry(outcome).or_default().push(times);
    }
}

fn tell(row: &Row, offered: u32, unsent: usize, seconds: u64) -> Value {
    let seen = row.seen.borrow();
    let outcomes = seen.iter().map(|(outcome, times)| {
        let of = |pick: fn(&(Duration, Duration)) -> Duration| {
            let mut sorted: Vec<Duration> = times.iter().map(pick).collect();
            sorted.sort_unstable();
            // The nearest rank from below; never beyond the last.
            let at = |share: usize| sorted[(sorted.len() * share / 1000).min(sorted.len() - 1)].as_micros();
            json!({"p50_us": at(500), "p99_us": at(990), "p999_us": at(999), "max_us": at(1000)})
        };
        let told = json!({"count": times.len(), "due": of(|times| times.0), "sent": of(|times| times.1)});
        (outcome.clone(), told)
    });
    json!({
        "offered": offered, "unsent": unsent, "seconds": seconds,
        "outcomes": Value::Object(outcomes.collect()),
    })
}

async fn stream(
    address: &str,
    seconds: u64,
    kind: &str,
    bytes: u64,
    connections: u64,
    path: &str,
) -> Result<Value> {
    let (method, up, down) = match kind {
        "source" => (Method::GET, 0, Some(bytes)),
        "sink" => (Method::POST, bytes, None),
        "echo" => (Method::POST, bytes, Some(bytes)),
        _ => return Err(wrong(format!("neither source, sink nor echo: {kind}"))),
    };
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut clients = Vec::new();
    for _ in 0..connections {
        let (address, method, path) = (address.to_owned(), method.clone(), path.to_owned());
        clients.push(spawn_local(async move {
            let mut sender = connect(&address).await?;
            let mut whole = 0_u64;
            while Instant::now() < until {
                let (status, read) = exchange(&mut sender, &method, &path, up).await?;
                if status != 200 || down.is_some_and(|down| down != read) {
                    return Err(Error::other(format!("status {status} with {read} bytes")));
                }
                whole += 1;
            }
            Ok(whole)
        }));
    }
    let mut whole = 0;
    for client in clients {
        whole += client.await.map_err(Error::other)??;
    }
    Ok(json!({ "bodies": whole, "bytes_per_second": whole * bytes / seconds }))
}

//! A dispatch whose paths are behaviours.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fermion_gateway::{Admission, Dispatch, Permit, Purpose, RequestBody, TraceContext, Usage, UsageMeter};
use fermion_model::fault::Failure;
use fermion_model::record::Served;
use fermion_model::{Fault, Limits};
use futures::stream::{self, BoxStream, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;

pub(crate) type Item = Result<Frame<Bytes>, Failure>;

/// One app. `gate` lets requests go on; `arrived` counts those that wait at it.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) served: Arc<Served>,
    pub(crate) admission: Admission,
    pub(crate) limits: Limits,
    pub(crate) gate: Semaphore,
    pub(crate) arrived: Semaphore,
    /// What came for nobody.
    pub(crate) copies: Mutex<Vec<String>>,
}

impl App {
    pub(crate) fn named(name: &str) -> Self {
        Self {
            served: Arc::new(Served {
                namespace: "default".to_owned(),
                app: name.to_owned(),
                release: 1,
            }),
            admission: Admission::new(64, 64, Duration::from_secs(5)),
            limits: Limits {
                request_body_bytes: 1000,
                response_body_bytes: 10_000_000,
                ..Limits::default()
            },
            gate: Semaphore::new(0),
            arrived: Semaphore::new(0),
            copies: Mutex::default(),
        }
    }

    async fn wait_at_gate(&self) {
        self.arrived.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
    }
}

/// Frames, the permit that lives as long as they do, and whether the end is known with the last of them.
pub(crate) struct Answer {
    frames: BoxStream<'static, Item>,
    length: Option<u64>,
    _permit: Permit,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        self.frames.poll_next_unpin(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}

fn data(text: impl Into<Bytes>) -> Item {
    Ok(Frame::data(text.into()))
}

fn trap() -> Item {
    Err(Failure::new(Fault::GuestTrap, "secret detail"))
}

fn trailers() -> Item {
    let mut fields = HeaderMap::new();
    fields.insert("x-sum", HeaderValue::from_static("42"));
    fields.insert("set-cookie", HeaderValue::from_static("forbidden"));
    Ok(Frame::trailers(fields))
}

impl Dispatch for App {
    type Body = Answer;

    fn served(&self) -> &Arc<Served> {
        &self.served
    }

    fn admission(&self) -> &Admission {
        &self.admission
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    async fn dispatch(
        &self,
        request: Request<RequestBody>,
        permit: Permit,
        _trace: TraceContext,
        usage: &mut UsageMeter,
        purpose: Purpose,
    ) -> Result<Response<Answer>, Failure> {
        *usage = UsageMeter::reading(|| Usage {
            instantiate: Duration::from_micros(5),
            cold: true,
            cpu: Duration::from_micros(7),
            memory_bytes: 65_536,
            calls: Default::default(),
        });
        if purpose == Purpose::Copy {
            self.copies.lock().unwrap().push(show(&self.served.app, &request));
        }
        let path = request.uri().path().to_owned();
        let path = path
            .strip_prefix(&format!("/{}", self.served.app))
            .unwrap_or(&path);
        let mut response = Response::new(());
        spoil_head(path, &mut response);
        let length = (path == "/hello").then_some(6);
        let frames = match path {
            "/fail" => return Err(Failure::new(Fault::GuestCpuLimit, "secret detail")),
            "/panic" => panic!("a mistake of the platform's own"),
            "/never" => {
                self.wait_at_gate().await;
                stream::empty().boxed()
            }
            "/half" => {
                self.arrived.add_permits(1);
                stream::iter([data("half")]).chain(stream::pending()).boxed()
            }
            "/echo" => request
                .into_body()
                .into_data_stream()
                .map(|chunk| chunk.map(Frame::data))
                .boxed(),
            "/read" => stream::iter([data(read(request.into_body()).await)]).boxed(),
            _ => match frames(path) {
                Some(frames) => frames,
                None => stream::iter([data(show(&self.served.app, &request))]).boxed(),
            },
        };
        Ok(response.map(|()| Answer {
            frames,
            length,
            _permit: permit,
        }))
    }
}

/// A guest that makes its own answer of a body that could not be read.
async fn read(body: RequestBody) -> String {
    match body.collect().await {
        Ok(body) => {
            let trailers = body.trailers().map_or(0, HeaderMap::len);
            format!("{} bytes, {trailers} trailers", body.to_bytes().len())
        }
        Err(failure) => format!("could not read: {}", failure.fault),
    }
}

fn show(app: &str, request: &Request<RequestBody>) -> String {
    let mut text = format!("{app} {} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("?")));
    }
    text
}

/// Bodies that need nothing of the request.
fn frames(path: &str) -> Option<BoxStream<'static, Item>> {
    Some(match path {
        "/hello" => stream::iter([data("hello\n")]).boxed(),
        "/chunks" => stream::iter([data("one "), data("two "), data("three")]).boxed(),
        "/ignore" => stream::iter([data("ignored")]).boxed(),
        "/trailers" => stream::iter([data("body"), trailers()]).boxed(),
        "/only-trailers" => stream::iter([trailers()]).boxed(),
        "/late-trailers" => {
            let start = stream::iter([data("slow "), data(vec![b'x'; 100_000])]);
            let end = async {
                tokio::task::yield_now().await;
                trailers()
            };
            start.chain(stream::once(end)).boxed()
        }
        "/cut" => stream::iter([data("first"), trap()]).boxed(),
        "/cut-at-once" => stream::iter([trap()]).boxed(),
        "/short" => stream::iter([data("12345")]).boxed(),
        "/long" => stream::iter([data("12345"), data("67890abc")]).boxed(),
        "/too-large" => stream::iter((0..11).map(|_| data(vec![b'x'; 1_000_000]))).boxed(),
        "/large" => stream::iter((0..50).map(|i| data(vec![b'a' + i % 26; 100_000]))).boxed(),
        "/head" => stream::iter([data("not for HEAD")]).boxed(),
        "/hop" => stream::iter([data("hop")]).boxed(),
        "/converts" => stream::iter([data("thanks")]).boxed(),
        "/many-headers" | "/wide-header" | "/two-lengths" | "/103" | "/204" | "/304" | "/500" => {
            stream::empty().boxed()
        }
        _ => return None,
    })
}

fn spoil_head(path: &str, response: &mut Response<()>) {
    let headers = response.headers_mut();
    match path {
        "/short" | "/long" => drop(headers.insert("content-length", HeaderValue::from_static("10"))),
        "/head" => drop(headers.insert("content-length", HeaderValue::from_static("1234"))),
        "/hop" => {
            for (name, value) in [
                ("connection", "close"),
                ("transfer-encoding", "gzip"),
                ("keep-alive", "x"),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        "/converts" => drop(headers.insert("x-conversion", HeaderValue::from_static("2.5"))),
        "/many-headers" => {
            for i in 0..200 {
                headers.insert(
                    HeaderName::try_from(format!("x-{i}")).unwrap(),
                    HeaderValue::from_static("1"),
                );
            }
        }
        "/wide-header" => drop(headers.insert("x", HeaderValue::try_from("v".repeat(1 << 20)).unwrap())),
        "/two-lengths" => {
            headers.append("content-length", HeaderValue::from_static("1"));
            headers.append("content-length", HeaderValue::from_static("2"));
        }
        "/103" | "/204" | "/304" | "/500" => *response.status_mut() = path[1..].parse().unwrap(),
        _ => {}
    }
}

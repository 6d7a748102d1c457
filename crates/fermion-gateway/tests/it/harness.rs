//! A running server and a client that says exactly which bytes it sends.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use fermion_gateway::{Drained, Record, RouteTable, Routed, Server, ServerConfig, ServerLimits};
use fermion_model::record::RequestRecord;
use fermion_model::release::Route;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// Longer than anything here takes: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

struct Recorder(SyncSender<RequestRecord>);

impl Record for Recorder {
    fn record(&self, record: RequestRecord) {
        self.0.send(record).unwrap();
    }

    fn wants_path(&self) -> bool {
        true
    }
}

pub(crate) struct Harness {
    pub(crate) address: SocketAddr,
    pub(crate) app: Arc<App>,
    pub(crate) routes: Arc<ArcSwap<RouteTable<App>>>,
    records: Mutex<Receiver<RequestRecord>>,
    shutdown: CancellationToken,
    server: Option<JoinHandle<Drained>>,
}

pub(crate) fn any(path: &str) -> Route {
    Route {
        host: None,
        path: path.to_owned(),
        methods: Vec::new(),
        strip_prefix: false,
    }
}

/// A route that is not shared.
pub(crate) fn whole(route: Route, target: &Arc<App>) -> Routed<App> {
    Routed {
        route,
        target: Arc::clone(target),
        share: None,
    }
}

/// Bounds short enough to wait for.
pub(crate) fn quick() -> ServerLimits {
    ServerLimits {
        head_time_max: Duration::from_millis(200),
        idle_time_max: Duration::from_millis(400),
        body_idle_max: Duration::from_millis(200),
        write_stall_max: Duration::from_millis(300),
        sweep_every: Duration::from_millis(20),
        ..ServerLimits::default()
    }
}

impl Harness {
    pub(crate) fn start() -> Self {
        Self::with(App::named("app"), ServerLimits::default())
    }

    pub(crate) fn with(app: App, limits: ServerLimits) -> Self {
        let app = Arc::new(app);
        let table = RouteTable::build(vec![whole(any("/*"), &app)]).unwrap();
        let routes = Arc::new(ArcSwap::from_pointee(table));
        let (sender, records) = sync_channel(100_000);
        let mut config = ServerConfig::new("127.0.0.1:0".parse().unwrap());
        config.limits = limits;
        config.threads = 2;
        config.drain_max = Duration::from_secs(2);
        let bound = Server::bind(config).unwrap();
        let address = bound.local_addr();
        let shutdown = CancellationToken::new();
        let run = bound.run(Arc::clone(&routes), Arc::new(Recorder(sender)), shutdown.clone());
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(run).unwrap()
        });
        Self {
            address,
            app,
            routes,
            records: Mutex::new(records),
            shutdown,
            server: Some(server),
        }
    }

    pub(crate) fn record(&self) -> RequestRecord {
        self.records
            .lock()
            .unwrap()
            .recv_timeout(PATIENCE)
            .expect("a record")
    }

    pub(crate) fn try_record(&self) -> Option<RequestRecord> {
        self.records.lock().unwrap().try_recv().ok()
    }

    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client {
            stream,
            buffer: Vec::new(),
        }
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, bytes: &str) -> Reply {
        self.connect().send(bytes).reply()
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
    }

    /// Waits until so many more requests stand at the app's gate.
    pub(crate) fn wait_for_arrivals(&self, count: u32) {
        self.wait_for(&self.app.arrived, count);
    }

    /// The same of any gate.
    pub(crate) fn wait_for(&self, arrived: &Semaphore, count: u32) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let arrivals = async { tokio::time::timeout(PATIENCE, arrived.acquire_many(count)).await };
        runtime
            .block_on(arrivals)
            .expect("requests arrive")
            .unwrap()
            .forget();
    }

    pub(crate) fn begin_shutdown(&self) {
        self.shutdown.cancel();
    }

    pub(crate) fn stop(&mut self) -> Drained {
        self.shutdown.cancel();
        self.server.take().unwrap().join().unwrap()
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.stop();
        }
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// 0 if the connection ended before a head.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// The connection ended before the body did.
    pub(crate) truncated: bool,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The code of a problem answer, after checking that its parts agree.
    pub(crate) fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).expect("a problem body");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let code = problem["code"].as_str().unwrap();
        assert!(
            self.header("proxy-status")
                .unwrap()
                .ends_with(&format!("details=\"{code}\""))
        );
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["type"], format!("https://fermion.dev/errors/{code}"));
        assert!(!self.text().contains("secret"));
        code.to_owned()
    }
}

impl Client {
    pub(crate) fn send(mut self, bytes: &str) -> Self {
        self.write(bytes.as_bytes());
        self
    }

    /// The server may have closed already: what it said is then read.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes));
    }

    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    fn fill(&mut self) -> bool {
        let mut piece = [0; 65536];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("the server neither answers nor closes: {error}"),
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
                self.buffer.drain(..end + 2);
                return Some(line);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn fields(&mut self) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else {
                return Some(fields);
            };
            fields.push((name.to_owned(), value.to_owned()));
        }
    }

    fn take(&mut self, count: usize) -> (Vec<u8>, bool) {
        while self.buffer.len() < count {
            if !self.fill() {
                return (std::mem::take(&mut self.buffer), false);
            }
        }
        (self.buffer.drain(..count).collect(), true)
    }

    /// True if the server closes without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill()
    }

    pub(crate) fn reply(&mut self) -> Reply {
        self.reply_to("GET")
    }

    pub(crate) fn reply_to(&mut self, method: &str) -> Reply {
        let mut reply = Reply::default();
        let Some(line) = self.line() else { return reply };
        reply.status = line.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        reply.headers = self.fields().expect("a whole head");
        if method == "HEAD" || matches!(reply.status, 100..=199 | 204 | 304) {
            return reply;
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            loop {
                let Some(line) = self.line() else {
                    break reply.truncated = true;
                };
                let size = usize::from_str_radix(&line, 16).unwrap();
                if size == 0 {
                    break match self.fields() {
                        Some(fields) => reply.trailers = fields,
                        None => reply.truncated = true,
                    };
                }
                let (data, whole) = self.take(size);
                reply.body.extend(data);
                if !whole || self.line().is_none() {
                    break reply.truncated = true;
                }
            }
        } else if let Some(length) = reply.header("content-length") {
            let (body, whole) = self.take(length.parse().unwrap());
            (reply.body, reply.truncated) = (body, !whole);
        } else {
            while self.fill() {}
            reply.body = std::mem::take(&mut self.buffer);
        }
        reply
    }
}

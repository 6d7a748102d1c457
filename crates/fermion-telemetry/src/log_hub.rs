//! The guests' lines: kept for a while by app, handed to those who follow, echoed if asked for. Every bound drops lines
//! and counts them; nothing here makes a guest wait. One namespace's lines are never shown under another's name.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fermion_model::ReleaseNumber;
use fermion_model::record::Served;
use tokio::sync::mpsc;

use crate::limits::{
    ECHO_LINES_MAX, EXPORT_QUEUE_LINES_MAX, FOLLOWER_LINES_MAX, FOLLOWERS_MAX, LOG_APPS_MAX,
    RECENT_BYTES_MAX, RECENT_LINES_MAX,
};
use crate::line_sink::{Destination, Gather, LineSink};
use crate::{Clock, Error, GuestLog, rfc3339};

/// Which of a guest's outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// `wasi:logging`.
    Log,
}

impl Stream {
    /// The lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Log => "log",
        }
    }
}

/// How grave a guest calls what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Values and the flow of control.
    Trace,
    /// For whoever debugs.
    Debug,
    /// For whoever watches.
    Info,
    /// Something may go wrong.
    Warn,
    /// Something went wrong.
    Error,
    /// Nothing goes on.
    Critical,
}

impl Level {
    /// The lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// One line of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When its last byte came.
    pub time: SystemTime,
    /// Which release said it.
    pub served: Arc<Served>,
    /// While answering which request.
    pub request_id: [u8; 16],
    /// The request's span.
    pub span_id: [u8; 8],
    /// Where it was said.
    pub stream: Stream,
    /// How grave it is; none on the two standard streams.
    pub level: Option<Level>,
    /// What groups messages; none on the two standard streams, and where the guest gave none.
    pub context: Option<Arc<str>>,
    /// Without its end; bytes that are not UTF-8 are replaced.
    pub line: String,
}

#[derive(serde::Serialize)]
struct JsonLine<'a> {
    time: String,
    namespace: &'a str,
    app: &'a str,
    release: String,
    request_id: String,
    stream: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
    line: &'a str,
}

impl LogLine {
    /// One JSON object without a line end.
    pub fn to_json(&self) -> String {
        let line = JsonLine {
            time: rfc3339(self.time),
            namespace: &self.served.namespace,
            app: &self.served.app,
            release: ReleaseNumber(self.served.release).to_string(),
            request_id: hex(&self.request_id),
            stream: self.stream.as_str(),
            level: self.level.map(Level::as_str),
            context: self.context.as_deref(),
            line: &self.line,
        };
        serde_json::to_string(&line).expect("a line of plain values is JSON")
    }
}

/// Appends lower-case hex digits.
pub(crate) fn push_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let start = text.len();
    // Grows once, not for each byte: a line of the access log has forty of them.
    text.resize(start + 2 * bytes.len(), 0);
    for (digits, byte) in text[start..].chunks_exact_mut(2).zip(bytes) {
        digits.copy_from_slice(&[byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    String::from_utf8(text).expect("digits are ASCII")
}

/// Whether lines are written to the process's own output too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// They are not.
    Off,
    /// JSON lines on standard error.
    Stderr,
}

/// Where all guests' lines come together. Clones share it.
#[derive(Debug, Clone)]
pub struct LogHub {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    apps: Mutex<HashMap<String, HashMap<String, Recent>>>,
    followers: Mutex<Vec<Listener>>,
    echo: LineSink<Arc<LogLine>>,
    lost: AtomicU64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogHub")
            .field("echo", &self.echo)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Recent {
    lines: VecDeque<Arc<LogLine>>,
    bytes: usize,
}

impl Recent {
    fn push(&mut self, line: Arc<LogLine>) {
        self.bytes += line.line.len();
        self.lines.push_back(line);
        while self.lines.len() > RECENT_LINES_MAX || self.bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= oldest.line.len();
        }
    }
}

#[derive(Debug)]
struct Listener {
    /// None hears every app.
    app: Option<(String, String)>,
    lines: mpsc::Sender<Arc<LogLine>>,
    lost: Arc<AtomicU64>,
}

impl Listener {
    fn hears(&self, served: &Served) -> bool {
        self.app
            .as_ref()
            .is_none_or(|(namespace, app)| *namespace == served.namespace && *app == served.app)
    }
}

/// Lines as they come. Dropping it stops following.
#[derive(Debug)]
pub struct Follower {
    lines: mpsc::Receiver<Arc<LogLine>>,
    lost: Arc<AtomicU64>,
}

impl Follower {
    /// The next line. None when the hub is gone, or had no room for another follower.
    pub async fn next(&mut self) -> Option<Arc<LogLine>> {
        self.lines.recv().await
    }

    /// The next line if it is here already.
    pub fn try_next(&mut self) -> Option<Arc<LogLine>> {
        self.lines.try_recv().ok()
    }

    /// Every line that is here already.
    pub(crate) fn take_all(&mut self) -> Vec<Arc<LogLine>> {
        std::iter::from_fn(|| self.try_next())
            .take(EXPORT_QUEUE_LINES_MAX)
            .collect()
    }

    /// Lines lost because this follower was too slow.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogHub {
    /// An empty hub.
    ///
    /// # Errors
    /// When the echo's writer cannot be started.
    pub fn new(clock: Arc<dyn Clock>, echo: Echo) -> Result<Self, Error> {
        let destination = match echo {
            Echo::Off => Destination::Off,
            Echo::Stderr => Destination::Stderr,
        };
        let gather = Gather {
            lines_max: ECHO_LINES_MAX,
            time: Duration::ZERO,
        };
        let format =
            |line: &Arc<LogLine>, out: &mut Vec<u8>| out.extend_from_slice(line.to_json().as_bytes());
        let echo = LineSink::open(&destination, "guest-log", gather, format)?;
        let shared = Shared {
            clock,
            apps: Mutex::default(),
            followers: Mutex::default(),
            echo,
            lost: AtomicU64::new(0),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The output of one request's guest; the ids are the request's trace and span.
    pub fn guest(&self, served: &Arc<Served>, request_id: [u8; 16], span_id: [u8; 8]) -> GuestLog {
        GuestLog::new(self.clone(), Arc::clone(served), request_id, span_id)
    }

    /// Takes one line.
    pub fn push(&self, line: LogLine) {
        let line = Arc::new(line);
        let served = &*line.served;
        {
            let mut apps = lock(&self.shared.apps);
            let is_known = apps
                .get(&served.namespace)
                .is_some_and(|apps| apps.contains_key(&served.app));
            if is_known || apps.values().map(HashMap::len).sum::<usize>() < LOG_APPS_MAX {
                let of_namespace = apps.entry(served.namespace.clone()).or_default();
                of_namespace
                    .entry(served.app.clone())
                    .or_default()
                    .push(Arc::clone(&line));
            } else {
                self.shared.lost.fetch_add(1, Relaxed);
            }
        }
        lock(&self.shared.followers).retain(|listener| {
            if !listener.hears(served) {
                return !listener.lines.is_closed();
            }
            match listener.lines.try_send(Arc::clone(&line)) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    listener.lost.fetch_add(1, Relaxed);
                    self.shared.lost.fetch_add(1, Relaxed);
                    true
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            }
        });
        self.shared.echo.queue().push(line);
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.shared.clock.now()
    }

    /// The last lines of an app, the oldest first.
    pub fn recent(&self, namespace: &str, app: &str, lines_max: usize) -> Vec<Arc<LogLine>> {
        let apps = lock(&self.shared.apps);
        let Some(recent) = apps.get(namespace).and_then(|apps| apps.get(app)) else {
            return Vec::new();
        };
        let skip = recent.lines.len().saturating_sub(lines_max);
        recent.lines.iter().skip(skip).cloned().collect()
    }

    /// The lines of an app from now on.
    pub fn follow(&self, namespace: &str, app: &str) -> Follower {
        self.listen(Some((namespace.to_owned(), app.to_owned())), FOLLOWER_LINES_MAX)
    }

    /// The lines of every app from now on: for the operator of the whole process.
    pub fn follow_all(&self) -> Follower {
        self.listen(None, FOLLOWER_LINES_MAX)
    }

    /// The same for whoever sends them on, with more room.
    pub fn follow_to_export(&self) -> Follower {
        self.listen(None, EXPORT_QUEUE_LINES_MAX)
    }

    fn listen(&self, app: Option<(String, String)>, lines_max: usize) -> Follower {
        let (sender, lines) = mpsc::channel(lines_max);
        let lost = Arc::new(AtomicU64::new(0));
        let mut followers = lock(&self.shared.followers);
        followers.retain(|listener| !listener.lines.is_closed());
        if followers.len() < FOLLOWERS_MAX {
            followers.push(Listener {
                app,
                lines: sender,
                lost: Arc::clone(&lost),
            });
        } else {
            tracing::warn!(max = FOLLOWERS_MAX, "too many log followers");
        }
        Follower { lines, lost }
    }

    /// Forgets an app's lines, when the app is gone.
    pub fn forget(&self, namespace: &str, app: &str) {
        let mut apps = lock(&self.shared.apps);
        if let Some(of_namespace) = apps.get_mut(namespace) {
            of_namespace.remove(app);
            if of_namespace.is_empty() {
                apps.remove(namespace);
            }
        }
    }

    /// Lines lost to slow followers, a slow echo, or too many apps.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Relaxed) + self.shared.echo.queue().dropped()
    }
}

//! A log's way out: what shall be written gathers in memory, and a thread makes lines of it and writes them. Whoever adds
//! a line never waits for the destination; what does not fit is dropped and counted.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::mem;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::Error;
use crate::limits::{WRITE_BATCH_BYTES, WRITE_BATCH_LINES};

/// Where a log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Nowhere.
    Off,
    /// The process's standard output.
    Stdout,
    /// The process's standard error.
    Stderr,
    /// The end of a file, which is made with mode 0600 if it is not there.
    File(PathBuf),
}

impl Destination {
    fn open(&self) -> Result<Option<Box<dyn Write + Send>>, Error> {
        Ok(match self {
            Self::Off => None,
            Self::Stdout => Some(Box::new(io::stdout())),
            Self::Stderr => Some(Box::new(io::stderr())),
            Self::File(path) => {
                let mut options = OpenOptions::new();
                options.create(true).append(true);
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                let file = options.open(path).map_err(|source| Error::LogFile {
                    path: path.clone(),
                    source,
                })?;
                Some(Box::new(file))
            }
        })
    }
}

/// How much may wait, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gather {
    /// Lines that wait at most.
    pub(crate) lines_max: usize,
    /// For how long the writer lets more lines come after the first, unless they are [`WRITE_BATCH_LINES`]: to wake it for
    /// each would cost a busy serving thread more than the line does.
    pub(crate) time: Duration,
}

#[derive(Debug)]
struct Waiting<T> {
    lines: Vec<T>,
    is_closed: bool,
}

#[derive(Debug)]
struct Shared<T> {
    waiting: Mutex<Waiting<T>>,
    /// There is a first line, there are enough, or there will be no more.
    come: Condvar,
}

impl<T> Shared<T> {
    fn held(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines of `T` on their way out. Dropping it writes what waits.
pub(crate) struct LineSink<T> {
    shared: Arc<Shared<T>>,
    lines_max: usize,
    writer: Option<JoinHandle<()>>,
    dropped: Arc<AtomicU64>,
}

impl<T> fmt::Debug for LineSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineSink")
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static> LineSink<T> {
    /// `name` is the writer thread's; `format` appends one line without its end.
    pub(crate) fn open(
        destination: &Destination,
        name: &str,
        gather: Gather,
        format: fn(&T, &mut Vec<u8>),
    ) -> Result<Self, Error> {
        let waiting = Waiting {
            lines: Vec::new(),
            is_closed: false,
        };
        let shared = Arc::new(Shared {
            waiting: Mutex::new(waiting),
            come: Condvar::new(),
        });
        let dropped = Arc::<AtomicU64>::default();
        let writer = match destination.open()? {
            None => None,
            Some(out) => {
                let (shared, dropped) = (Arc::clone(&shared), Arc::clone(&dropped));
                let writer = thread::Builder::new()
                    .name(name.to_owned())
                    .spawn(move || write_all(&shared, gather.time, out, format, &dropped))
                    .map_err(|source| Error::Thread { source })?;
                Some(writer)
            }
        };
        Ok(Self {
            shared,
            lines_max: gather.lines_max,
            writer,
            dropped,
        })
    }
}

impl<T> LineSink<T> {
    pub(crate) fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    pub(crate) fn write(&self, line: T) {
        if !self.is_on() {
            return;
        }
        let mut waiting = self.shared.held();
        let before = waiting.lines.len();
        if before >= self.lines_max {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        waiting.lines.push(line);
        drop(waiting);
        if before == 0 || before + 1 == WRITE_BATCH_LINES {
            self.shared.come.notify_one();
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    pub(crate) fn dropped_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }
}

impl<T> Drop for LineSink<T> {
    fn drop(&mut self) {
        self.shared.held().is_closed = true;
        self.shared.come.notify_one();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("a log writer panicked");
        }
    }
}

fn write_all<T>(
    shared: &Shared<T>,
    time: Duration,
    mut out: impl Write,
    format: fn(&T, &mut Vec<u8>),
    dropped: &AtomicU64,
) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(crate::limits::WRITER_NICENESS) {
        tracing::debug!(%error, "a log writer cannot step back behind those that serve");
    }
    let (mut lines, mut batch) = (Vec::new(), Vec::new());
    loop {
        let is_idle = |waiting: &mut Waiting<T>| waiting.lines.is_empty() && !waiting.is_closed;
        let waiting = shared.come.wait_while(shared.held(), is_idle);
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let are_few =
            |waiting: &mut Waiting<T>| waiting.lines.len() < WRITE_BATCH_LINES && !waiting.is_closed;
        let gathered = shared.come.wait_timeout_while(waiting, time, are_few);
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        if waiting.lines.is_empty() {
            return;
        }
        mem::swap(&mut waiting.lines, &mut lines);
        drop(waiting);
        let (mut count, last) = (0, lines.len() - 1);
        for (number, line) in lines.iter().enumerate() {
            format(line, &mut batch);
            batch.push(b'\n');
            count += 1;
            if number == last || batch.len() >= WRITE_BATCH_BYTES {
                // A log that cannot be written must not end the process, and cannot be complained about in the log.
                if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
                    dropped.fetch_add(count, Relaxed);
                }
                batch.clear();
                count = 0;
            }
        }
        lines.clear();
        // What a burst or a slow destination needed is given back.
        lines.shrink_to(2 * WRITE_BATCH_LINES);
    }
}

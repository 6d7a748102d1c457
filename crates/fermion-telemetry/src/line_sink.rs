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
use crate::intake::Uncounted;
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
    /// For how long the writer lets more lines come after the first, unless they are [`WRITE_BATCH_LINES`].
    pub(crate) time: Duration,
}

#[derive(Debug)]
struct Waiting<T> {
    lines: Vec<T>,
    /// There are lines that wait elsewhere.
    is_called: bool,
    /// The writer sleeps until it is woken. To wake one that looks by itself soon would cost a busy serving thread more than
    /// the line does.
    is_asleep: bool,
    is_closed: bool,
}

#[derive(Debug)]
struct Shared<T> {
    waiting: Mutex<Waiting<T>>,
    /// The writer was asleep, there are enough lines, or there will be no more.
    come: Condvar,
    lines_max: usize,
    dropped: Arc<AtomicU64>,
    is_on: bool,
    /// Where lines wait that are not here yet.
    uncounted: Uncounted,
}

impl<T> Shared<T> {
    fn held(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where lines of `T` wait to be written.
#[derive(Debug)]
pub(crate) struct LineQueue<T>(Arc<Shared<T>>);

impl<T> Clone for LineQueue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> LineQueue<T> {
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_on
    }

    /// Adds a line, unless too many wait.
    pub(crate) fn push(&self, line: T) {
        self.extend(1, |lines, _| lines.push(line));
    }

    /// Moves these lines to the end; those that have no place are dropped and counted.
    pub(crate) fn append(&self, lines: &mut Vec<T>) {
        let count = lines.len();
        self.extend(count, |waiting, room| waiting.extend(lines.drain(..room)));
        lines.clear();
    }

    /// `add` is told for how many of the lines there is room, if there is any.
    fn extend(&self, count: usize, add: impl FnOnce(&mut Vec<T>, usize)) {
        if !self.0.is_on || count == 0 {
            return;
        }
        let mut waiting = self.0.held();
        let before = waiting.lines.len();
        let room = count.min(self.0.lines_max.saturating_sub(before));
        if room > 0 {
            add(&mut waiting.lines, room);
        }
        let after = waiting.lines.len();
        let is_asleep = mem::take(&mut waiting.is_asleep);
        drop(waiting);
        if room < count {
            self.0.dropped.fetch_add((count - room) as u64, Relaxed);
        }
        if is_asleep || (before < WRITE_BATCH_LINES && after >= WRITE_BATCH_LINES) {
            self.0.come.notify_one();
        }
    }

    /// Lines wait elsewhere: the writer will have them come here when some time has passed.
    pub(crate) fn call(&self) {
        if !self.0.is_on {
            return;
        }
        let mut waiting = self.0.held();
        waiting.is_called = true;
        let is_asleep = mem::take(&mut waiting.is_asleep);
        drop(waiting);
        if is_asleep {
            self.0.come.notify_one();
        }
    }

    pub(crate) fn uncounted(&self) -> &Uncounted {
        &self.0.uncounted
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped.load(Relaxed)
    }

    pub(crate) fn dropped_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.dropped)
    }
}

/// A queue and the thread that empties it. Dropping it writes what waits.
pub(crate) struct LineSink<T> {
    queue: LineQueue<T>,
    writer: Option<JoinHandle<()>>,
}

impl<T> fmt::Debug for LineSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineSink")
            .field("dropped", &self.queue.dropped())
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
        let out = destination.open()?;
        let queue = LineQueue(Arc::new(Shared {
            waiting: Mutex::new(Waiting {
                lines: Vec::new(),
                is_called: false,
                is_asleep: false,
                is_closed: false,
            }),
            come: Condvar::new(),
            lines_max: gather.lines_max,
            dropped: Arc::default(),
            is_on: out.is_some(),
            uncounted: Uncounted::default(),
        }));
        let spawn = |out: Box<dyn Write + Send>| {
            let shared = Arc::clone(&queue.0);
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || write_all(&shared, gather.time, out, format))
                .map_err(|source| Error::Thread { source })
        };
        let writer = out.map(spawn).transpose()?;
        Ok(Self { queue, writer })
    }
}

impl<T> LineSink<T> {
    pub(crate) fn queue(&self) -> &LineQueue<T> {
        &self.queue
    }
}

impl<T> Drop for LineSink<T> {
    fn drop(&mut self) {
        let shared = &self.queue.0;
        shared.held().is_closed = true;
        shared.come.notify_one();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("a log writer panicked");
        }
    }
}

fn write_all<T>(shared: &Shared<T>, time: Duration, mut out: impl Write, format: fn(&T, &mut Vec<u8>)) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(crate::limits::WRITER_NICENESS) {
        tracing::debug!(%error, "a log writer cannot step back behind those that serve");
    }
    let (mut lines, mut batch) = (Vec::new(), Vec::new());
    let mut is_busy = false;
    loop {
        let mut waiting = shared.held();
        if !is_busy {
            waiting.is_asleep = true;
            let is_idle = |waiting: &mut Waiting<T>| {
                waiting.lines.is_empty() && !waiting.is_called && !waiting.is_closed
            };
            let woken = shared.come.wait_while(waiting, is_idle);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
            waiting.is_asleep = false;
        }
        let are_few =
            |waiting: &mut Waiting<T>| waiting.lines.len() < WRITE_BATCH_LINES && !waiting.is_closed;
        let gathered = shared.come.wait_timeout_while(waiting, time, are_few);
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        let is_last = waiting.is_closed;
        mem::swap(&mut waiting.lines, &mut lines);
        // Before the others are made to come, for which there is room now: one that waits from here on calls again.
        let are_more = mem::take(&mut waiting.is_called) || is_last;
        drop(waiting);
        if are_more {
            shared.uncounted.count();
            lines.append(&mut shared.held().lines);
        }
        let (mut count, end) = (0, lines.len());
        for (number, line) in lines.iter().enumerate() {
            format(line, &mut batch);
            batch.push(b'\n');
            count += 1;
            if number + 1 == end || batch.len() >= WRITE_BATCH_BYTES {
                // A log that cannot be written must not end the process, and cannot be complained about in the log.
                if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
                    shared.dropped.fetch_add(count, Relaxed);
                }
                batch.clear();
                count = 0;
            }
        }
        if is_last && end == 0 {
            return;
        }
        is_busy = end > 0;
        lines.clear();
        // What a burst or a slow destination needed is given back.
        lines.shrink_to(2 * WRITE_BATCH_LINES);
    }
}

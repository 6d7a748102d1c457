//! A log's way out: a bounded queue and a thread that writes lines. Whoever adds a line never waits; what does not fit
//! is dropped and counted.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

use crate::Error;
use crate::limits::WRITE_BATCH_BYTES;

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

/// Lines of `T` on their way out. Dropping it writes what is queued.
pub(crate) struct LineSink<T> {
    queue: Option<SyncSender<T>>,
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
    /// `format` appends one line without its end.
    pub(crate) fn open(
        destination: &Destination,
        name: &str,
        queue_max: usize,
        format: fn(&T, &mut Vec<u8>),
    ) -> Result<Self, Error> {
        let dropped = Arc::new(AtomicU64::new(0));
        let Some(out) = destination.open()? else {
            return Ok(Self {
                queue: None,
                writer: None,
                dropped,
            });
        };
        let (queue, lines) = sync_channel(queue_max);
        let lost = Arc::clone(&dropped);
        let writer = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write_all(&lines, out, format, &lost))
            .map_err(|source| Error::Thread { source })?;
        Ok(Self {
            queue: Some(queue),
            writer: Some(writer),
            dropped,
        })
    }

    pub(crate) fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    pub(crate) fn write(&self, line: T) {
        if let Some(queue) = &self.queue
            && queue.try_send(line).is_err()
        {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl<T> LineSink<T> {
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    pub(crate) fn dropped_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }
}

impl<T> Drop for LineSink<T> {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("a log writer panicked");
        }
    }
}

fn write_all<T>(lines: &Receiver<T>, mut out: impl Write, format: fn(&T, &mut Vec<u8>), dropped: &AtomicU64) {
    let mut batch = Vec::new();
    while let Ok(first) = lines.recv() {
        let mut count = 0;
        let mut next = Ok(first);
        while let Ok(line) = next {
            format(&line, &mut batch);
            batch.push(b'\n');
            count += 1;
            next = if batch.len() < WRITE_BATCH_BYTES {
                lines.try_recv()
            } else {
                Err(TryRecvError::Empty)
            };
        }
        // A log that cannot be written must not end the process, and cannot be complained about in the log.
        if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
            dropped.fetch_add(count, Relaxed);
        }
        batch.clear();
    }
}

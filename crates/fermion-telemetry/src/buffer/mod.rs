//! What waits on disk for a receiver that is away or slow: encoded batches, in order, in segment files. It holds a fixed
//! number of bytes and drops its oldest segment when it is full; it says exactly what it has dropped, also over a
//! `kill -9`, because what was dropped is stored before it is removed. Everything here blocks: it is called from threads
//! that may. It is not for requests.

mod position;
mod segment;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

pub use position::Totals;

use crate::Error;
use crate::limits::{BATCH_BYTES_MAX, BUFFER_SEGMENTS, POSITION_BYTES_MAX, SEGMENT_BYTES_MAX};
use crate::signal::{DropReason, Signal};
use position::Position;
use segment::{FIRST, Header};

/// A batch as it was put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What it holds.
    pub signal: Signal,
    /// How many data points, spans or log records.
    pub items: u32,
    /// An encoded OTLP request.
    pub payload: Bytes,
}

/// What the buffer holds and what became of the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BufferReading {
    /// Bytes that wait.
    pub bytes: u64,
    /// Batches that wait, by signal.
    pub batches: [u64; Signal::ALL.len()],
    /// Items that wait, by signal.
    pub items: [u64; Signal::ALL.len()],
    /// Items that are gone.
    pub totals: Totals,
}

/// What of a segment has not been delivered.
#[derive(Debug, Clone, Copy, Default)]
struct Left {
    bytes: u64,
    batches: [u64; Signal::ALL.len()],
    items: [u64; Signal::ALL.len()],
}

impl Left {
    fn add(&mut self, header: &Header) {
        self.bytes += header.record_bytes();
        self.batches[header.signal.index()] += 1;
        self.items[header.signal.index()] += u64::from(header.items);
    }

    fn take(&mut self, header: &Header) {
        self.bytes = self.bytes.saturating_sub(header.record_bytes());
        let (batches, items) = (
            &mut self.batches[header.signal.index()],
            &mut self.items[header.signal.index()],
        );
        *batches = batches.saturating_sub(1);
        *items = items.saturating_sub(u64::from(header.items));
    }
}

#[derive(Debug)]
struct Segment {
    number: u64,
    /// Of the whole file.
    bytes: u64,
    left: Left,
}

/// The batch that is on its way to the receiver.
#[derive(Debug)]
struct Taken {
    header: Header,
    /// Its segment had to go meanwhile. It counts as dropped until it turns out to have been delivered.
    is_gone: bool,
}

/// The buffer. One process writes and one reader at a time takes.
#[derive(Debug)]
pub struct Buffer {
    directory: PathBuf,
    bytes_max: u64,
    /// The oldest first; the last one is written to.
    segments: VecDeque<Segment>,
    /// The last segment's file; none if it could not be opened or written, and another one must be begun.
    file: Option<File>,
    position: Position,
    taken: Option<Taken>,
    is_storing_failing: bool,
    reading: Arc<Mutex<BufferReading>>,
}

impl Buffer {
    /// Takes up what an earlier process left, in a directory of its own. The buffer never has more than `bytes_max` bytes
    /// of files.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(directory: &Path, bytes_max: u64) -> Result<Self, Error> {
        let opened = Self::try_open(directory, bytes_max);
        opened.map_err(|source| Error::Buffer {
            path: directory.to_owned(),
            source,
        })
    }

    fn try_open(directory: &Path, bytes_max: u64) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let mut buffer = Self {
            directory: directory.to_owned(),
            bytes_max,
            segments: VecDeque::new(),
            file: None,
            position: Position::load(directory),
            taken: None,
            is_storing_failing: false,
            reading: Arc::default(),
        };
        let mut numbers = Vec::new();
        for entry in fs::read_dir(directory)? {
            numbers.extend(segment::number(&entry?.path()));
        }
        numbers.sort_unstable();
        let last = numbers.last().copied();
        for number in numbers {
            // What was delivered or dropped and not yet removed.
            if number < buffer.position.segment {
                fs::remove_file(segment::path(directory, number))?;
            } else {
                buffer.take_up(number, last == Some(number))?;
            }
        }
        buffer.make_room(0);
        buffer.publish();
        Ok(buffer)
    }

    fn take_up(&mut self, number: u64, is_last: bool) -> io::Result<()> {
        let path = segment::path(&self.directory, number);
        let from = if number == self.position.segment {
            self.position.offset
        } else {
            FIRST
        };
        let mut left = Left::default();
        let end = segment::scan(&path, is_last, |at, header| {
            if at >= from {
                left.add(&header);
            }
        })?;
        let length = fs::metadata(&path)?.len();
        if end < length {
            tracing::warn!(file = %path.display(), bytes = length - end, "a torn end of buffered telemetry is cut off");
        }
        if end < FIRST {
            // Not even its beginning was written.
            return fs::remove_file(path);
        }
        let file = segment::open(&path, end)?;
        self.file = Some(file);
        let bytes = end;
        self.segments.push_back(Segment { number, bytes, left });
        Ok(())
    }

    /// Reads what the buffer holds, without waiting for the disk.
    pub fn reader(&self) -> impl Fn() -> BufferReading + Send + Sync + 'static {
        let reading = Arc::clone(&self.reading);
        move || *reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a batch in, and drops the oldest ones if it is needed.
    pub fn append(&mut self, batch: &Batch) {
        let header = Header::of(batch.signal, batch.items, &batch.payload);
        match header {
            Some(header) if batch.payload.len() <= BATCH_BYTES_MAX && self.fits(&header) => {
                self.make_room(header.record_bytes());
                if let Err(error) = self.write(&header, &batch.payload) {
                    tracing::warn!(%error, "telemetry cannot be buffered");
                    let reason = DropReason::Disk;
                    self.position
                        .totals
                        .drop(batch.signal, reason, u64::from(batch.items));
                    self.store();
                }
            }
            _ => {
                let (reason, items) = (DropReason::Size, u64::from(batch.items));
                self.position.totals.drop(batch.signal, reason, items);
                self.store();
            }
        }
        self.publish();
    }

    /// Counts items that did not come as far as the buffer.
    pub fn lost(&mut self, signal: Signal, reason: DropReason, items: u64) {
        if items > 0 {
            self.position.totals.drop(signal, reason, items);
            self.store();
            self.publish();
        }
    }

    fn segment_bytes_max(&self) -> u64 {
        (self.bytes_max / BUFFER_SEGMENTS).min(SEGMENT_BYTES_MAX)
    }

    /// Whether a record fits into an empty buffer at all.
    fn fits(&self, header: &Header) -> bool {
        FIRST + header.record_bytes() + 2 * POSITION_BYTES_MAX <= self.bytes_max
    }

    fn files_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Drops the oldest segments until so many bytes, and a new segment's beginning, fit.
    fn make_room(&mut self, bytes: u64) {
        let wanted = bytes + FIRST + 2 * POSITION_BYTES_MAX;
        while !self.segments.is_empty() && self.files_bytes() + wanted > self.bytes_max {
            self.drop_first(DropReason::Full);
        }
    }

    /// Drops what is left of the oldest segment: first on record, then in fact.
    fn drop_first(&mut self, reason: DropReason) {
        let Some(first) = self.segments.front() else {
            return;
        };
        for signal in Signal::ALL {
            let items = first.left.items[signal.index()];
            self.position.totals.drop(signal, reason, items);
        }
        if let Some(taken) = &mut self.taken {
            taken.is_gone = true;
        }
        self.remove_first();
    }

    /// The position goes to the next segment, and the oldest one's file goes.
    fn remove_first(&mut self) {
        let Some(first) = self.segments.pop_front() else {
            return;
        };
        if self.segments.is_empty() {
            self.file = None;
        }
        let next = self.segments.front().map(|segment| segment.number);
        self.position.segment = next.unwrap_or(first.number + 1);
        self.position.offset = FIRST;
        self.store();
        let path = segment::path(&self.directory, first.number);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(%error, file = %path.display(), "a file of buffered telemetry cannot be removed");
        }
    }

    fn write(&mut self, header: &Header, payload: &[u8]) -> io::Result<()> {
        let is_full = self.segments.back().is_none_or(|last| {
            last.bytes > FIRST && last.bytes + header.record_bytes() > self.segment_bytes_max()
        });
        if is_full || self.file.is_none() {
            self.begin_segment()?;
        }
        let (Some(file), Some(last)) = (&mut self.file, self.segments.back_mut()) else {
            return Err(io::Error::other("there is no segment to write to"));
        };
        if let Err(error) = file.write_all(&header.write(payload)) {
            // What was written of it goes, or else this segment ends here.
            if file.set_len(last.bytes).is_err()
                || io::Seek::seek(file, io::SeekFrom::Start(last.bytes)).is_err()
            {
                self.file = None;
            }
            return Err(error);
        }
        last.bytes += header.record_bytes();
        last.left.add(header);
        Ok(())
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        if let Some(done) = self.file.take() {
            done.sync_data()?;
        }
        let after = self.segments.back().map_or(0, |last| last.number + 1);
        let number = after.max(self.position.segment);
        self.file = Some(segment::create(&segment::path(&self.directory, number))?);
        self.segments.push_back(Segment {
            number,
            bytes: FIRST,
            left: Left::default(),
        });
        Ok(())
    }

    /// The oldest batch, which stays until it is said what became of it.
    pub fn take(&mut self) -> Option<Batch> {
        let batch = self.find();
        self.publish();
        batch
    }

    fn find(&mut self) -> Option<Batch> {
        loop {
            let first = self.segments.front()?;
            if self.position.segment != first.number || self.position.offset < FIRST {
                (self.position.segment, self.position.offset) = (first.number, FIRST);
            }
            if self.position.offset >= first.bytes {
                if self.segments.len() == 1 {
                    return None;
                }
                self.remove_first();
                continue;
            }
            let path = segment::path(&self.directory, first.number);
            match segment::read(&path, self.position.offset) {
                Ok(Some((header, payload))) if header.fits(&payload) => {
                    self.taken = Some(Taken {
                        header,
                        is_gone: false,
                    });
                    return Some(Batch {
                        signal: header.signal,
                        items: header.items,
                        payload: payload.into(),
                    });
                }
                read => {
                    let error = read.err().map(|error| error.to_string());
                    tracing::warn!(error, file = %path.display(), "buffered telemetry is damaged");
                    self.drop_first(DropReason::Disk);
                }
            }
        }
    }

    /// The receiver has the batch that was taken, but for so many items that it refused.
    pub fn delivered(&mut self, rejected: u64) {
        let Some(taken) = self.taken.take() else { return };
        let (signal, items) = (taken.header.signal, u64::from(taken.header.items));
        let rejected = rejected.min(items);
        self.finish(&taken);
        self.position.totals.sent[signal.index()] += items - rejected;
        self.position.totals.drop(signal, DropReason::Refused, rejected);
        self.store();
        self.publish();
    }

    /// The receiver will never take the batch that was taken.
    pub fn refused(&mut self) {
        let items = self
            .taken
            .as_ref()
            .map_or(0, |taken| u64::from(taken.header.items));
        self.delivered(items);
    }

    /// The batch that was taken could not be delivered now. False if it has been dropped meanwhile.
    pub fn put_back(&mut self) -> bool {
        let is_there = self.taken.take().is_some_and(|taken| !taken.is_gone);
        self.publish();
        is_there
    }

    fn finish(&mut self, taken: &Taken) {
        let items = u64::from(taken.header.items);
        if taken.is_gone {
            let dropped = &mut self.position.totals.dropped[taken.header.signal.index()];
            let full = &mut dropped[DropReason::Full as usize];
            *full = full.saturating_sub(items);
        } else if let Some(first) = self.segments.front_mut() {
            first.left.take(&taken.header);
            self.position.offset += taken.header.record_bytes();
        }
    }

    fn store(&mut self) {
        match self.position.store(&self.directory) {
            Ok(()) => self.is_storing_failing = false,
            Err(error) if !self.is_storing_failing => {
                self.is_storing_failing = true;
                tracing::warn!(%error, "how far telemetry was delivered cannot be stored");
            }
            Err(_) => {}
        }
    }

    fn publish(&self) {
        let mut reading = BufferReading {
            totals: self.position.totals,
            ..BufferReading::default()
        };
        for segment in &self.segments {
            reading.bytes += segment.left.bytes;
            for signal in Signal::ALL.map(Signal::index) {
                reading.batches[signal] += segment.left.batches[signal];
                reading.items[signal] += segment.left.items[signal];
            }
        }
        // A counter never goes back: what may still turn out to be delivered is not yet shown as dropped.
        if let Some(Taken {
            header,
            is_gone: true,
        }) = &self.taken
        {
            let dropped = &mut reading.totals.dropped[header.signal.index()][DropReason::Full as usize];
            *dropped = dropped.saturating_sub(u64::from(header.items));
        }
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = reading;
    }
}

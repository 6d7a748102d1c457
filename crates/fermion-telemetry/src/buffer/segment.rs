//! One file of the buffer: records after one another, each with its length and a checksum, so that a file that a crash
//! cut short says itself where it ends.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::Signal;
use crate::limits::BATCH_BYTES_MAX;

/// What every file begins with: a name and the version of the format.
const MAGIC: [u8; 8] = *b"FERMTEL\x01";
/// Where the first record lies.
pub(super) const FIRST: u64 = MAGIC.len() as u64;
/// Length of the payload, items, signal, checksum.
const HEADER_BYTES: usize = 4 + 4 + 1 + 8;
const EXTENSION: &str = "otlp";

/// What precedes a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) bytes: u32,
    pub(super) items: u32,
    pub(super) signal: Signal,
    checksum: u64,
}

impl Header {
    pub(super) fn of(signal: Signal, items: u32, payload: &[u8]) -> Option<Self> {
        let bytes = u32::try_from(payload.len()).ok()?;
        let mut header = Self {
            bytes,
            items,
            signal,
            checksum: 0,
        };
        header.checksum = header.sum(payload);
        Some(header)
    }

    /// None for bytes that no header consists of.
    fn read(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (head, checksum) = bytes.split_at(9);
        let (length, rest) = head.split_at(4);
        let (items, signal) = rest.split_at(4);
        let header = Self {
            bytes: u32::from_le_bytes(length.try_into().ok()?),
            items: u32::from_le_bytes(items.try_into().ok()?),
            signal: Signal::from_index(signal[0])?,
            checksum: u64::from_le_bytes(checksum.try_into().ok()?),
        };
        (header.bytes as usize <= BATCH_BYTES_MAX).then_some(header)
    }

    pub(super) fn write(&self, payload: &[u8]) -> Vec<u8> {
        let mut record = Vec::with_capacity(HEADER_BYTES + payload.len());
        record.extend_from_slice(&self.head());
        record.extend_from_slice(&self.checksum.to_le_bytes());
        record.extend_from_slice(payload);
        record
    }

    fn head(&self) -> [u8; 9] {
        let mut head = [0; 9];
        head[..4].copy_from_slice(&self.bytes.to_le_bytes());
        head[4..8].copy_from_slice(&self.items.to_le_bytes());
        head[8] = self.signal as u8;
        head
    }

    fn sum(&self, payload: &[u8]) -> u64 {
        let mut hash = Xxh3::new();
        hash.update(&self.head());
        hash.update(payload);
        hash.digest()
    }

    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        self.sum(payload) == self.checksum
    }

    /// Bytes of the whole record on disk.
    pub(super) fn record_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.bytes)
    }
}

/// Where a segment lies.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}.{EXTENSION}"))
}

/// The number of the segment that a file is; none for other files.
pub(super) fn number(path: &Path) -> Option<u64> {
    if path.extension()? != EXTENSION {
        return None;
    }
    u64::from_str_radix(path.file_stem()?.to_str()?, 16).ok()
}

/// Makes an empty segment.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&MAGIC)?;
    Ok(file)
}

/// Opens one to write at its end.
pub(super) fn open(path: &Path, end: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(file)
}

/// Reads the record at a place. None if what lies there is none.
pub(super) fn read(path: &Path, at: u64) -> io::Result<Option<(Header, Vec<u8>)>> {
    let file = File::open(path)?;
    let mut bytes = [0; HEADER_BYTES];
    match file.read_exact_at(&mut bytes, at) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let Some(header) = Header::read(&bytes) else {
        return Ok(None);
    };
    let mut payload = vec![0; header.bytes as usize];
    match file.read_exact_at(&mut payload, at + HEADER_BYTES as u64) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(|()| Some((header, payload))),
    }
}

/// Goes through a segment's records and gives the end of the last whole one. Payloads are read only where the file may
/// end in the middle of one: others were whole when the next segment was begun.
pub(super) fn scan(path: &Path, is_last: bool, mut each: impl FnMut(u64, Header)) -> io::Result<u64> {
    let mut file = BufReader::new(File::open(path)?);
    let length = file.get_ref().metadata()?.len();
    let mut magic = [0; MAGIC.len()];
    if length < FIRST {
        return Ok(0);
    }
    file.read_exact(&mut magic)?;
    if magic != MAGIC {
        return Ok(0);
    }
    let mut at = FIRST;
    let mut payload = Vec::new();
    while length - at >= HEADER_BYTES as u64 {
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact(&mut bytes)?;
        let Some(header) = Header::read(&bytes) else { break };
        if length - at < header.record_bytes() {
            break;
        }
        if is_last {
            payload.resize(header.bytes as usize, 0);
            file.read_exact(&mut payload)?;
            if !header.fits(&payload) {
                break;
            }
        } else {
            file.seek_relative(i64::from(header.bytes))?;
        }
        each(at, header);
        at += header.record_bytes();
    }
    Ok(at)
}

//! How far the buffer has been delivered, and what became of everything so far: one small file that is replaced whole.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::signal::{DropReason, Signal};

/// The format that this build writes and understands.
const SCHEMA: u32 = 1;
const NAME: &str = "position.json";
const NEXT_NAME: &str = "position.json.new";

/// What became of items that are in the buffer no more. They go on counting over restarts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Items that the receiver has taken, by signal.
    pub sent: [u64; Signal::ALL.len()],
    /// Items that it will never get, by signal and reason.
    pub dropped: [[u64; DropReason::ALL.len()]; Signal::ALL.len()],
}

impl Totals {
    /// Items of a signal that were dropped for a reason.
    pub fn dropped(&self, signal: Signal, reason: DropReason) -> u64 {
        self.dropped[signal.index()][reason as usize]
    }

    pub(super) fn drop(&mut self, signal: Signal, reason: DropReason, items: u64) {
        self.dropped[signal.index()][reason as usize] += items;
    }
}

/// The next record to deliver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    schema: u32,
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) totals: Totals,
}

impl Position {
    /// The stored position. What cannot be read is as if it were not there: then everything is delivered again, which is
    /// better than not at all.
    pub(super) fn load(directory: &Path) -> Self {
        let text = match fs::read(directory.join(NAME)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => {
                tracing::warn!(%error, "how far telemetry was delivered cannot be read");
                return Self::default();
            }
        };
        match serde_json::from_slice::<Self>(&text) {
            Ok(position) if position.schema == SCHEMA => position,
            Ok(Self { schema, .. }) => {
                tracing::warn!(
                    schema,
                    "how far telemetry was delivered is in a format unknown here"
                );
                Self::default()
            }
            Err(error) => {
                tracing::warn!(%error, "how far telemetry was delivered cannot be understood");
                Self::default()
            }
        }
    }

    /// Replaces what is stored.
    pub(super) fn store(&mut self, directory: &Path) -> io::Result<()> {
        self.schema = SCHEMA;
        let next = directory.join(NEXT_NAME);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&next)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        drop(file);
        fs::rename(next, directory.join(NAME))
    }
}

//! What is said while a transfer goes on. Whoever listens must be quick: it is called in the middle of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fermion_model::Digest;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is known what there is to move: blobs, and bytes of all of them.
    Planned {
        /// Blobs.
        blobs: usize,
        /// Bytes.
        bytes: u64,
    },
    /// More bytes of a blob have gone over; after a failure some may be counted twice.
    Moved {
        /// Which blob.
        digest: Digest,
        /// How many bytes more.
        bytes: u64,
    },
    /// A blob is there.
    Arrived {
        /// Which.
        digest: Digest,
        /// Its length.
        bytes: u64,
        /// True if it was there already, and nothing went over.
        was_there: bool,
    },
    /// A step failed and is tried again.
    Retry {
        /// What failed and how.
        why: String,
        /// After this pause.
        pause: Duration,
    },
}

/// Who is told; nobody by default.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(Event) + Send + Sync>>);

impl Progress {
    /// Tells this.
    pub fn new(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(super) fn tell(&self, event: Event) {
        if let Some(listener) = &self.0 {
            listener(event);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

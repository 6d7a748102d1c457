//! What a scraper sees of the export.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::sampler::{Reason, TraceReading};
use crate::buffer::BufferReading;
use crate::format::Encoder;
use crate::reference::Family;
use crate::{DropReason, Signal, reference};

/// What is exported, and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportReading {
    /// What waits on disk and what is gone.
    pub buffer: BufferReading,
    /// Attempts to send that failed, by signal.
    pub failures: [u64; Signal::ALL.len()],
    /// Which traces were kept.
    pub traces: TraceReading,
}

type Read = Box<dyn Fn() -> ExportReading + Send + Sync>;

/// Who is asked at a scrape; nobody where nothing is exported.
#[derive(Default)]
pub(crate) struct Exports {
    read: Mutex<Option<Read>>,
}

impl fmt::Debug for Exports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exports").finish_non_exhaustive()
    }
}

impl Exports {
    fn held(&self) -> MutexGuard<'_, Option<Read>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn watch(&self, read: impl Fn() -> ExportReading + Send + Sync + 'static) {
        *self.held() = Some(Box::new(read));
    }

    pub(crate) fn read(&self) -> Option<ExportReading> {
        self.held().as_ref().map(|read| read())
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder) {
        let reading = self.read();
        let reading = reading.as_ref();
        let mut family = encoder.family(&reference::EXPORT_BUFFER_BYTES);
        if let Some(reading) = reading {
            family.put(&[], reading.buffer.bytes);
        }
        type Read = fn(&ExportReading, usize) -> u64;
        let families: [(&Family, Read); 4] = [
            (&reference::EXPORT_BUFFER_BATCHES, |of, signal| {
                of.buffer.batches[signal]
            }),
            (&reference::EXPORT_BUFFER_ITEMS, |of, signal| {
                of.buffer.items[signal]
            }),
            (&reference::EXPORT_SENT, |of, signal| {
                of.buffer.totals.sent[signal]
            }),
            (&reference::EXPORT_FAILURES, |of, signal| of.failures[signal]),
        ];
        for (family, read) in families {
            let mut family = encoder.family(family);
            for (signal, reading) in each(reading) {
                family.put(&[("signal", signal.as_str())], read(reading, signal.index()));
            }
        }
        let mut family = encoder.family(&reference::EXPORT_DROPPED);
        for (signal, reading) in each(reading) {
            for reason in DropReason::ALL {
                let labels = [("signal", signal.as_str()), ("reason", reason.as_str())];
                family.put(&labels, reading.buffer.totals.dropped(signal, reason));
            }
        }
        traces(encoder, reading.map(|reading| &reading.traces));
    }
}

fn each(reading: Option<&ExportReading>) -> impl Iterator<Item = (Signal, &ExportReading)> {
    reading
        .into_iter()
        .flat_map(|reading| Signal::ALL.map(|signal| (signal, reading)))
}

fn traces(encoder: &mut Encoder, reading: Option<&TraceReading>) {
    let mut family = encoder.family(&reference::TRACES);
    let Some(reading) = reading else { return };
    for reason in Reason::ALL {
        let of = |decision| [("decision", decision), ("reason", reason.as_str())];
        family.put(&of("kept"), reading.kept[reason as usize]);
        family.put(&of("over_budget"), reading.over[reason as usize]);
    }
    family.put(&[("decision", "passed"), ("reason", "none")], reading.passed);
}

//! What a scraper sees of the export.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::DescriptorEncoder;

use super::sampler::{Reason, TraceReading};
use crate::buffer::BufferReading;
use crate::exposition::{begin, counter};
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

    pub(crate) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let reading = self.read();
        let reading = reading.as_ref();
        let mut family = begin(encoder, &reference::EXPORT_BUFFER_BYTES)?;
        if let Some(reading) = reading {
            family.encode_gauge(&reading.buffer.bytes)?;
        }
        let mut family = begin(encoder, &reference::EXPORT_BUFFER_BATCHES)?;
        each(reading, |signal, reading| {
            family
                .encode_family(&[("signal", signal.as_str())])?
                .encode_gauge(&reading.buffer.batches[signal.index()])
        })?;
        let mut family = begin(encoder, &reference::EXPORT_BUFFER_ITEMS)?;
        each(reading, |signal, reading| {
            family
                .encode_family(&[("signal", signal.as_str())])?
                .encode_gauge(&reading.buffer.items[signal.index()])
        })?;
        let mut family = begin(encoder, &reference::EXPORT_SENT)?;
        each(reading, |signal, reading| {
            let sent = reading.buffer.totals.sent[signal.index()];
            counter(&mut family, &[("signal", signal.as_str())], sent)
        })?;
        let mut family = begin(encoder, &reference::EXPORT_DROPPED)?;
        each(reading, |signal, reading| {
            DropReason::ALL.into_iter().try_for_each(|reason| {
                let labels = [("signal", signal.as_str()), ("reason", reason.as_str())];
                counter(
                    &mut family,
                    &labels,
                    reading.buffer.totals.dropped(signal, reason),
                )
            })
        })?;
        let mut family = begin(encoder, &reference::EXPORT_FAILURES)?;
        each(reading, |signal, reading| {
            counter(
                &mut family,
                &[("signal", signal.as_str())],
                reading.failures[signal.index()],
            )
        })?;
        traces(encoder, reading.map(|reading| &reading.traces))
    }
}

fn each(
    reading: Option<&ExportReading>,
    mut put: impl FnMut(Signal, &ExportReading) -> fmt::Result,
) -> fmt::Result {
    let Some(reading) = reading else { return Ok(()) };
    Signal::ALL
        .into_iter()
        .try_for_each(|signal| put(signal, reading))
}

fn traces(encoder: &mut DescriptorEncoder<'_>, reading: Option<&TraceReading>) -> fmt::Result {
    let mut family = begin(encoder, &reference::TRACES)?;
    let Some(reading) = reading else { return Ok(()) };
    for reason in Reason::ALL {
        let of = |decision| [("decision", decision), ("reason", reason.as_str())];
        counter(&mut family, &of("kept"), reading.kept[reason as usize])?;
        counter(&mut family, &of("over_budget"), reading.over[reason as usize])?;
    }
    let labels = [("decision", "passed"), ("reason", "none")];
    counter(&mut family, &labels, reading.passed)
}

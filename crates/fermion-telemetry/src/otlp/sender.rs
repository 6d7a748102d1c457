//! Takes batches out of the buffer one after another and brings them to the receiver. One that cannot be delivered now
//! holds back those behind it, so that order is kept; the buffer grows meanwhile, and nobody waits for it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::deliver::{Deliver, Outcome};
use crate::Signal;
use crate::buffer::Buffer;

/// The first pause after a failure; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// What a receiver may ask for at most.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10 * 60);

/// Pauses that grow while a receiver is away.
#[derive(Debug, Default)]
struct Pauses {
    last: Duration,
}

impl Pauses {
    /// How long to wait now. What the receiver asks for goes before what is thought here.
    fn next(&mut self, asked: Option<Duration>) -> Duration {
        self.last = (self.last * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        asked.map_or(self.last, |asked| asked.clamp(PAUSE_MIN, RETRY_AFTER_MAX))
    }
}

/// What threads that may wait for the disk share.
pub(super) type SharedBuffer = Arc<Mutex<Buffer>>;

/// Attempts that failed, by signal.
pub(super) type Failures = Arc<[AtomicU64; Signal::ALL.len()]>;

/// Works with the buffer on a thread that may wait. None if it panicked there, which is said where it happened.
pub(super) async fn with<T: Send + 'static>(
    buffer: &SharedBuffer,
    work: impl FnOnce(&mut Buffer) -> T + Send + 'static,
) -> Option<T> {
    let buffer = Arc::clone(buffer);
    let work = move || work(&mut buffer.lock().unwrap_or_else(PoisonError::into_inner));
    tokio::task::spawn_blocking(work).await.ok()
}

/// The one who sends.
pub(super) struct Sender<D> {
    pub(super) buffer: SharedBuffer,
    pub(super) deliver: D,
    /// Told when there is something new.
    pub(super) news: Arc<Notify>,
    pub(super) failures: Failures,
    pauses: Pauses,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There is nothing to send.
    Idle,
    /// One batch is done with.
    Done,
    /// Nothing can be sent for so long.
    Wait(Duration),
}

impl<D: Deliver> Sender<D> {
    pub(super) fn new(buffer: SharedBuffer, deliver: D, news: Arc<Notify>, failures: Failures) -> Self {
        Self {
            buffer,
            deliver,
            news,
            failures,
            pauses: Pauses::default(),
        }
    }

    /// Sends until `stop`.
    pub(super) async fn run(&mut self, stop: &CancellationToken) {
        let sending = async {
            loop {
                match self.step().await {
                    Step::Idle => self.news.notified().await,
                    Step::Done => {}
                    Step::Wait(pause) => tokio::time::sleep(pause).await,
                }
            }
        };
        stop.run_until_cancelled(sending).await;
    }

    /// Sends what is there until the first failure: what is left waits on disk for the next start.
    pub(super) async fn flush(&mut self) {
        while let Step::Done = self.step().await {}
    }

    async fn step(&mut self) -> Step {
        let Some(batch) = with(&self.buffer, Buffer::take).await.flatten() else {
            return Step::Idle;
        };
        let signal = batch.signal.as_str();
        match self.deliver.deliver(&batch).await {
            Outcome::Taken { rejected } => {
                if self.pauses.last > Duration::ZERO {
                    tracing::info!("the receiver of telemetry is back");
                }
                self.pauses = Pauses::default();
                with(&self.buffer, move |buffer| buffer.delivered(rejected)).await;
                Step::Done
            }
            Outcome::Refused { why } => {
                tracing::warn!(
                    signal,
                    why,
                    items = batch.items,
                    "a batch of telemetry is refused and dropped"
                );
                self.failures[batch.signal.index()].fetch_add(1, Relaxed);
                with(&self.buffer, Buffer::refused).await;
                Step::Done
            }
            Outcome::Later { after, why } => {
                let is_first = self.pauses.last.is_zero();
                let pause = self.pauses.next(after);
                if is_first {
                    tracing::warn!(signal, why, "telemetry cannot be delivered and waits on disk");
                } else {
                    tracing::debug!(
                        signal,
                        why,
                        pause_ms = pause.as_millis(),
                        "the receiver is still away"
                    );
                }
                self.failures[batch.signal.index()].fetch_add(1, Relaxed);
                with(&self.buffer, Buffer::put_back).await;
                Step::Wait(pause)
            }
        }
    }
}

#[cfg(test)]
mod tests;

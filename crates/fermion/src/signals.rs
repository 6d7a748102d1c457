//! Signals: the first one asks for a drain, the second one ends the process at once.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Signals this close together are one.
const SAME_SIGNAL_WITHIN: Duration = Duration::from_millis(500);

/// SIGTERM and SIGINT of this process.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn install() -> Result<Self> {
        let context = "cannot listen for signals";
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context(context)?,
            interrupt: signal(SignalKind::interrupt()).context(context)?,
        })
    }

    /// Runs a command that a signal ends at once, and with it the build that it may be waiting for.
    pub(crate) async fn or_stop<T>(mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.next() => anyhow::bail!("stopped by a signal; the build that was running is ended"),
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Runs `work` and cancels `shutdown` at the first signal. A second signal gives up on what is still running.
    pub(crate) async fn run<T>(
        mut self,
        shutdown: CancellationToken,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = self.next() => shutdown.cancel(),
        }
        // Whoever stops a process group often signals its members twice: that is still one request to stop.
        let mut window = std::pin::pin!(tokio::time::sleep(SAME_SIGNAL_WITHIN));
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = &mut window => break,
                () = self.next() => {}
            }
        }
        tokio::select! {
            done = &mut work => done,
            () = self.next() => anyhow::bail!("stopped before requests in flight were done, at the second signal"),
        }
    }
}

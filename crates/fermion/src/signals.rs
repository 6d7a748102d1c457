//! Signals: the first one asks for a drain, the second one ends the process at once.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

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
        tokio::select! {
            done = &mut work => done,
            () = self.next() => anyhow::bail!("stopped before requests in flight were done, at the second signal"),
        }
    }
}

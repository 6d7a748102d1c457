//! What this process asks of the system it runs on.

use std::pin::pin;
use std::task::Poll;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets the process have as many descriptors as it may: every connection is one, and so is every component that is
/// loaded. The limit that shells set is for programs that wait with `select`.
pub(crate) fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, most)
    {
        tracing::debug!(%error, "the limit of descriptors stays as it is");
    }
}

/// Runs what starts the serving threads, and lets them go before the calling thread, which does everything else: a deploy's
/// work must not be what a request waits for.
pub(crate) async fn behind<F: Future>(serving: F) -> F::Output {
    let mut serving = pin!(serving);
    // They start when it is first asked, with the priority that this thread has until then.
    match std::future::poll_fn(|context| Poll::Ready(serving.as_mut().poll(context))).await {
        Poll::Ready(ended) => ended,
        Poll::Pending => {
            step_back();
            serving.await
        }
    }
}

/// Lowers the calling thread's priority, however often it is called: Linux keeps one for each thread, and a new thread
/// begins with that of its maker.
#[cfg(target_os = "linux")]
pub(crate) fn step_back() {
    use std::sync::OnceLock;

    use rustix::process::{getpriority_process, setpriority_process};
    /// How far (nice value): a serving thread that wakes up goes before this one, which still gets a quarter of a core
    /// beside those that are never idle.
    const CONTROL_NICENESS: i32 = 5;
    /// The lowest priority that there is.
    const NICENESS_MAX: i32 = 19;
    /// What the process was started with: whoever comes here first has not stepped back yet.
    static STARTED_WITH: OnceLock<i32> = OnceLock::new();
    let started_with = *STARTED_WITH.get_or_init(|| getpriority_process(None).unwrap_or(0));
    let niceness = (started_with + CONTROL_NICENESS).min(NICENESS_MAX);
    if let Err(error) = setpriority_process(None, niceness) {
        tracing::debug!(%error, "a thread cannot step back behind those that serve");
    }
}

/// Elsewhere a priority is the whole process's.
#[cfg(not(target_os = "linux"))]
pub(crate) fn step_back() {}

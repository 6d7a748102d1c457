//! The threads of heavy guests. A job is one guest's work; at any time it waits for something, waits for its turn, or
//! runs on one of the threads. Wakers of the guest's own waiting put it back into the queue.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;

use fermion_planner::fair::FairQueue;
use tokio::runtime::Handle;

use super::Work;
use crate::limits;
use crate::meter::{Meter, thread_cpu_nanos};

/// Heavy guests at one moment, and since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeavyStats {
    /// Guests that are with the heavy ones now.
    pub now: u64,
    /// Guests that ever were.
    pub moved: u64,
}

/// Owns the threads, which begin with the first heavy guest and end here.
pub(crate) struct Heavy {
    crew: Arc<Crew>,
}

/// What the threads share with those who send them guests.
pub(crate) struct Crew {
    queue: Mutex<FairQueue<Arc<Job>>>,
    is_filled: Condvar,
    stop: AtomicBool,
    threads: OnceLock<Mutex<Vec<JoinHandle<()>>>>,
    now: AtomicU64,
    moved: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Heavy {
    pub(crate) fn new() -> Self {
        Self {
            crew: Arc::new(Crew {
                queue: Mutex::default(),
                is_filled: Condvar::new(),
                stop: AtomicBool::new(false),
                threads: OnceLock::new(),
                now: AtomicU64::new(0),
                moved: AtomicU64::new(0),
            }),
        }
    }

    pub(crate) fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }

    pub(crate) fn stats(&self) -> HeavyStats {
        HeavyStats {
            now: self.crew.now.load(Relaxed),
            moved: self.crew.moved.load(Relaxed),
        }
    }
}

impl Drop for Heavy {
    fn drop(&mut self) {
        let left = {
            let mut queue = locked(&self.crew.queue);
            self.crew.stop.store(true, Relaxed);
            std::mem::take(&mut *queue)
        };
        self.crew.is_filled.notify_all();
        drop(left);
        if let Some(threads) = self.crew.threads.get() {
            for thread in locked(threads).drain(..) {
                // The last owner may be one of the threads themselves, with the guest that it drops. One that panicked
                // has nothing left to say here.
                if thread.thread().id() != std::thread::current().id() {
                    drop(thread.join());
                }
            }
        }
    }
}

impl Crew {
    /// The reactor that a guest's timers and sockets go on using, if the threads run. None if there are none, or if the
    /// caller has no reactor.
    pub(crate) fn ready(self: &Arc<Self>) -> Option<Handle> {
        let threads = self.threads.get_or_init(|| Mutex::new(self.start()));
        if locked(threads).is_empty() {
            return None;
        }
        Handle::try_current().ok()
    }

    fn start(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let start = |index| {
            let crew = Arc::clone(self);
            let thread = std::thread::Builder::new().name(format!("heavy-{index}"));
            thread.spawn(move || crew.work())
        };
        let threads = (0..count).map_while(|index| {
            start(index)
                .inspect_err(|error| tracing::warn!(%error, "cannot start a thread for heavy guests"))
                .ok()
        });
        threads.collect()
    }

    /// Takes a guest's work over. The guest ends when the [`Remote`] is dropped.
    pub(crate) fn take(
        self: &Arc<Self>,
        work: Work,
        meter: Arc<Meter>,
        flow: u64,
        reactor: Handle,
    ) -> Remote {
        self.now.fetch_add(1, Relaxed);
        self.moved.fetch_add(1, Relaxed);
        let job = Arc::new(Job {
            crew: Arc::clone(self),
            flow,
            meter,
            reactor,
            state: Mutex::new(State::Queued(work)),
            changed: Mutex::new(None),
        });
        self.push(&job);
        Remote { job }
    }

    fn push(&self, job: &Arc<Job>) {
        locked(&self.queue).push(job.flow, Arc::clone(job));
        self.is_filled.notify_one();
    }

    fn next(&self) -> Option<(u64, Arc<Job>)> {
        let mut queue = locked(&self.queue);
        loop {
            if self.stop.load(Relaxed) {
                return None;
            }
            if let Some(turn) = queue.pop() {
                return Some(turn);
            }
            queue = self.is_filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self) {
        if let Err(error) = step_back() {
            tracing::warn!(%error, "a thread for heavy guests cannot step back behind those that serve");
        }
        while let Some((flow, job)) = self.next() {
            let before = thread_cpu_nanos();
            job.run_a_slice();
            drop(job);
            let used = thread_cpu_nanos().saturating_sub(before);
            locked(&self.queue).settle(flow, used);
        }
    }
}

/// Lowers the calling thread's priority: Linux keeps one for each thread.
#[cfg(target_os = "linux")]
fn step_back() -> std::io::Result<()> {
    rustix::process::nice(limits::HEAVY_NICENESS)?;
    Ok(())
}

/// Elsewhere a priority is the whole process's.
#[cfg(not(target_os = "linux"))]
fn step_back() -> std::io::Result<()> {
    Ok(())
}

/// One heavy guest.
struct Job {
    crew: Arc<Crew>,
    flow: u64,
    meter: Arc<Meter>,
    reactor: Handle,
    state: Mutex<State>,
    /// The connection's task.
    changed: Mutex<Option<Waker>>,
}

enum State {
    /// For a turn.
    Queued(Work),
    /// For something that will wake it.
    Waiting(Work),
    Running {
        is_woken: bool,
        is_abandoned: bool,
    },
    Ended(Result<wasmtime::Result<()>, Box<dyn Any + Send>>),
    Gone,
}

impl Job {
    fn run_a_slice(self: &Arc<Self>) {
        let running = State::Running {
            is_woken: false,
            is_abandoned: false,
        };
        let mut work = {
            let mut state = locked(&self.state);
            match std::mem::replace(&mut *state, running) {
                State::Queued(work) => work,
                other => {
                    *state = other;
                    return;
                }
            }
        };
        let _reactor = self.reactor.enter();
        let waker = Waker::from(Arc::clone(self));
        let slice = AssertUnwindSafe(|| {
            self.meter.enter();
            let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
            self.meter.leave();
            polled
        });
        // A panic of the platform's own belongs to the connection's task, which passes it on.
        let polled = match std::panic::catch_unwind(slice) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(ended)) => Poll::Ready(Ok(ended)),
            Err(panic) => Poll::Ready(Err(panic)),
        };
        let mut state = locked(&self.state);
        let State::Running {
            is_woken,
            is_abandoned,
        } = *state
        else {
            return;
        };
        let mut leftover = None;
        *state = match polled {
            _ if is_abandoned => {
                leftover = Some(work);
                State::Gone
            }
            Poll::Ready(ended) => {
                leftover = Some(work);
                State::Ended(ended)
            }
            Poll::Pending if is_woken => State::Queued(work),
            Poll::Pending => State::Waiting(work),
        };
        drop(state);
        drop(leftover);
        let connection = locked(&self.changed).take();
        if let Some(connection) = connection {
            connection.wake();
        }
        if is_woken && !is_abandoned {
            self.crew.push(self);
        }
    }
}

impl Wake for Job {
    fn wake(self: Arc<Self>) {
        let mut state = locked(&self.state);
        match std::mem::replace(&mut *state, State::Gone) {
            State::Waiting(work) => *state = State::Queued(work),
            State::Running { is_abandoned, .. } => {
                *state = State::Running {
                    is_woken: true,
                    is_abandoned,
                };
                return;
            }
            other => {
                *state = other;
                return;
            }
        }
        drop(state);
        self.crew.push(&self);
    }
}

/// The connection's end of a heavy guest.
pub(crate) struct Remote {
    job: Arc<Job>,
}

impl Remote {
    /// Ready when the guest has ended; otherwise wakes the caller after the guest's next slice.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<wasmtime::Result<()>> {
        *locked(&self.job.changed) = Some(cx.waker().clone());
        let mut state = locked(&self.job.state);
        if !matches!(&*state, State::Ended(_)) {
            return Poll::Pending;
        }
        let State::Ended(ended) = std::mem::replace(&mut *state, State::Gone) else {
            return Poll::Pending;
        };
        drop(state);
        Poll::Ready(ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }

    pub(crate) fn is_in_a_slice(&self) -> bool {
        matches!(&*locked(&self.job.state), State::Running { .. })
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let mut state = locked(&self.job.state);
        let before = std::mem::replace(&mut *state, State::Gone);
        if let State::Running { is_woken, .. } = before {
            *state = State::Running {
                is_woken,
                is_abandoned: true,
            };
        }
        drop(state);
        self.job.crew.now.fetch_sub(1, Relaxed);
    }
}

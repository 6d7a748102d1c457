//! What a serving thread knows of each of its connections: what it is doing and since when. Bounds in time are kept by
//! one sweep a thread over these, so that a request costs no timer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio_util::task::TaskTracker;

use crate::turns::Turns;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Accepted; its first head is not complete.
    Fresh = 0,
    /// Between two requests.
    Idle = 1,
    /// A later head, or the rest of a body that nobody wants, is coming in.
    Reading = 2,
    /// A request is being answered.
    Busy = 3,
    /// Over.
    Closed = 4,
}

/// What the sweep or the shutdown wants of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Order {
    /// Carry on.
    None = 0,
    /// Finish what is in flight, then close.
    Drain = 1,
    /// Close; nothing is in flight.
    Close = 2,
    /// The head or the rest of a body took too long.
    TooSlow = 3,
    /// The caller does not read its answer.
    Stalled = 4,
}

/// State that one serving thread's connections share.
#[derive(Debug)]
pub(crate) struct ThreadState {
    /// The time between two ticks.
    sweep_every: Duration,
    /// Counts sweeps; the unit of every age.
    pub(crate) tick: AtomicU32,
    pub(crate) draining: AtomicBool,
    pub(crate) open: AtomicUsize,
    /// Connections that other threads have accepted for this one.
    pub(crate) coming: AtomicUsize,
    pub(crate) fresh: AtomicUsize,
    pub(crate) turns: Arc<Turns>,
    /// The thread's tasks, and the requests that hold a permit: what a drain waits for.
    pub(crate) tasks: TaskTracker,
}

impl ThreadState {
    pub(crate) fn new(sweep_every: Duration) -> Self {
        Self {
            sweep_every: sweep_every.max(Duration::from_millis(1)),
            tick: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            coming: AtomicUsize::new(0),
            fresh: AtomicUsize::new(0),
            turns: Arc::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Sweeps that `time` takes, rounded up.
    pub(crate) fn ticks(&self, time: Duration) -> u32 {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        u32::try_from(millis(time).div_ceil(millis(self.sweep_every))).unwrap_or(u32::MAX / 2)
    }
}

/// One connection's state.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    thread: Arc<ThreadState>,
    /// Where it comes from; none if it has ended by now.
    peer: Option<IpAddr>,
    phase: AtomicU8,
    since: AtomicU32,
    /// The tick after the one at which a write began to stall; 0 if none does.
    stalled_at: AtomicU32,
    order: AtomicU8,
    waker: AtomicWaker,
    /// The tick by which an HTTP/1 answer must be out; 0 without one.
    answer_due: AtomicU32,
    streams: Mutex<Streams>,
}

/// HTTP/2 requests in flight, each with the tick by which its answer must be out.
#[derive(Debug, Default)]
struct Streams {
    due: BTreeMap<u64, u32>,
    last: u64,
}

impl ConnectionState {
    pub(crate) fn open(thread: &Arc<ThreadState>, peer: Option<IpAddr>) -> Arc<Self> {
        thread.open.fetch_add(1, Relaxed);
        thread.fresh.fetch_add(1, Relaxed);
        Arc::new(Self {
            thread: Arc::clone(thread),
            peer,
            phase: AtomicU8::new(Phase::Fresh as u8),
            since: AtomicU32::new(thread.tick.load(Relaxed)),
            stalled_at: AtomicU32::new(0),
            order: AtomicU8::new(Order::None as u8),
            waker: AtomicWaker::new(),
            answer_due: AtomicU32::new(0),
            streams: Mutex::default(),
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Fresh,
            1 => Phase::Idle,
            2 => Phase::Reading,
            3 => Phase::Busy,
            _ => Phase::Closed,
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        let before = self.phase.swap(phase as u8, Relaxed);
        self.since.store(self.thread.tick.load(Relaxed), Relaxed);
        if before == Phase::Fresh as u8 && phase != Phase::Fresh {
            self.thread.fresh.fetch_sub(1, Relaxed);
        }
    }

    /// Called once, when the connection is over.
    fn close(&self) {
        self.enter(Phase::Closed);
        self.thread.open.fetch_sub(1, Relaxed);
    }

    /// True if the thread has other connections.
    pub(crate) fn has_company(&self) -> bool {
        self.thread.open.load(Relaxed) > 1
    }

    /// Sweeps since the phase began.
    pub(crate) fn age(&self) -> u32 {
        self.thread
            .tick
            .load(Relaxed)
            .wrapping_sub(self.since.load(Relaxed))
    }

    /// Sweeps since the connection's writes stopped making progress.
    pub(crate) fn stalled_for(&self) -> Option<u32> {
        match self.stalled_at.load(Relaxed) {
            0 => None,
            at => Some(self.thread.tick.load(Relaxed).wrapping_sub(at.wrapping_sub(1))),
        }
    }

    pub(crate) fn stall_begins(&self) {
        if self.stalled_at.load(Relaxed) == 0 {
            self.stalled_at
                .store(self.thread.tick.load(Relaxed).wrapping_add(1).max(1), Relaxed);
        }
    }

    pub(crate) fn stall_ends(&self) {
        self.stalled_at.store(0, Relaxed);
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if a caller has had its time to take an answer, and has not.
    pub(crate) fn is_overdue(&self) -> bool {
        let now = self.thread.tick.load(Relaxed);
        // Ticks wrap after years; what is less than half the range ahead is still to come.
        let is_past = |due: u32| due != 0 && now.wrapping_sub(due) < u32::MAX / 2;
        is_past(self.answer_due.load(Relaxed)) || self.streams().due.values().any(|&due| is_past(due))
    }

    /// An order about an answer does not outlive it.
    pub(crate) fn answer_is_out(&self) {
        if self.order.load(Relaxed) == Order::Stalled as u8 {
            let next = if self.is_draining() {
                Order::Drain
            } else {
                Order::None
            };
            self.order.store(next as u8, Relaxed);
        }
    }

    pub(crate) fn give(&self, order: Order) {
        self.order.store(order as u8, Relaxed);
        self.waker.wake();
    }

    /// Arranges for `waker` to be woken by the next order, and returns the present one.
    pub(crate) fn order(&self, waker: &Waker) -> Order {
        self.waker.register(waker);
        match self.order.load(Relaxed) {
            1 => Order::Drain,
            2 => Order::Close,
            3 => Order::TooSlow,
            4 => Order::Stalled,
            _ => Order::None,
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.thread.draining.load(Relaxed)
    }
}

/// Marks the connection closed when its task ends, however it ends.
#[derive(Debug)]
pub(crate) struct CloseOnDrop(pub(crate) Arc<ConnectionState>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// One request in flight: an HTTP/2 connection is busy while there are any, and each has a time by which the caller
/// must have taken its answer.
#[derive(Debug)]
pub(crate) struct InFlight {
    state: Arc<ConnectionState>,
    /// None for the one request of an HTTP/1 connection.
    stream: Option<u64>,
}

impl InFlight {
    pub(crate) fn request(state: &Arc<ConnectionState>) -> Self {
        Self {
            state: Arc::clone(state),
            stream: None,
        }
    }

    pub(crate) fn stream(state: &Arc<ConnectionState>) -> Self {
        let mut streams = state.streams();
        if streams.due.is_empty() {
            state.enter(Phase::Busy);
        }
        streams.last += 1;
        let stream = streams.last;
        streams.due.insert(stream, 0);
        drop(streams);
        Self {
            state: Arc::clone(state),
            stream: Some(stream),
        }
    }

    /// Where the request's connection comes from.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        self.state.peer
    }

    /// Sets how long the answer may take, from now until the caller has it all.
    pub(crate) fn limit(&self, time: Duration) {
        let thread = &self.state.thread;
        let due = thread
            .tick
            .load(Relaxed)
            .wrapping_add(thread.ticks(time))
            .wrapping_add(1)
            .max(1);
        match self.stream {
            None => self.state.answer_due.store(due, Relaxed),
            Some(stream) => drop(self.state.streams().due.insert(stream, due)),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Some(stream) = self.stream else {
            return self.state.answer_due.store(0, Relaxed);
        };
        let mut streams = self.state.streams();
        streams.due.remove(&stream);
        if streams.due.is_empty() && self.state.phase() == Phase::Busy {
            self.state.enter(Phase::Idle);
        }
    }
}

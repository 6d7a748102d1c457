//! Whose guest runs next on one serving thread. While one app has the thread to itself and the thread keeps up, nobody
//! asks: a guest runs as soon as its request has been read. Once several apps are at work, or the thread is behind, each
//! request takes a turn from a fair queue before its guest first runs, and between two turns the thread reads everything
//! that has come in. So a quiet app's request runs after at most one turn of a flooding one's, and while the flood waits
//! for its turns it holds its permits, which makes the rest of it a quick 503.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use fermion_model::Fault;
use fermion_model::fault::Failure;
use fermion_planner::fair::FairQueue;
use futures::task::AtomicWaker;

use crate::clock;
use crate::limits::{LAG_MAX, LAG_PROBE_EVERY, MIXED_PROBES, TURN_WAIT_MAX};

/// One serving thread's turns.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    /// The dealer, when there is somebody to give the turn to.
    dealer: AtomicWaker,
    /// The app of the latest request.
    latest: AtomicU64,
    /// Counts probes; the unit of ages.
    probes: AtomicU32,
    /// The probe at which another app than the one before was last asked for; 0 if none ever was.
    mixed_at: AtomicU32,
    is_behind: AtomicBool,
    lag_micros: AtomicU64,
    shed: AtomicU64,
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    queue: FairQueue<Arc<Ticket>>,
    /// The flow that has the turn.
    out: Option<u64>,
    /// The smoothed cost of a turn, nanoseconds.
    mean: u64,
}

/// One request's place in the queue.
#[derive(Debug)]
struct Ticket {
    stage: AtomicU8,
    waker: AtomicWaker,
}

const WAITS: u8 = 0;
const HAS_TURN: u8 = 1;
const GONE: u8 = 2;

/// What serving threads tell about themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThreadReading {
    /// How late the thread came to what it had to do at a time.
    pub lag: Duration,
    /// Requests that wait for a turn.
    pub waiting: u64,
    /// Requests refused because their turn would have come too late.
    pub shed: u64,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Turns {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reading(&self) -> ThreadReading {
        ThreadReading {
            lag: Duration::from_micros(self.lag_micros.load(Relaxed)),
            waiting: u64::try_from(self.waiting.load(Relaxed)).unwrap_or(u64::MAX),
            shed: self.shed.load(Relaxed),
        }
    }

    /// True if a request of this app must take a turn.
    fn are_dealt(&self, app: u64) -> bool {
        if self.latest.load(Relaxed) != app {
            let before = self.latest.swap(app, Relaxed);
            if before != 0 {
                self.mixed_at.store(self.probes.load(Relaxed).max(1), Relaxed);
            }
        }
        if self.is_behind.load(Relaxed) {
            return true;
        }
        let mixed_at = self.mixed_at.load(Relaxed);
        mixed_at != 0 && self.probes.load(Relaxed).wrapping_sub(mixed_at) < MIXED_PROBES
    }

    /// A turn for a request of `app`, any number but 0 that stays with it. None if the guest may run at once.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] if the turn would come, or came, later than anybody waits.
    pub(crate) async fn take(self: &Arc<Self>, app: u64) -> Result<Option<Turn>, Failure> {
        if !self.are_dealt(app) {
            return Ok(None);
        }
        let asked = clock::now();
        let ticket = Arc::new(Ticket {
            stage: AtomicU8::new(WAITS),
            waker: AtomicWaker::new(),
        });
        {
            let mut state = self.state();
            let turns = u64::try_from(state.queue.turns_before(app)).unwrap_or(u64::MAX);
            if turns.saturating_mul(state.mean) > nanos(TURN_WAIT_MAX) {
                return Err(self.refuse());
            }
            state.queue.push(app, Arc::clone(&ticket));
        }
        self.waiting.fetch_add(1, Relaxed);
        self.dealer.wake();
        let waits = Wait { turns: self, ticket };
        let turn = waits.await;
        if clock::now().saturating_duration_since(asked) > TURN_WAIT_MAX {
            drop(turn);
            return Err(self.refuse());
        }
        Ok(Some(turn))
    }

    fn refuse(&self) -> Failure {
        self.shed.fetch_add(1, Relaxed);
        Failure::new(
            Fault::Overloaded,
            format!("the serving thread is behind by more than {TURN_WAIT_MAX:?}"),
        )
    }

    /// Deals the turns, for as long as the thread serves.
    pub(crate) async fn deal(self: Arc<Self>) {
        loop {
            std::future::poll_fn(|cx| {
                self.dealer.register(cx.waker());
                let state = self.state();
                if state.out.is_none() && !state.queue.is_empty() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            // Comes back after every task that is ready has had its turn and the reactor has been asked for more: whatever
            // has come in is in the queue by then.
            tokio::task::yield_now().await;
            self.give();
        }
    }

    /// Gives the turn to whoever it is due to.
    fn give(&self) {
        let mut state = self.state();
        while state.out.is_none()
            && let Some((flow, ticket)) = state.queue.pop()
        {
            if ticket
                .stage
                .compare_exchange(WAITS, HAS_TURN, Relaxed, Relaxed)
                .is_ok()
            {
                state.out = Some(flow);
                drop(state);
                return ticket.waker.wake();
            }
            state.queue.settle(flow, 0);
        }
    }

    fn end(&self, cost: Duration) {
        let mut state = self.state();
        if let Some(flow) = state.out.take() {
            state.queue.settle(flow, nanos(cost));
            // A smoothing over some eight turns.
            state.mean = state.mean - state.mean / 8 + nanos(cost) / 8;
        }
        drop(state);
        self.dealer.wake();
    }

    /// Measures how far the thread is behind, for as long as it serves.
    pub(crate) async fn probe(self: Arc<Self>) {
        loop {
            let due = tokio::time::Instant::now() + LAG_PROBE_EVERY;
            tokio::time::sleep_until(due).await;
            self.observe(tokio::time::Instant::now().saturating_duration_since(due));
        }
    }

    fn observe(&self, lag: Duration) {
        // The counter skips 0, which means never.
        let probe = self.probes.load(Relaxed).wrapping_add(1).max(1);
        self.probes.store(probe, Relaxed);
        self.lag_micros
            .store(u64::try_from(lag.as_micros()).unwrap_or(u64::MAX), Relaxed);
        // Dealing turns keeps the reactor's own lag small: as long as many wait, the thread is still behind.
        let backlog = {
            let state = self.state();
            u64::try_from(state.queue.len())
                .unwrap_or(u64::MAX)
                .saturating_mul(state.mean)
        };
        let is_behind = lag > LAG_MAX || backlog > nanos(LAG_MAX);
        self.is_behind.store(is_behind, Relaxed);
    }
}

/// Waits for the turn.
struct Wait<'a> {
    turns: &'a Arc<Turns>,
    ticket: Arc<Ticket>,
}

impl Future for Wait<'_> {
    type Output = Turn;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn> {
        self.ticket.waker.register(cx.waker());
        if self
            .ticket
            .stage
            .compare_exchange(HAS_TURN, GONE, Relaxed, Relaxed)
            .is_err()
        {
            return Poll::Pending;
        }
        Poll::Ready(Turn {
            turns: Arc::clone(self.turns),
            began: clock::now(),
        })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.turns.waiting.fetch_sub(1, Relaxed);
        if self.ticket.stage.swap(GONE, Relaxed) == HAS_TURN {
            self.turns.end(Duration::ZERO);
        }
    }
}

/// The right to let a guest run; given back on drop, and charged.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    began: Instant,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.end(clock::now().saturating_duration_since(self.began));
    }
}

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
    /// Nobody waits, and everything has been read since the latest turn: whoever comes now need not wait for that.
    is_read: bool,
}

impl State {
    /// Gives the turn to whoever it is due to.
    fn give(&mut self) {
        while self.out.is_none()
            && let Some((flow, ticket)) = self.queue.pop()
        {
            if ticket
                .stage
                .compare_exchange(WAITS, HAS_TURN, Relaxed, Relaxed)
                .is_ok()
            {
                self.out = Some(flow);
                ticket.waker.wake();
            } else {
                self.queue.settle(flow, 0);
            }
        }
        self.is_read = self.out.is_none();
    }
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
    /// Connections that are open.
    pub connections: u64,
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

    pub(crate) fn reading(&self, connections: usize) -> ThreadReading {
        ThreadReading {
            connections: u64::try_from(connections).unwrap_or(u64::MAX),
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
                self.mixed_at.store(self.probe_now(), Relaxed);
            }
        }
        if self.is_behind.load(Relaxed) {
            return true;
        }
        let mixed_at = self.mixed_at.load(Relaxed);
        mixed_at != 0 && self.probe_now().wrapping_sub(mixed_at) < MIXED_PROBES
    }

    /// True while what has come in waits for the thread: no time for what nobody waits for.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Relaxed)
    }

    /// A turn for a request of `app`, any number but 0 that stays with it. None if the guest may run at once.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] if the turn came later than anybody waits.
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
            state.queue.push(app, Arc::clone(&ticket));
            if state.is_read {
                state.give();
            }
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
                if state.out.is_none() && !state.is_read {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            // Comes back after every task that is ready has had its turn and the reactor has been asked for more: whatever
            // has come in is in the queue by then.
            tokio::task::yield_now().await;
            self.state().give();
        }
    }

    fn end(&self, cost: Duration) {
        let mut state = self.state();
        if let Some(flow) = state.out.take() {
            state.queue.settle(flow, nanos(cost));
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

    /// The present probe; never 0.
    fn probe_now(&self) -> u32 {
        self.probes.load(Relaxed).max(1)
    }

    fn observe(&self, lag: Duration) {
        self.probes.store(self.probe_now().wrapping_add(1), Relaxed);
        self.lag_micros
            .store(u64::try_from(lag.as_micros()).unwrap_or(u64::MAX), Relaxed);
        // Dealing turns keeps the reactor's own lag small: as long as somebody waits for one, the thread is behind.
        let still_waits = self.is_behind.load(Relaxed) && !self.state().queue.is_empty();
        let is_behind = lag > LAG_MAX || still_waits;
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::FutureExt as _;
    use tokio::task::JoinSet;

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().unwrap().block_on(future)
    }

    /// Turns that are dealt, because two apps have been at work.
    fn dealt(tasks: &mut JoinSet<()>) -> Arc<Turns> {
        let turns = Arc::new(Turns::default());
        assert!(!turns.are_dealt(1));
        assert!(turns.are_dealt(2));
        tasks.spawn(Arc::clone(&turns).deal());
        turns
    }

    #[test]
    fn an_app_that_is_alone_waits_for_no_turn_until_the_thread_is_behind() {
        block_on(async {
            let turns = Arc::new(Turns::default());
            for _ in 0..3 {
                turns.observe(Duration::from_millis(1));
                assert!(turns.take(1).await.unwrap().is_none());
            }
            turns.observe(LAG_MAX + Duration::from_micros(1));
            assert!(turns.are_dealt(1));
            turns.observe(Duration::ZERO);
            assert!(!turns.are_dealt(1));
        });
    }

    #[test]
    fn turns_end_some_time_after_the_other_app_has() {
        let turns = Turns::default();
        turns.observe(Duration::ZERO);
        assert!(!turns.are_dealt(1));
        assert!(turns.are_dealt(2));
        for _ in 0..MIXED_PROBES {
            assert!(turns.are_dealt(2));
            turns.observe(Duration::ZERO);
        }
        assert!(!turns.are_dealt(2));
    }

    #[test]
    fn who_comes_when_nobody_else_does_has_the_turn_at_once() {
        block_on(async {
            let mut tasks = JoinSet::new();
            let turns = dealt(&mut tasks);
            drop(turns.take(1).await);
            for app in [1, 2, 1, 1] {
                // The dealer sees that everything has been read.
                for _ in 0..4 {
                    tokio::task::yield_now().await;
                }
                let turn = Box::pin(turns.take(app)).now_or_never();
                assert!(turn.expect("at once").unwrap().is_some());
                assert!(Box::pin(turns.take(app)).now_or_never().is_none());
            }
        });
    }

    #[test]
    fn a_quiet_app_s_request_is_next_after_the_turn_during_which_it_came() {
        block_on(async {
            let mut tasks = JoinSet::new();
            let turns = dealt(&mut tasks);
            let order = Arc::new(Mutex::new(Vec::new()));
            let came = Arc::new(tokio::sync::Notify::new());
            let mut flood = JoinSet::new();
            for _ in 0..100 {
                let (turns, order, came) = (turns.clone(), order.clone(), came.clone());
                flood.spawn(async move {
                    let turn = turns.take(1).await.unwrap().expect("turns are dealt");
                    order.lock().unwrap().push(1);
                    if order.lock().unwrap().len() == 10 {
                        came.notify_one();
                    }
                    drop(turn);
                });
            }
            came.notified().await;
            let turn = turns.take(2).await.unwrap().expect("turns are dealt");
            order.lock().unwrap().push(2);
            drop(turn);
            while let Some(ended) = flood.join_next().await {
                ended.unwrap();
            }
            let order = order.lock().unwrap();
            assert_eq!(order.iter().position(|app| *app == 2), Some(10), "{order:?}");
            assert_eq!(order.len(), 101);
            assert_eq!(turns.reading(0).waiting, 0);
        });
    }

    #[test]
    fn a_caller_who_leaves_costs_nobody_a_turn() {
        block_on(async {
            let mut tasks = JoinSet::new();
            let turns = dealt(&mut tasks);
            let first = turns.take(1).await.unwrap().expect("turns are dealt");
            let mut waits = Box::pin(turns.take(1));
            let mut has_it = Box::pin(turns.take(2));
            assert!(waits.as_mut().now_or_never().is_none());
            assert!(has_it.as_mut().now_or_never().is_none());
            drop(waits);
            drop(first);
            // The dealer gives the turn to the one that is left, who leaves before it looks.
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            drop(has_it);
            assert!(turns.take(1).await.unwrap().is_some());
            assert_eq!(turns.reading(0).waiting, 0);
        });
    }
}

//! One app's permits and its bounded queue. A permit is an owned guard: whoever holds it runs, and dropping it lets the
//! next one in. Overload is an answer within the queue's maximum wait, never memory.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fermion_model::Fault;
use fermion_model::fault::Failure;
use fermion_planner::gradient::Gradient;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::clock;

/// The permits of one app on this node. Clones share them.
#[derive(Debug, Clone)]
pub struct Admission {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    permits: Arc<Semaphore>,
    /// Permits that there are: those that are out, and those that may be taken.
    limit: AtomicU32,
    adaptive: Option<Adaptive>,
    waiting: AtomicU32,
    queue_max: u32,
    queue_wait_max: Duration,
}

/// Follows the latency of requests.
#[derive(Debug)]
struct Adaptive {
    gradient: Mutex<Gradient>,
    since: Instant,
}

/// The right to run one request; given back on drop.
#[derive(Debug)]
pub struct Permit {
    held: Option<OwnedSemaphorePermit>,
    /// Whom to tell how long it was held, and since when.
    timed: Option<(Arc<Shared>, Instant)>,
    _counted: Option<TaskTrackerToken>,
}

impl Permit {
    fn new(held: OwnedSemaphorePermit, shared: &Arc<Shared>) -> Self {
        let timed = shared.adaptive.is_some();
        Self {
            held: Some(held),
            timed: timed.then(|| (Arc::clone(shared), clock::now())),
            _counted: None,
        }
    }

    /// Lets whoever drains wait for this request too, also for what it does behind its answer.
    pub(crate) fn counted(mut self, token: TaskTrackerToken) -> Self {
        self._counted = Some(token);
        self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let (Some((shared, since)), Some(held)) = (self.timed.take(), self.held.take()) {
            shared.give_back(held, since);
        }
    }
}

impl Shared {
    /// Takes a permit back and lets the limit follow how long it was held.
    fn give_back(&self, held: OwnedSemaphorePermit, since: Instant) {
        let Some(adaptive) = &self.adaptive else { return };
        let now = clock::now();
        let took = now.saturating_duration_since(since);
        let at = now.saturating_duration_since(adaptive.since);
        // Held until the permits agree with the limit, so that two changes do not mix.
        let mut gradient = adaptive.gradient.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = gradient.observe(took, at);
        let limit = self.limit.load(Ordering::Relaxed);
        if wanted >= limit {
            self.permits.add_permits((wanted - limit) as usize);
            self.limit.store(wanted, Ordering::Relaxed);
            return;
        }
        // This one goes, then those that nobody holds; the rest go as they come back.
        held.forget();
        let free = self.permits.forget_permits((limit - wanted - 1) as usize);
        let gone = u32::try_from(free).unwrap_or(u32::MAX).saturating_add(1);
        self.limit.store(limit.saturating_sub(gone), Ordering::Relaxed);
    }
}

/// Takes a place in the queue and gives it back, whichever way the wait ends.
struct Place<'a>(&'a AtomicU32);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicU32, queue_max: u32) -> Option<Self> {
        waiting
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                (now < queue_max).then_some(now + 1)
            })
            .ok()
            .map(|_| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    /// `concurrency` requests run at once, `queue_max` more wait, none longer than `queue_wait_max`.
    pub fn new(concurrency: u32, queue_max: u32, queue_wait_max: Duration) -> Self {
        Self::of(concurrency, None, queue_max, queue_wait_max)
    }

    /// As many run at once as do not slow each other down, at most `ceiling`.
    pub fn adaptive(ceiling: u32, queue_max: u32, queue_wait_max: Duration) -> Self {
        let gradient = Gradient::new(ceiling);
        let limit = gradient.limit();
        let adaptive = Adaptive {
            gradient: Mutex::new(gradient),
            since: clock::now(),
        };
        Self::of(limit, Some(adaptive), queue_max, queue_wait_max)
    }

    fn of(limit: u32, adaptive: Option<Adaptive>, queue_max: u32, queue_wait_max: Duration) -> Self {
        let permits = Arc::new(Semaphore::new(limit as usize));
        Self {
            shared: Arc::new(Shared {
                permits,
                limit: AtomicU32::new(limit),
                adaptive,
                waiting: AtomicU32::new(0),
                queue_max,
                queue_wait_max,
            }),
        }
    }

    /// A permit if one is free now and nobody waits for it.
    pub fn try_acquire(&self) -> Option<Permit> {
        let held = Arc::clone(&self.shared.permits).try_acquire_owned().ok()?;
        Some(Permit::new(held, &self.shared))
    }

    /// A permit now, or after a wait in the queue, first come first served.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] when the queue is full or the wait was too long.
    pub async fn acquire(&self) -> Result<Permit, Failure> {
        if let Some(permit) = self.try_acquire() {
            return Ok(permit);
        }
        let shared = &self.shared;
        let Some(_place) = Place::take(&shared.waiting, shared.queue_max) else {
            return Err(Failure::new(
                Fault::Overloaded,
                format!("the queue of {} is full", shared.queue_max),
            ));
        };
        let turn = Arc::clone(&shared.permits).acquire_owned();
        match tokio::time::timeout(shared.queue_wait_max, turn).await {
            Ok(Ok(held)) => Ok(Permit::new(held, shared)),
            Ok(Err(_closed)) => Err(Failure::new(Fault::Internal, "the semaphore was closed")),
            Err(_elapsed) => Err(Failure::new(
                Fault::Overloaded,
                format!("no permit within {:?}", shared.queue_wait_max),
            )),
        }
    }

    /// Permits that are out.
    pub fn in_use(&self) -> u32 {
        let free = u32::try_from(self.shared.permits.available_permits()).unwrap_or(u32::MAX);
        self.concurrency().saturating_sub(free)
    }

    /// Requests in the queue.
    pub fn waiting(&self) -> u32 {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Permits in all, at this moment.
    pub fn concurrency(&self) -> u32 {
        self.shared.limit.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn permits_come_back_and_waiters_get_them_in_order() {
        block_on(async {
            let admission = Admission::new(1, 2, Duration::from_secs(5));
            let first = admission.acquire().await.unwrap();
            let mut second = Box::pin(admission.acquire());
            let mut third = Box::pin(admission.acquire());
            assert!(second.as_mut().now_or_never().is_none());
            assert!(third.as_mut().now_or_never().is_none());
            assert_eq!((admission.in_use(), admission.waiting()), (1, 2));
            assert_eq!(admission.acquire().await.unwrap_err().fault, Fault::Overloaded);
            drop(first);
            assert!(third.as_mut().now_or_never().is_none());
            let second = second.now_or_never().unwrap().unwrap();
            assert!(third.as_mut().now_or_never().is_none());
            drop(second);
            assert!(third.now_or_never().unwrap().is_ok());
            assert_eq!((admission.in_use(), admission.waiting()), (0, 0));
        });
    }

    #[test]
    fn an_adaptive_limit_grows_from_the_least_and_permits_agree_with_it() {
        block_on(async {
            let admission = Admission::adaptive(20, 0, Duration::ZERO);
            assert_eq!(admission.concurrency(), 3);
            let mut most = 0;
            // Latencies are what they are here; whatever the limit makes of them, the permits follow.
            for _ in 0..5_000 {
                let held: Vec<_> = std::iter::from_fn(|| admission.try_acquire()).collect();
                assert_eq!(u32::try_from(held.len()).unwrap(), admission.concurrency());
                assert_eq!(admission.in_use(), admission.concurrency());
                assert!((1..=20).contains(&admission.concurrency()));
                most = most.max(admission.concurrency());
                drop(held);
                assert_eq!(admission.in_use(), 0);
            }
            assert!(most >= 3);
        });
    }

    #[test]
    fn a_limit_that_shrinks_takes_permits_that_are_out_as_they_come_back() {
        let admission = Admission::adaptive(100, 0, Duration::ZERO);
        admission.shared.permits.add_permits(97);
        admission.shared.limit.store(100, Ordering::Relaxed);
        let mut held: Vec<_> = std::iter::from_fn(|| admission.try_acquire()).collect();
        assert_eq!(held.len(), 100);
        // The limit that the controller wants is 3 while it measures: it comes down one by one.
        for left in (3..100).rev() {
            drop(held.pop());
            assert_eq!(admission.concurrency(), u32::try_from(left).unwrap().max(3));
            if left < 60 {
                break;
            }
        }
    }

    #[test]
    fn a_wait_ends_and_a_waiter_that_leaves_frees_its_place() {
        block_on(async {
            let admission = Admission::new(1, 1, Duration::from_millis(5));
            let held = admission.acquire().await.unwrap();
            let mut leaves = Box::pin(admission.acquire());
            assert!(leaves.as_mut().now_or_never().is_none());
            drop(leaves);
            assert_eq!(admission.waiting(), 0);
            assert_eq!(admission.acquire().await.unwrap_err().fault, Fault::Overloaded);
            assert_eq!(admission.waiting(), 0);
            drop(held);
            assert!(admission.try_acquire().is_some());
        });
    }
}

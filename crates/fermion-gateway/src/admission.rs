//! One app's permits and its bounded queue. A permit is an owned guard: whoever holds it runs, and dropping it lets the
//! next one in. Overload is an answer within the queue's maximum wait, never memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fermion_model::Fault;
use fermion_model::fault::Failure;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The permits of one app on this node. Clones share them.
#[derive(Debug, Clone)]
pub struct Admission {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    permits: Arc<Semaphore>,
    concurrency: u32,
    waiting: AtomicU32,
    queue_max: u32,
    queue_wait_max: Duration,
}

/// The right to run one request; given back on drop.
#[derive(Debug)]
pub struct Permit {
    _held: OwnedSemaphorePermit,
    _counted: Option<TaskTrackerToken>,
}

impl Permit {
    fn new(held: OwnedSemaphorePermit) -> Self {
        Self {
            _held: held,
            _counted: None,
        }
    }

    /// Lets whoever drains wait for this request too, also for what it does behind its answer.
    pub(crate) fn counted(self, token: TaskTrackerToken) -> Self {
        Self {
            _counted: Some(token),
            ..self
        }
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
        let permits = Arc::new(Semaphore::new(concurrency as usize));
        Self {
            shared: Arc::new(Shared {
                permits,
                concurrency,
                waiting: AtomicU32::new(0),
                queue_max,
                queue_wait_max,
            }),
        }
    }

    /// A permit if one is free now and nobody waits for it.
    pub fn try_acquire(&self) -> Option<Permit> {
        let held = Arc::clone(&self.shared.permits).try_acquire_owned().ok()?;
        Some(Permit::new(held))
    }

    /// A permit now, or after a wait in the queue, first come first served.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] when the queue is full or the wait was too long.
    pub async fn acquire(&self) -> Result<Permit, Failure> {
        if let Some(permit) = self.try_acquire() {
            return Ok(permit);
        }
        let shared = &*self.shared;
        let Some(_place) = Place::take(&shared.waiting, shared.queue_max) else {
            return Err(Failure::new(
                Fault::Overloaded,
                format!("the queue of {} is full", shared.queue_max),
            ));
        };
        let turn = Arc::clone(&shared.permits).acquire_owned();
        match tokio::time::timeout(shared.queue_wait_max, turn).await {
            Ok(Ok(held)) => Ok(Permit::new(held)),
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
        self.shared.concurrency.saturating_sub(free)
    }

    /// Requests in the queue.
    pub fn waiting(&self) -> u32 {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Permits in all.
    pub fn concurrency(&self) -> u32 {
        self.shared.concurrency
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

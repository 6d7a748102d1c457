//! Keeps the pools of a process: makes instances ahead, runs their warm-up, drops those that nobody used, and drops
//! what requests have worn out. One task, besides the few instances that it makes at once; serving threads only leave
//! word. When a load is steady it wakes a hundred times a second at most, whatever the load.

use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use fermion_model::fault::{Failure, Fault};
use fermion_planner::warm;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::instance::Instance;
use super::ledger::Ledger;
use crate::engine::Engines;
use crate::limits;
use crate::program::Core;

/// What serving threads leave for the keeper.
pub(crate) struct Keeper {
    process: Arc<Ledger>,
    listed: Mutex<Vec<Weak<Core>>>,
    /// Everybody who has something, for when the engine has no room.
    known: Mutex<Vec<Weak<Core>>>,
    buried: Mutex<Vec<Box<dyn Send>>>,
    unwarmed: Mutex<Vec<(Arc<Core>, Instance)>>,
    wake: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Keeper {
    fn default() -> Self {
        Self {
            process: Ledger::new(limits::KEPT_INSTANCES_MAX, limits::KEPT_BYTES_MAX),
            listed: Mutex::default(),
            known: Mutex::default(),
            buried: Mutex::default(),
            unwarmed: Mutex::default(),
            wake: Notify::new(),
        }
    }
}

impl Keeper {
    /// The account of all releases together.
    pub(crate) fn process(&self) -> &Arc<Ledger> {
        &self.process
    }

    /// A pool has something that the keeper should look after, or lacks something. Costs one load if it knows already.
    pub(crate) fn list(&self, core: &Arc<Core>) {
        if core.pool.is_listed.load(Relaxed) || core.pool.is_listed.swap(true, AcqRel) {
            return;
        }
        lock(&self.listed).push(Arc::downgrade(core));
        self.wake.notify_one();
    }

    /// Drops an instance later and elsewhere; here and now if too many wait for that.
    pub(crate) fn bury(&self, instance: impl Send + 'static) {
        let mut buried = lock(&self.buried);
        if buried.len() < limits::BURIED_INSTANCES_MAX {
            buried.push(Box::new(instance));
            drop(buried);
            self.wake.notify_one();
        } else {
            drop(buried);
            drop(instance);
        }
    }

    /// Has an instance that a request had to make run its package's warm-up before it is kept.
    pub(crate) fn warm_later(&self, core: Arc<Core>, instance: Instance) {
        let mut unwarmed = lock(&self.unwarmed);
        if unwarmed.len() < limits::BURIED_INSTANCES_MAX {
            unwarmed.push((core, instance));
            drop(unwarmed);
            self.wake.notify_one();
        } else {
            drop(unwarmed);
            self.bury(instance);
        }
    }

    /// An instance that waited ready has been taken.
    pub(crate) fn refill(&self) {
        self.wake.notify_one();
    }

    /// Drops what waits in all pools, so that a request finds room in the engine.
    pub(crate) fn make_room(&self) {
        drop(std::mem::take(&mut *lock(&self.buried)));
        let known: Vec<_> = lock(&self.known).iter().filter_map(Weak::upgrade).collect();
        let dropped: usize = known.iter().map(|core| core.pool.clear()).sum();
        tracing::debug!(dropped, "kept instances were dropped: the engine has no room");
    }
}

/// One pool as the keeper sees it.
struct Ward {
    core: Weak<Core>,
    expires: Instant,
    observed: Instant,
    retries: Instant,
    target: u32,
}

/// How one attempt to fill a pool went.
type Filled = Result<(), (Weak<Core>, Failure)>;

impl Engines {
    /// Looks after the instances that outlive a request, until `shutdown`. Without it nothing is made ahead and idle
    /// instances stay until their release goes.
    pub async fn keep(&self, shutdown: CancellationToken) {
        let keeper = self.keeper();
        let mut wards: Vec<Ward> = Vec::new();
        let mut filling: JoinSet<Filled> = JoinSet::new();
        loop {
            let due = wards.iter().map(Ward::due).min();
            let due = due.unwrap_or_else(|| Instant::now() + limits::KEEPER_SLEEP_MAX);
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = keeper.wake.notified() => {}
                () = tokio::time::sleep_until(due) => {}
                Some(filled) = filling.join_next() => failed(filled, &mut wards),
            }
            drop(std::mem::take(&mut *lock(&keeper.buried)));
            for (core, instance) in std::mem::take(&mut *lock(&keeper.unwarmed)) {
                filling.spawn(async move {
                    let warmed = core.warm_up(instance).await;
                    warmed.map_err(|failure| (Arc::downgrade(&core), failure))
                });
            }
            let now = Instant::now();
            let listed = std::mem::take(&mut *lock(&keeper.listed));
            wards.extend(listed.into_iter().map(|core| Ward::new(core, now)));
            wards.retain_mut(|ward| ward.tend(now, &mut filling));
            *lock(&keeper.known) = wards.iter().map(|ward| ward.core.clone()).collect();
            let pause = tokio::time::sleep(limits::REFILL_INTERVAL);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                break;
            }
        }
        filling.shutdown().await;
    }
}

/// An instance that could not be made ahead is tried again after a while: until then requests make their own.
fn failed(filled: Result<Filled, tokio::task::JoinError>, wards: &mut [Ward]) {
    let Ok(Err((core, failure))) = filled else { return };
    let Some(ward) = wards.iter_mut().find(|ward| ward.core.ptr_eq(&core)) else {
        return;
    };
    ward.retries = Instant::now() + limits::REFILL_RETRY_AFTER;
    if failure.fault != Fault::Overloaded {
        tracing::warn!(%failure, "an instance could not be made ahead");
    }
}

impl Ward {
    fn new(core: Weak<Core>, now: Instant) -> Self {
        let half = core
            .upgrade()
            .map_or(Duration::ZERO, |core| core.pool.policy().idle / 2);
        let target = core.upgrade().map_or(0, |core| core.pool.policy().warm_min);
        Self {
            core,
            expires: now + half,
            observed: now,
            retries: now,
            target,
        }
    }

    /// When to look at it even if nobody leaves word.
    fn due(&self) -> Instant {
        let lacks = self.core.upgrade().is_some_and(|core| self.lacks(&core));
        if lacks {
            self.expires.min(self.retries)
        } else if self.target > 0 {
            self.expires.min(self.observed + limits::RATE_WINDOW)
        } else {
            self.expires
        }
    }

    fn lacks(&self, core: &Core) -> bool {
        core.pool.ready() < self.target as usize && !core.pool.is_filling.load(Relaxed)
    }

    /// False if there is nothing left to look after.
    fn tend(&mut self, now: Instant, filling: &mut JoinSet<Filled>) -> bool {
        let Some(core) = self.core.upgrade() else {
            return false;
        };
        let pool = &core.pool;
        if pool.policy().warm_min > 0 && now >= self.observed + limits::RATE_WINDOW {
            let seconds = (now - self.observed).as_secs_f64();
            let taken = u32::try_from(pool.taken.swap(0, Relaxed)).unwrap_or(u32::MAX);
            let hold = pool.make_time() + limits::REFILL_INTERVAL;
            let (min, max) = (pool.policy().warm_min, pool.policy().warm_max);
            self.target = warm::instances(f64::from(taken) / seconds, hold, min, max);
            self.observed = now;
        }
        if now >= self.expires {
            pool.expire(self.target as usize);
            self.expires = now + pool.policy().idle / 2;
        }
        if now >= self.retries && self.lacks(&core) && filling.len() < limits::FILLING_MAX {
            pool.is_filling.store(true, Relaxed);
            let (target, weak) = (self.target as usize, self.core.clone());
            filling.spawn(async move {
                let filled = core.fill(target).await;
                core.pool.is_filling.store(false, Relaxed);
                filled.map_err(|failure| (weak, failure))
            });
            return true;
        }
        if self.target > 0 || pool.waiting() > 0 {
            return true;
        }
        // Whoever puts something there from now on lists it anew.
        pool.is_listed.store(false, Relaxed);
        pool.waiting() > 0 && !pool.is_listed.swap(true, AcqRel)
    }
}

//! The connections of one release on one serving thread. They live on that thread's runtime, their tasks are owned
//! here, and a release that goes takes them with it. A call takes a connection that is free, waits a moment for one
//! that may become free, and only then opens another, so that many calls share a few.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use wasmtime_wasi_http::WasiBody;

use super::connect::{ConnectError, Connected};
use super::lease::{Lease, Sender};
use super::origin::Origin;
use crate::limits;

/// The connections to all upstreams.
pub(crate) struct Pool {
    me: Weak<Pool>,
    runtime: Handle,
    hosts: Mutex<HashMap<Arc<Origin>, Host>>,
    tasks: Mutex<JoinSet<()>>,
    next_id: AtomicU64,
    is_swept: AtomicBool,
}

/// The connections to one upstream.
#[derive(Default)]
struct Host {
    /// HTTP/1 connections without a call; the last one was used last.
    idle: Vec<Idle>,
    /// HTTP/2 connections.
    shared: Vec<Shared>,
    /// All that are there or being made.
    open: usize,
    waiting: usize,
    /// It has been seen to speak HTTP/1 only.
    is_h1: bool,
    freed: Arc<Notify>,
}

struct Idle {
    sender: http1::SendRequest<WasiBody>,
    since: Instant,
}

struct Shared {
    id: u64,
    sender: http2::SendRequest<WasiBody>,
    calls: usize,
    since: Instant,
}

enum Step {
    Take(Lease),
    Open(Opening),
    Wait(Waiting),
}

impl Pool {
    /// A pool on the current runtime.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            runtime: Handle::current(),
            hosts: Mutex::default(),
            tasks: Mutex::default(),
            next_id: AtomicU64::new(0),
            is_swept: AtomicBool::new(false),
        })
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<Arc<Origin>, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
    }

    /// A connection for one call. `is_fresh` asks for one that was never used, because used ones turned out to be dead.
    pub(crate) async fn acquire<F: Future<Output = Result<Connected, ConnectError>>>(
        &self,
        origin: &Arc<Origin>,
        is_fresh: bool,
        deadline: Instant,
        connect: impl FnOnce() -> F,
    ) -> Result<Lease, ConnectError> {
        let grow_at = (Instant::now() + limits::EGRESS_GROW_AFTER).min(deadline);
        loop {
            let now = Instant::now();
            let waiting = match self.step(origin, is_fresh, now >= grow_at)? {
                Step::Take(lease) => return Ok(lease),
                Step::Open(opening) => return opening.finish(connect().await?, deadline).await,
                Step::Wait(waiting) => waiting,
            };
            let until = if now >= grow_at { deadline } else { grow_at };
            if timeout_at(until, waiting.freed.notified()).await.is_err() && Instant::now() >= deadline {
                return Err(ConnectError::Limit);
            }
        }
    }

    fn step(&self, origin: &Arc<Origin>, is_fresh: bool, may_grow: bool) -> Result<Step, ConnectError> {
        let mut hosts = self.hosts();
        let host = hosts.entry(origin.clone()).or_default();
        if is_fresh {
            host.idle.clear();
        } else if let Some(sender) = host.take() {
            return Ok(Step::Take(Lease::new(self.me.clone(), origin, sender, true)));
        }
        // One that may turn out to carry many calls is waited for before a second one is made.
        let few = if origin.is_tls && !host.is_h1 {
            1
        } else {
            limits::EGRESS_CONNECTIONS_FEW
        };
        let is_allowed = if may_grow {
            host.open < limits::EGRESS_CONNECTIONS_MAX
        } else {
            host.open < few
        };
        if is_allowed || (is_fresh && host.open < limits::EGRESS_CONNECTIONS_MAX) {
            host.open += 1;
            return Ok(Step::Open(Opening {
                pool: self.me.clone(),
                origin: origin.clone(),
                is_done: false,
            }));
        }
        if host.waiting >= limits::EGRESS_WAITING_MAX {
            return Err(ConnectError::Limit);
        }
        host.waiting += 1;
        Ok(Step::Wait(Waiting {
            pool: self.me.clone(),
            origin: origin.clone(),
            freed: host.freed.clone(),
        }))
    }

    /// A call over HTTP/1 is over. A connection that is not ready for another at once may be so in a moment.
    pub(crate) fn give_back(&self, origin: &Arc<Origin>, mut sender: http1::SendRequest<WasiBody>) {
        if sender.is_closed() {
            return;
        }
        if sender.is_ready() {
            return self.keep(origin, sender);
        }
        let (me, origin) = (self.me.clone(), origin.clone());
        self.spawn(async move {
            let is_ready = timeout(limits::EGRESS_READY_WAIT_MAX, sender.ready()).await;
            if let (Ok(Ok(())), Some(pool)) = (is_ready, me.upgrade()) {
                pool.keep(&origin, sender);
            }
        });
    }

    fn keep(&self, origin: &Arc<Origin>, sender: http1::SendRequest<WasiBody>) {
        let since = Instant::now();
        if let Some(host) = self.hosts().get_mut(origin) {
            host.idle.push(Idle { sender, since });
            host.freed.notify_one();
        }
        self.sweep();
    }

    /// A call over HTTP/2 is over.
    pub(crate) fn end_call(&self, origin: &Arc<Origin>, id: u64) {
        let since = Instant::now();
        if let Some(host) = self.hosts().get_mut(origin) {
            if let Some(shared) = host.shared.iter_mut().find(|shared| shared.id == id) {
                shared.calls -= 1;
                shared.since = since;
            }
            host.freed.notify_one();
        }
        self.sweep();
    }

    /// A connection is gone, or never came about. An upstream without any is forgotten, since a guest that may call
    /// anybody could name more of them than there is room for.
    fn closed(&self, origin: &Arc<Origin>, id: Option<u64>) {
        let mut hosts = self.hosts();
        let Some(host) = hosts.get_mut(origin) else { return };
        host.shared.retain(|shared| Some(shared.id) != id);
        host.open -= 1;
        host.freed.notify_one();
        if host.open == 0 && host.waiting == 0 {
            hosts.remove(origin);
        }
    }

    /// Closes what has been idle for too long, for as long as anything is idle.
    fn sweep(&self) {
        if self.is_swept.swap(true, Relaxed) {
            return;
        }
        let me = self.me.clone();
        self.spawn(async move {
            loop {
                tokio::time::sleep(limits::EGRESS_SWEEP_EVERY).await;
                let Some(pool) = me.upgrade() else { return };
                let mut hosts = pool.hosts();
                let now = Instant::now();
                hosts.retain(|_, host| host.sweep(now));
                if hosts.is_empty() {
                    // Under the lock, so that whoever puts something back now begins anew.
                    pool.is_swept.store(false, Relaxed);
                    return;
                }
            }
        });
    }
}

impl Host {
    fn take(&mut self) -> Option<Sender> {
        while let Some(idle) = self.idle.pop() {
            if idle.sender.is_ready() {
                return Some(Sender::H1(idle.sender));
            }
        }
        self.shared.retain(|shared| !shared.sender.is_closed());
        let shared = self
            .shared
            .iter_mut()
            .find(|shared| shared.calls < limits::EGRESS_STREAMS_MAX)?;
        shared.calls += 1;
        Some(Sender::H2(shared.sender.clone(), shared.id))
    }

    /// False if nothing is left of it.
    fn sweep(&mut self, now: Instant) -> bool {
        let mut place = 0;
        self.idle.retain(|idle| {
            place += 1;
            let max = if place > limits::EGRESS_CONNECTIONS_FEW {
                limits::EGRESS_SWEEP_EVERY
            } else {
                limits::EGRESS_IDLE_MAX
            };
            now.duration_since(idle.since) < max
        });
        self.shared
            .retain(|shared| shared.calls > 0 || now.duration_since(shared.since) < limits::EGRESS_IDLE_MAX);
        self.open > 0 || self.waiting > 0
    }
}

/// A connection that is being made: counted until it is there or has failed.
struct Opening {
    pool: Weak<Pool>,
    origin: Arc<Origin>,
    is_done: bool,
}

impl Opening {
    async fn finish(mut self, connected: Connected, deadline: Instant) -> Result<Lease, ConnectError> {
        let pool = self.pool.upgrade().ok_or(ConnectError::Limit)?;
        let origin = self.origin.clone();
        let id = pool.next_id.fetch_add(1, Relaxed);
        let closed = {
            let (me, origin) = (self.pool.clone(), origin.clone());
            move || me.upgrade().inspect(|pool| pool.closed(&origin, Some(id)))
        };
        let io = TokioIo::new(connected.stream);
        let sender = if connected.is_h2 {
            let handshake = http2(Tasks(self.pool.clone())).handshake(io);
            let (sender, connection) = timeout_at(deadline, handshake)
                .await
                .map_err(|_| ConnectError::Timeout)?
                .map_err(ConnectError::Handshake)?;
            pool.spawn(async move {
                drop(connection.await);
                closed();
            });
            Sender::H2(sender, id)
        } else {
            let handshake = http1::Builder::new().handshake(io);
            let (sender, connection) = handshake.await.map_err(ConnectError::Handshake)?;
            pool.spawn(async move {
                drop(connection.await);
                closed();
            });
            Sender::H1(sender)
        };
        self.is_done = true;
        let mut hosts = pool.hosts();
        let host = hosts.entry(origin.clone()).or_default();
        host.is_h1 = !connected.is_h2;
        if let Sender::H2(sender, id) = &sender {
            host.shared.push(Shared {
                id: *id,
                sender: sender.clone(),
                calls: 1,
                since: Instant::now(),
            });
        }
        // Others may share it, or now know that they need one of their own.
        host.freed.notify_waiters();
        drop(hosts);
        Ok(Lease::new(self.pool.clone(), &origin, sender, false))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.is_done
            && let Some(pool) = self.pool.upgrade()
        {
            pool.closed(&self.origin, None);
        }
    }
}

/// A call that waits for a connection.
struct Waiting {
    pool: Weak<Pool>,
    origin: Arc<Origin>,
    freed: Arc<Notify>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade()
            && let Some(host) = pool.hosts().get_mut(&self.origin)
        {
            host.waiting -= 1;
        }
    }
}

/// HTTP/2 with windows that let every stream of a connection be read at its own pace, and no more than that.
fn http2(tasks: Tasks) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(limits::EGRESS_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::EGRESS_CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(limits::EGRESS_STREAM_WINDOW_BYTES as usize)
        .keep_alive_interval(limits::EGRESS_PING_EVERY)
        .keep_alive_timeout(limits::EGRESS_PING_MAX);
    builder
}

/// Where the tasks of HTTP/2 go: to the pool that owns the connection.
#[derive(Clone)]
struct Tasks(Weak<Pool>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        if let Some(pool) = self.0.upgrade() {
            pool.spawn(task);
        }
    }
}

//! One serving thread: accepts connections, gives each a task that it owns, keeps their bounds in time and number, and
//! drains them at the end. An error of accepting never ends the thread.

use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::BytesMut;
use futures::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{CloseOnDrop, ConnectionState, Order, Phase};
use crate::exchange::Door;
use crate::limits::{ACCEPT_RETRY_WAIT, EVICT_FRACTION, READ_BUFFER_BYTES};
use crate::peers::Peers;
use crate::server::Drained;
use crate::sniff::{Protocol, Rewound, sniff};
use crate::{Dispatch, Record, clock, h1, h2};

/// One serving thread's connections.
pub(crate) struct Acceptor<D, R> {
    door: Arc<Door<D, R>>,
    connections: Vec<Arc<ConnectionState>>,
    tasks: TaskTracker,
    peers: Peers,
}

impl<D: Dispatch, R: Record> Acceptor<D, R> {
    pub(crate) fn new(door: Arc<Door<D, R>>, peers: Peers) -> Self {
        Self {
            tasks: door.thread.tasks.clone(),
            door,
            connections: Vec::new(),
            peers,
        }
    }

    /// Serves until `shutdown`, then drains for at most `drain_max`.
    pub(crate) async fn run(
        mut self,
        listener: TcpListener,
        shutdown: CancellationToken,
        drain_max: Duration,
    ) -> Drained {
        clock::refresh_date();
        let mut sweep = tokio::time::interval(self.door.limits.sweep_every);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = std::pin::pin!(shutdown.cancelled());
        let mut turns = JoinSet::new();
        turns.spawn(Arc::clone(&self.door.thread.turns).deal());
        turns.spawn(Arc::clone(&self.door.thread.turns).probe());
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                _ = sweep.tick() => self.sweep(),
                Some(stream) = self.peers.incoming.recv() => self.receive(stream),
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        if let Some(stream) = self.peers.offer(stream, &self.door.thread) {
                            self.admit(stream);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection, trying again");
                        tokio::time::sleep(ACCEPT_RETRY_WAIT).await;
                    }
                },
            }
        }
        // Callers that the kernel has already connected are served too.
        while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
            self.admit(stream);
        }
        self.peers.incoming.close();
        while let Ok(stream) = self.peers.incoming.try_recv() {
            self.receive(stream);
        }
        drop(listener);
        self.drain(&mut sweep, drain_max).await
    }

    async fn drain(&mut self, sweep: &mut tokio::time::Interval, drain_max: Duration) -> Drained {
        let open = self.door.thread.open.load(Relaxed);
        self.door.thread.draining.store(true, Relaxed);
        for connection in &self.connections {
            connection.give(Order::Drain);
        }
        self.tasks.close();
        let tasks = self.tasks.clone();
        let mut finished = std::pin::pin!(tasks.wait());
        let mut deadline = std::pin::pin!(tokio::time::sleep(drain_max));
        loop {
            tokio::select! {
                () = &mut finished => break,
                () = &mut deadline => break,
                _ = sweep.tick() => self.sweep(),
            }
        }
        let aborted = self.door.thread.open.load(Relaxed);
        if aborted == 0 && !self.tasks.is_empty() {
            tracing::warn!("guests were still at work behind their answers when the time to drain was up");
        }
        let count = |connections: usize| u64::try_from(connections).unwrap_or(u64::MAX);
        Drained {
            finished_connections: count(open.saturating_sub(aborted)),
            aborted_connections: count(aborted),
        }
    }

    /// Takes a connection that another thread accepted.
    fn receive(&mut self, stream: StdStream) {
        self.door.thread.coming.fetch_sub(1, Relaxed);
        match TcpStream::from_std(stream) {
            Ok(stream) => self.admit(stream),
            Err(error) => tracing::debug!(%error, "a connection ended before it began"),
        }
    }

    fn admit(&mut self, stream: TcpStream) {
        let limits = &self.door.limits;
        let thread = &self.door.thread;
        if thread.open.load(Relaxed) >= limits.connections_max
            && !self.evict(&[Phase::Fresh, Phase::Reading, Phase::Idle])
        {
            tracing::warn!(
                open = thread.open.load(Relaxed),
                "all connections are busy, closing a new one"
            );
            return;
        }
        if thread.fresh.load(Relaxed) >= limits.heads_pending_max {
            self.evict(&[Phase::Fresh]);
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended before it began");
            return;
        }
        let peer = stream.peer_addr().ok().map(|peer| peer.ip());
        let state = ConnectionState::open(thread, peer);
        self.connections.push(Arc::clone(&state));
        let door = Arc::clone(&self.door);
        let tasks = self.tasks.clone();
        drop(self.tasks.spawn(async move {
            let guard = CloseOnDrop(Arc::clone(&state));
            serve(&door, &state, stream, tasks).await;
            drop(guard);
        }));
    }

    /// Closes the oldest of the connections in `phases`, a fraction at once. False if there are none.
    fn evict(&self, phases: &[Phase]) -> bool {
        let mut ages: Vec<_> = self
            .connections
            .iter()
            .filter(|state| phases.contains(&state.phase()))
            .map(|state| (state.age(), state))
            .collect();
        if ages.is_empty() {
            return false;
        }
        let count = (ages.len() / EVICT_FRACTION).max(1);
        ages.sort_by_key(|(age, _)| std::cmp::Reverse(*age));
        for (_, state) in &ages[..count] {
            state.give(Order::Close);
        }
        tracing::debug!(count, "closed idle connections to make room");
        true
    }

    /// Keeps the bounds in time.
    fn sweep(&mut self) {
        clock::refresh_date();
        let limits = &self.door.limits;
        let thread = &self.door.thread;
        thread.tick.fetch_add(1, Relaxed);
        let head = thread.ticks(limits.head_time_max);
        let idle = thread.ticks(limits.idle_time_max);
        let stall = thread.ticks(limits.write_stall_max);
        self.connections.retain(|state| {
            let phase = state.phase();
            match phase {
                Phase::Closed => return false,
                Phase::Fresh | Phase::Reading if state.age() > head => state.give(Order::TooSlow),
                Phase::Idle if state.age() > idle => state.give(Order::Close),
                Phase::Fresh | Phase::Reading | Phase::Idle | Phase::Busy => {}
            }
            if state.stalled_for().is_some_and(|stalled| stalled > stall) || state.is_overdue() {
                state.give(Order::Stalled);
            }
            true
        });
    }
}

async fn serve<D: Dispatch, R: Record>(
    door: &Arc<Door<D, R>>,
    state: &Arc<ConnectionState>,
    mut stream: TcpStream,
    tasks: TaskTracker,
) {
    let mut buffer = BytesMut::with_capacity(READ_BUFFER_BYTES);
    match sniff(&mut stream, &mut buffer, state).await {
        None => {}
        Some(Protocol::Http1) => h1::serve(door, state, stream, buffer).await,
        Some(Protocol::Http2) => {
            h2::serve(
                door,
                state,
                Rewound::new(buffer, stream, Arc::clone(state)),
                tasks,
            )
            .await
        }
    }
}

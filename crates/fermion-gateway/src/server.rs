//! The server: one thread and one reactor a core, each with its own listener on the same port, nothing shared on the
//! request path. Binds first and runs later.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::{io, thread};

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::acceptor::Acceptor;
use crate::connection::ThreadState;
use crate::exchange::Door;
use crate::limits::{DRAIN_TIME_MAX, LISTEN_BACKLOG};
use crate::peers::Peers;
use crate::{Dispatch, Error, Record, RouteTable, ServerLimits, ThreadReading};

/// Where and how to serve.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The address; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Serving threads.
    pub threads: usize,
    /// Bounds in time and number.
    pub limits: ServerLimits,
    /// How long requests in flight may take after the shutdown signal.
    pub drain_max: Duration,
}

impl ServerConfig {
    /// One thread a core, default limits.
    pub fn new(listen: SocketAddr) -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            listen,
            threads,
            limits: ServerLimits::default(),
            drain_max: DRAIN_TIME_MAX,
        }
    }
}

/// The way to a [`Bound`].
#[derive(Debug)]
pub struct Server;

/// A server that has its port and does not serve yet.
#[derive(Debug)]
pub struct Bound {
    listeners: Vec<StdListener>,
    address: SocketAddr,
    config: ServerConfig,
    threads: Vec<Arc<ThreadState>>,
}

/// How a shutdown went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were open at the signal and ended by themselves.
    pub finished_connections: u64,
    /// Connections cut off when the time was up.
    pub aborted_connections: u64,
}

impl Server {
    /// Takes the port, once for every thread.
    ///
    /// # Errors
    /// [`Error::Listen`] with the address and what to do.
    pub fn bind(config: ServerConfig) -> Result<Bound, Error> {
        let refuse = |source| Error::Listen {
            address: config.listen,
            source,
        };
        let threads = config.threads.max(1);
        let shares_port = threads > 1;
        if shares_port && config.listen.port() != 0 {
            // Sockets that share a port let any process of the same user join in. One that does not share finds out
            // whether somebody is there already.
            drop(listen(config.listen, false).map_err(refuse)?);
        }
        let first = listen(config.listen, shares_port).map_err(refuse)?;
        let address = first.local_addr().map_err(refuse)?;
        let mut listeners = vec![first];
        while listeners.len() < threads {
            listeners.push(listen(address, shares_port).map_err(refuse)?);
        }
        let threads = listeners.iter();
        let threads = threads.map(|_| Arc::new(ThreadState::new(config.limits.sweep_every)));
        Ok(Bound {
            threads: threads.collect(),
            listeners,
            address,
            config,
        })
    }
}

fn listen(address: SocketAddr, shares_port: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shares_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

impl Bound {
    /// The address with its real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Reads how each serving thread fares, in the order of their numbers.
    pub fn readings(&self) -> impl Fn() -> Vec<ThreadReading> + Send + Sync + 'static {
        let threads = self.threads.clone();
        move || {
            let reading = |thread: &Arc<ThreadState>| thread.turns.reading(thread.open.load(Relaxed));
            threads.iter().map(reading).collect()
        }
    }

    /// Serves until `shutdown`, then drains: accepts no more, finishes what is in flight, closes what is idle, and cuts
    /// off what is left after `drain_max`.
    ///
    /// # Errors
    /// [`Error::Thread`] if a serving thread cannot start or dies; the others are then drained too.
    pub async fn run<D: Dispatch, R: Record>(
        self,
        routes: Arc<ArcSwap<RouteTable<D>>>,
        recorder: Arc<R>,
        shutdown: CancellationToken,
    ) -> Result<Drained, Error> {
        let mut running = Vec::new();
        let mut result = Ok(Drained::default());
        let stop = shutdown.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        let peers = Peers::of(&self.threads);
        let seats = self.listeners.into_iter().zip(self.threads).zip(peers);
        for (index, ((listener, thread), peers)) in seats.enumerate() {
            let door = Door {
                routes: Arc::clone(&routes),
                recorder: Arc::new(Arc::clone(&recorder)),
                limits: self.config.limits.clone(),
                thread,
            };
            let (done, waits) = oneshot::channel();
            let (stop_thread, drain_max) = (stop.clone(), self.config.drain_max);
            let started = thread::Builder::new()
                .name(format!("gateway-{index}"))
                .spawn(move || {
                    // Threads live and end together.
                    let _stop_the_others = stop_thread.clone().drop_guard();
                    drop(done.send(serve_thread(listener, door, peers, stop_thread, drain_max)));
                });
            match started {
                Ok(handle) => running.push((index, handle, waits)),
                Err(source) => {
                    stop.cancel();
                    result = Err(Error::Thread { index, source });
                    break;
                }
            }
        }
        for (index, handle, waits) in running {
            let drained = waits
                .await
                .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")));
            drop(handle.join());
            match (drained, &mut result) {
                (Ok(drained), Ok(sum)) => {
                    sum.finished_connections += drained.finished_connections;
                    sum.aborted_connections += drained.aborted_connections;
                }
                (Ok(_), Err(_)) => {}
                (Err(source), _) => {
                    stop.cancel();
                    result = Err(Error::Thread { index, source });
                }
            }
        }
        result
    }
}

fn serve_thread<D: Dispatch, R: Record>(
    listener: StdListener,
    door: Door<D, R>,
    peers: Peers,
    shutdown: CancellationToken,
    drain_max: Duration,
) -> io::Result<Drained> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let drained = runtime.block_on(async move {
        let listener = TcpListener::from_std(listener)?;
        Ok(Acceptor::new(Arc::new(door), peers)
            .run(listener, shutdown, drain_max)
            .await)
    });
    // Whatever is left was cut off: its tasks are dropped here, and blocking calls are not waited for.
    runtime.shutdown_background();
    drained
}

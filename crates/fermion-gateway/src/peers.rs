//! The serving threads among themselves: the kernel spreads connections by a hash, which leaves one thread with many more
//! than another. A thread that accepts a connection and has clearly more than the least of them hands it over.

use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::connection::ThreadState;
use crate::limits::{HAND_OVER_FROM, HAND_OVER_MAX};

/// One thread's view of the others.
#[derive(Debug)]
pub(crate) struct Peers {
    others: Vec<Peer>,
    /// What others have accepted for this thread.
    pub(crate) incoming: mpsc::Receiver<StdStream>,
}

#[derive(Debug, Clone)]
struct Peer {
    thread: Arc<ThreadState>,
    hand_over: mpsc::Sender<StdStream>,
}

impl Peers {
    /// Each thread's view, in their order.
    pub(crate) fn of(threads: &[Arc<ThreadState>]) -> Vec<Self> {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            threads.iter().map(|_| mpsc::channel(HAND_OVER_MAX)).unzip();
        let all = threads.iter().zip(senders).map(|(thread, hand_over)| Peer {
            thread: Arc::clone(thread),
            hand_over,
        });
        let all: Vec<Peer> = all.collect();
        let views = receivers.into_iter().enumerate().map(|(own, incoming)| {
            let others = all.iter().enumerate().filter(|(index, _)| *index != own);
            Self {
                others: others.map(|(_, peer)| peer.clone()).collect(),
                incoming,
            }
        });
        views.collect()
    }

    /// Hands a connection to the thread that has the fewest, if this one has clearly more. Gives it back otherwise.
    pub(crate) fn offer(&self, stream: TcpStream, own: &ThreadState) -> Option<TcpStream> {
        let Some(least) = self.others.iter().min_by_key(|peer| load(&peer.thread)) else {
            return Some(stream);
        };
        if !is_clearly_less(load(&least.thread), load(own)) {
            return Some(stream);
        }
        let Ok(place) = least.hand_over.try_reserve() else {
            return Some(stream);
        };
        match stream.into_std() {
            Ok(stream) => {
                least.thread.coming.fetch_add(1, Relaxed);
                place.send(stream);
            }
            Err(error) => tracing::debug!(%error, "a connection ended before it began"),
        }
        None
    }
}

fn load(thread: &ThreadState) -> usize {
    thread.open.load(Relaxed) + thread.coming.load(Relaxed)
}

fn is_clearly_less(least: usize, own: usize) -> bool {
    own >= least + HAND_OVER_FROM.max(least / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_the_kernel_spreads_them_no_thread_keeps_many_more_than_another() {
        for kernel in [
            |n: usize| n % 2,
            |_| 0,
            |n: usize| usize::from(n.is_multiple_of(5)),
        ] {
            let mut open = [0_usize; 2];
            for n in 0..1_000 {
                let own = kernel(n);
                let other = 1 - own;
                let to = if is_clearly_less(open[other], open[own]) {
                    other
                } else {
                    own
                };
                open[to] += 1;
                assert!(
                    open[0].abs_diff(open[1]) <= HAND_OVER_FROM.max(open[0].min(open[1]) / 8),
                    "{open:?}"
                );
            }
        }
    }
}

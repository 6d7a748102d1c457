//! Where guests go on that need more than a slice of CPU: threads of their own, which step back behind those that serve.
//! There each slice is dealt by a fair queue of programs, so that a program that loops in all of its instances gets what
//! one that loops once gets. The connection's task only waits for what the guest makes; a guest that is dropped while
//! its slice runs ends with that slice.

mod crew;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

pub use crew::HeavyStats;
pub(crate) use crew::{Crew, Heavy, Remote};

use crate::limits::{HEAVY_CPU, HEAVY_MEMORY};
use crate::meter::Meter;

/// A guest's own work, from making its instance to its end.
pub(crate) type Work = Pin<Box<dyn Future<Output = wasmtime::Result<()>> + Send>>;

/// What is known of one program's hunger for CPU.
#[derive(Debug)]
pub(crate) struct Appetite {
    /// The program, as the fair queue knows it.
    pub(crate) flow: u64,
    /// The share of recent guests that were heavy, of [`Appetite::ALL`].
    score: AtomicU32,
}

impl Appetite {
    const ALL: u32 = 1 << 16;

    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            flow: NEXT.fetch_add(1, Relaxed),
            score: AtomicU32::new(0),
        }
    }

    /// True if most of the recent guests were heavy: the next one need not cost the serving thread a slice.
    fn expects_heavy(&self) -> bool {
        self.score.load(Relaxed) > Self::ALL / 2
    }

    /// Takes one more guest into account. A program whose guests are all light writes nothing here, so that serving
    /// threads share nothing that changes.
    fn observe(&self, is_heavy: bool) {
        let before = self.score.load(Relaxed);
        let target = if is_heavy { Self::ALL } else { 0 };
        // Rounded away from where it was, so that both ends are reached.
        let step = before.abs_diff(target).div_ceil(HEAVY_MEMORY);
        let after = if is_heavy { before + step } else { before - step };
        if after != before {
            self.score.store(after, Relaxed);
        }
    }
}

/// One guest's work, here or with the heavy ones.
pub(crate) struct Guest {
    place: Place,
    meter: Arc<Meter>,
    appetite: Arc<Appetite>,
    crew: Arc<Crew>,
}

enum Place {
    Here(Work),
    There(Remote),
    Moving,
}

impl Guest {
    pub(crate) fn new(work: Work, meter: Arc<Meter>, appetite: Arc<Appetite>, crew: Arc<Crew>) -> Self {
        let mut guest = Self {
            place: Place::Here(work),
            meter,
            appetite,
            crew,
        };
        if guest.appetite.expects_heavy() {
            guest.go_there();
        }
        guest
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Lets the guest run until it waits or its slice is over; if it runs elsewhere, looks whether it has ended.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<wasmtime::Result<()>> {
        let polled = match &mut self.place {
            Place::There(remote) => return remote.poll(cx),
            Place::Moving => return Poll::Pending,
            Place::Here(work) => {
                self.meter.enter();
                let polled = work.as_mut().poll(cx);
                self.meter.leave();
                polled
            }
        };
        if polled.is_ready() || !is_heavy(&self.meter) || !self.go_there() {
            return polled;
        }
        match &mut self.place {
            Place::There(remote) => remote.poll(cx),
            Place::Here(_) | Place::Moving => polled,
        }
    }

    /// True while a slice of it runs on another thread: what it has made may still be on its way.
    pub(crate) fn is_in_a_slice(&self) -> bool {
        matches!(&self.place, Place::There(remote) if remote.is_in_a_slice())
    }

    /// False where there are no threads for heavy guests: then it stays.
    fn go_there(&mut self) -> bool {
        let Some(reactor) = self.crew.ready() else {
            return false;
        };
        match std::mem::replace(&mut self.place, Place::Moving) {
            Place::Here(work) => {
                let meter = Arc::clone(&self.meter);
                self.place = Place::There(self.crew.take(work, meter, self.appetite.flow, reactor));
            }
            other => self.place = other,
        }
        true
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.appetite.observe(is_heavy(&self.meter));
    }
}

/// True if the guest has used more than a slice. The first tick that hits it only starts the measurement, so a guest
/// that a tick hits by chance is not taken for a heavy one.
fn is_heavy(meter: &Meter) -> bool {
    meter.cpu() >= HEAVY_CPU
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_expected_to_be_heavy_after_a_few_heavy_guests_and_forgiven_after_a_few_light_ones() {
        let appetite = Appetite::new();
        let flips = |is_heavy: bool| {
            let before = appetite.expects_heavy();
            let guests = 1..=4 * HEAVY_MEMORY;
            let at = guests.into_iter().find(|_| {
                appetite.observe(is_heavy);
                appetite.expects_heavy() != before
            });
            at.expect("it changes its mind")
        };
        let learned = flips(true);
        assert!((2..=HEAVY_MEMORY).contains(&learned), "{learned}");
        for _ in 0..1_000 {
            appetite.observe(true);
        }
        let forgiven = flips(false);
        assert!((2..=HEAVY_MEMORY).contains(&forgiven), "{forgiven}");
        for _ in 0..1_000 {
            appetite.observe(false);
        }
        assert_eq!(appetite.score.load(Relaxed), 0);
    }
}

//! Clocks that are only as fine as `limits::CLOCK_RESOLUTION`. The time itself is the machine's.

use std::time::Duration;

use wasmtime_wasi::clocks::{MonotonicClock, WallClock};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

use crate::limits::CLOCK_RESOLUTION;

/// A clock that ticks coarsely.
pub(crate) struct Coarse<C>(pub(crate) C);

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl HostMonotonicClock for Coarse<MonotonicClock> {
    fn resolution(&self) -> u64 {
        nanoseconds(CLOCK_RESOLUTION).max(self.0.resolution())
    }

    fn now(&self) -> u64 {
        let now = self.0.now();
        now - now % nanoseconds(CLOCK_RESOLUTION)
    }
}

impl HostWallClock for Coarse<WallClock> {
    fn resolution(&self) -> Duration {
        CLOCK_RESOLUTION.max(self.0.resolution())
    }

    fn now(&self) -> Duration {
        let now = self.0.now();
        let within = now.subsec_nanos() % CLOCK_RESOLUTION.subsec_nanos();
        now - Duration::from_nanos(u64::from(within))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_tick_no_finer_than_the_limit() {
        let monotonic = Coarse(MonotonicClock::new());
        let wall = Coarse(WallClock::new());
        let resolution = nanoseconds(CLOCK_RESOLUTION);
        for _ in 0..1_000 {
            assert_eq!(monotonic.now() % resolution, 0);
            assert_eq!(wall.now().as_nanos() % u128::from(resolution), 0);
        }
        assert!(monotonic.resolution() >= resolution && wall.resolution() >= CLOCK_RESOLUTION);
    }
}

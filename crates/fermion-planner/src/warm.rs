//! How many instances of a release wait ready: Erlang's B formula over the time for which a place is empty.

use std::time::Duration;

use crate::erlang;

/// The share of requests that may find no instance ready, as long as `max` allows it.
pub const COLD_MAX: f64 = 0.01;

/// Instances to keep ready for `rate` requests a second, if a place that was emptied is filled again after `hold`:
/// each place is a server that is busy while it is empty. Between `min` and `max`, whatever the load.
pub fn instances(rate: f64, hold: Duration, min: u32, max: u32) -> u32 {
    erlang::servers(rate * hold.as_secs_f64(), COLD_MAX, max).clamp(min.min(max), max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_load_between_its_bounds() {
        let hold = Duration::from_millis(10);
        for (rate, min, max, want) in [
            (0.0, 0, 16, 0),
            (0.0, 2, 16, 2),
            // One erlang needs five servers for one per cent (published tables: 0.869 at four, 1.361 at five).
            (100.0, 1, 16, 5),
            (100.0, 8, 16, 8),
            (1e9, 1, 16, 16),
            (1e9, 0, 0, 0),
            // A minimum above the maximum cannot come from a manifest, and does not break the bound.
            (0.0, 9, 4, 4),
        ] {
            assert_eq!(instances(rate, hold, min, max), want, "{rate} {min} {max}");
        }
    }

    #[test]
    fn more_load_never_means_fewer() {
        let sizes: Vec<_> = (0..500)
            .map(|rate| instances(f64::from(rate) * 10.0, Duration::from_millis(20), 1, 64))
            .collect();
        assert!(sizes.is_sorted());
    }
}

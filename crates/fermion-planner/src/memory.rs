//! How much of a shared memory one holder may have: never more than is still free for others. The rule of dynamic
//! thresholds with a factor of one (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet
//! switches", 1998): alone it may have a half, beside another greedy one a third, and a newcomer always finds room.

/// Whether a holder may have `own` bytes when all together then have `all` of `max`.
pub fn fits(own: u64, all: u64, max: u64) -> bool {
    own <= max.saturating_sub(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each of `greedy` holders has when all of them take whatever they get, and what is left.
    fn grab(greedy: usize, max: u64) -> (Vec<u64>, u64) {
        let mut held = vec![0; greedy];
        loop {
            let all: u64 = held.iter().sum();
            let Some(next) = held.iter_mut().find(|own| fits(**own + 1, all + 1, max)) else {
                return (held, max - all);
            };
            *next += 1;
        }
    }

    #[test]
    fn whoever_comes_first_leaves_as_much_as_it_has() {
        assert_eq!(grab(1, 100), (vec![50], 50));
        for greedy in 1..20 {
            let (held, left) = grab(greedy, 10_000);
            let most = held.iter().max().copied().unwrap_or(0);
            assert!(left >= most, "{greedy}: {most} held, {left} left");
            // What came late finds something too.
            assert!(fits(left / 2, 10_000 - left + left / 2, 10_000), "{greedy}");
        }
    }

    #[test]
    fn nothing_fits_where_nothing_is_free() {
        assert!(fits(0, 10, 10));
        assert!(!fits(1, 10, 10));
        assert!(!fits(1, 11, 10));
        assert!(!fits(1, u64::MAX, 10));
    }
}

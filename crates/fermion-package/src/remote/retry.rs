//! Whether and when a failed step is tried again: a pure decision, and the pause that carries it out.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::limits::{RETRIES_MAX, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};

/// How to wait before trying again. Tests record instead.
#[derive(Clone)]
pub struct Pause(Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>);

impl Pause {
    /// Waits by calling this.
    pub fn new(wait: impl Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(wait))
    }

    pub(super) async fn wait(&self, time: Duration) {
        (self.0)(time).await;
    }
}

impl Default for Pause {
    /// Waits for real.
    fn default() -> Self {
        Self::new(|time| Box::pin(tokio::time::sleep(time)))
    }
}

impl fmt::Debug for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pause")
    }
}

/// The pause before the try after `failures` failures; none if there have been enough. `asked` is what the registry
/// wished for; `spread`, of 0 to 255, takes up to half of the pause away, so that many clients do not come back at once.
pub(super) fn pause_after(failures: u32, asked: Option<Duration>, spread: u8) -> Option<Duration> {
    if failures == 0 || failures > RETRIES_MAX {
        return None;
    }
    let whole = RETRY_PAUSE_MIN
        .saturating_mul(1 << (failures - 1).min(16))
        .min(RETRY_PAUSE_MAX);
    let spread = whole.mul_f64(f64::from(spread) / 512.0);
    let own = whole.saturating_sub(spread);
    Some(asked.map_or(own, |asked| asked.clamp(own, RETRY_PAUSE_MAX)))
}

/// A number nobody foresees.
pub(super) fn spread() -> u8 {
    RandomState::new().hash_one(0u8).to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_are_bounded_and_end() {
        let millis = |failures, asked, spread| {
            pause_after(failures, asked, spread).map(|pause: Duration| pause.as_millis())
        };
        assert_eq!(millis(1, None, 0), Some(200));
        assert_eq!(millis(2, None, 0), Some(400));
        assert_eq!(millis(4, None, 0), Some(1600));
        assert_eq!(millis(5, None, 0), None);
        assert_eq!(millis(0, None, 0), None);
        assert_eq!(millis(1, None, 128), Some(150));
        assert_eq!(millis(1, Some(Duration::from_secs(3)), 0), Some(3000));
        assert_eq!(millis(1, Some(Duration::from_secs(3000)), 0), Some(10_000));
        assert_eq!(millis(3, Some(Duration::ZERO), 0), Some(800));
    }
}

//! The wall clock as telemetry sees it: handed in, so that tests decide what time it is.

use std::time::SystemTime;

/// Says what time it is. Any function that returns a [`SystemTime`] is one.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> SystemTime;
}

impl<F: Fn() -> SystemTime + Send + Sync + 'static> Clock for F {
    fn now(&self) -> SystemTime {
        self()
    }
}

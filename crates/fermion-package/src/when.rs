//! The two times that trust is a matter of: when something was let in, and now. Reads no clock.

use std::time::SystemTime;

/// Why a package is looked at, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    now: SystemTime,
    admitted: Option<SystemTime>,
}

impl When {
    /// Something new is to be let in: every window and expiry is held against `now`.
    pub const fn admission(now: SystemTime) -> Self {
        Self { now, admitted: None }
    }

    /// Something that was let in at `admitted` is to run on, or to run again: keys had to be valid then, and what has
    /// expired since counts for its grace. Revocation counts at once.
    pub const fn admitted(admitted: SystemTime, now: SystemTime) -> Self {
        Self {
            now,
            admitted: Some(admitted),
        }
    }

    /// The present.
    pub(crate) const fn now(self) -> SystemTime {
        self.now
    }

    /// The time that windows of keys are held against.
    pub(crate) fn judged(self) -> SystemTime {
        self.admitted.unwrap_or(self.now)
    }

    /// True if something new is to be let in.
    pub(crate) const fn is_admission(self) -> bool {
        self.admitted.is_none()
    }
}

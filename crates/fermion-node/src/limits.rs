//! The node's own bounds.

use std::time::Duration;

/// Releases of one app whose metrics stay readable: the one that serves and the two before it.
pub(crate) const RELEASES_MEASURED_MAX: usize = 3;

/// How long the node waits before it reads its assignment again after the bus failed it.
pub(crate) const BUS_RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often everything that serves is judged again without a change of trust: for a trust root whose grace runs out.
pub(crate) const TRUST_RECHECK_EVERY: Duration = Duration::from_secs(60);

/// Apps that a start loads at once: those whose code was used last. What a few people use is quick from the first
/// request on, and thousands of others cost a start no more than their verification.
pub(crate) const LOADED_AT_START_MAX: usize = 64;

/// Releases that are made ready at once: each holds a component in memory and a core while it verifies.
pub(crate) const PREPARED_AT_ONCE_MAX: usize = 8;

/// The least time without a request after which an app may be let sleep, so that looking for idle apps costs nothing.
/// Loading again takes about a millisecond.
pub const IDLE_AFTER_MIN: Duration = Duration::from_millis(100);
/// How often within that time it is looked for idle apps: one is found this part of the time later at most.
pub(crate) const IDLE_LOOKS: u32 = 4;
/// How long a request waits for its app to be loaded again; compiling anew is the only reason to wait that long.
pub(crate) const WAKE_WAIT_MAX: Duration = Duration::from_secs(10);
/// Failures to load an app again that wait for the node to see to them.
pub(crate) const LOST_MAX: usize = 64;

/// Apps whose status one commit writes.
pub(crate) const REPORTS_AT_ONCE_MAX: usize = fermion_bus::limits::COMMIT_OPS_MAX - 1;

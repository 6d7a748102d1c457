//! The node's own bounds.

use std::time::Duration;

/// Releases of one app whose metrics stay readable: the one that serves and the two before it.
pub(crate) const RELEASES_MEASURED_MAX: usize = 3;

/// How long the node waits before it reads its assignment again after the bus failed it.
pub(crate) const BUS_RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often everything that serves is judged again without a change of trust: for a trust root whose grace runs out.
pub(crate) const TRUST_RECHECK_EVERY: Duration = Duration::from_secs(60);

//! What control needs to know of a package, and the check that tells it: nothing is recorded as a release before its
//! package has been verified whole.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use fermion_model::{Digest, PackageName};
use fermion_package::channel::{self, Seen};
use fermion_package::policy::Evidence;
use fermion_package::{Store, Trust, When, load};
use tokio::sync::watch;

use crate::control::Clock;

/// The facts of a verified package that a release records or is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFacts {
    /// The package's repository name.
    pub name: PackageName,
    /// Its version.
    pub version: semver::Version,
    /// The config keys it asks for.
    pub config: BTreeSet<String>,
    /// What the gate weighs.
    pub evidence: Evidence,
    /// The present that keys were held against: a release is let in at this time and no later one.
    pub judged_at: SystemTime,
}

/// Verifies the package of a manifest digest: one that is new, or one that was let in at the given time. Blocks.
pub type Verifier =
    Arc<dyn Fn(&Digest, Option<SystemTime>) -> Result<PackageFacts, fermion_package::Error> + Send + Sync>;

/// The verifier over a store and the trust that is in force at the moment. `seen` remembers the channels.
pub fn verifier(store: Store, trust: watch::Receiver<Trust>, seen: Seen, clock: Clock) -> Verifier {
    Arc::new(move |digest, admitted| {
        let trust = trust.borrow().clone();
        let now = clock();
        let when = match admitted {
            Some(admitted) => When::admitted(admitted, now),
            None => When::admission(now),
        };
        let package = load(&store, digest, &trust, when)?;
        if admitted.is_none() {
            channel::check(&store, &package.name, digest, &trust, &seen, when)?;
            seen.observe_package(&package.name, package.serial, digest)?;
        }
        let evidence = Evidence::gather(&store, &package, &trust, when)?;
        Ok(PackageFacts {
            evidence,
            name: package.name,
            version: package.version,
            config: package.capabilities.config,
            judged_at: now,
        })
    })
}

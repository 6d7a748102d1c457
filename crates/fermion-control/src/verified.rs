//! What control needs to know of a package, and the check that tells it: nothing is recorded as a release before its
//! package has been verified whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use fermion_model::{Digest, PackageName};
use fermion_package::channel::{self, Seen};
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
}

/// Verifies the package of a manifest digest. Blocks.
pub type Verifier = Arc<dyn Fn(&Digest) -> Result<PackageFacts, fermion_package::Error> + Send + Sync>;

/// The verifier over a store and the trust that is in force at the moment. `seen` remembers the channels.
pub fn verifier(store: Store, trust: watch::Receiver<Trust>, seen: Seen, clock: Clock) -> Verifier {
    Arc::new(move |digest| {
        let trust = trust.borrow().clone();
        let when = When::admission(clock());
        let package = load(&store, digest, &trust, when)?;
        channel::check(&store, &package.name, digest, &trust, &seen, when)?;
        Ok(PackageFacts {
            name: package.name,
            version: package.version,
            config: package.capabilities.config,
        })
    })
}

//! What requests share.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use fermion_package::Store;
use fermion_package::store::UploadId;
use http::Method;
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::limits::{MANIFESTS_MAX, UPLOADS_MAX};
use crate::{Error, Result};

/// The wall clock, passed in.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;
/// Fills bytes with random ones, passed in.
pub type Random = Arc<dyn Fn(&mut [u8]) -> std::io::Result<()> + Send + Sync>;

/// Counts an answer by the method and the status, passed in.
pub type Count = Arc<dyn Fn(&Method, u16) + Send + Sync>;

/// A registry over a store. Clones share it.
#[derive(Clone)]
pub struct Registry {
    pub(crate) shared: Arc<Shared>,
    /// None where nobody counts.
    pub(crate) count: Option<Count>,
}

pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) access: Access,
    pub(crate) clock: Clock,
    random: Random,
    pub(crate) uploads: Semaphore,
    pub(crate) manifests: Semaphore,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("access", &self.shared.access)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// Serves `store` under the rules of `access`.
    pub fn new(store: Store, access: Access, clock: Clock, random: Random) -> Self {
        let shared = Shared {
            store,
            access,
            clock,
            random,
            uploads: Semaphore::new(UPLOADS_MAX),
            manifests: Semaphore::new(MANIFESTS_MAX),
        };
        Self {
            shared: Arc::new(shared),
            count: None,
        }
    }

    /// The same, with every answer counted.
    #[must_use]
    pub fn counting(self, count: Count) -> Self {
        Self {
            count: Some(count),
            ..self
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.shared.clock)()
    }

    pub(crate) fn upload_id(&self) -> Result<UploadId> {
        let mut bytes = [0; 16];
        (self.shared.random)(&mut bytes).map_err(Error::Random)?;
        Ok(UploadId::from_bytes(bytes))
    }
}

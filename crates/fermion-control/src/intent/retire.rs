//! Takes an app out of service: nothing of it is routed any more. Its releases stay, and so do its numbers, so that a
//! rollback brings it back and nothing is ever numbered twice.

use fermion_bus::Expect;
use fermion_model::{AppName, Namespace};

use crate::documents::{Change, ChangeKind};
use crate::limits::CONFLICT_TRIES_MAX;
use crate::{Control, Error};

impl Control {
    /// Does nothing to an app that is not in service.
    ///
    /// # Errors
    /// `RolloutNot` while a release is being rolled out.
    pub(crate) async fn retire(&self, namespace: &Namespace, app: &AppName, by: &str) -> Result<(), Error> {
        let mut known = self.shared.intent.lock().await;
        for _ in 0..CONFLICT_TRIES_MAX {
            self.catch_up(&mut known).await?;
            let Some(app_known) = known.state.apps.get(&format!("{namespace}/{app}")) else {
                return Ok(());
            };
            let mut document = app_known.document.clone();
            if document.active.is_none() && document.good.is_empty() {
                return Ok(());
            }
            if document.canary.is_some() {
                return Err(Error::RolloutNot {
                    app: app.clone(),
                    phase: "under way".to_owned(),
                    why: "the app goes out of service when it is over".to_owned(),
                });
            }
            document.retire(Change {
                at: self.now(),
                by: by.to_owned(),
                kind: ChangeKind::Retire,
            });
            let expect = Expect::unchanged(app_known.revision);
            match self.bus().put_json(&document.key(), &document, expect).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Busy {
            what: "changes to this app",
        })
    }
}

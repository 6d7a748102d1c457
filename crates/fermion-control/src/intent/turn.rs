//! When a new release has its turn while another one is on its way: what a deploy and a rollback mean then.

use fermion_api::{DeployResult, RolloutCommand, RolloutOrder};
use fermion_bus::{Expect, Op};
use fermion_model::{AppName, Namespace, Release, ReleaseNumber};

use super::Intent;
use crate::documents::{AppDocument, Change};
use crate::plan::State;
use crate::rollout::RolloutDocument;
use crate::{Control, Error};

impl Control {
    /// A new release becomes active, or begins to be rolled out, or waits until what is being rolled out has made way.
    /// Gives what is to be written of the rollout.
    pub(super) fn take_its_turn(
        &self,
        state: &State,
        document: &mut AppDocument,
        release: &Release,
        change: Change,
    ) -> Result<Option<Op>, Error> {
        let known = state.rollouts.get(&document.name());
        // One that is over, or that cannot be read, gives way; the app's own document says that nothing is under way.
        let expect = known.map_or(Expect::Any, |known| Expect::unchanged(known.revision));
        let under_way = known.filter(|known| Some(known.document.canary) == document.canary);
        if document.canary.is_some() && under_way.is_none() && release.rollout.is_some() {
            return Err(Error::RolloutUnreadable {
                app: release.app.clone(),
            });
        }
        if let Some(under_way) = under_way {
            document.waiting = Some(release.number);
            let mut rollout = RolloutDocument::clone(&under_way.document);
            rollout.next = Some(release.number);
            return Ok(Some(Op::put_json(rollout.key(), &rollout, expect)?));
        }
        match self.begins(document, release, change.at)? {
            Some(rollout) => {
                document.canary = Some(release.number);
                Ok(Some(Op::put_json(rollout.key(), &rollout, expect)?))
            }
            None => {
                document.canary = None;
                document.activate(release.number, change);
                Ok(None)
            }
        }
    }

    /// What a rollback means while a rollout is under way: it is aborted. None if nothing is under way.
    pub(super) async fn take_back(
        &self,
        namespace: &Namespace,
        app: &AppName,
        to: Option<ReleaseNumber>,
        by: &str,
    ) -> Result<Option<DeployResult>, Error> {
        let document = self.read_app(namespace, app).await?.document;
        let (Some(canary), Some(stable)) = (document.canary, document.active) else {
            return Ok(None);
        };
        if to.is_some_and(|to| to != stable) {
            return Err(Error::RolloutNot {
                app: app.clone(),
                phase: "under way".to_owned(),
                why: format!("`fermion abort` takes {canary} back first"),
            });
        }
        let order = RolloutOrder {
            command: RolloutCommand::Abort,
            rollout: None,
            step: None,
        };
        let rollout = self.order_rollout(namespace, app, order, by).await?;
        let intent = Intent {
            number: stable,
            previous: Some(canary),
            created: false,
            is_gradual: false,
        };
        let result = self.result(namespace, app, &intent).await?;
        Ok(Some(DeployResult {
            rollout: Some(Box::new(rollout)),
            ..result
        }))
    }
}

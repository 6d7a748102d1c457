//! Documents of earlier formats, brought to today's before anybody else reads them. Each step can be cut off anywhere
//! and done again: the old document goes last.

use fermion_bus::{Expect, Op};
use fermion_model::assignment::{
    ASSIGNMENT_SCHEMA, AssignedApp, Assignment, assigned_app_key, assignment_key, first,
};

use crate::limits::ASSIGNED_AT_ONCE_MAX;
use crate::{Control, Error};

impl Control {
    /// Takes an assignment of the first schema, which held every app, apart into one document for each. To be done
    /// before the node reads its assignment.
    ///
    /// # Errors
    /// When the bus fails.
    pub async fn upgrade(&self) -> Result<(), Error> {
        let node = &self.config().node;
        let key = assignment_key(node);
        let Some(document) = self.bus().get(&key).await? else {
            return Ok(());
        };
        let Ok(whole) = serde_json::from_slice::<first::Assignment>(&document.bytes) else {
            return Ok(());
        };
        if whole.schema != first::SCHEMA {
            return Ok(());
        }
        let count = whole.apps.len();
        let mut ops = Vec::new();
        for (name, app) in whole.apps {
            let app = AssignedApp {
                schema: ASSIGNMENT_SCHEMA,
                generation: whole.generation,
                release: app.release,
                last_good: app.last_good,
                canary: None,
            };
            ops.push(Op::put_json(assigned_app_key(node, &name), &app, Expect::Any)?);
        }
        while !ops.is_empty() {
            let rest = ops.split_off(ops.len().min(ASSIGNED_AT_ONCE_MAX));
            self.bus().commit(std::mem::replace(&mut ops, rest)).await?;
        }
        let assignment = Assignment {
            schema: ASSIGNMENT_SCHEMA,
            generation: whole.generation,
        };
        let unchanged = Expect::Revision(document.revision);
        self.bus().put_json(&key, &assignment, unchanged).await?;
        tracing::info!(apps = count, "the assignment now has a document for each app");
        Ok(())
    }
}

//! What the node says of itself: one document for the whole and one for each app, written when they change and as many
//! at once as a commit takes.

use fermion_bus::{Expect, Op};
use fermion_model::assignment::{app_status_key, status_key};

use crate::error::Error;
use crate::limits;
use crate::reconcile::Node;

impl Node {
    /// Writes what the bus does not hold yet. An app is reported when there is something to say of it: a release that is
    /// still being made ready leaves what was said before.
    pub(crate) async fn report(&mut self) -> Result<(), Error> {
        let mut ops = Vec::new();
        while let Some(key) = self.changed.apps.pop_first() {
            let bus_key = app_status_key(&self.name, &key);
            let status = self.apps.get(&key).map(|app| app.status(self.incarnation));
            match status {
                None => {
                    if self.reported_apps.remove(&key).is_some() {
                        ops.push(Op::Delete {
                            key: bus_key,
                            expect: Expect::Any,
                        });
                    }
                }
                Some(status) if status.is_pending() || self.reported_apps.get(&key) == Some(&status) => {}
                Some(status) => {
                    ops.push(Op::put_json(bus_key, &status, Expect::Any)?);
                    self.reported_apps.insert(key, status);
                }
            }
            if ops.len() >= limits::REPORTS_AT_ONCE_MAX {
                self.write(std::mem::take(&mut ops)).await?;
            }
        }
        // The whole comes last: what it speaks for is there.
        let status = self.status();
        if self.reported.as_ref() != Some(&status) {
            ops.push(Op::put_json(status_key(&self.name), &status, Expect::Any)?);
            self.reported = Some(status);
        }
        if !ops.is_empty() {
            self.write(ops).await?;
        }
        Ok(())
    }

    /// What could not be written is written with the next report.
    async fn write(&mut self, ops: Vec<Op>) -> Result<(), Error> {
        let written = self.bus.commit(ops).await;
        if written.is_err() {
            self.reported = None;
            self.reported_apps.clear();
            self.changed.apps.extend(self.apps.keys().cloned());
        }
        Ok(written.map(drop)?)
    }
}

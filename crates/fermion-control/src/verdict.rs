//! Waiting for what the reconciler makes of a release. The waiter judges nothing itself: it reads the app's document
//! and the node's report until they say one way or the other, so a waiter that leaves changes nothing.

use fermion_model::assignment::{AppStatus, Problem, app_status_key, status_key};
use fermion_model::{AppName, Namespace, ReleaseNumber};
use fermion_planner::rollout::{Phase, Reason};

use crate::documents::{AppDocument, app_key};
use crate::limits::TRUST_WAIT_MAX;
use crate::rollout::rollout_key;
use crate::view::serving;
use crate::{Control, Error};

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Serves,
    Failed {
        problem: Problem,
        serving: Option<ReleaseNumber>,
    },
    /// Something else is active now.
    Superseded,
    OnTrial,
}

/// `report` is the node's on this release. A release that was good before must still be reported: after a restart the
/// node begins anew, and may find it damaged.
fn verdict(document: &AppDocument, report: Option<&AppStatus>, number: ReleaseNumber) -> Verdict {
    if let Some(problem) = document.problem_of(number) {
        return Verdict::Failed {
            problem: problem.clone(),
            serving: document.active,
        };
    }
    if document.active != Some(number) {
        return Verdict::Superseded;
    }
    let Some(report) = report.filter(|_| document.last_good() == Some(number)) else {
        return Verdict::OnTrial;
    };
    match &report.problem {
        Some(problem) => Verdict::Failed {
            problem: problem.clone(),
            serving: report.serving,
        },
        None if report.serving == Some(number) => Verdict::Serves,
        None => Verdict::OnTrial,
    }
}

impl Control {
    /// Waits until the release serves. Errors: `ReleaseFailed`, `Superseded`, `NotYetReady`.
    pub(crate) async fn wait_until_it_serves(
        &self,
        namespace: &Namespace,
        app: &AppName,
        number: ReleaseNumber,
    ) -> Result<(), Error> {
        let waited = self.config().deploy_wait_max;
        let settled = tokio::time::timeout(waited, self.settled(namespace, app, number)).await;
        settled.unwrap_or_else(|_| {
            Err(Error::NotYetReady {
                app: app.clone(),
                number,
                waited,
            })
        })
    }

    async fn settled(
        &self,
        namespace: &Namespace,
        app: &AppName,
        number: ReleaseNumber,
    ) -> Result<(), Error> {
        let mut documents = self.bus().watch(&app_key(namespace, app));
        let name = format!("{namespace}/{app}");
        let mut reports = self.bus().watch(&app_status_key(&self.config().node, &name));
        loop {
            let document = self.read_app(namespace, app).await?.document;
            let report = self.read_report(&name).await?;
            let report = report.filter(|report| report.wanted == number);
            let app = app.clone();
            match verdict(&document, report.as_ref(), number) {
                Verdict::Serves => return Ok(()),
                Verdict::Failed { problem, serving } => {
                    return Err(Error::ReleaseFailed {
                        app,
                        number,
                        problem,
                        serving,
                    });
                }
                Verdict::Superseded => {
                    return Err(Error::Superseded {
                        app,
                        number,
                        active: document.active,
                    });
                }
                Verdict::OnTrial => {}
            }
            tokio::select! {
                changed = documents.next() => drop(changed?),
                reported = reports.next() => drop(reported?),
            }
        }
    }

    /// Waits until a release that is rolled out is ready, and its first step begins. Errors: `ReleaseFailed`,
    /// `NotYetReady`. One that waits for its turn, or has made way already, is not waited for.
    pub(crate) async fn wait_until_it_rolls(
        &self,
        namespace: &Namespace,
        app: &AppName,
        number: ReleaseNumber,
    ) -> Result<(), Error> {
        let waited = self.config().deploy_wait_max;
        let rolls = tokio::time::timeout(waited, self.rolls(namespace, app, number)).await;
        rolls.unwrap_or_else(|_| {
            Err(Error::NotYetReady {
                app: app.clone(),
                number,
                waited,
            })
        })
    }

    async fn rolls(&self, namespace: &Namespace, app: &AppName, number: ReleaseNumber) -> Result<(), Error> {
        let mut rollouts = self.bus().watch(&rollout_key(namespace, app));
        let name = format!("{namespace}/{app}");
        loop {
            let read = self.read_rollout(namespace, app).await?;
            let Some((_, rollout)) = read.filter(|(_, rollout)| rollout.canary == number) else {
                return Ok(());
            };
            match rollout.state.phase {
                Phase::Pending | Phase::Validating | Phase::Prewarming => {}
                Phase::Aborting(Reason::Unready) | Phase::RolledBack(Reason::Unready)
                    if rollout.evidence.total.canary.requests == 0 =>
                {
                    let report = self.read_report(&name).await?;
                    let canary = report.as_ref().and_then(|report| report.canary.as_ref());
                    let problem = canary.and_then(|canary| canary.problem.clone());
                    return Err(Error::ReleaseFailed {
                        app: app.clone(),
                        number,
                        problem: problem.unwrap_or_else(|| Problem {
                            code: "NOT_READY".to_owned(),
                            message: "the node could not make it ready".to_owned(),
                        }),
                        serving: serving(report.as_ref()),
                    });
                }
                _ => return Ok(()),
            }
            drop(rollouts.next().await?);
        }
    }

    /// Waits until the node has come to an end, good or bad, with all that is assigned.
    pub async fn wait_until_settled(&self) -> Result<(), Error> {
        loop {
            let seen = self.bus().revision();
            if self.read_state().await?.is_settled() {
                return Ok(());
            }
            self.bus().changed_since(seen).await?;
        }
    }

    /// Waits until the node says that it has judged everything that serves by this trust root, or a later one. Only
    /// then is a revocation done.
    pub(crate) async fn wait_until_judged(&self, epoch: u64) -> Result<(), Error> {
        let judged = async {
            let mut reports = self.bus().watch(&status_key(&self.config().node));
            while self.read_status().await?.trust_epoch < epoch {
                drop(reports.next().await?);
            }
            Ok(())
        };
        let judged = tokio::time::timeout(TRUST_WAIT_MAX, judged).await;
        judged.unwrap_or(Err(Error::TrustNotJudged {
            epoch,
            waited: TRUST_WAIT_MAX,
        }))
    }
}

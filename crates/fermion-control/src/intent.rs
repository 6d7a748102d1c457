//! What operators want: a new release, or an earlier one. Each is checked, stored in one commit together with the
//! app's new state, and only then acted on, by the reconciler.

mod admit;
mod checks;
mod rehearse;
mod retire;
mod turn;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fermion_api::{DeployRequest, DeployResult, Refs, RollbackRequest};
use fermion_bus::{Expect, Op};
use fermion_model::release::{RELEASE_SCHEMA, Route};
use fermion_model::{AppName, Digest, Namespace, Release, ReleaseNumber};
use fermion_package::policy::Action;

use crate::claims::check_routes;
use crate::control::unix_seconds;
use crate::decisions::Decided;
use crate::documents::{AppDocument, Change, ChangeKind, release_key, releases_prefix};
use crate::limits::{CHECK_WAIT_MAX, CONFLICT_TRIES_MAX, RELEASES_KEPT_MAX};
use crate::plan::{KnownApp, State};
use crate::verified::PackageFacts;
use crate::view::{release_view, serving, steps};
use crate::{Control, Error};
use admit::Applicant;
use checks::{
    Unusual, check_claims, check_config, check_quarantine, check_room, checked_objectives, checked_refs,
};
pub(crate) use rehearse::{Rehearsal, Subject};

/// Old releases that one deploy removes; more than it adds, so that a backlog shrinks.
const PRUNED_MAX: usize = 8;

/// A recorded intent.
struct Intent {
    number: ReleaseNumber,
    previous: Option<ReleaseNumber>,
    created: bool,
    /// True if it takes over by a rollout.
    is_gradual: bool,
}

impl Control {
    /// Makes a release of a package in the store, and waits until it serves. The same package, routes, config and
    /// objectives as the active release make no new one. `by` is recorded. If the release fails, the app is back on the last good
    /// one when this returns `ReleaseFailed`.
    pub async fn deploy(
        &self,
        namespace: &Namespace,
        app: &AppName,
        request: DeployRequest,
        by: &str,
    ) -> Result<DeployResult, Error> {
        let source = request.source.clone();
        let outcome = self.deploy_it(namespace, app, request, by).await;
        self.note_deploy(namespace, app, (by, source), &outcome);
        outcome
    }

    async fn deploy_it(
        &self,
        namespace: &Namespace,
        app: &AppName,
        request: DeployRequest,
        by: &str,
    ) -> Result<DeployResult, Error> {
        let _slot = self
            .shared
            .deploys
            .try_acquire()
            .map_err(|_| Error::Busy { what: "deploys" })?;
        let DeployRequest {
            digest,
            source,
            refs,
            routes,
            config,
            objectives,
            expected,
            override_policy,
            rollout,
            retry,
            during_freeze,
        } = request;
        let routes: Vec<Route> = routes.into_iter().map(Into::into).collect();
        check_routes(&routes)?;
        if let Some(spec) = &rollout {
            spec.validate().map_err(|what| Error::Request { what })?;
        }
        let objectives = checked_objectives(objectives)?;
        let (digest, pulled) = self.obtain(digest, source.as_deref()).await?;
        let collecting = self.shared.collecting.read().await;
        let (facts, version) = self.check_package(digest, refs, None).await?;
        check_config(&config, &facts.config)?;
        let applicant = Applicant {
            namespace,
            app,
            by,
            action: Action::Deploy,
            routes: &routes,
            config: &config,
        };
        let telemetry = facts.evidence.facts.telemetry.clone();
        let decided = self.admit(applicant, facts.evidence, override_policy).await?;
        // The names by which people deploy come last: what was refused has none.
        self.name(pulled, version).await?;
        let release = Release {
            schema: RELEASE_SCHEMA,
            namespace: namespace.clone(),
            app: app.clone(),
            // Given out below, under the lock.
            number: ReleaseNumber(0),
            package: facts.name,
            version: facts.version,
            digest,
            routes,
            config,
            created_at: unix_seconds(facts.judged_at),
            created_by: by.to_owned(),
            policy_override: decided.override_reason.clone(),
            rollout,
            objectives,
            owner: telemetry.owner,
            runbook: telemetry.runbook,
        };
        let unusual = Unusual { retry, during_freeze };
        let intent = self
            .record(|state| self.record_deploy(state, &release, expected, &decided, unusual))
            .await?;
        drop(collecting);
        self.finish(namespace, app, intent).await
    }

    /// Routes the app to an earlier release, and waits until it serves.
    pub async fn rollback(
        &self,
        namespace: &Namespace,
        app: &AppName,
        request: RollbackRequest,
        by: &str,
    ) -> Result<DeployResult, Error> {
        let _slot = self
            .shared
            .deploys
            .try_acquire()
            .map_err(|_| Error::Busy { what: "deploys" })?;
        let RollbackRequest { to, override_policy } = request;
        if let Some(result) = self.take_back(namespace, app, to, by).await? {
            return Ok(result);
        }
        let release = self.release_to_activate(namespace, app, to).await?;
        let (facts, _) = self
            .check_package(release.digest, None, Some(release.created_at))
            .await?;
        let applicant = Applicant {
            namespace,
            app,
            by,
            action: Action::Activate,
            routes: &release.routes,
            config: &release.config,
        };
        let decided = self.admit(applicant, facts.evidence, override_policy).await?;
        let intent = self
            .record(|state| self.record_rollback(state, namespace, app, release.number, &decided))
            .await?;
        self.finish(namespace, app, intent).await
    }

    /// Reads, decides and commits under the lock; again if something changed underneath.
    async fn record<F>(&self, decide: impl Fn(Arc<State>) -> F) -> Result<Intent, Error>
    where
        F: Future<Output = Result<Intent, Error>>,
    {
        let mut known = self.shared.intent.lock().await;
        for _ in 0..CONFLICT_TRIES_MAX {
            self.catch_up(&mut known).await?;
            match decide(known.state.clone()).await {
                Err(Error::Bus(error)) if error.is_conflict() => {}
                decided => return decided,
            }
        }
        Err(Error::Busy {
            what: "changes to this app",
        })
    }

    async fn record_deploy(
        &self,
        state: Arc<State>,
        release: &Release,
        expected: Option<ReleaseNumber>,
        decided: &Decided,
        unusual: Unusual,
    ) -> Result<Intent, Error> {
        let name = format!("{}/{}", release.namespace, release.app);
        let change = Change {
            at: release.created_at,
            by: release.created_by.clone(),
            kind: ChangeKind::Deploy,
        };
        let mut known = known_or_new(&state, &name, release, &change)?;
        let previous = known.document.active;
        if expected.is_some_and(|expected| previous != Some(expected)) {
            let expected = expected.unwrap_or(ReleaseNumber(0));
            return Err(Error::ReleaseChanged {
                app: release.app.clone(),
                expected,
                active: previous,
            });
        }
        // A release that the node refuses is not what was asked for: a new one is a new try, with blobs that may be
        // whole again.
        let is_same = |number: &ReleaseNumber| known.releases.get(number).is_some_and(|r| same(r, release));
        let there = previous.filter(|number| is_same(number) && !state.refuses(&name, *number));
        let coming = known.document.waiting.or(known.document.canary).filter(is_same);
        // With something else on its way, to deploy what is active is to go back to it.
        let there = there.filter(|_| known.document.canary.is_none());
        if let Some(number) = coming.or(there) {
            self.bus()
                .commit(self.decision_ops(decided, Some(number)).await?)
                .await?;
            return Ok(Intent {
                number,
                previous,
                created: false,
                is_gradual: coming.is_some(),
            });
        }
        check_quarantine(&known.document, release, unusual.retry)?;
        check_claims(&state, &name, &release.routes)?;
        let number = ReleaseNumber(known.document.latest.0.saturating_add(1));
        let release = Release {
            number,
            ..release.clone()
        };
        known.document.latest = number;
        let rollout = self.take_its_turn(&state, &mut known.document, &release, change)?;
        known.releases.insert(number, release.clone());
        let is_gradual = rollout.is_some();
        if !(unusual.during_freeze || is_gradual && release.rollout.is_some()) {
            self.check_frozen(&release).await?;
        }
        let mut ops: Vec<Op> = rollout.into_iter().collect();
        ops.push(Op::put_json(
            release_key(&release.namespace, &release.app, number),
            &release,
            Expect::Absent,
        )?);
        ops.extend(self.decision_ops(decided, Some(number)).await?);
        ops.extend(self.prune(&mut known.document).await?);
        ops.push(Op::put_json(
            known.document.key(),
            &known.document,
            Expect::unchanged(known.revision),
        )?);
        check_room(&known)?;
        self.bus().commit(ops).await?;
        Ok(Intent {
            number,
            previous,
            created: true,
            is_gradual,
        })
    }

    async fn record_rollback(
        &self,
        state: Arc<State>,
        namespace: &Namespace,
        app: &AppName,
        number: ReleaseNumber,
        decided: &Decided,
    ) -> Result<Intent, Error> {
        let mut known = self.read_app(namespace, app).await?;
        let previous = known.document.active;
        let release = self.release_to_activate(namespace, app, Some(number)).await?;
        if previous == Some(number) {
            self.bus()
                .commit(self.decision_ops(decided, Some(number)).await?)
                .await?;
            return Ok(Intent {
                number,
                previous,
                created: false,
                is_gradual: false,
            });
        }
        check_claims(&state, &known.document.name(), &release.routes)?;
        let change = Change {
            at: decided.at,
            by: decided.by.clone(),
            kind: ChangeKind::Rollback,
        };
        known.document.activate(number, change);
        let mut ops = vec![Op::put_json(
            known.document.key(),
            &known.document,
            Expect::unchanged(known.revision),
        )?];
        ops.extend(self.decision_ops(decided, Some(number)).await?);
        known.releases.insert(number, release);
        check_room(&known)?;
        self.bus().commit(ops).await?;
        Ok(Intent {
            number,
            previous,
            created: false,
            is_gradual: false,
        })
    }

    /// The release that a rollback means.
    async fn release_to_activate(
        &self,
        namespace: &Namespace,
        app: &AppName,
        to: Option<ReleaseNumber>,
    ) -> Result<Release, Error> {
        let number = match to {
            Some(number) => number,
            None => {
                let known = self.read_app(namespace, app).await?;
                self.newest_before(&known.document).await?
            }
        };
        let release = self.read_release(namespace, app, number).await?;
        release.ok_or_else(|| Error::NoSuchRelease {
            app: app.clone(),
            what: number.to_string(),
        })
    }

    /// The newest release before the active one that has not failed.
    async fn newest_before(&self, document: &AppDocument) -> Result<ReleaseNumber, Error> {
        let numbers = self.kept_numbers(document).await?;
        let before = |number: &ReleaseNumber| document.active.is_none_or(|active| *number < active);
        let newest = numbers
            .into_iter()
            .filter(before)
            .filter(|&number| document.problem_of(number).is_none())
            .max();
        newest.ok_or_else(|| {
            let what = match document.active {
                Some(active) => format!("before {active} to go back to"),
                None => "to go back to".to_owned(),
            };
            Error::NoSuchRelease {
                app: document.app.clone(),
                what,
            }
        })
    }

    async fn kept_numbers(&self, document: &AppDocument) -> Result<Vec<ReleaseNumber>, Error> {
        let prefix = releases_prefix(&document.namespace, &document.app);
        let entries = self.bus().list(&prefix).await?;
        Ok(entries
            .iter()
            .filter_map(|entry| entry.key.strip_prefix(&prefix)?.parse().ok())
            .collect())
    }

    /// The removal of releases that are too old to keep and not in use.
    async fn prune(&self, document: &mut AppDocument) -> Result<Vec<Op>, Error> {
        let kept = u32::try_from(RELEASES_KEPT_MAX).unwrap_or(u32::MAX);
        let oldest = ReleaseNumber(document.latest.0.saturating_sub(kept));
        let held = document.held();
        document.failed.retain(|failed| failed.number > oldest);
        if oldest.0 == 0 {
            return Ok(Vec::new());
        }
        let mut old = self.kept_numbers(document).await?;
        old.retain(|number| *number <= oldest && !held.contains(number));
        old.truncate(PRUNED_MAX);
        let delete = |number| {
            let key = release_key(&document.namespace, &document.app, number);
            Op::Delete {
                key,
                expect: Expect::Any,
            }
        };
        Ok(old.into_iter().map(delete).collect())
    }

    /// Verifies the package, off the reactor and a few at a time. Gives its facts, and its version's tag if that came
    /// along and is still to be set.
    pub(crate) async fn check_package(
        &self,
        digest: Digest,
        refs: Option<Refs>,
        admitted_at: Option<u64>,
    ) -> Result<(PackageFacts, Option<fermion_package::Refs>), Error> {
        let refs = refs.map(|refs| checked_refs(refs, digest)).transpose()?;
        let turn = tokio::time::timeout(CHECK_WAIT_MAX, self.shared.checks.acquire()).await;
        let _turn = turn
            .map_err(|_| Error::Busy {
                what: "packages to check",
            })?
            .map_err(|_| Error::Stopped {
                doing: "check a package",
            })?;
        let (store, verifier) = (
            self.shared.parts.store.clone(),
            self.shared.parts.verifier.clone(),
        );
        let admitted = admitted_at.map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at));
        let check = move || {
            // Signatures are found by their tags, which mean nothing without the package: they are set first.
            let version = refs.map(|refs| {
                let (signatures, version) = refs.split_version();
                fermion_package::import_refs(&store, &signatures).map(|()| version)
            });
            let version = version.transpose()?;
            verifier(&digest, admitted).map(|facts| (facts, version))
        };
        let checked = tokio::task::spawn_blocking(check).await;
        Ok(checked.map_err(|_| Error::Stopped {
            doing: "check a package",
        })??)
    }

    async fn finish(
        &self,
        namespace: &Namespace,
        app: &AppName,
        intent: Intent,
    ) -> Result<DeployResult, Error> {
        if !intent.is_gradual {
            self.wait_until_it_serves(namespace, app, intent.number).await?;
            return self.result(namespace, app, &intent).await;
        }
        self.wait_until_it_rolls(namespace, app, intent.number).await?;
        let result = self.result(namespace, app, &intent).await?;
        let rollout = self.rollout(namespace, app).await?;
        Ok(DeployResult {
            rollout: Some(Box::new(rollout)),
            ..result
        })
    }

    async fn result(
        &self,
        namespace: &Namespace,
        app: &AppName,
        intent: &Intent,
    ) -> Result<DeployResult, Error> {
        let known = self.read_app(namespace, app).await?;
        let report = self.read_report(&known.document.name()).await?;
        // Of what is rolled out the node says nothing here yet: what serves is the old release.
        let report = report
            .as_ref()
            .filter(|report| intent.is_gradual || report.wanted == intent.number);
        let release = self.read_release(namespace, app, intent.number).await?;
        let release = release.ok_or_else(|| Error::NoSuchRelease {
            app: app.clone(),
            what: intent.number.to_string(),
        })?;
        Ok(DeployResult {
            release: release_view(&release, &known.document, report),
            created: intent.created,
            previous: intent.previous,
            serving: serving(report),
            steps: report
                .filter(|_| !intent.is_gradual)
                .map(steps)
                .unwrap_or_default(),
            rollout: None,
        })
    }
}

fn known_or_new(state: &State, name: &str, release: &Release, change: &Change) -> Result<KnownApp, Error> {
    if state.unreadable.contains(name) {
        return Err(Error::Unreadable { app: name.to_owned() });
    }
    let fresh = || {
        let document = AppDocument::new(release.namespace.clone(), release.app.clone(), change.clone());
        KnownApp {
            revision: None,
            document,
            releases: BTreeMap::new(),
        }
    };
    Ok(state.apps.get(name).cloned().unwrap_or_else(fresh))
}

fn same(active: &Release, wanted: &Release) -> bool {
    active.digest == wanted.digest
        && active.routes == wanted.routes
        && active.config == wanted.config
        && active.objectives == wanted.objectives
}

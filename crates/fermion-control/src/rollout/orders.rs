//! What people want of rollouts: to begin one with a deploy, and to decide one that is under way.

use fermion_api::{RolloutCommand, RolloutOrder, RolloutView};
use fermion_bus::Expect;
use fermion_model::rollout::Strategy;
use fermion_model::{AppName, Namespace, Release};
use fermion_planner::rollout::{Command, Pause, Phase, State};

use super::document::{Event, Order, ROLLOUT_SCHEMA, RolloutDocument, history_prefix, rollout_key};
use super::{rollout_view, words};
use crate::control::check_schema;
use crate::documents::AppDocument;
use crate::limits::CONFLICT_TRIES_MAX;
use crate::{Control, Error};

impl Control {
    /// The rollout by which `release` takes over; none if it does so at once: because it asks for none, or because there
    /// is nothing good to compare it with and to go back to.
    pub(crate) fn begins(
        &self,
        document: &AppDocument,
        release: &Release,
        now: u64,
    ) -> Result<Option<RolloutDocument>, Error> {
        let Some(spec) = &release.rollout else {
            return Ok(None);
        };
        let Some(stable) = document
            .active
            .filter(|&active| document.last_good() == Some(active))
        else {
            return Ok(None);
        };
        let mut rollout = RolloutDocument {
            schema: ROLLOUT_SCHEMA,
            namespace: release.namespace.clone(),
            app: release.app.clone(),
            id: u64::from(release.number.0),
            stable,
            canary: release.number,
            spec: spec.clone(),
            salt: (self.shared.parts.salt)()?,
            begun_at: now,
            begun_by: release.created_by.clone(),
            ended_at: None,
            state: State::new(0, now),
            deployed: false,
            next: None,
            held_by: Vec::new(),
            order: None,
            evidence: Default::default(),
            copies: Default::default(),
            experiment: None,
            verdicts: Vec::new(),
            events: Vec::new(),
        };
        let why = format!(
            "{} {}:{} is rolled out by {}, {stable} serves meanwhile",
            release.number,
            release.package,
            release.version,
            strategy(spec.strategy)
        );
        rollout.note(Event {
            at: now,
            phase: words::phase(Phase::Pending),
            weight: 0,
            by: release.created_by.clone(),
            why,
        });
        Ok(Some(rollout))
    }

    /// An app's newest rollout with its document's revision.
    pub(crate) async fn read_rollout(
        &self,
        namespace: &Namespace,
        app: &AppName,
    ) -> Result<Option<(u64, RolloutDocument)>, Error> {
        let key = rollout_key(namespace, app);
        let Some((revision, document)) = self.bus().get_json::<RolloutDocument>(&key).await? else {
            return Ok(None);
        };
        check_schema(&key, document.schema, ROLLOUT_SCHEMA)?;
        Ok(Some((revision, document)))
    }

    async fn rollout_there(
        &self,
        namespace: &Namespace,
        app: &AppName,
    ) -> Result<(u64, RolloutDocument), Error> {
        self.read_app(namespace, app).await?;
        let read = self.read_rollout(namespace, app).await?;
        read.ok_or_else(|| Error::NoRollout { app: app.clone() })
    }

    /// An app's newest rollout, under way or over.
    pub async fn rollout(&self, namespace: &Namespace, app: &AppName) -> Result<RolloutView, Error> {
        let (_, document) = self.rollout_there(namespace, app).await?;
        Ok(rollout_view(&document))
    }

    /// Every rollout of an app that is remembered, newest first.
    pub async fn rollouts(&self, namespace: &Namespace, app: &AppName) -> Result<Vec<RolloutView>, Error> {
        let newest = self
            .read_rollout(namespace, app)
            .await?
            .map(|(_, document)| document);
        let mut views: Vec<RolloutView> = newest.iter().map(rollout_view).collect();
        for entry in self.bus().list(&history_prefix(namespace, app)).await? {
            let document: RolloutDocument = entry.json()?;
            if newest.as_ref().is_none_or(|newest| newest.id != document.id) {
                views.push(rollout_view(&document));
            }
        }
        views.sort_by_key(|view| std::cmp::Reverse(view.id));
        Ok(views)
    }

    /// Records what a person wants of a rollout. It is done with the next look, about a second later.
    pub async fn order_rollout(
        &self,
        namespace: &Namespace,
        app: &AppName,
        order: RolloutOrder,
        by: &str,
    ) -> Result<RolloutView, Error> {
        for _ in 0..CONFLICT_TRIES_MAX {
            let (revision, mut document) = self.rollout_there(namespace, app).await?;
            if order.command == RolloutCommand::Promote
                && let Some(promoted) = self.promote_tried(revision, &document, by).await?
            {
                return Ok(rollout_view(&promoted));
            }
            document.order = Some(Order {
                command: command(&document, order)?,
                by: by.to_owned(),
            });
            let expect = Expect::unchanged(Some(revision));
            match self.bus().put_json(&document.key(), &document, expect).await {
                Ok(_) => return Ok(rollout_view(&document)),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Busy {
            what: "changes to this rollout",
        })
    }
}

/// As the planner takes it, if it can be done now.
fn command(document: &RolloutDocument, order: RolloutOrder) -> Result<Command, Error> {
    let phase = document.state.phase;
    let refuse = |why: &str| {
        Err(Error::RolloutNot {
            app: document.app.clone(),
            phase: words::phase(phase),
            why: why.to_owned(),
        })
    };
    if document.is_over() {
        return refuse("it is over");
    }
    if matches!(phase, Phase::Aborting(_) | Phase::AbortBlocked(_)) {
        return refuse("it is on its way back");
    }
    let is_paused = matches!(phase, Phase::Paused(_));
    let (id, step) = (document.id, document.state.step);
    if order.rollout.is_some_and(|wanted| wanted != id) || order.step.is_some_and(|wanted| wanted != step) {
        return refuse("it has moved on; look at it again");
    }
    match order.command {
        RolloutCommand::Abort => Ok(Command::Abort),
        RolloutCommand::Pause
            if matches!(
                phase,
                Phase::Mirroring | Phase::Shifting | Phase::Baking | Phase::Judging
            ) =>
        {
            Ok(Command::Pause)
        }
        RolloutCommand::Pause => refuse("only a step can be paused"),
        RolloutCommand::Resume if phase == Phase::Paused(Pause::Gate) => {
            refuse("it waits at a gate and goes on when that opens; `fermion promote` opens it now")
        }
        RolloutCommand::Resume if is_paused => Ok(Command::Resume),
        RolloutCommand::Promote if is_paused => Ok(Command::Promote {
            rollout: id,
            epoch: document.state.epoch,
            step,
        }),
        RolloutCommand::Resume => refuse("it is not paused"),
        RolloutCommand::Promote => {
            refuse("only a paused rollout is promoted by hand; `fermion pause` it first")
        }
    }
}

pub(super) fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Canary => "canary",
        Strategy::BlueGreen => "blue-green",
        Strategy::Rolling => "rolling",
        Strategy::Shadow => "shadow",
        Strategy::Ab => "ab",
    }
}

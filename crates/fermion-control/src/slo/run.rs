//! The task that listens to frames, evaluates every few seconds, and writes what came of it.

use std::collections::BTreeMap;

use fermion_bus::limits::COMMIT_OPS_MAX;
use fermion_bus::{Event, Expect, Heard, Listener, Op};
use fermion_model::frame::Frame;
use fermion_telemetry::Heard as Frames;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::desk::{AppAlerts, Desk, Look, Ordered};
use super::facts::{AppFacts, facts};
use super::incident::Notice;
use crate::control::check_schema;
use crate::limits::{EVALUATE_EVERY, FRAMES_LEFT_MAX};
use crate::receivers::Message;
use crate::{Control, Error};

pub(super) const ALERTS_SCHEMA: u32 = 1;
const ALERTS: &str = "alerts/";
pub(super) const SILENCES: &str = "alert-silences";

/// The alerts of one app, as they are stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertsDocument {
    pub(super) schema: u32,
    pub(super) alerts: AppAlerts,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SilencesDocument {
    pub(super) schema: u32,
    pub(super) silences: Vec<Ordered>,
}

pub(super) fn alerts_key(name: &str) -> String {
    format!("{ALERTS}{name}")
}

impl Control {
    /// Adds up what nodes send and evaluates it, until cancelled. What was known before is read back first; what is
    /// known at the end is written.
    pub(crate) async fn run_objectives(&self, shutdown: CancellationToken) {
        let mut frames = self.bus().listen("frames/");
        while let Err(error) = self.load_objectives().await {
            tracing::error!(%error, "objectives cannot be read; trying again");
            let pause = tokio::time::sleep(EVALUATE_EVERY);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
        let mut tick = interval(EVALUATE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = None;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                heard = frames.next() => match heard {
                    Ok(heard) => self.hear(heard, &mut seen).await,
                    Err(_) => break,
                },
                _ = tick.tick() => self.look().await,
            }
        }
        self.hear_the_rest(&mut frames, &mut seen).await;
        if let Err(error) = self.save_tallies(self.now()).await {
            tracing::error!(%error, "objectives could not be written at the end");
        }
    }

    /// What nodes sent before they stopped.
    async fn hear_the_rest(&self, frames: &mut Listener, seen: &mut Option<u64>) {
        for _ in 0..FRAMES_LEFT_MAX {
            let next = std::pin::pin!(frames.next());
            let Some(Ok(heard)) = futures::FutureExt::now_or_never(next) else {
                return;
            };
            self.hear(heard, seen).await;
        }
    }

    async fn hear(&self, heard: Heard, seen: &mut Option<u64>) {
        let metrics = self.shared.parts.telemetry.control();
        let message = match heard {
            Heard::Message(message) => message,
            Heard::Missed(count) => {
                tracing::warn!(count, "messages of nodes were missed");
                metrics.heard(Frames::Missed, count);
                return;
            }
        };
        match serde_json::from_slice::<Frame>(&message.bytes) {
            Ok(frame) => {
                if let Err(error) = self.observe(&frame, seen).await {
                    tracing::error!(%error, "what apps promise cannot be read");
                }
            }
            Err(error) => {
                tracing::warn!(subject = &*message.subject, %error, "a frame cannot be read");
                metrics.heard(Frames::Refused, 1);
            }
        }
    }

    /// Takes in one frame, by what apps promise at the moment.
    pub(super) async fn observe(&self, frame: &Frame, seen: &mut Option<u64>) -> Result<(), Error> {
        let revision = self.bus().revision();
        if *seen != Some(revision) && !frame.series.is_empty() {
            self.follow_apps().await?;
            *seen = Some(revision);
        }
        let now = self.now();
        let taken = self.shared.slo.observed().take(frame, now);
        let heard = if taken { Frames::Taken } else { Frames::Refused };
        self.shared.parts.telemetry.control().heard(heard, 1);
        if taken {
            self.shared.why.take(frame, now);
        } else {
            tracing::debug!(
                node = frame.node,
                sequence = frame.sequence,
                "a frame was not taken"
            );
        }
        Ok(())
    }

    /// Reads what apps promise now.
    async fn follow_apps(&self) -> Result<(), Error> {
        let facts = {
            // Given back at once: whoever changes it next would have to copy it.
            let state = self.read_state().await?;
            facts(&state)
        };
        self.shared.slo.observed().follow(facts);
        Ok(())
    }

    async fn look(&self) {
        let now = self.now();
        if let Err(error) = self.evaluate_objectives(now).await {
            tracing::error!(%error, "objectives cannot be evaluated; trying again");
        }
        if let Err(error) = self.save_tallies(now).await {
            tracing::error!(%error, "objectives cannot be written; trying again");
        }
    }

    /// One look at every app. What changes is stored together with the messages that it is worth.
    pub(super) async fn evaluate_objectives(&self, now: u64) -> Result<(), Error> {
        self.follow_apps().await?;
        let mut desk = self.shared.slo.desk.lock().await;
        self.end_silences(&mut desk, now).await?;
        let silences = desk.silences.iter().map(|ordered| ordered.silence.clone());
        let (silences, known): (Vec<_>, BTreeMap<_, _>) = (
            silences.collect(),
            desk.apps
                .iter()
                .map(|(name, (_, alerts))| (name.clone(), alerts.clone()))
                .collect(),
        );
        let control = self.clone();
        // Thousands of windows are summed: not on the reactor.
        let changed = tokio::task::spawn_blocking(move || control.evaluate_all(known, &silences, now));
        let changed = changed.await.map_err(|_| Error::Stopped {
            doing: "evaluate objectives",
        })?;
        for (name, alerts, notices) in changed {
            for notice in &notices {
                let (transition, alert) = (notice.transition.word(), &notice.alert);
                tracing::info!(
                    app = name,
                    incident = alert.id,
                    objective = alert.objective,
                    severity = alert.severity,
                    transition,
                    "alert"
                );
            }
            self.store_alerts(&mut desk, &name, alerts, &notices).await?;
        }
        Ok(())
    }

    fn evaluate_all(
        &self,
        mut known: BTreeMap<String, AppAlerts>,
        silences: &[fermion_planner::alert::Silence],
        now: u64,
    ) -> Vec<(String, AppAlerts, Vec<Notice>)> {
        let observed = self.shared.slo.observed();
        let (mut changed, mut standings) = (Vec::new(), BTreeMap::new());
        for (name, facts) in &observed.facts {
            let before = known.remove(name).unwrap_or_default();
            let look = Look {
                facts,
                silences: silences.to_vec(),
                now,
            };
            let mut after = before.clone();
            let notices = after.evaluate(&look, |spec| observed.tally(name, spec));
            let stand = super::scrape::standings(&observed, name, facts, &after, now);
            standings.insert(name.clone(), stand);
            if after != before || !notices.is_empty() {
                changed.push((name.clone(), after, notices));
            }
        }
        let rolling = observed.facts.values().filter(|facts| facts.canary.is_some());
        let metrics = self.shared.parts.telemetry.control();
        metrics.rolling_out(u64::try_from(rolling.count()).unwrap_or(u64::MAX));
        drop(observed);
        self.shared.slo.stand(standings);
        changed
    }

    /// Writes an app's alerts and their messages in one commit: neither is there without the other.
    pub(super) async fn store_alerts(
        &self,
        desk: &mut Desk,
        name: &str,
        alerts: AppAlerts,
        notices: &[Notice],
    ) -> Result<(), Error> {
        let revision = desk.apps.get(name).and_then(|(revision, _)| *revision);
        let document = AlertsDocument {
            schema: ALERTS_SCHEMA,
            alerts,
        };
        let messages: Vec<_> = notices
            .iter()
            .cloned()
            .map(|notice| Message::Alert(Box::new(notice)))
            .collect();
        let mut ops = self.outbox_ops(&messages).await?;
        // So many at once that they need several commits: the messages first, and again if the last one fails.
        while ops.len() >= COMMIT_OPS_MAX {
            let rest = ops.split_off(COMMIT_OPS_MAX);
            self.bus().commit(std::mem::replace(&mut ops, rest)).await?;
        }
        ops.push(Op::put_json(
            alerts_key(name),
            &document,
            Expect::unchanged(revision),
        )?);
        let revisions = self.bus().commit(ops).await?;
        let revision = revisions.last().copied();
        desk.apps.insert(name.to_owned(), (revision, document.alerts));
        Ok(())
    }

    /// Removes the silences that are over.
    async fn end_silences(&self, desk: &mut Desk, now: u64) -> Result<(), Error> {
        let mut kept = desk.silences.clone();
        kept.retain(|ordered| ordered.silence.until > now);
        if kept.len() < desk.silences.len() {
            self.store_silences(desk, kept).await?;
        }
        Ok(())
    }

    pub(super) async fn store_silences(&self, desk: &mut Desk, silences: Vec<Ordered>) -> Result<(), Error> {
        let document = SilencesDocument {
            schema: ALERTS_SCHEMA,
            silences,
        };
        let expect = Expect::unchanged(desk.silences_revision);
        let revision = self.bus().put_json(SILENCES, &document, expect).await?;
        desk.silences_revision = Some(revision);
        desk.silences = document.silences;
        Ok(())
    }

    /// Reads back sums, alerts and silences.
    pub(super) async fn load_objectives(&self) -> Result<(), Error> {
        self.load_tallies().await?;
        let mut desk = self.shared.slo.desk.lock().await;
        if let Some((revision, document)) = self.bus().get_json::<SilencesDocument>(SILENCES).await? {
            check_schema(SILENCES, document.schema, ALERTS_SCHEMA)?;
            desk.silences_revision = Some(revision);
            desk.silences = document.silences;
        }
        let mut through = 0;
        loop {
            let changes = self.bus().changes(through, &[ALERTS]).await?;
            for event in changes.events {
                let Event::Put(entry) = event else { continue };
                let Some(name) = entry.key.strip_prefix(ALERTS) else {
                    continue;
                };
                let read = entry.json::<AlertsDocument>().map_err(Error::from);
                let read = read.and_then(|document| {
                    check_schema(&entry.key, document.schema, ALERTS_SCHEMA)?;
                    Ok(document.alerts)
                });
                let alerts = read.unwrap_or_else(|error| {
                    tracing::error!(key = entry.key, %error, "an app's alerts cannot be read; they begin anew");
                    AppAlerts::default()
                });
                desk.apps.insert(name.to_owned(), (Some(entry.revision), alerts));
            }
            through = changes.through;
            if changes.is_all {
                return Ok(());
            }
        }
    }
}

/// What is known of an app; for views.
pub(super) fn named<'f>(facts: &'f BTreeMap<String, AppFacts>, name: &str) -> Result<&'f AppFacts, Error> {
    facts
        .get(name)
        .ok_or_else(|| Error::Unreadable { app: name.to_owned() })
}

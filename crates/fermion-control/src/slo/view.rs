//! What the API shows of objectives and alerts, and what people may do about them: take an incident on, and keep alerts
//! from themselves for a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fermion_api::{
    AcknowledgeRequest, AcknowledgementView, AlertList, AlertView, ObjectiveList, ObjectiveView,
    SilenceRequest, SilenceView,
};
use fermion_model::objective::ObjectiveSpec;
use fermion_model::{AppName, Namespace};
use fermion_planner::alert::Silence;
use fermion_planner::slo::{Action, decide};

use super::desk::Ordered;
use super::evaluate::{burn_view, objective, predicates};
use super::facts::facts;
use super::incident::Transition;
use super::run::named;
use super::tally::Tally;
use crate::limits::{ACKNOWLEDGED_MAX, ALERTS_SHOWN_MAX, SILENCE_REASON_BYTES_MAX, SILENCES_MAX};
use crate::plan::State;
use crate::{Control, Error};

const HOUR: Duration = Duration::from_secs(3_600);

impl Control {
    /// What an app promises, and how it stands.
    pub async fn objectives(&self, namespace: &Namespace, app: &AppName) -> Result<ObjectiveList, Error> {
        self.read_app(namespace, app).await?;
        let facts = {
            let state = self.read_state().await?;
            facts(&state)
        };
        let (name, now) = (format!("{namespace}/{app}"), self.now());
        let facts = named(&facts, &name)?;
        let observed = self.shared.slo.observed();
        let nothing = Tally::default();
        let view = |spec: &ObjectiveSpec| {
            let tally = observed.tally(&name, spec).unwrap_or(&nothing);
            objective_view(spec, tally, now)
        };
        Ok(ObjectiveList {
            namespace: namespace.clone(),
            app: app.clone(),
            at: now,
            telemetry: observed.hears(now),
            objectives: facts.objectives.iter().map(view).collect(),
        })
    }

    /// Incidents, silences and receivers.
    pub async fn alerts(&self) -> Result<AlertList, Error> {
        let facts = {
            let state = self.read_state().await?;
            facts(&state)
        };
        let (desk, now) = (self.shared.slo.desk.lock().await, self.now());
        let mut alerts = Vec::new();
        for (name, (_, app)) in &desk.apps {
            // An app whose documents cannot be read has nothing to show.
            let Some(facts) = facts.get(name) else { continue };
            let view = |incident| {
                let held = app.is_held(incident);
                incident.view(facts, held, now)
            };
            alerts.extend(app.incidents.iter().map(view));
        }
        alerts.sort_by_key(|alert| {
            let is_over = alert.resolved_at.is_some();
            (is_over, std::cmp::Reverse(alert.opened_at), alert.id.clone())
        });
        alerts.truncate(ALERTS_SHOWN_MAX);
        let silences = desk.silences.iter().filter(|ordered| ordered.silence.until > now);
        let silences = silences.filter_map(silence_view).collect();
        drop(desk);
        Ok(AlertList {
            alerts,
            silences,
            receivers: self.receiver_views().await?,
        })
    }

    /// Takes an incident on, for a time.
    pub async fn acknowledge(&self, request: AcknowledgeRequest, by: &str) -> Result<AlertView, Error> {
        check_seconds(request.seconds, 1)?;
        let facts = {
            let state = self.read_state().await?;
            facts(&state)
        };
        let (mut desk, now) = (self.shared.slo.desk.lock().await, self.now());
        let of_name = |alerts: &super::desk::AppAlerts| {
            let mut incidents = alerts.incidents.iter();
            incidents.any(|incident| incident.id == request.id && incident.resolved_at.is_none())
        };
        let found = desk.apps.iter().find(|(_, (_, alerts))| of_name(alerts));
        let (name, mut alerts) = match found {
            Some((name, (_, alerts))) => (name.clone(), alerts.clone()),
            None => return Err(Error::NoSuchIncident { id: request.id }),
        };
        let facts = named(&facts, &name)?;
        let incident = alerts.incidents.iter_mut().find(|one| one.id == request.id);
        let Some(incident) = incident else {
            return Err(Error::NoSuchIncident { id: request.id });
        };
        incident.acknowledged = Some(AcknowledgementView {
            by: by.to_owned(),
            at: now,
            until: now.saturating_add(request.seconds),
        });
        // What people were never told of, nobody has to take back from them.
        let notices = if incident.messages > 0 {
            vec![incident.notice(facts, Transition::Acknowledged, now)]
        } else {
            Vec::new()
        };
        let incident = incident.clone();
        let view = incident.view(facts, alerts.is_held(&incident), now);
        self.store_alerts(&mut desk, &name, alerts, &notices).await?;
        Ok(view)
    }

    /// Keeps alerts from people for a time, or ends such a time.
    pub async fn silence(&self, request: SilenceRequest, by: &str) -> Result<AlertList, Error> {
        check_seconds(request.seconds, 0)?;
        if request.reason.len() > SILENCE_REASON_BYTES_MAX || request.reason.chars().any(char::is_control) {
            let what = format!("reason: at most {SILENCE_REASON_BYTES_MAX} bytes of plain text");
            return Err(Error::Request { what });
        }
        {
            let (mut desk, now) = (self.shared.slo.desk.lock().await, self.now());
            let silence = Silence {
                tenant: request.namespace.to_string(),
                app: request.app.as_ref().map(ToString::to_string),
                slo: request.objective.clone(),
                from: now,
                until: now.saturating_add(request.seconds),
            };
            let mut silences = desk.silences.clone();
            let is_same = |other: &Silence| {
                (&other.tenant, &other.app, &other.slo) == (&silence.tenant, &silence.app, &silence.slo)
            };
            // A new order takes the place of the one before it.
            silences.retain(|ordered| ordered.silence.until > now && !is_same(&ordered.silence));
            if request.seconds > 0 {
                if silences.len() >= SILENCES_MAX {
                    return Err(Error::Busy { what: "silences" });
                }
                let ids: BTreeSet<&str> = silences.iter().map(|ordered| ordered.id.as_str()).collect();
                let free = (1..).map(|number: u32| format!("s{number}"));
                let id = free.into_iter().find(|id| !ids.contains(id.as_str()));
                silences.push(Ordered {
                    id: id.unwrap_or_default(),
                    silence,
                    by: by.to_owned(),
                    reason: request.reason,
                });
            }
            self.store_silences(&mut desk, silences).await?;
        }
        self.alerts().await
    }
}

/// What is left of the budget that has the least left, by app; and whether nodes are heard.
pub(crate) fn least_left(control: &Control, state: &State, now: u64) -> (BTreeMap<String, f64>, bool) {
    let facts = facts(state);
    let observed = control.shared.slo.observed();
    let mut least = BTreeMap::new();
    for (name, facts) in &facts {
        let left = facts.objectives.iter().filter_map(|spec| {
            let objective = objective(spec);
            let tally = observed.tally(name, spec)?;
            objective.left(tally.window(objective.period, now))
        });
        if let Some(left) = left.min_by(f64::total_cmp) {
            least.insert(name.clone(), left);
        }
    }
    (least, observed.hears(now))
}

fn check_seconds(seconds: u64, least: u64) -> Result<(), Error> {
    if (least..=ACKNOWLEDGED_MAX.as_secs()).contains(&seconds) {
        return Ok(());
    }
    let most = ACKNOWLEDGED_MAX.as_secs();
    Err(Error::Request {
        what: format!("seconds: from {least} to {most}"),
    })
}

fn silence_view(ordered: &Ordered) -> Option<SilenceView> {
    let silence = &ordered.silence;
    Some(SilenceView {
        id: ordered.id.clone(),
        namespace: silence.tenant.parse().ok()?,
        app: silence.app.as_ref().and_then(|app| app.parse().ok()),
        objective: silence.slo.clone(),
        from: silence.from,
        until: silence.until,
        by: ordered.by.clone(),
        reason: ordered.reason.clone(),
    })
}

/// How one promise stands.
pub(super) fn objective_view(spec: &ObjectiveSpec, tally: &Tally, now: u64) -> ObjectiveView {
    let objective = objective(spec);
    let whole = burn_view(&objective, objective.period, tally.window(objective.period, now));
    let left = objective.left(tally.window(objective.period, now));
    let hourly = objective.burn(tally.window(HOUR, now));
    let exhausted = left
        .zip(hourly)
        .and_then(|(left, burn)| objective.exhausted_in(left, burn));
    let predicates = predicates(&objective);
    let windows: BTreeSet<Duration> = predicates
        .iter()
        .flat_map(|predicate| [predicate.long, predicate.short])
        .collect();
    let actions = decide(&objective, &predicates, |window| tally.window(window, now));
    ObjectiveView {
        objective: spec.clone().into(),
        whole,
        budget_left: left,
        exhausted_in_seconds: exhausted.map(|time| time.as_secs()),
        burns: windows
            .into_iter()
            .map(|window| burn_view(&objective, window, tally.window(window, now)))
            .collect(),
        actions: actions.into_iter().map(action_word).map(str::to_owned).collect(),
        releases: tally.blame(HOUR, now),
    }
}

fn action_word(action: Action) -> &'static str {
    match action {
        Action::Notify => "notify",
        Action::Ticket => "ticket",
        Action::Mitigate => "mitigate",
        Action::Page => "page",
        Action::Rollback => "rollback",
    }
}

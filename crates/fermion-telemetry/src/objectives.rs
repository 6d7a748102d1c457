//! What a scraper sees of objectives: the events, so that its own rules can say what ours say, and how we see them stand.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::format::{Encoder, Label};
use crate::reference::{self, Family};

/// The windows whose burn is written, with their names: the short and long ones that people look at.
pub const BURN_WINDOWS: [(&str, Duration); 5] = [
    ("5m", Duration::from_secs(5 * 60)),
    ("1h", Duration::from_secs(3_600)),
    ("6h", Duration::from_secs(6 * 3_600)),
    ("1d", Duration::from_secs(24 * 3_600)),
    ("3d", Duration::from_secs(3 * 24 * 3_600)),
];

/// The severities of alerts.
pub(crate) const SEVERITIES: [&str; 3] = ["page", "ticket", "notify"];

/// One promise of one app.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectiveReading {
    /// The tenant.
    pub namespace: String,
    /// The app.
    pub app: String,
    /// The objective's name.
    pub objective: String,
    /// The share of events that has to be good.
    pub target: f64,
    /// Over which time.
    pub window: Duration,
    /// Events since this process began.
    pub events: u64,
    /// Of them those that were not good.
    pub bad: u64,
    /// None before the first evaluation.
    pub standing: Option<Standing>,
}

/// How a promise stood at the last evaluation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    /// The share of the error budget that is left; none without data.
    pub left: Option<f64>,
    /// How fast it burns, by [`BURN_WINDOWS`].
    pub burns: [Option<f64>; BURN_WINDOWS.len()],
    /// An incident is open that somebody is paged for.
    pub pages: bool,
    /// One that is a ticket.
    pub tickets: bool,
    /// One that somebody is notified of.
    pub notifies: bool,
}

type Read = Box<dyn Fn() -> Vec<ObjectiveReading> + Send + Sync>;

/// Who is asked at a scrape; nobody where there is no control plane.
#[derive(Default)]
pub(crate) struct Objectives {
    read: Mutex<Option<Read>>,
}

impl fmt::Debug for Objectives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objectives").finish_non_exhaustive()
    }
}

impl Objectives {
    fn held(&self) -> MutexGuard<'_, Option<Read>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn watch(&self, read: Read) {
        *self.held() = Some(read);
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder) {
        let readings = self.held().as_ref().map(|read| read()).unwrap_or_default();
        type Number = fn(&ObjectiveReading) -> f64;
        let numbers: [(&Family, Number); 2] = [
            (&reference::SLO_TARGET, |reading| reading.target),
            (&reference::SLO_WINDOW, |reading| reading.window.as_secs_f64()),
        ];
        for (family, read) in numbers {
            let mut family = encoder.family(family);
            for reading in &readings {
                family.put(&reading.labels(&[]), read(reading));
            }
        }
        type Count = fn(&ObjectiveReading) -> u64;
        let counts: [(&Family, Count); 2] = [
            (&reference::SLO_EVENTS, |reading| reading.events),
            (&reference::SLO_BAD_EVENTS, |reading| reading.bad),
        ];
        for (family, read) in counts {
            let mut family = encoder.family(family);
            for reading in &readings {
                family.put(&reading.labels(&[]), read(reading));
            }
        }
        standings(encoder, &readings);
    }
}

fn standings(encoder: &mut Encoder, readings: &[ObjectiveReading]) {
    let stand = || {
        let each = readings.iter();
        each.filter_map(|reading| Some((reading, reading.standing.as_ref()?)))
    };
    let mut family = encoder.family(&reference::SLO_BUDGET_LEFT);
    for (reading, standing) in stand() {
        if let Some(left) = standing.left {
            family.put(&reading.labels(&[]), left);
        }
    }
    let mut family = encoder.family(&reference::SLO_BURN_RATE);
    for (reading, standing) in stand() {
        for ((window, _), burn) in BURN_WINDOWS.iter().zip(standing.burns) {
            // No data is no burn of 0.
            if let Some(burn) = burn {
                family.put(&reading.labels(&[("window", window)]), burn);
            }
        }
    }
    let mut family = encoder.family(&reference::SLO_ALERT_FIRING);
    for (reading, standing) in stand() {
        let firing = [standing.pages, standing.tickets, standing.notifies];
        for (severity, is_firing) in SEVERITIES.into_iter().zip(firing) {
            family.put(&reading.labels(&[("severity", severity)]), u8::from(is_firing));
        }
    }
}

impl ObjectiveReading {
    fn labels<'a>(&'a self, more: &[Label<'a>]) -> Vec<Label<'a>> {
        let mut labels = vec![
            ("namespace", &*self.namespace),
            ("app", &*self.app),
            ("objective", &*self.objective),
        ];
        labels.extend_from_slice(more);
        labels
    }
}

//! Traces that this node keeps in memory for people: which requests are worth it is decided when they are over, by the
//! same reasons as for the export. Bounded in bytes; no app and no reason pushes another one's out before its share is
//! used up.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use fermion_model::record::RequestRecord;

use crate::intake::Uncounted;
use crate::limits::{
    EXPORT_PATH_BYTES_MAX, TRACES_APP_BYTES_MAX, TRACES_APPS_MAX, TRACES_BYTES_MAX, TRACES_KEPT_A_SECOND_MAX,
    TRACES_OF_REASON_MAX, TRACES_STRIPES,
};
use crate::log_hub::hex;
use crate::otlp::{Budget, Reason, Sampler, TraceConfig, second};

/// A request that is kept. Its children follow from the record.
#[derive(Debug, Clone)]
pub struct KeptTrace {
    /// When its answer had ended.
    pub end: SystemTime,
    /// Why it is kept.
    pub reason: Reason,
    /// How it went; path and detail are cut.
    pub record: Arc<RequestRecord>,
}

impl KeptTrace {
    /// The trace's id as 32 hexadecimal digits.
    pub fn id(&self) -> String {
        hex(&self.record.trace_id)
    }

    /// When its head had come.
    pub fn start(&self) -> SystemTime {
        self.end
            .checked_sub(self.record.total)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    fn bytes(&self) -> usize {
        let record = &self.record;
        size_of::<Self>()
            + size_of::<RequestRecord>()
            + record.path.len()
            + record.detail.len()
            + record.calls.listed.len() * size_of::<fermion_model::calls::HostCall>()
    }
}

/// Namespace and app; both empty for what reached no app.
type Name = (String, String);

#[derive(Debug, Default)]
struct AppTraces {
    /// Oldest first.
    rings: [VecDeque<KeptTrace>; Reason::ALL.len()],
    bytes: usize,
}

impl AppTraces {
    fn drop_oldest(&mut self, ring: usize) -> usize {
        let bytes = self.rings[ring].pop_front().map_or(0, |trace| trace.bytes());
        self.bytes -= bytes;
        bytes
    }

    /// Of the reason that has the most.
    fn drop_one(&mut self) -> usize {
        let longest = (0..self.rings.len()).max_by_key(|&ring| self.rings[ring].len());
        longest.map_or(0, |ring| self.drop_oldest(ring))
    }

    fn newest(&self) -> Option<SystemTime> {
        self.rings.iter().filter_map(|ring| Some(ring.back()?.end)).max()
    }
}

#[derive(Debug, Default)]
struct Kept {
    apps: BTreeMap<Name, AppTraces>,
    bytes: usize,
}

impl Kept {
    fn put(&mut self, trace: KeptTrace) {
        let name = match trace.record.served.as_deref() {
            Some(served) => (served.namespace.clone(), served.app.clone()),
            None => Name::default(),
        };
        if self.apps.len() >= TRACES_APPS_MAX && !self.apps.contains_key(&name) {
            let quietest = self.apps.iter().min_by_key(|(_, app)| app.newest());
            if let Some(name) = quietest.map(|(name, _)| name.clone()) {
                self.bytes -= self.apps.remove(&name).map_or(0, |app| app.bytes);
            }
        }
        let (ring, bytes) = (trace.reason as usize, trace.bytes());
        let app = self.apps.entry(name).or_default();
        app.rings[ring].push_back(trace);
        app.bytes += bytes;
        self.bytes += bytes;
        if app.rings[ring].len() > TRACES_OF_REASON_MAX {
            self.bytes -= app.drop_oldest(ring);
        }
        while app.bytes > TRACES_APP_BYTES_MAX {
            self.bytes -= app.drop_one();
        }
        while self.bytes > TRACES_BYTES_MAX {
            let Some(largest) = self.apps.values_mut().max_by_key(|app| app.bytes) else {
                return;
            };
            self.bytes -= largest.drop_one();
        }
    }
}

struct Shared {
    sampler: Sampler,
    /// By the release's address, so that no app's storm spends what others may.
    budgets: Box<[[Budget; Reason::ALL.len()]]>,
    kept: Mutex<Kept>,
    uncounted: Uncounted,
}

/// The traces of one node. Clones share them.
#[derive(Clone)]
pub struct Traces(Arc<Shared>);

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").finish_non_exhaustive()
    }
}

impl Traces {
    /// Keeps nothing yet.
    pub fn new(config: &TraceConfig) -> Self {
        Self(Arc::new(Shared {
            sampler: Sampler::new(config),
            budgets: (0..TRACES_STRIPES).map(|_| Default::default()).collect(),
            kept: Mutex::default(),
            uncounted: Uncounted::default(),
        }))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Set by the intake whose requests are counted here.
    pub(crate) fn uncounted(&self) -> &Uncounted {
        &self.0.uncounted
    }

    /// Takes in one request and when it ended. Copies only what is kept.
    pub fn observe(&self, record: &RequestRecord, end: SystemTime) {
        let Some(reason) = self.0.sampler.reason(record, record.arm) else {
            return;
        };
        let address = record
            .served
            .as_ref()
            .map_or(0, |served| Arc::as_ptr(served).addr());
        // Allocations of one size lie next to each other: their lowest bits are alike.
        let stripe = (address >> 5) % self.0.budgets.len();
        let budget = &self.0.budgets[stripe][reason as usize];
        if !budget.take(second(end), TRACES_KEPT_A_SECOND_MAX) {
            return;
        }
        let mut record = record.clone();
        for text in [&mut record.path, &mut record.detail] {
            text.truncate(text.floor_char_boundary(EXPORT_PATH_BYTES_MAX));
        }
        let trace = KeptTrace {
            end,
            reason,
            record: Arc::new(record),
        };
        self.kept().put(trace);
    }

    /// The newest first, at most so many: of one app, of one namespace, or of all.
    pub fn recent(&self, namespace: Option<&str>, app: Option<&str>, traces_max: usize) -> Vec<KeptTrace> {
        self.0.uncounted.count();
        let kept = self.kept();
        let fits = |wanted: Option<&str>, found: &str| wanted.is_none_or(|wanted| wanted == found);
        let mut traces: Vec<KeptTrace> = kept
            .apps
            .iter()
            .filter(|((of, name), _)| fits(namespace, of) && fits(app, name))
            .flat_map(|(_, app)| app.rings.iter().flatten().cloned())
            .collect();
        drop(kept);
        traces.sort_by_key(|trace| std::cmp::Reverse(trace.end));
        traces.truncate(traces_max);
        traces
    }

    /// The requests of every trace whose id begins so, by trace, in the order in which they began: apps that call each
    /// other are in one trace.
    pub fn find(&self, id: &str) -> Vec<Vec<KeptTrace>> {
        self.0.uncounted.count();
        let kept = self.kept();
        let mut found: HashMap<[u8; 16], Vec<KeptTrace>> = HashMap::new();
        let all = kept.apps.values().flat_map(|app| app.rings.iter().flatten());
        for trace in all.filter(|trace| trace.id().starts_with(id)) {
            found
                .entry(trace.record.trace_id)
                .or_default()
                .push(trace.clone());
        }
        drop(kept);
        let mut found: Vec<_> = found.into_values().collect();
        for requests in &mut found {
            requests.sort_by_key(KeptTrace::start);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use fermion_model::Fault;
    use fermion_model::record::Served;

    use super::*;

    fn record(served: &Arc<Served>, number: u64, fault: Option<Fault>) -> RequestRecord {
        let mut trace_id = [0; 16];
        trace_id[..8].copy_from_slice(&number.to_be_bytes());
        RequestRecord {
            served: Some(Arc::clone(served)),
            trace_id,
            span_id: [1; 8],
            parent_id: None,
            is_sampled: false,
            method: http::Method::GET,
            path: "/".repeat(10_000),
            status: 200,
            fault,
            detail: String::new(),
            client_gone: false,
            cold: false,
            queue: Duration::ZERO,
            instantiate: Duration::ZERO,
            first_byte: Duration::ZERO,
            total: Duration::from_millis(1),
            cpu: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
            memory_bytes: 0,
            copied: None,
            metric: None,
            calls: Default::default(),
            arm: fermion_model::frame::Arm::Stable,
            caller: 0,
        }
    }

    fn app(name: &str) -> Arc<Served> {
        Arc::new(Served {
            namespace: "shop".to_owned(),
            app: name.to_owned(),
            release: 1,
        })
    }

    fn traces(share: f64) -> Traces {
        Traces::new(&TraceConfig {
            slow: Duration::from_secs(1),
            share,
        })
    }

    #[test]
    fn what_is_worth_it_is_kept_and_found() {
        let traces = traces(0.0);
        let (tax, cart) = (app("tax"), app("cart"));
        traces.observe(&record(&tax, 1, None), UNIX_EPOCH);
        for (second, number, served) in [(1, 2, &tax), (2, 3, &cart), (3, 2, &cart)] {
            let end = UNIX_EPOCH + Duration::from_secs(second);
            traces.observe(&record(served, number, Some(Fault::GuestTrap)), end);
        }
        let all = traces.recent(None, None, 10);
        let ids: Vec<_> = all.iter().map(|trace| trace.record.trace_id[7]).collect();
        assert_eq!(
            ids,
            [2, 3, 2],
            "the newest first, and nothing that is nothing special"
        );
        assert_eq!(all[0].reason, Reason::Error);
        assert_eq!(all[0].record.path.len(), EXPORT_PATH_BYTES_MAX);
        assert_eq!(traces.recent(Some("shop"), Some("tax"), 10).len(), 1);
        assert_eq!(traces.recent(Some("other"), None, 10).len(), 0);
        assert_eq!(traces.recent(None, None, 1).len(), 1);
        let found = traces.find("0000000000000002");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].len(), 2, "both apps are in it");
        assert_eq!(traces.find("00").len(), 2);
    }

    #[test]
    fn no_app_and_no_reason_takes_anothers_place_and_bytes_are_bounded() {
        let traces = traces(1.0);
        let (loud, quiet) = (app("loud"), app("quiet"));
        traces.observe(&record(&quiet, 7, Some(Fault::GuestTrap)), UNIX_EPOCH);
        for number in 0..20_000 {
            // A tenth of a second between two: within the budget.
            let end = UNIX_EPOCH + Duration::from_millis(100 * number);
            let fault = (number % 5 == 0).then_some(Fault::GuestTrap);
            traces.observe(&record(&loud, number, fault), end);
        }
        let kept = traces.kept();
        let bytes: usize = kept.apps.values().map(|app| app.bytes).sum();
        assert_eq!(kept.bytes, bytes);
        assert!(bytes <= TRACES_BYTES_MAX && kept.apps.values().all(|app| app.bytes <= TRACES_APP_BYTES_MAX));
        let lengths = kept.apps[&("shop".to_owned(), "loud".to_owned())]
            .rings
            .each_ref()
            .map(VecDeque::len);
        assert_eq!(lengths[Reason::Error as usize], TRACES_OF_REASON_MAX);
        assert_eq!(lengths[Reason::Share as usize], TRACES_OF_REASON_MAX);
        drop(kept);
        assert_eq!(
            traces.find("0000000000000007").len(),
            1,
            "the quiet one's is there"
        );
        for number in 0..TRACES_APPS_MAX + 5 {
            let end = UNIX_EPOCH + Duration::from_secs(3_000 + number as u64);
            let app = app(&format!("a{number}"));
            traces.observe(&record(&app, 9, Some(Fault::GuestTrap)), end);
        }
        assert_eq!(traces.kept().apps.len(), TRACES_APPS_MAX);
        assert!(traces.kept().bytes <= TRACES_BYTES_MAX);
    }

    #[test]
    fn a_storm_costs_a_copy_only_so_often() {
        let traces = traces(0.0);
        let storm = app("storm");
        for number in 0..1_000 {
            traces.observe(&record(&storm, number, Some(Fault::GuestTrap)), UNIX_EPOCH);
        }
        let kept = traces.recent(None, None, usize::MAX).len();
        assert_eq!(kept, TRACES_KEPT_A_SECOND_MAX as usize);
    }
}

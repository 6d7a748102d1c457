//! A node that runs nothing: it takes assignments from the bus and reports what the test has told it to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use fermion_bus::{Bus, Event, Expect, Op};
use fermion_model::assignment::{
    ASSIGNMENT_SCHEMA, AppStatus, AssignedApp, CanaryStatus, NodeStatus, Problem, Step,
};
use fermion_model::{Digest, ReleaseNumber};

/// What becomes of a package on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Serves,
    Fails(&'static str),
    /// It is never ready.
    Hangs,
}

/// By digest; what is not there serves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fates {
    by_digest: Arc<Mutex<HashMap<Digest, Fate>>>,
    /// While somebody holds it, the node hears and says nothing: the bus is as slow as that.
    pub(crate) slow: Arc<tokio::sync::Mutex<()>>,
}

impl Fates {
    pub(crate) fn set(&self, digest: Digest, fate: Fate) {
        self.by_digest.lock().unwrap().insert(digest, fate);
    }

    fn of(&self, digest: &Digest) -> Fate {
        self.by_digest
            .lock()
            .unwrap()
            .get(digest)
            .copied()
            .unwrap_or(Fate::Serves)
    }
}

/// Runs until dropped.
pub(crate) async fn run(bus: Bus, fates: Fates) {
    let mut watch = bus.watch("assignments/local/");
    let mut status = NodeStatus {
        incarnation: bus.revision() + 1,
        ..NodeStatus::default()
    };
    bus.put_json("status/local", &status, Expect::Any).await.unwrap();
    let mut apps: HashMap<String, AppStatus> = HashMap::new();
    loop {
        let Event::Put(entry) = watch.next().await.unwrap() else {
            continue;
        };
        drop(fates.slow.lock().await);
        let name = entry.key.strip_prefix("assignments/local/").unwrap();
        let app: AssignedApp = entry.json().unwrap();
        let before = apps.get(name);
        assert!(
            before.is_none_or(|before| app.generation > before.generation),
            "generations grow: {app:?}"
        );
        let serving = before.and_then(|app| app.serving);
        let serving = serving.or(app.last_good.as_ref().map(|release| release.number));
        let canary = app.canary.as_ref().map(|canary| CanaryStatus {
            release: canary.release.number,
            ready: fates.of(&canary.release.digest) == Fate::Serves,
            weight: canary.split.weight,
            epoch: canary.split.epoch,
            problem: match fates.of(&canary.release.digest) {
                Fate::Fails(code) => Some(problem(code)),
                _ => None,
            },
        });
        let report = AppStatus {
            incarnation: status.incarnation,
            generation: app.generation,
            canary,
            ..report(app.release.number, fates.of(&app.release.digest), serving)
        };
        status.generation = status.generation.max(app.generation);
        let ops = [
            Op::put_json(format!("status/local/{name}"), &report, Expect::Any),
            Op::put_json("status/local", &status, Expect::Any),
        ];
        bus.commit(ops.map(Result::unwrap).into()).await.unwrap();
        apps.insert(name.to_owned(), report);
    }
}

fn problem(code: &str) -> Problem {
    Problem {
        code: code.to_owned(),
        message: "the node said no".to_owned(),
    }
}

/// Of no process and no generation yet.
fn report(wanted: ReleaseNumber, fate: Fate, serving: Option<ReleaseNumber>) -> AppStatus {
    let steps = vec![Step {
        name: "compile".to_owned(),
        micros: 42,
    }];
    let (serving, problem, steps) = match fate {
        Fate::Serves => (Some(wanted), None, steps),
        Fate::Hangs => (serving, None, vec![]),
        Fate::Fails(code) => (serving, Some(problem(code)), steps),
    };
    AppStatus {
        schema: ASSIGNMENT_SCHEMA,
        incarnation: 0,
        generation: 0,
        serving,
        wanted,
        problem,
        steps,
        canary: None,
    }
}

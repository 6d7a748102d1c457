//! A node that runs nothing: it takes assignments from the bus and reports what the test has told it to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use fermion_bus::{Bus, Event, Expect};
use fermion_model::assignment::{AppStatus, Assignment, NodeStatus, Problem, Step};
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
pub(crate) struct Fates(Arc<Mutex<HashMap<Digest, Fate>>>);

impl Fates {
    pub(crate) fn set(&self, digest: Digest, fate: Fate) {
        self.0.lock().unwrap().insert(digest, fate);
    }

    fn of(&self, digest: &Digest) -> Fate {
        self.0
            .lock()
            .unwrap()
            .get(digest)
            .copied()
            .unwrap_or(Fate::Serves)
    }
}

/// Runs until dropped.
pub(crate) async fn run(bus: Bus, fates: Fates) {
    let mut watch = bus.watch("assignments/local");
    let mut status = NodeStatus::default();
    loop {
        let Event::Put(entry) = watch.next().await.unwrap() else {
            continue;
        };
        let assignment: Assignment = entry.json().unwrap();
        assert!(
            assignment.generation > status.generation,
            "generations grow: {assignment:?}"
        );
        let before: HashMap<_, _> = status
            .apps
            .iter()
            .map(|(name, app)| (name.clone(), app.serving))
            .collect();
        status.generation = assignment.generation;
        status.apps = assignment
            .apps
            .iter()
            .map(|(name, app)| {
                let serving = before.get(name).copied().flatten();
                let serving = serving.or(app.last_good.as_ref().map(|release| release.number));
                (
                    name.clone(),
                    report(app.release.number, fates.of(&app.release.digest), serving),
                )
            })
            .collect();
        bus.put_json("status/local", &status, Expect::Any).await.unwrap();
    }
}

fn report(wanted: ReleaseNumber, fate: Fate, serving: Option<ReleaseNumber>) -> AppStatus {
    let steps = vec![Step {
        name: "compile".to_owned(),
        micros: 42,
    }];
    match fate {
        Fate::Serves => AppStatus {
            serving: Some(wanted),
            wanted,
            problem: None,
            steps,
        },
        Fate::Hangs => AppStatus {
            serving,
            wanted,
            problem: None,
            steps: vec![],
        },
        Fate::Fails(code) => {
            let problem = Problem {
                code: code.to_owned(),
                message: "the node said no".to_owned(),
            };
            AppStatus {
                serving,
                wanted,
                problem: Some(problem),
                steps,
            }
        }
    }
}

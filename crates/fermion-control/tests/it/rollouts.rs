//! Rollouts on simulated time: each frame of telemetry is one look of the controller.

mod faults;
mod gates;

use std::sync::atomic::Ordering::Relaxed;

use fermion_api::{DeployRequest, RolloutCommand, RolloutOrder};
use fermion_control::Control;
use fermion_model::Namespace;
use fermion_model::frame::{FRAME_SCHEMA, Frame, FrameSeries, frame_subject};
use fermion_model::rollout::{JudgedMetric, RolloutSpec, RolloutStep, Strategy};
use fermion_model::sketch::Sketch;
use fermion_planner::judge::{Report, Request, judge};
use serde_json::Value;

use crate::node::Fate;
use crate::platform::{LONG, Platform, app, package, request};

/// Requests of one release in one second, and how many of them failed.
type Share = (u64, u64);

/// A platform whose app `a` has a good first release.
async fn start() -> Platform {
    let platform = Platform::start().await;
    platform.deploy("a", &request(1, "/a")).await.unwrap();
    claimed(&platform, 1).await;
    platform
}

/// Waits until so many controllers have claimed to write: from then on the newest hears frames.
async fn claimed(platform: &Platform, epoch: u64) {
    loop {
        let seen = platform.bus.revision();
        let claim = platform
            .bus
            .get_json::<Value>("controllers/rollouts")
            .await
            .unwrap();
        if claim.is_some_and(|(_, claim)| claim["epoch"].as_u64() >= Some(epoch)) {
            return;
        }
        platform.bus.changed_since(seen).await.unwrap();
    }
}

fn rolled_out(number: u8, spec: &RolloutSpec) -> DeployRequest {
    DeployRequest {
        rollout: Some(spec.clone()),
        ..request(number, "/a")
    }
}

fn canary(steps: &[(u16, u64)]) -> RolloutSpec {
    let step = |&(weight, bake)| RolloutStep { weight, bake };
    let mut spec = RolloutSpec::of(Strategy::Canary);
    spec.steps = steps.iter().map(step).collect();
    spec.post_bake = 5;
    spec.judge.metrics = vec![JudgedMetric::Errors, JudgedMetric::LatencyP50];
    spec
}

fn series(release: u32, (requests, failures): Share) -> FrameSeries {
    let mut duration = Sketch::default();
    duration.add(0.01, requests);
    FrameSeries {
        namespace: "default".to_owned(),
        app: "a".to_owned(),
        release,
        requests,
        guest_failures: failures,
        distinct_failures: failures,
        duration,
        ..FrameSeries::default()
    }
}

impl Platform {
    /// A second later, with these requests: of the release that is rolled out, and of the one that serves.
    async fn second(&self, canary: Share, stable: Share) -> Value {
        self.later(1, canary, stable).await
    }

    /// The clock moves by so much; then a frame arrives and is looked at.
    async fn later(&self, seconds: i64, canary: Share, stable: Share) -> Value {
        let now = self.now.load(Relaxed).saturating_add_signed(seconds);
        self.now.store(now, Relaxed);
        let document = self.document().await;
        let numbers = ["canary", "stable"].map(|arm| u32::try_from(document[arm].as_u64().unwrap()).unwrap());
        let frame = Frame {
            schema: FRAME_SCHEMA,
            node: "local".to_owned(),
            region: String::new(),
            incarnation: 1,
            sequence: now,
            from: now * 1_000,
            until: now * 1_000,
            series: vec![series(numbers[0], canary), series(numbers[1], stable)],
            unlisted: 0,
            upstreams: Vec::new(),
            instances: Vec::new(),
            health: None,
        };
        self.bus
            .send(&frame_subject("local"), serde_json::to_vec(&frame).unwrap());
        self.looked_at(now).await
    }

    /// Waits for the look of this second.
    async fn looked_at(&self, now: u64) -> Value {
        loop {
            let seen = self.bus.revision();
            let document = self.document().await;
            if document["state"]["seen"] == now {
                return document;
            }
            self.bus.changed_since(seen).await.unwrap();
        }
    }

    /// Seconds until the rollout is in this phase.
    async fn until(&self, phase: &str, canary: Share, stable: Share) -> Value {
        for _ in 0..2_000 {
            let document = self.second(canary, stable).await;
            if phase_of(&document) == phase {
                return document;
            }
        }
        panic!("never {phase}: {}", self.document().await);
    }

    async fn document(&self) -> Value {
        let read = self.bus.get_json::<Value>("rollouts/default/a").await.unwrap();
        read.expect("there is a rollout").1
    }

    /// Waits until the node has taken over what was decided.
    async fn comes_to(&self, releases: &str) {
        loop {
            let seen = self.bus.revision();
            if self.releases("a").await == releases {
                return;
            }
            self.bus.changed_since(seen).await.unwrap();
        }
    }

    /// Records a deploy, whose caller does not wait for what becomes of it.
    async fn begin(&self, request: DeployRequest) {
        let client = self.client.clone();
        let deploy = async move { client.deploy(&Namespace::default(), &app("a"), &request).await };
        let read = || async { self.bus.get_json::<Value>("rollouts/default/a").await.unwrap() };
        let before = read().await;
        let recorded = async {
            loop {
                let seen = self.bus.revision();
                if read().await != before {
                    return;
                }
                self.bus.changed_since(seen).await.unwrap();
            }
        };
        tokio::select! {
            result = deploy => panic!("it waits until its first step begins: {result:?}"),
            () = recorded => {}
        }
    }

    async fn order(&self, command: RolloutCommand) {
        let order = RolloutOrder {
            command,
            rollout: None,
            step: None,
        };
        self.client
            .order_rollout(&Namespace::default(), &app("a"), &order)
            .await
            .unwrap();
    }
}

/// `baking`, or `rolled-back sequential`.
fn phase_of(document: &Value) -> String {
    match &document["state"]["phase"] {
        Value::String(name) => name.clone(),
        Value::Object(map) => {
            let (name, reason) = map.iter().next().unwrap();
            format!("{name} {}", reason.as_str().unwrap())
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_good_release_is_judged_at_each_step_and_the_verdict_can_be_replayed() {
    let platform = start().await;
    platform
        .begin(rolled_out(2, &canary(&[(500, 30), (5_000, 30)])))
        .await;
    let weights = [500, 5_000];
    for (step, weight) in weights.into_iter().enumerate() {
        let document = platform.until("judging", (20, 0), (200, 0)).await;
        assert_eq!(
            (&document["state"]["step"], &document["state"]["weight"]),
            (&step.into(), &weight.into())
        );
        platform
            .until(
                if step == 0 { "shifting" } else { "promoting" },
                (20, 0),
                (200, 0),
            )
            .await;
        let key = format!("rollout-judgements/default/a/2-{step}");
        let (_, judgement) = platform.bus.get_json::<Value>(&key).await.unwrap().unwrap();
        let input: Request = serde_json::from_value(judgement["request"].clone()).unwrap();
        let report: Report = serde_json::from_value(judgement["judged"]["report"].clone()).unwrap();
        assert_eq!(judge(&input), report, "the same input gives the same report");
    }
    let document = platform.until("succeeded", (220, 0), (0, 0)).await;
    assert_eq!(document["evidence"]["total"]["canary"]["failures"], 0);
    platform.comes_to("r2 active current, r1 superseded").await;
}

#[tokio::test]
async fn a_bad_release_goes_back_on_proof_and_is_quarantined() {
    let platform = start().await;
    let spec = canary(&[(500, 600)]);
    platform.begin(rolled_out(2, &spec)).await;
    platform.until("baking", (10, 0), (190, 0)).await;
    let document = platform.second((10, 5), (190, 0)).await;
    assert_eq!(phase_of(&document), "aborting sequential");
    assert_eq!(document["state"]["weight"], 0);
    platform.until("rolled-back sequential", (0, 0), (200, 0)).await;
    assert_eq!(
        platform.releases("a").await,
        "r2 failed ROLLED_BACK, r1 active current"
    );
    assert_eq!(
        platform.deploy("a", &rolled_out(2, &spec)).await,
        Err("QUARANTINED".to_owned())
    );
    let retry = DeployRequest {
        retry: true,
        rollout: None,
        ..request(2, "/a")
    };
    assert_eq!(platform.deploy("a", &retry).await, Ok(3));
    // What is stored is counted a moment later, and once.
    let counted = loop {
        let metrics = platform.client.metrics().await.unwrap();
        if metrics.contains("\nfermion_rollouts_total{") {
            break metrics;
        }
        tokio::task::yield_now().await;
    };
    assert!(
        counted.contains("\nfermion_rollouts_total{outcome=\"rolled_back\"} 1\n"),
        "{counted}"
    );
    for line in [
        "fermion_deploys_total{order=\"deploy\",outcome=\"refused\"} 1",
        "fermion_deploys_total{order=\"deploy\",outcome=\"done\"} 2",
    ] {
        assert!(counted.lines().any(|given| given == line), "{line}: {counted}");
    }
}

#[tokio::test]
async fn silence_never_promotes_and_a_person_may() {
    let platform = start().await;
    platform.begin(rolled_out(2, &canary(&[(500, 30)]))).await;
    let document = platform.until("paused inconclusive", (0, 0), (0, 0)).await;
    assert_eq!(document["state"]["weight"], 500);
    platform.order(RolloutCommand::Promote).await;
    platform.until("succeeded", (10, 0), (0, 0)).await;
    let events = platform.document().await["events"].clone();
    let promoted = events
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["phase"] == "promoting")
        .unwrap();
    assert_eq!(promoted["by"], "operator");
}

#[tokio::test]
async fn clocks_that_are_set_neither_promote_nor_abort() {
    let platform = start().await;
    platform.begin(rolled_out(2, &canary(&[(500, 60)]))).await;
    platform.until("baking", (20, 0), (200, 0)).await;
    for step in [3_600, -3_600, 7_200, -1_800] {
        let document = platform.later(step, (20, 0), (200, 0)).await;
        assert_eq!(
            (phase_of(&document).as_str(), &document["state"]["weight"]),
            ("baking", &500.into()),
            "{step}"
        );
    }
    platform.until("succeeded", (20, 0), (200, 0)).await;
}

#[tokio::test]
async fn what_cannot_be_made_ready_never_has_traffic_and_the_deploy_says_why() {
    let platform = start().await;
    platform.fates.set(package(2), Fate::Fails("COMPILE_LIMIT"));
    let wanted = rolled_out(2, &canary(&[(500, 60)]));
    let deploy = platform.deploy("a", &wanted);
    let looks = async {
        while platform.bus.get("rollouts/default/a").await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        platform.until("rolled-back unready", (0, 0), (200, 0)).await
    };
    let (deployed, document) = tokio::join!(deploy, looks);
    assert_eq!(deployed, Err("COMPILE_LIMIT".to_owned()));
    assert_eq!(document["evidence"]["total"]["canary"]["requests"], 0);
    assert_eq!(
        platform.releases("a").await,
        "r2 failed ROLLED_BACK, r1 active current"
    );
}

#[tokio::test]
async fn a_newer_release_takes_the_place_of_one_that_is_rolled_out() {
    let platform = start().await;
    let spec = canary(&[(500, 600)]);
    platform.begin(rolled_out(2, &spec)).await;
    platform.until("baking", (10, 0), (190, 0)).await;
    platform.begin(rolled_out(3, &spec)).await;
    let document = platform.second((10, 0), (190, 0)).await;
    assert_eq!(
        (phase_of(&document).as_str(), &document["next"]),
        ("aborting superseded", &3.into())
    );
    platform.until("superseded", (0, 0), (200, 0)).await;
    let document = platform.until("baking", (10, 0), (190, 0)).await;
    assert_eq!(
        (&document["id"], &document["canary"], &document["stable"]),
        (&3.into(), &3.into(), &1.into())
    );
    assert!(platform.releases("a").await.starts_with("r3 canary"));
}

#[tokio::test]
async fn of_two_controllers_only_the_newer_writes_and_nothing_counts_twice() {
    let platform = start().await;
    platform.begin(rolled_out(2, &canary(&[(500, 60)]))).await;
    let before = platform.until("baking", (10, 0), (190, 0)).await;
    // The older one goes on hearing frames beside it.
    let newer: Control = platform.control.clone();
    let stop = platform.shutdown.clone();
    let mut tasks = tokio::task::JoinSet::new();
    let bound = newer.bind().await.unwrap();
    tasks.spawn(async move { bound.run(stop).await });
    claimed(&platform, 2).await;
    let mut document = before.clone();
    for _ in 0..20 {
        document = platform.second((10, 0), (190, 0)).await;
    }
    assert_eq!(
        (&document["state"]["epoch"], phase_of(&document).as_str()),
        (&2.into(), "baking")
    );
    let requests = |document: &Value| {
        document["evidence"]["total"]["canary"]["requests"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(requests(&document) - requests(&before), 200);
    platform.shutdown.cancel();
    drop(tasks.join_next().await);
}

#[tokio::test]
async fn a_controller_that_is_killed_is_followed_by_one_that_goes_on() {
    let mut platform = start().await;
    platform
        .begin(rolled_out(2, &canary(&[(500, 20), (5_000, 20)])))
        .await;
    let mut before = Value::Null;
    for phase in [
        "prewarming",
        "baking",
        "judging",
        "shifting",
        "baking",
        "promoting",
        "post-bake",
    ] {
        let document = platform.until(phase, (20, 0), (200, 0)).await;
        let folder = platform.kill().await;
        platform = Platform::start_in(folder, LONG).await;
        let epoch = document["state"]["epoch"].as_u64().unwrap();
        claimed(&platform, epoch + 1).await;
        assert_eq!(platform.document().await["salt"], document["salt"]);
        before = document;
    }
    let document = platform.until("succeeded", (200, 0), (20, 0)).await;
    let requests = |document: &Value| {
        document["evidence"]["total"]["canary"]["requests"]
            .as_u64()
            .unwrap()
    };
    assert!(
        requests(&document) > requests(&before),
        "evidence is taken up again"
    );
    platform.comes_to("r2 active current, r1 superseded").await;
}

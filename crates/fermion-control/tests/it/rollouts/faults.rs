//! What becomes of a rollout when telemetry is lost or the bus is slow, in each of its phases.

use std::sync::atomic::Ordering::Relaxed;

use fermion_bus::Expect;
use fermion_model::frame::frame_subject;
use fermion_model::rollout::RolloutSpec;
use serde_json::Value;

use super::{canary, phase_of, rolled_out, start};
use crate::platform::Platform;

/// Every phase in which something may be lost, in order.
const PHASES: [&str; 8] = [
    "validating",
    "prewarming",
    "shifting",
    "baking",
    "judging",
    "promoting",
    "post-bake",
    "aborting sequential",
];
/// Looks without telemetry that are more than the hour after which nobody is waited for any more.
const LOOKS_MAX: usize = 80;

fn spec() -> RolloutSpec {
    canary(&[(500, 20), (5_000, 20)])
}

impl Platform {
    /// A minute later, and nothing that could be read has come.
    async fn silence(&self) -> Value {
        let now = self.now.fetch_add(60, Relaxed) + 60;
        self.bus.send(&frame_subject("local"), b"{}".to_vec());
        self.looked_at(now).await
    }

    /// What the node says of the app.
    async fn report(&self) -> Value {
        let read = self
            .bus
            .get_json::<Value>("status/local/default/a")
            .await
            .unwrap();
        read.unwrap().1
    }

    /// A rollout that has come to this phase by good telemetry, or, on its way back, by bad one.
    async fn comes_into(&self, phase: &str) -> Value {
        self.begin(rolled_out(2, &spec())).await;
        if phase.starts_with("aborting") {
            self.until("baking", (20, 0), (200, 0)).await;
            return self.until(phase, (20, 10), (200, 0)).await;
        }
        self.until(phase, (20, 0), (200, 0)).await
    }
}

#[tokio::test]
async fn lost_telemetry_promotes_nothing_and_holds_up_no_way_back() {
    for phase in PHASES {
        let platform = start().await;
        let mut document = platform.comes_into(phase).await;
        let weight = document["state"]["weight"].as_u64().unwrap();
        let mut looks = 0;
        while !matches!(
            phase_of(&document).as_str(),
            "rolled-back deadline" | "rolled-back sequential"
        ) && looks < LOOKS_MAX
        {
            document = platform.silence().await;
            looks += 1;
            let now = document["state"]["weight"].as_u64().unwrap();
            // The first step needs no telemetry to begin; no other one begins.
            assert!(now <= weight.max(500), "{phase}: {document}");
        }
        let end = phase_of(&document);
        match phase {
            // It has everything, nobody can say that it should not, and the old release stays ready.
            "promoting" | "post-bake" => {
                assert_eq!((end.as_str(), weight), ("post-bake", 10_000), "{phase}");
                platform.until("succeeded", (200, 0), (0, 0)).await;
            }
            "aborting sequential" => assert_eq!(end, "rolled-back sequential"),
            // Inconclusive, and after an hour in which nobody decided, back.
            _ => assert_eq!(end, "rolled-back deadline", "{phase}"),
        }
    }
}

#[tokio::test]
async fn a_slow_bus_delays_and_decides_nothing() {
    for phase in PHASES {
        let platform = start().await;
        let before = platform.comes_into(phase).await;
        let mut document = before.clone();
        {
            let _slow = platform.fates.slow.lock().await;
            // The grace time at the end needs nothing of the node any more.
            for _ in 0..30 {
                if phase_of(&document) == "succeeded" {
                    break;
                }
                document = platform.second((20, 0), (200, 0)).await;
                // What the node has not confirmed has not happened: at most one step is on its way.
                let steps = |document: &Value| document["state"]["step"].as_u64().unwrap();
                assert!(steps(&document) <= steps(&before) + 1, "{phase}: {document}");
                assert!(
                    !document["state"]["phase"].is_object() || phase.starts_with("aborting"),
                    "{phase}: {document}"
                );
            }
        }
        let end = match phase {
            "aborting sequential" => "rolled-back sequential",
            _ => "succeeded",
        };
        if phase_of(&document) != end {
            platform.until(end, (20, 0), (200, 0)).await;
        }
    }
}

#[tokio::test]
async fn a_bus_that_is_slow_for_ten_minutes_ends_a_step_that_cannot_begin() {
    let platform = start().await;
    platform.comes_into("prewarming").await;
    let slow = platform.fates.slow.lock().await;
    platform.until("aborting no-progress", (0, 0), (200, 0)).await;
    drop(slow);
    platform.until("rolled-back no-progress", (0, 0), (200, 0)).await;
}

/// The process of a node ends and another one takes its place: it makes the canary ready again, as it does what serves, and
/// no release is to blame.
#[tokio::test]
async fn a_node_that_starts_anew_is_no_reason_to_go_back() {
    let platform = start().await;
    platform.comes_into("baking").await;
    let ready = platform.report().await;
    let mut starting = ready.clone();
    starting["canary"]["ready"] = false.into();
    let put = |report| {
        platform
            .bus
            .put_json("status/local/default/a", report, Expect::Any)
    };
    put(&starting).await.unwrap();
    for _ in 0..3 {
        let document = platform.second((0, 0), (200, 0)).await;
        assert_eq!(phase_of(&document), "baking", "{document}");
    }
    put(&ready).await.unwrap();
    platform.until("succeeded", (20, 0), (200, 0)).await;
}

/// But what it then says of it counts.
#[tokio::test]
async fn a_canary_that_is_lost_goes_back() {
    let platform = start().await;
    platform.comes_into("baking").await;
    let mut lost = platform.report().await;
    lost["canary"]["ready"] = false.into();
    lost["canary"]["problem"] = serde_json::json!({"code": "COMPILE_LIMIT", "message": "not again"});
    platform
        .bus
        .put_json("status/local/default/a", &lost, Expect::Any)
        .await
        .unwrap();
    platform.until("rolled-back unready", (0, 0), (200, 0)).await;
}

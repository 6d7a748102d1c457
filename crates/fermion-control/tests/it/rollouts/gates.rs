//! What holds a rollout before its next step, and who is told.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fermion_api::{DeployRequest, FreezeRequest, RolloutCommand, RolloutOrder};
use fermion_model::Namespace;
use fermion_model::gate::{Before, Gate, Need, Window};
use fermion_model::rollout::RolloutSpec;
use serde_json::Value;

use super::{canary, claimed, phase_of, rolled_out, start};
use crate::platform::{LONG, NOW, Platform, app, code, request};

fn gated(gates: &[(Before, Need)]) -> RolloutSpec {
    let mut spec = canary(&[(500, 20), (5_000, 20)]);
    let gate = |(before, need): &(Before, Need)| Gate {
        before: *before,
        need: need.clone(),
    };
    spec.gates = gates.iter().map(gate).collect();
    spec
}

#[tokio::test]
async fn gates_hold_a_rollout_until_somebody_or_something_opens_them() {
    // It is 11:06:40 on a Wednesday, and the window is an hour later.
    let window = Window {
        days: vec![2],
        from: 12 * 60 + 6,
        until: 16 * 60,
        zone: "UTC".to_owned(),
    };
    let platform = start().await;
    let gates = [
        (Before::Rollout, Need::Window(window)),
        (Before::Promotion, Need::Approval),
    ];
    platform.begin(rolled_out(2, &gated(&gates))).await;
    let document = platform.until("paused gate", (0, 0), (200, 0)).await;
    assert_eq!(document["state"]["weight"], 0);
    assert_eq!(
        document["held_by"],
        serde_json::json!(["it goes on wed 12:06-16:00 UTC only"])
    );
    for _ in 0..3 {
        let document = platform.later(600, (0, 0), (200, 0)).await;
        assert_eq!(phase_of(&document), "paused gate");
    }
    platform.now.store(NOW + 3_600, Relaxed);
    platform.until("baking", (20, 0), (200, 0)).await;
    let document = platform.until("paused gate", (20, 0), (200, 0)).await;
    assert_eq!(document["state"]["weight"], 5_000);
    assert_eq!(document["held_by"], serde_json::json!(["it needs an approval"]));
    let order = RolloutOrder {
        command: RolloutCommand::Resume,
        rollout: None,
        step: None,
    };
    let refused = platform
        .client
        .order_rollout(&Namespace::default(), &app("a"), &order)
        .await;
    assert!(refused.unwrap_err().to_string().contains("fermion promote"));
    platform.order(RolloutCommand::Promote).await;
    platform.until("succeeded", (20, 0), (200, 0)).await;
}

#[tokio::test]
async fn a_freeze_holds_what_goes_forward_and_nothing_that_goes_back() {
    let platform = start().await;
    let freeze = FreezeRequest {
        namespace: None,
        app: None,
        from: Some(NOW),
        until: NOW + 10_000,
        reason: "the big sale".to_owned(),
    };
    let list = platform.client.freeze(&freeze).await.unwrap();
    assert_eq!((list.freezes.len(), list.freezes[0].id.as_str()), (1, "f1"));
    // Directly, it does not begin, unless that is said.
    assert_eq!(
        platform.deploy("a", &request(2, "/a")).await,
        Err("FROZEN".to_owned())
    );
    let now = DeployRequest {
        during_freeze: true,
        ..request(2, "/a")
    };
    assert_eq!(platform.deploy("a", &now).await, Ok(2));
    platform.begin(rolled_out(3, &canary(&[(500, 20)]))).await;
    let document = platform.until("paused gate", (0, 0), (200, 0)).await;
    let held_by = document["held_by"][0].as_str().unwrap();
    assert!(held_by.contains("the big sale"), "{held_by}");
    assert_eq!(
        code(&platform.client.thaw("f2").await.unwrap_err()),
        "NO_SUCH_FREEZE"
    );
    assert_eq!(platform.client.thaw("f1").await.unwrap().freezes, []);
    platform.until("baking", (20, 0), (200, 0)).await;
    platform.client.freeze(&freeze).await.unwrap();
    platform.until("paused gate", (20, 0), (200, 0)).await;
    platform.order(RolloutCommand::Abort).await;
    platform.until("rolled-back person", (0, 0), (200, 0)).await;
}

#[tokio::test]
async fn receivers_are_asked_at_gates_and_told_of_every_transition() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let program = folder.path().join("gate.sh");
    let (word, told) = (folder.path().join("word"), folder.path().join("told"));
    let script = |body: &str| format!("#!/bin/sh\n{body}\n");
    write_program(&program, &script(&format!("test -e {}", word.display())));
    let tell = folder.path().join("tell.sh");
    write_program(
        &tell,
        &script(&format!("cat >> {0}; echo >> {0}", told.display())),
    );
    let config = "rollouts = [\"log\"]\n[receivers.board]\nkind = \"command\"\nprogram = \"gate.sh\"\n\
                  [receivers.log]\nkind = \"command\"\nprogram = \"tell.sh\"\n";
    std::fs::write(folder.path().join("alerts.toml"), config).unwrap();
    let platform = Platform::start_in(folder.clone(), LONG).await;
    platform.deploy("a", &request(1, "/a")).await.unwrap();
    claimed(&platform, 1).await;
    let gates = [(Before::Rollout, Need::Ask("board".to_owned()))];
    platform.begin(rolled_out(2, &gated(&gates))).await;
    let mut document = platform.until("paused gate", (0, 0), (200, 0)).await;
    while document["held_by"] == serde_json::json!(["board is asked"]) {
        document = platform.second((0, 0), (200, 0)).await;
    }
    let held_by = document["held_by"][0].as_str().unwrap();
    assert!(held_by.contains("board says no"), "{held_by}");
    std::fs::write(&word, "").unwrap();
    platform.until("baking", (20, 0), (200, 0)).await;
    platform.until("succeeded", (20, 0), (200, 0)).await;
    let document = platform.document().await;
    let phases: Vec<_> = document["events"]
        .as_array()
        .unwrap()
        .iter()
        .skip(1)
        .map(|event| event["phase"].as_str().unwrap().to_owned())
        .collect();
    loop {
        let seen = platform.bus.revision();
        if platform.bus.list("outbox/log/").await.unwrap().is_empty() {
            break;
        }
        platform.bus.changed_since(seen).await.unwrap();
    }
    let lines = std::fs::read_to_string(&told).unwrap();
    let messages: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut heard: Vec<_> = messages
        .iter()
        .map(|message| message["transition"].as_str().unwrap())
        .collect();
    let mut happened: Vec<_> = phases.iter().map(String::as_str).collect();
    heard.sort_unstable();
    happened.sort_unstable();
    assert_eq!(heard, happened);
    assert!(
        messages.iter().all(|message| message["rollout"]["canary"] == 2),
        "{lines}"
    );
}

fn write_program(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_rollout_that_cannot_be_read_stops_nobody_who_means_it() {
    let platform = start().await;
    platform.begin(rolled_out(2, &canary(&[(500, 600)]))).await;
    platform.until("baking", (10, 0), (190, 0)).await;
    let mut damaged = platform.document().await;
    damaged["schema"] = 99.into();
    platform
        .bus
        .put_json("rollouts/default/a", &damaged, fermion_bus::Expect::Any)
        .await
        .unwrap();
    assert_eq!(
        platform.deploy("a", &rolled_out(3, &canary(&[(500, 600)]))).await,
        Err("ROLLOUT_UNREADABLE".to_owned())
    );
    let now = DeployRequest {
        during_freeze: true,
        ..request(3, "/a")
    };
    platform.deploy("a", &now).await.unwrap();
    assert!(platform.releases("a").await.contains("active current"));
    // From then on rollouts begin as ever.
    platform.begin(rolled_out(4, &canary(&[(500, 600)]))).await;
    platform.until("baking", (10, 0), (190, 0)).await;
}

//! Sums and alerts on a real bus: what a restart finds, and what people are told through the API.

use fermion_api::{AcknowledgeRequest, AlertList, SilenceRequest};
use fermion_model::Namespace;

use super::*;
use crate::harness::{Hands, app, control};
use crate::limits::TALLY_WRITE_EVERY;
use crate::{Control, Error, Receivers};

/// Frames of ten seconds for so many minutes, each evaluated.
async fn minutes(control: &Control, hands: &Hands, now: &mut u64, minutes: u64, share: Share) {
    let mut seen = None;
    for _ in 0..minutes * 6 {
        *now += 10;
        hands.set(*now);
        let frame = frame(*now / 10, *now, &[share]);
        control.observe(&frame, &mut seen).await.unwrap();
        control.evaluate_objectives(*now).await.unwrap();
    }
}

async fn budget(control: &Control) -> (u64, u64) {
    let list = control
        .objectives(&Namespace::default(), &"tax".parse().unwrap())
        .await
        .unwrap();
    let whole = &list.objectives[0].whole;
    (whole.good, whole.total)
}

#[tokio::test]
async fn a_restart_finds_every_sum_that_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::at(NOW);
    let mut now = NOW;
    let first = control(folder.path(), &hands, Receivers::default());
    app(&first).await;
    first.load_objectives().await.unwrap();
    minutes(&first, &hands, &mut now, 2, stable(1_000, 1)).await;
    first.save_tallies(now).await.unwrap();
    // More, in small documents; then a full one again; then what a crash takes.
    for _ in 0..2 {
        minutes(&first, &hands, &mut now, 1, stable(1_000, 1)).await;
        first.save_tallies(now).await.unwrap();
    }
    now += TALLY_WRITE_EVERY.as_secs();
    minutes(&first, &hands, &mut now, 1, stable(1_000, 0)).await;
    first.save_tallies(now).await.unwrap();
    minutes(&first, &hands, &mut now, 1, stable(1_000, 0)).await;
    first.save_tallies(now).await.unwrap();
    let written = budget(&first).await;
    assert_eq!(written, (36_000 - 24, 36_000));
    minutes(&first, &hands, &mut now, 1, stable(1_000, 0)).await;
    let lost = frame(now / 10, now, &[stable(1_000, 0)]);
    drop(first);

    let second = control(folder.path(), &hands, Receivers::default());
    second.load_objectives().await.unwrap();
    second.evaluate_objectives(now).await.unwrap();
    assert_eq!(budget(&second).await, written);
    let mut seen = None;
    second.observe(&lost, &mut seen).await.unwrap();
    assert_eq!(
        budget(&second).await.1,
        written.1 + 1_000,
        "what was lost may come again, once"
    );
    second.observe(&lost, &mut seen).await.unwrap();
    assert_eq!(budget(&second).await.1, written.1 + 1_000);
}

#[tokio::test]
async fn what_is_damaged_begins_anew_and_stops_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::at(NOW);
    let mut now = NOW;
    let first = control(folder.path(), &hands, Receivers::default());
    app(&first).await;
    for key in [
        "slo/default/tax/success",
        "slo-recent/default/tax/success",
        "slo-sources",
        "alerts/default/tax",
    ] {
        let damaged = serde_json::json!({"schema": 99});
        first
            .bus()
            .put_json(key, &damaged, fermion_bus::Expect::Any)
            .await
            .unwrap();
    }
    first.load_objectives().await.unwrap();
    minutes(&first, &hands, &mut now, 1, stable(1_000, 1)).await;
    first.save_tallies(now).await.unwrap();
    assert_eq!(budget(&first).await, (6_000 - 6, 6_000));
    drop(first);
    let second = control(folder.path(), &hands, Receivers::default());
    second.load_objectives().await.unwrap();
    second.evaluate_objectives(now).await.unwrap();
    assert_eq!(budget(&second).await, (6_000 - 6, 6_000));
}

fn page(list: &AlertList) -> &fermion_api::AlertView {
    let mut alerts = list.alerts.iter();
    alerts.find(|alert| alert.severity == "page").unwrap()
}

#[tokio::test]
async fn an_incident_outlives_a_restart_and_can_be_taken_on() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::at(NOW);
    let mut now = NOW;
    let first = control(folder.path(), &hands, Receivers::default());
    app(&first).await;
    first.load_objectives().await.unwrap();
    minutes(&first, &hands, &mut now, 20, stable(1_000, 200)).await;
    first.save_tallies(now).await.unwrap();
    let before = first.alerts().await.unwrap();
    let id = page(&before).id.clone();
    assert_eq!(page(&before).state, "firing");
    assert_eq!(page(&before).owner.as_deref(), Some("team-checkout"));
    let unknown = AcknowledgeRequest {
        id: "nothing".to_owned(),
        seconds: 60,
    };
    let refused = first.acknowledge(unknown, "me").await.unwrap_err();
    assert!(matches!(refused, Error::NoSuchIncident { .. }));
    drop(first);

    let second = control(folder.path(), &hands, Receivers::default());
    second.load_objectives().await.unwrap();
    let request = AcknowledgeRequest {
        id: id.clone(),
        seconds: 60,
    };
    let taken = second.acknowledge(request, "me").await.unwrap();
    assert_eq!(taken.acknowledged.unwrap().until, now + 60);
    minutes(&second, &hands, &mut now, 2, stable(1_000, 200)).await;
    let later = second.alerts().await.unwrap();
    assert_eq!(page(&later).id, id, "the same incident goes on");
    assert_eq!(page(&later).acknowledged, None, "an acknowledgement expires");
    minutes(&second, &hands, &mut now, 30, stable(1_000, 0)).await;
    assert_eq!(page(&second.alerts().await.unwrap()).state, "resolved");
}

#[tokio::test]
async fn silences_are_kept_bounded_and_expire() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::at(NOW);
    let mut now = NOW;
    let first = control(folder.path(), &hands, Receivers::default());
    app(&first).await;
    first.load_objectives().await.unwrap();
    let request = |seconds: u64| SilenceRequest {
        namespace: Namespace::default(),
        app: Some("tax".parse().unwrap()),
        objective: None,
        seconds,
        reason: "planned work".to_owned(),
    };
    assert!(first.silence(request(30 * 24 * 3_600), "me").await.is_err());
    let list = first.silence(request(3_600), "me").await.unwrap();
    assert_eq!(list.silences[0].until, NOW + 3_600);
    first.silence(request(600), "me").await.unwrap();
    drop(first);
    let second = control(folder.path(), &hands, Receivers::default());
    second.load_objectives().await.unwrap();
    let list = second.alerts().await.unwrap();
    assert_eq!(
        list.silences.len(),
        1,
        "a new order takes the place of the old one"
    );
    assert_eq!(list.silences[0].reason, "planned work");
    minutes(&second, &hands, &mut now, 9, stable(1_000, 200)).await;
    let list = second.alerts().await.unwrap();
    assert!(page(&list).held);
    minutes(&second, &hands, &mut now, 2, stable(1_000, 200)).await;
    let list = second.alerts().await.unwrap();
    assert!(list.silences.is_empty() && !page(&list).held);
    let list = second.silence(request(0), "me").await.unwrap();
    assert!(list.silences.is_empty());
}

//! Deploys: numbered, waited for, idempotent, and harmless when they fail.

use std::time::Duration;

use fermion_api::limits::DEPLOY_WAIT_MAX;
use fermion_control::limits::RELEASES_KEPT_MAX;
use fermion_model::{Namespace, ReleaseNumber};
use tokio::task::JoinSet;

use crate::node::Fate;
use crate::platform::{NOW, Platform, app, package, request};

#[tokio::test]
async fn a_deploy_makes_a_release_and_waits_until_it_serves() {
    let platform = Platform::start().await;
    let namespace = Namespace::default();
    let first = platform
        .client
        .deploy(&namespace, &app("shop"), &request(1, "/shop/*"))
        .await
        .unwrap();
    assert_eq!(
        (first.release.number.0, first.created, first.previous),
        (1, true, None)
    );
    assert_eq!(first.serving, Some(ReleaseNumber(1)));
    assert_eq!(
        (first.steps[0].name.as_str(), first.steps[0].micros),
        ("compile", 42)
    );
    assert_eq!(
        (first.release.created_at, first.release.created_by.as_str()),
        (NOW, "operator")
    );
    assert_eq!(first.release.version.to_string(), "1.1.0");

    let second = platform
        .client
        .deploy(&namespace, &app("shop"), &request(2, "/shop/*"))
        .await
        .unwrap();
    assert_eq!(
        (second.release.number.0, second.previous),
        (2, Some(ReleaseNumber(1)))
    );
    assert_eq!(
        platform.releases("shop").await,
        "r2 active current, r1 superseded"
    );

    let status = platform.client.status().await.unwrap();
    assert_eq!(status.version, "1.2.3");
    assert_eq!(status.node.assigned, status.node.generation);
    assert_eq!(status.apps[0].active.as_ref().unwrap().number.0, 2);
    assert_eq!(platform.client.apps(&namespace).await.unwrap().len(), 1);
    assert!(
        platform
            .client
            .apps(&"other".parse().unwrap())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn the_same_deploy_again_changes_nothing() {
    let platform = Platform::start().await;
    let namespace = Namespace::default();
    assert_eq!(platform.deploy("shop", &request(1, "/shop/*")).await, Ok(1));
    let before = platform.bus.get("assignments/local").await.unwrap();
    let again = platform
        .client
        .deploy(&namespace, &app("shop"), &request(1, "/shop/*"))
        .await
        .unwrap();
    assert_eq!(
        (again.release.number.0, again.created, again.serving),
        (1, false, Some(ReleaseNumber(1)))
    );
    assert_eq!(platform.bus.get("assignments/local").await.unwrap(), before);
    assert_eq!(
        platform.deploy("shop", &request(1, "/other/*")).await,
        Ok(2),
        "other routes are another release"
    );
    let in_process = platform
        .control
        .deploy(&namespace, &app("shop"), request(3, "/other/*"), "up")
        .await
        .unwrap();
    assert_eq!(in_process.release.created_by, "up");
}

#[tokio::test]
async fn a_failing_release_leaves_the_old_one_serving() {
    let platform = Platform::start().await;
    assert_eq!(platform.deploy("shop", &request(1, "/shop/*")).await, Ok(1));
    platform.fates.set(package(2), Fate::Fails("COMPILE_FAILED"));
    let error = platform
        .client
        .deploy(&Namespace::default(), &app("shop"), &request(2, "/shop/*"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some("COMPILE_FAILED"));
    let text = error.to_string();
    assert!(
        text.contains("the node said no") && text.contains("r1 keeps serving"),
        "{text}"
    );
    assert_eq!(
        platform.releases("shop").await,
        "r2 failed COMPILE_FAILED, r1 active current"
    );

    platform.fates.set(package(2), Fate::Serves);
    assert_eq!(
        platform.deploy("shop", &request(2, "/shop/*")).await,
        Ok(3),
        "numbers never repeat"
    );
    let releases = platform.releases("shop").await;
    assert_eq!(
        releases,
        "r3 active current, r2 failed COMPILE_FAILED, r1 superseded"
    );
}

#[tokio::test]
async fn a_first_release_that_fails_is_taken_off_the_node() {
    let platform = Platform::start().await;
    platform.fates.set(package(1), Fate::Fails("DIGEST_MISMATCH"));
    assert_eq!(
        platform.deploy("shop", &request(1, "/shop/*")).await,
        Err("DIGEST_MISMATCH".to_owned())
    );
    assert_eq!(
        platform.deploy("other", &request(2, "/shop/*")).await,
        Ok(1),
        "its route is free again"
    );
    let assigned = platform.bus.list("assignments/local/").await.unwrap();
    let keys: Vec<_> = assigned.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["assignments/local/default/other"]);
    assert_eq!(platform.releases("shop").await, "r1 failed DIGEST_MISMATCH");
}

#[tokio::test]
async fn concurrent_deploys_get_numbers_of_their_own_and_the_last_wins() {
    let platform = Platform::start().await;
    let mut deploys = JoinSet::new();
    for number in 1..=8 {
        let client = platform.client.clone();
        deploys.spawn(async move {
            client
                .deploy(&Namespace::default(), &app("shop"), &request(number, "/shop/*"))
                .await
        });
    }
    let mut served = Vec::new();
    while let Some(result) = deploys.join_next().await {
        match result.unwrap() {
            Ok(result) => served.push(result.release.number.0),
            Err(error) => assert_eq!(error.code(), Some("SUPERSEDED"), "{error}"),
        }
    }
    assert!(served.contains(&8), "{served:?}");
    let releases = platform
        .client
        .releases(&Namespace::default(), &app("shop"))
        .await
        .unwrap();
    let numbers: Vec<u32> = releases.iter().map(|release| release.number.0).collect();
    assert_eq!(numbers, [8, 7, 6, 5, 4, 3, 2, 1]);
    assert!(
        platform
            .releases("shop")
            .await
            .starts_with("r8 active current, r7 superseded")
    );
}

#[tokio::test]
async fn a_node_that_does_not_report_is_a_timeout_and_the_intent_stands() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let platform = Platform::start_in(folder, Duration::ZERO).await;
    platform.fates.set(package(1), Fate::Hangs);
    assert_eq!(
        platform.deploy("shop", &request(1, "/shop/*")).await,
        Err("DEPLOY_TIMEOUT".to_owned())
    );
    assert_eq!(platform.releases("shop").await, "r1 active");
    const { assert!(DEPLOY_WAIT_MAX.as_secs() == 120) };
}

#[tokio::test]
async fn an_expected_release_guards_against_surprises() {
    let platform = Platform::start().await;
    let expecting = |number, expected| {
        let mut request = request(number, "/shop/*");
        request.expected = Some(ReleaseNumber(expected));
        request
    };
    assert_eq!(
        platform.deploy("shop", &expecting(1, 1)).await,
        Err("RELEASE_CHANGED".to_owned())
    );
    assert_eq!(platform.deploy("shop", &request(1, "/shop/*")).await, Ok(1));
    assert_eq!(platform.deploy("shop", &expecting(2, 1)).await, Ok(2));
    assert_eq!(
        platform.deploy("shop", &expecting(3, 1)).await,
        Err("RELEASE_CHANGED".to_owned())
    );
    assert_eq!(
        platform.releases("shop").await,
        "r2 active current, r1 superseded"
    );
}

#[tokio::test]
async fn old_releases_go() {
    let platform = Platform::start().await;
    let total = u32::try_from(RELEASES_KEPT_MAX).unwrap() + 4;
    for number in 1..=total {
        let package = if number % 2 == 0 { 1 } else { 2 };
        assert_eq!(
            platform.deploy("shop", &request(package, "/shop/*")).await,
            Ok(number)
        );
    }
    let releases = platform
        .client
        .releases(&Namespace::default(), &app("shop"))
        .await
        .unwrap();
    assert_eq!(releases.len(), RELEASES_KEPT_MAX);
    assert_eq!(
        (releases[0].number.0, releases[RELEASES_KEPT_MAX - 1].number.0),
        (total, 5)
    );
}

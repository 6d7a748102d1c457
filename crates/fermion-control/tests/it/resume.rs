//! A control plane that died goes on from what is on the bus.

use std::time::Duration;

use fermion_bus::{Event, Expect};
use fermion_model::Namespace;
use fermion_model::assignment::{Assignment, NodeStatus};

use crate::node::Fate;
use crate::platform::{LONG, Platform, app, code, package, request};

/// Waits until the releases are as expected; the bus says when to look again.
async fn until(platform: &Platform, expected: &str) {
    let mut watch = platform.bus.watch("");
    loop {
        if platform.releases("shop").await == expected {
            return;
        }
        while watch.next().await.unwrap() == Event::Current {}
    }
}

#[tokio::test]
async fn a_deploy_that_was_cut_off_is_finished_by_the_next_start() {
    for (fate, expected) in [
        (Fate::Serves, "r2 active current, r1 superseded"),
        (
            Fate::Fails("COMPILE_FAILED"),
            "r2 failed COMPILE_FAILED, r1 active current",
        ),
    ] {
        let platform = Platform::start().await;
        platform.deploy("shop", &request(1, "/shop/*")).await.unwrap();
        let folder = platform.kill().await;

        // Recorded, and killed before any node dealt with it.
        let platform = Platform::without_node(folder, Duration::ZERO).await;
        assert_eq!(
            platform.deploy("shop", &request(2, "/shop/*")).await,
            Err("DEPLOY_TIMEOUT".to_owned())
        );
        let folder = platform.kill().await;

        let mut platform = Platform::without_node(folder, LONG).await;
        platform.fates.set(package(2), fate);
        platform.start_node();
        until(&platform, expected).await;
    }
}

#[tokio::test]
async fn a_lost_assignment_is_written_again_under_a_newer_generation() {
    let platform = Platform::start().await;
    platform.deploy("shop", &request(1, "/shop/*")).await.unwrap();
    let (_, before) = platform
        .bus
        .get_json::<Assignment>("assignments/local")
        .await
        .unwrap()
        .unwrap();
    platform
        .bus
        .delete("assignments/local", Expect::Any)
        .await
        .unwrap();
    let mut watch = platform.bus.watch("assignments/local");
    let after: Assignment = loop {
        if let Event::Put(entry) = watch.next().await.unwrap() {
            break entry.json().unwrap();
        }
    };
    assert!(after.generation > before.generation);
    assert_eq!(after.apps, before.apps);
    assert_eq!(platform.releases("shop").await, "r1 active current");
}

#[tokio::test]
async fn a_restart_changes_nothing_by_itself() {
    let platform = Platform::start().await;
    platform.deploy("shop", &request(1, "/shop/*")).await.unwrap();
    let (_, before) = platform
        .bus
        .get_json::<Assignment>("assignments/local")
        .await
        .unwrap()
        .unwrap();
    let folder = platform.kill().await;
    let platform = Platform::start_in(folder, LONG).await;
    platform.deploy("tax", &request(2, "/tax/*")).await.unwrap();
    let (_, after) = platform
        .bus
        .get_json::<Assignment>("assignments/local")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        after.generation,
        before.generation + 1,
        "the deploy is the only change"
    );
    assert_eq!(after.apps["default/shop"], before.apps["default/shop"]);
}

#[tokio::test]
async fn a_good_release_must_serve_again_after_a_restart() {
    for (fate, expected) in [
        (Fate::Serves, Ok(1)),
        (Fate::Fails("DIGEST_MISMATCH"), Err("DIGEST_MISMATCH".to_owned())),
    ] {
        let platform = Platform::start().await;
        platform.deploy("shop", &request(1, "/shop/*")).await.unwrap();
        let folder = platform.kill().await;
        let mut platform = Platform::without_node(folder, LONG).await;
        // A node that starts says first that it does nothing yet.
        platform
            .bus
            .put_json("status/local", &NodeStatus::default(), Expect::Any)
            .await
            .unwrap();
        platform.fates.set(package(1), fate);
        let (client, again) = (platform.client.clone(), request(1, "/shop/*"));
        let shop = app("shop");
        let namespace = Namespace::default();
        let mut deploy = std::pin::pin!(client.deploy(&namespace, &shop, &again));
        tokio::select! {
            biased;
            early = &mut deploy => panic!("nothing serves yet, but {early:?}"),
            status = platform.client.status() => assert_eq!(status.unwrap().apps[0].serving, None),
        }
        platform.start_node();
        let deployed = deploy
            .await
            .map(|result| result.release.number.0)
            .map_err(|error| code(&error));
        assert_eq!(deployed, expected);
        let status = platform.client.status().await.unwrap();
        assert_eq!(
            status.apps[0].active.as_ref().unwrap().number.0,
            1,
            "it was good once: it is not given up"
        );
    }
}

#[tokio::test]
async fn a_damaged_app_stops_nobody_else() {
    let platform = Platform::start().await;
    platform.deploy("shop", &request(1, "/shop/*")).await.unwrap();
    platform.deploy("tax", &request(2, "/tax/*")).await.unwrap();
    platform
        .bus
        .put("apps/default/tax", b"{\"schema\":9}".to_vec(), Expect::Any)
        .await
        .unwrap();
    assert_eq!(platform.deploy("shop", &request(3, "/shop/*")).await, Ok(2));
    let (_, assignment) = platform
        .bus
        .get_json::<Assignment>("assignments/local")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        assignment.apps["default/tax"].release.digest,
        package(2),
        "it keeps what it had"
    );
    assert_eq!(
        platform.deploy("tax", &request(4, "/tax/*")).await,
        Err("INTERNAL".to_owned())
    );
    assert_eq!(
        platform.deploy("new", &request(4, "/tax/*")).await,
        Err("ROUTE_COLLISION".to_owned())
    );
    let releases = platform
        .client
        .releases(&Namespace::default(), &app("tax"))
        .await
        .unwrap_err();
    assert!(
        !releases.to_string().contains("schema"),
        "details stay in the log: {releases}"
    );
}

//! A control plane that died goes on from what is on the bus.

use std::collections::BTreeMap;
use std::time::Duration;

use fermion_bus::{Event, Expect};
use fermion_model::Namespace;
use fermion_model::assignment::{AssignedApp, Assignment, NodeStatus, first};

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

/// The whole assignment's generation and the app's part.
async fn assigned(platform: &Platform, app: &str) -> (u64, Option<AssignedApp>) {
    let whole = platform.bus.get_json::<Assignment>("assignments/local");
    let key = format!("assignments/local/default/{app}");
    let part = platform.bus.get_json::<AssignedApp>(&key);
    let generation = whole.await.unwrap().unwrap().1.generation;
    (generation, part.await.unwrap().map(|(_, app)| app))
}

#[tokio::test]
async fn a_lost_assignment_is_written_again_under_a_newer_generation() {
    for lost in ["assignments/local", "assignments/local/default/shop"] {
        let platform = Platform::start().await;
        platform.deploy("shop", &request(1, "/shop/*")).await.unwrap();
        let (before, app) = assigned(&platform, "shop").await;
        let lost_at = platform.bus.delete(lost, Expect::Any).await.unwrap();
        let mut watch = platform.bus.watch(lost);
        loop {
            if let Event::Put(entry) = watch.next().await.unwrap()
                && entry.key == lost
                && entry.revision > lost_at
            {
                break;
            }
        }
        let (after, again) = assigned(&platform, "shop").await;
        assert!(after > before, "{lost}");
        assert_eq!(again.unwrap().release, app.unwrap().release);
        assert_eq!(platform.releases("shop").await, "r1 active current");
    }
}

#[tokio::test]
async fn a_restart_changes_nothing_by_itself() {
    let platform = Platform::start().await;
    platform.deploy("shop", &request(1, "/shop/*")).await.unwrap();
    let (before, shop) = assigned(&platform, "shop").await;
    let folder = platform.kill().await;
    let platform = Platform::start_in(folder, LONG).await;
    platform.deploy("tax", &request(2, "/tax/*")).await.unwrap();
    let (after, same) = assigned(&platform, "shop").await;
    assert_eq!(after, before + 1, "the deploy is the only change");
    assert_eq!(same, shop);
}

/// What an earlier build left: every app in one document.
#[tokio::test]
async fn an_assignment_of_the_first_schema_is_taken_apart() {
    let platform = Platform::start().await;
    for number in 1..=70 {
        let (name, path) = (format!("app-{number}"), format!("/{number}/*"));
        platform.deploy(&name, &request(number, &path)).await.unwrap();
    }
    let mut whole = first::Assignment {
        schema: first::SCHEMA,
        generation: 100,
        apps: BTreeMap::new(),
    };
    let mut parts = Vec::new();
    for entry in platform.bus.list("assignments/local/").await.unwrap() {
        let app: AssignedApp = entry.json().unwrap();
        let name = entry.key.strip_prefix("assignments/local/").unwrap().to_owned();
        let (release, last_good) = (app.release, app.last_good);
        whole.apps.insert(name, first::AssignedApp { release, last_good });
        parts.push(entry.key);
    }
    assert_eq!(parts.len(), 70);
    let folder = platform.kill().await;
    let platform = Platform::without_node(folder, LONG).await;
    platform.shutdown.cancel();
    // The reconciler writes what is missing; the old document knows more than it.
    for cut_off in [true, false] {
        for part in &parts[usize::from(cut_off)..] {
            platform.bus.delete(part, Expect::Any).await.unwrap();
        }
        platform
            .bus
            .put_json("assignments/local", &whole, Expect::Any)
            .await
            .unwrap();
        platform.control.upgrade().await.unwrap();
        platform.control.upgrade().await.unwrap();
        let (generation, app) = assigned(&platform, "app-70").await;
        assert_eq!((generation, app.unwrap().generation), (100, 100));
        let entries = platform.bus.list("assignments/local/").await.unwrap();
        assert_eq!(entries.len(), 70);
    }
    platform.control.reconcile().await.unwrap();
    let (generation, _) = assigned(&platform, "app-1").await;
    assert_eq!(generation, 100, "nothing had to be changed");
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
        let idle = NodeStatus {
            incarnation: u64::MAX,
            ..NodeStatus::default()
        };
        platform
            .bus
            .put_json("status/local", &idle, Expect::Any)
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
    let (_, tax) = assigned(&platform, "tax").await;
    assert_eq!(tax.unwrap().release.digest, package(2), "it keeps what it had");
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

//! Rollbacks take the same road as deploys, to a release that is there already.

use fermion_api::RollbackRequest;
use fermion_model::{Namespace, ReleaseNumber};

use crate::node::Fate;
use crate::platform::{Platform, app, code, package, request};

async fn rollback(platform: &Platform, name: &str, to: Option<u32>) -> Result<u32, String> {
    let request = RollbackRequest {
        to: to.map(ReleaseNumber),
        override_policy: None,
    };
    let result = platform
        .client
        .rollback(&Namespace::default(), &app(name), &request)
        .await;
    result
        .map(|result| result.serving.unwrap().0)
        .map_err(|error| code(&error))
}

#[tokio::test]
async fn goes_to_the_release_before_or_the_one_named() {
    let platform = Platform::start().await;
    for number in 1..=3 {
        assert_eq!(
            platform.deploy("shop", &request(number, "/shop/*")).await,
            Ok(u32::from(number))
        );
    }
    assert_eq!(rollback(&platform, "shop", None).await, Ok(2));
    assert_eq!(
        platform.releases("shop").await,
        "r3 superseded, r2 active current, r1 superseded"
    );
    assert_eq!(rollback(&platform, "shop", None).await, Ok(1));
    assert_eq!(
        rollback(&platform, "shop", None).await,
        Err("NO_SUCH_RELEASE".to_owned())
    );
    assert_eq!(rollback(&platform, "shop", Some(3)).await, Ok(3));
    assert_eq!(
        rollback(&platform, "shop", Some(3)).await,
        Ok(3),
        "again is no change"
    );
    assert_eq!(
        rollback(&platform, "shop", Some(9)).await,
        Err("NO_SUCH_RELEASE".to_owned())
    );
    assert_eq!(
        rollback(&platform, "nobody", None).await,
        Err("NO_SUCH_APP".to_owned())
    );
    assert_eq!(platform.deploy("shop", &request(4, "/shop/*")).await, Ok(4));
    let apps = platform.client.apps(&Namespace::default()).await.unwrap();
    assert_eq!(apps[0].changed_by, "operator");
}

#[tokio::test]
async fn skips_failed_releases_and_a_failing_one_returns() {
    let platform = Platform::start().await;
    assert_eq!(platform.deploy("shop", &request(1, "/shop/*")).await, Ok(1));
    platform.fates.set(package(2), Fate::Fails("GUEST_TRAP"));
    assert!(platform.deploy("shop", &request(2, "/shop/*")).await.is_err());
    assert_eq!(platform.deploy("shop", &request(3, "/shop/*")).await, Ok(3));
    assert_eq!(
        rollback(&platform, "shop", Some(2)).await,
        Err("GUEST_TRAP".to_owned())
    );
    assert_eq!(
        platform.releases("shop").await,
        "r3 active current, r2 failed GUEST_TRAP, r1 superseded"
    );
    assert_eq!(rollback(&platform, "shop", None).await, Ok(1));

    platform.fates.set(package(2), Fate::Serves);
    assert_eq!(
        rollback(&platform, "shop", Some(2)).await,
        Ok(2),
        "a failure is not held against it for ever"
    );
    assert_eq!(
        platform.releases("shop").await,
        "r3 superseded, r2 active current, r1 superseded"
    );
}

#[tokio::test]
async fn does_not_take_back_routes_that_went_to_another() {
    let platform = Platform::start().await;
    assert_eq!(platform.deploy("shop", &request(1, "/tax/*")).await, Ok(1));
    assert_eq!(
        platform.deploy("tax", &request(2, "/tax/*")).await,
        Err("ROUTE_COLLISION".to_owned())
    );
    assert_eq!(platform.deploy("shop", &request(1, "/shop/*")).await, Ok(2));
    assert_eq!(platform.deploy("tax", &request(2, "/tax/*")).await, Ok(1));
    assert_eq!(
        rollback(&platform, "shop", None).await,
        Err("ROUTE_COLLISION".to_owned())
    );
    assert_eq!(
        platform.releases("shop").await,
        "r2 active current, r1 superseded"
    );
}

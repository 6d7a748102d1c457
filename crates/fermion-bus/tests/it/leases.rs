//! Leases under a clock that the test moves.

use std::time::Duration;

use fermion_bus::Error;

use crate::documents::fresh;

const TEN: Duration = Duration::from_millis(10);

#[tokio::test]
async fn one_holder_at_a_time_with_growing_tokens() {
    let (_folder, bus) = fresh();
    let first = bus.lease_acquire("leader", "a", TEN, 100).await.unwrap();
    let held = bus.lease_acquire("leader", "b", TEN, 109).await.unwrap_err();
    assert!(
        matches!(
            held,
            Error::LeaseHeld {
                until_millis: 110,
                ..
            }
        ),
        "{held}"
    );
    let renewed = bus.lease_renew(&first, TEN, 109).await.unwrap();
    assert_eq!(renewed.fencing_token, first.fencing_token);
    assert_eq!(renewed.expires_at_millis, 119);
    assert!(bus.lease_acquire("leader", "b", TEN, 118).await.is_err());

    let second = bus.lease_acquire("leader", "b", TEN, 119).await.unwrap();
    assert!(second.fencing_token > first.fencing_token);
    assert!(matches!(
        bus.lease_renew(&renewed, TEN, 118).await,
        Err(Error::LeaseLost { .. })
    ));
    assert!(matches!(
        bus.lease_release(renewed).await,
        Err(Error::LeaseLost { .. })
    ));

    let token = second.fencing_token;
    bus.lease_release(second).await.unwrap();
    let third = bus.lease_acquire("leader", "c", TEN, 120).await.unwrap();
    assert!(third.fencing_token > token, "a release does not reset the token");
}

#[tokio::test]
async fn an_expired_lease_is_not_renewed_and_reacquiring_replaces() {
    let (_folder, bus) = fresh();
    let lease = bus.lease_acquire("x", "a", TEN, 0).await.unwrap();
    assert!(matches!(
        bus.lease_renew(&lease, TEN, 10).await,
        Err(Error::LeaseLost { .. })
    ));
    let again = bus.lease_acquire("x", "a", TEN, 1).await.unwrap();
    assert!(again.fencing_token > lease.fencing_token);
    assert!(matches!(
        bus.lease_renew(&lease, TEN, 2).await,
        Err(Error::LeaseLost { .. })
    ));
    assert!(
        bus.lease_acquire("y", "b", TEN, 0).await.is_ok(),
        "another name is another lease"
    );
}

//! Permits, the queue, and how both end.

use std::time::Duration;

use fermion_gateway::{Admission, ServerLimits};
use fermion_model::Fault;

use crate::app::App;
use crate::harness::Harness;

fn narrow(concurrency: u32, queue: u32, wait: Duration) -> Harness {
    let mut app = App::named("app");
    app.admission = Admission::new(concurrency, queue, wait);
    Harness::with(app, ServerLimits::default())
}

#[test]
fn a_full_queue_is_answered_at_once() {
    let harness = narrow(1, 0, Duration::from_secs(60));
    let mut first = harness.connect().send("GET /never HTTP/1.1\r\nhost: x\r\n\r\n");
    harness.wait_for_arrivals(1);
    let reply = harness.get("/hello");
    assert_eq!(
        (reply.status, reply.code().as_str(), reply.header("retry-after")),
        (503, "OVERLOADED", Some("1"))
    );
    assert_eq!(harness.record().fault, Some(Fault::Overloaded));
    harness.app.gate.add_permits(1);
    assert_eq!(first.reply().status, 200);
    harness.record();
    assert_eq!(harness.get("/hello").status, 200);
}

#[test]
fn a_wait_that_is_too_long_is_overload_too() {
    let harness = narrow(1, 5, Duration::from_millis(50));
    let _first = harness.connect().send("GET /never HTTP/1.1\r\nhost: x\r\n\r\n");
    harness.wait_for_arrivals(1);
    assert_eq!(harness.get("/hello").code(), "OVERLOADED");
    let record = harness.record();
    assert!(record.queue >= Duration::from_millis(50), "{:?}", record.queue);
}

#[test]
fn a_permit_is_held_until_the_body_has_ended() {
    let harness = narrow(1, 1, Duration::from_secs(60));
    let first = harness.connect().send("GET /half HTTP/1.1\r\nhost: x\r\n\r\n");
    harness.wait_for_arrivals(1);
    assert_eq!(harness.app.admission.in_use(), 1);
    let mut second = harness.connect().send("GET /hello HTTP/1.1\r\nhost: x\r\n\r\n");
    drop(first);
    assert_eq!(second.reply().text(), "hello\n");
    // The permit comes back before the first record is made, so that either may be first.
    let records = [harness.record(), harness.record()];
    assert_eq!(records.iter().filter(|record| record.client_gone).count(), 1);
    assert_eq!(harness.app.admission.in_use(), 0);
}

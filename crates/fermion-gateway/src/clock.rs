//! The request path's clock: the one place in this crate that reads time.

use std::cell::Cell;
use std::time::{Instant, SystemTime};

/// The monotonic instant at which something on the request path happens.
#[expect(
    clippy::disallowed_methods,
    reason = "the request path measures itself; nothing is decided by this value"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

const DATE_BYTES: usize = 29;

thread_local! {
    static DATE: Cell<[u8; DATE_BYTES]> = const { Cell::new(*b"Thu, 01 Jan 1970 00:00:00 GMT") };
}

/// Brings this thread's `date` value up to the second. The sweep does this, so that no request has to.
#[expect(
    clippy::disallowed_methods,
    reason = "RFC 9110 wants the wall clock in answers; nothing is decided by it"
)]
pub(crate) fn refresh_date() {
    let text = httpdate::fmt_http_date(SystemTime::now());
    if let Ok(date) = <[u8; DATE_BYTES]>::try_from(text.as_bytes()) {
        DATE.set(date);
    }
}

/// The value of the `date` header, as of the last sweep.
pub(crate) fn date() -> [u8; DATE_BYTES] {
    DATE.get()
}

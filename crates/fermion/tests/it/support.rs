//! What every end-to-end test stands on: the binary as a child process, clients that say exactly which bytes they send,
//! and a server that plays the outside world.

pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod dns;
pub(crate) mod h2;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod secure;
pub(crate) mod upstream;

use std::time::Duration;

pub(crate) use client::{Ask, Connection, Response};
pub(crate) use process::{Process, Serve};

/// Longer than anything here takes: a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The two guests with the same paths: every behaviour is asked of both.
pub(crate) const EDGES: [&str; 2] = ["p2-edge", "p3-edge"];

/// Percent-encodes a query value.
pub(crate) fn encode(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if keep(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// Bytes as base64 (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) as usize & 63;
            text.push(if digit <= group.len() {
                char::from(DIGITS[value])
            } else {
                '='
            });
        }
    }
    text
}

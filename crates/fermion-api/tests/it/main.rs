//! The wire types, the OpenAPI document against its golden file, and the client against nobody.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod client;
mod openapi;
mod wire;

//! The front door: listeners, routing, limits, admission, and the answers that the platform gives in a guest's stead.
//! Calls whatever runs requests through the [`Dispatch`] trait it defines. Knows nothing of WebAssembly, packages or
//! the bus, and never sends the operator's detail of a failure to a caller.
//!
//! HTTP/2 is hyper's. HTTP/1.1 is read by httparse and written here (see [`h1`]), because four promises need control
//! of the bytes: every refusal carries its code, a request with two lengths is refused, trailers whose names nobody
//! announced go out, and a failed answer never looks finished.

mod acceptor;
mod admission;
mod answer_body;
mod check;
mod clock;
mod connection;
mod copies;
mod countries;
mod dispatch;
mod error;
mod exchange;
mod h1;
mod h2;
pub mod limits;
mod peers;
mod problem;
mod record;
mod request_body;
mod routes;
mod server;
mod share;
mod sniff;
mod trace;
mod turns;

pub use admission::{Admission, Permit};
pub use countries::Countries;
pub use dispatch::{Dispatch, Purpose, Usage, UsageMeter};
pub use error::Error;
pub use limits::ServerLimits;
pub use problem::answer as problem_answer;
pub use record::Record;
pub use request_body::RequestBody;
pub use routes::{Lookup, Match, RouteTable, Routed};
pub use server::{Bound, Drained, Server, ServerConfig};
pub use share::{Share, Trial};
pub use trace::TraceContext;
pub use turns::ThreadReading;

//! Instances that wait for a request, fresh or used, and where they wait. What a package did not opt into is not here:
//! an instance that has served its only request is dropped by whoever used it.

mod desk;
mod instance;
mod keeper;
mod ledger;
mod pool;
mod shared;

pub(crate) use desk::{Begin, Desk};
pub(crate) use instance::{Bound, Instance, Turn};
pub(crate) use keeper::Keeper;
pub(crate) use pool::Pool;
pub(crate) use shared::{Head, Seat};

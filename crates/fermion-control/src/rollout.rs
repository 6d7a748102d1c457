//! Rollouts: an app's traffic moves from one release to the next step by step, while what its requests are like is
//! watched. What is to be done is decided by the planner; here is what is stored of it, what it is told, and how its
//! plans are carried out. A rollout's document is its whole state: it is written before anything acts on it, and the
//! reconciler derives from it alone what nodes are assigned, so a controller that dies at any point is followed by one
//! that goes on.

mod arms;
mod controller;
mod copies;
mod document;
mod ending;
mod experiment;
mod gates;
mod judging;
mod observed;
mod orders;
mod view;
mod words;

pub(crate) use document::{Quarantined, ROLLOUT_SCHEMA, ROLLOUTS, RolloutDocument, rollout_key};
pub(crate) use view::rollout_view;

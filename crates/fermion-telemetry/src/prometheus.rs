//! What a Prometheus and a Grafana of somebody's own need in order to say what Fermion says: rules that are equal to our
//! predicates, and dashboards. Both are made of the same tables as the metrics and the predicates, so that neither can
//! name what is not there, and both take objectives from the metrics, so that they are the same for every platform.

mod dashboards;
mod panels;
mod rules;

pub use dashboards::Dashboard;
pub use rules::rules;

//! End-to-end tests through the real binary, real sockets and real components.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and how long it may take it asks the clock itself"
)]

mod platform;
mod support;

mod builds;
mod fairness;
mod fuzz_runtime;
mod judge;
mod package_commands;
mod registries;
mod registries_foreign;
mod registries_hostile;
mod registry_kill;
mod serve_bodies;
mod serve_drain;
mod serve_egress;
mod serve_grants;
mod serve_hostile;
mod serve_instances;
mod serve_isolation;
mod serve_load;
mod serve_names;
mod serve_overlap;
mod serve_start;
mod serve_surface;
mod serve_upstreams;
mod serve_wasi;
mod serve_wire;
mod sigstore;
mod snapshots;
mod up_cardinality;
mod up_collect;
mod up_compile;
mod up_deploy;
mod up_experiment;
mod up_export;
mod up_forged;
mod up_git;
mod up_git_order;
mod up_idle;
mod up_keyvalue;
mod up_kill;
mod up_logs;
mod up_new;
mod up_objectives;
mod up_policy;
mod up_prometheus;
mod up_registry;
mod up_restart;
mod up_revocation;
mod up_rollout;
mod up_rollout_faults;
mod up_secrets;
mod up_shadow;
mod up_signals;
mod up_swap;
mod up_tamper;
mod up_telemetry;
mod up_trace;
mod up_trust;
mod up_watch;
mod up_why;

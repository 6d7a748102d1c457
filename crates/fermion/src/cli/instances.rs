//! Flags of how long instances live: what `[instances]` says in a package.

use std::time::Duration;

use clap::Args;
use fermion_model::limits::{CONCURRENCY_MAX, IDLE_MAX, REUSE_CONCURRENCY_MAX, REUSE_REQUESTS_MAX};
use fermion_model::manifest::{Instances, read_warmup};
use fermion_model::units;

#[derive(Debug, Args)]
pub(crate) struct InstanceArgs {
    /// Requests that one instance may serve; 1 is a fresh instance per request.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(REUSE_REQUESTS_MAX)))]
    pub(crate) reuse: Option<u32>,
    /// Requests that one reused instance of WASI 0.3 serves at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(REUSE_CONCURRENCY_MAX)))]
    pub(crate) reuse_concurrency: Option<u32>,
    /// How long an unused instance is kept.
    #[arg(long, value_name = "TIME", value_parser = idle)]
    pub(crate) reuse_idle: Option<Duration>,
    /// Instances kept ready before their requests come.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(CONCURRENCY_MAX)))]
    pub(crate) warm: Option<u32>,
    /// What each new instance is asked with GET before it is kept.
    #[arg(long, value_name = "PATH", value_parser = warmup)]
    pub(crate) warmup: Option<String>,
}

impl InstanceArgs {
    pub(crate) fn instances(&self) -> Instances {
        let default = Instances::default();
        let warm_min = self.warm.unwrap_or(default.warm_min);
        Instances {
            reuse_requests: self.reuse.unwrap_or(default.reuse_requests),
            reuse_concurrency: self.reuse_concurrency.unwrap_or(default.reuse_concurrency),
            idle: self.reuse_idle.unwrap_or(default.idle),
            warm_min,
            warm_max: default.warm_max.max(warm_min),
            warmup: self.warmup.clone(),
        }
    }
}

fn idle(text: &str) -> Result<Duration, String> {
    let idle = units::parse_duration(text).map_err(|why| why.to_string())?;
    if idle.is_zero() || idle > IDLE_MAX {
        return Err(format!(
            "{text} is not from 1ms to {}",
            units::format_duration(IDLE_MAX)
        ));
    }
    Ok(idle)
}

fn warmup(text: &str) -> Result<String, String> {
    read_warmup(text).map(|()| text.to_owned())
}

//! How much compiling may take, how much of what it made is kept, and for how long in memory.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fermion_model::units;
use fermion_runtime::{CompileLimits, CompilerConfig};

#[derive(Debug, Args, Clone)]
pub(crate) struct NativeArgs {
    /// How long one compilation may take.
    #[arg(long, default_value = "120s", value_name = "TIME", value_parser = units::parse_duration)]
    pub(crate) compile_time: Duration,
    /// CPU time that one compilation may use, in whole seconds.
    #[arg(long, default_value = "240s", value_name = "TIME", value_parser = units::parse_duration)]
    pub(crate) compile_cpu: Duration,
    /// Compiled code that is kept beyond what runs and what it would fall back to; the least recently used goes first.
    #[arg(long, default_value = "2GiB", value_name = "SIZE", value_parser = units::parse_bytes)]
    pub(crate) native_cache: u64,
    /// How long an app may be without a request before its memory is given back; its next request loads it again.
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = idle_after)]
    pub(crate) idle_after: Duration,
}

fn idle_after(text: &str) -> Result<Duration, String> {
    let time = units::parse_duration(text).map_err(|error| error.to_string())?;
    let least = fermion_node::limits::IDLE_AFTER_MIN;
    if time < least {
        return Err(format!("it is at least {}", units::format_duration(least)));
    }
    Ok(time)
}

impl NativeArgs {
    /// What the runtime's compiler is told.
    pub(crate) fn config(&self, executable: PathBuf, cache: PathBuf) -> CompilerConfig {
        CompilerConfig {
            executable,
            cache,
            cache_bytes_max: self.native_cache,
            limits: CompileLimits {
                wall: self.compile_time,
                cpu_seconds: self.compile_cpu.as_secs().max(1),
                ..CompileLimits::default()
            },
        }
    }
}

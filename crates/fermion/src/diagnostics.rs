//! The platform's own diagnostics: lowercase lines on standard error, warnings and worse unless `FERMION_LOG` says
//! otherwise. What components write and what requests did are not diagnostics and go elsewhere.

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

/// Names a level, or a level a target: `debug`, `fermion_node=trace,warn`.
const FILTER_VARIABLE: &str = "FERMION_LOG";

/// Puts the subscriber in its place; once a process.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment is read in the binary, once"
)]
pub(crate) fn install(as_json: bool) -> Result<()> {
    let directives = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| "warn".to_owned());
    let filter = EnvFilter::try_new(&directives)
        .with_context(|| format!("{FILTER_VARIABLE}={directives:?} is not a filter such as `info`"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    if as_json {
        builder.json().init();
    } else {
        builder.compact().init();
    }
    Ok(())
}

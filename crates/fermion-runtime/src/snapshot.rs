//! Snapshots: a component's initialisation, run once when its package is made, and the memory that it leaves packed in
//! its place. It runs in a child that closes itself in as for compiling, with every import linked and none of them
//! answering: what an instance learns from the world must not be frozen for all of them.

mod frozen;
mod initialise;
mod state;

use std::path::Path;

use crate::compile::{self, CompileLimits, Ended, Order};
use crate::engine::Generation;
use crate::error::Error;
use crate::limits;

pub(crate) use initialise::{Failure, initialise, make_engine};

/// What an initialisation may use, and what may be frozen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Initialisation {
    /// Bytes of each linear memory.
    pub memory_bytes: u64,
    /// Instructions, roughly; none: [`limits::SNAPSHOT_INSTRUCTIONS_MAX`].
    pub instructions_max: Option<u64>,
    /// `wasi:random/insecure-seed` answers a seed that follows from the component. Hash tables ask for one: whoever
    /// knows the package can then find keys that collide.
    pub is_seed_fixed: bool,
}

impl Initialisation {
    /// As words of the child's command line; [`Initialisation::parse`] reads them.
    fn words(self) -> [String; 3] {
        let instructions = self.instructions_max.unwrap_or(limits::SNAPSHOT_INSTRUCTIONS_MAX);
        let seed = if self.is_seed_fixed { "fixed" } else { "refused" };
        [
            self.memory_bytes.to_string(),
            instructions.to_string(),
            seed.to_owned(),
        ]
    }

    /// What is not said is nothing.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut number = || words.next().and_then(|word| word.parse().ok());
        Self {
            memory_bytes: number().unwrap_or(0),
            instructions_max: Some(number().unwrap_or(0)),
            is_seed_fixed: words.next().as_deref() == Some("fixed"),
        }
    }
}

/// The component after its initialisation. The same component gives the same bytes on every machine. `executable` is
/// this program itself, which runs as the child.
///
/// # Errors
/// `SNAPSHOT_REFUSED` for what cannot be frozen, by name; `SNAPSHOT_LIMIT`; `COMPONENT_INVALID`.
pub async fn snapshot(
    executable: &Path,
    wasm: Vec<u8>,
    initialisation: Initialisation,
) -> Result<Vec<u8>, Error> {
    let what = match compile::generation(&wasm)? {
        Generation::P2 => "snapshot-p2",
        Generation::P3 => "snapshot-p3",
    };
    let allowed = CompileLimits::default();
    let mut arguments = compile::arguments(what, allowed).to_vec();
    arguments.extend(initialisation.words());
    let order = Order {
        executable,
        directory: &std::env::temp_dir(),
        arguments,
        wall: limits::COMPILE_TIME_MAX,
    };
    match order.run(wasm).await? {
        Ended::Done { output, .. } => Ok(output),
        Ended::Refused { complaint } => Err(Error::SnapshotRefused(complaint)),
        Ended::Limit { complaint } => Err(Error::SnapshotLimit(complaint)),
        Ended::Failed { code, complaint } => {
            let why = format!("no snapshot can be made of this component (status {code}): {complaint}");
            Err(Error::SnapshotRefused(why))
        }
        Ended::TooLong => Err(Error::SnapshotLimit(format!(
            "initialisation was not done after {:?}",
            limits::COMPILE_TIME_MAX
        ))),
        Ended::Killed { status } => Err(Error::SnapshotLimit(format!(
            "initialisation was ended by {status}; it may use {} MiB and {} s of CPU",
            allowed.memory_bytes >> 20,
            allowed.cpu_seconds
        ))),
    }
}

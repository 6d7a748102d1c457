//! Options of a package's snapshot.

use clap::Args;
use fermion_model::manifest::SnapshotAllow;

#[derive(Debug, Default, Args)]
pub(crate) struct SnapshotArgs {
    /// Run the component's initialisation now, and pack the memory that it leaves; as `[build] snapshot = true`.
    #[arg(long)]
    pub(crate) snapshot: bool,
    /// What of the world the snapshot may hold: `insecure-seed`. Hash tables then have the same seed in every instance.
    #[arg(long, value_name = "WHAT", requires = "snapshot")]
    pub(crate) snapshot_allow: Vec<SnapshotAllow>,
}

//! What a store of this node may hold and use, with unit and reason.

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Keys and values of one store, in bytes, each entry counted with `ENTRY_BYTES`: state of an app that a node keeps for
/// it, not a database.
pub const STORE_BYTES_MAX: u64 = 256 * MIB as u64;
/// What an entry is counted with beyond its key and value, in bytes: about what the file needs for it.
pub const ENTRY_BYTES: u64 = 64;
/// Pages of one store's file that are kept in memory, in bytes.
pub const CACHE_BYTES: usize = 2 * MIB;
/// Stores whose files are open at once: each costs a descriptor, and its cache when it is used.
pub const STORES_OPEN_MAX: usize = 256;
/// Writes that wait for one store's file: more than the requests of one app that run at once would need.
pub const WRITES_WAITING_MAX: usize = 4 * KIB;

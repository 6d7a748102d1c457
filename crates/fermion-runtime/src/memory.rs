//! The linear memory of all guests together, against what the machine has: an instance that would grow past its share is
//! ended before it grows. What an ordinary instance begins with is not counted: their number is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use fermion_planner::memory;

use crate::limits;

/// What the guests of one process hold beyond what each may have uncounted.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: AtomicU64,
    bytes_max: u64,
}

/// What those of one release hold of it.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: AtomicU64,
}

/// What one instance holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    share: Arc<Share>,
    bytes: u64,
}

/// Memory of guests at one moment, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryStats {
    /// Held beyond what each instance may have uncounted.
    pub held: u64,
    /// What all together may hold.
    pub max: u64,
}

/// An instance is ended with this when it would take more than there is for its release.
#[derive(Debug, thiserror::Error)]
#[error("{more} bytes more are too many: the release holds {own}, all releases together {all} of {max}")]
pub(crate) struct MemoryBusy {
    more: u64,
    own: u64,
    all: u64,
    max: u64,
}

impl Budget {
    /// Of so many bytes; of half of the machine's memory where nobody chose.
    pub(crate) fn new(bytes_max: Option<u64>) -> Arc<Self> {
        let bytes_max = bytes_max.unwrap_or_else(|| machine::bytes() / limits::MACHINE_SHARE);
        Arc::new(Self {
            bytes: AtomicU64::new(0),
            bytes_max,
        })
    }

    pub(crate) fn stats(&self) -> MemoryStats {
        MemoryStats {
            held: self.bytes.load(Relaxed),
            max: self.bytes_max,
        }
    }

    pub(crate) fn share(self: &Arc<Self>) -> Arc<Share> {
        Arc::new(Share {
            budget: self.clone(),
            bytes: AtomicU64::new(0),
        })
    }
}

impl Held {
    pub(crate) fn new(share: Arc<Share>) -> Self {
        Self { share, bytes: 0 }
    }

    /// Follows an instance to `total` bytes of linear memory.
    ///
    /// # Errors
    /// [`MemoryBusy`] if there is no room for it; then nothing has changed.
    pub(crate) fn grow(&mut self, total: u64) -> Result<(), MemoryBusy> {
        let more = total
            .saturating_sub(limits::UNCOUNTED_BYTES)
            .saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let (share, budget) = (&self.share, &self.share.budget);
        let own = share.bytes.fetch_add(more, Relaxed) + more;
        let all = budget.bytes.fetch_add(more, Relaxed) + more;
        if !memory::fits(own, all, budget.bytes_max) {
            share.bytes.fetch_sub(more, Relaxed);
            budget.bytes.fetch_sub(more, Relaxed);
            return Err(MemoryBusy {
                more,
                own: own - more,
                all: all - more,
                max: budget.bytes_max,
            });
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.share.bytes.fetch_sub(self.bytes, Relaxed);
            self.share.budget.bytes.fetch_sub(self.bytes, Relaxed);
        }
    }
}

/// Linear memory that a free place of a pool of so many keeps, bytes: all of them together a small part of the machine's.
pub(crate) fn keep_resident(places: u32) -> usize {
    let each = machine::bytes() / limits::KEEP_RESIDENT_SHARE / u64::from(places.max(1));
    usize::try_from(each).map_or(limits::MEMORY_KEEP_RESIDENT_BYTES, |each| {
        each.min(limits::MEMORY_KEEP_RESIDENT_BYTES)
    })
}

/// How much memory this process may count on.
mod machine {
    use std::path::Path;

    use crate::limits;

    /// The machine's, or what the group of processes that this one is in may use, if that is less.
    pub(super) fn bytes() -> u64 {
        let installed = read("/proc/meminfo").and_then(|text| installed(&text));
        let groups = read("/proc/self/cgroup").unwrap_or_default();
        let limit = folders(&groups)
            .iter()
            .filter_map(|file| bound(&read(file)?))
            .min();
        let bytes = installed.unwrap_or(limits::MACHINE_BYTES_ASSUMED);
        limit.map_or(bytes, |limit| limit.min(bytes))
    }

    fn read(path: impl AsRef<Path>) -> Option<String> {
        std::fs::read_to_string(path).ok()
    }

    fn installed(meminfo: &str) -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    }

    /// The files that bound this process, of both versions of control groups: its own group's and those above it.
    fn folders(groups: &str) -> Vec<String> {
        let mut files = Vec::new();
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
                continue;
            };
            let (root, name) = match controllers {
                "" => ("/sys/fs/cgroup", "memory.max"),
                _ if controllers.split(',').any(|one| one == "memory") => {
                    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
                }
                _ => continue,
            };
            let mut folder = path.trim_end_matches('/');
            loop {
                files.push(format!("{root}{folder}/{name}"));
                let Some((above, _)) = folder.rsplit_once('/') else {
                    break;
                };
                folder = above;
            }
        }
        files
    }

    /// A bound as the kernel writes it; `max` is none.
    fn bound(text: &str) -> Option<u64> {
        text.trim().parse().ok()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_the_kernel_says_is_read() {
            assert_eq!(
                installed("MemFree: 1 kB\nMemTotal:       2048 kB\n"),
                Some(2 << 20)
            );
            assert_eq!(installed("MemFree: 1 kB\n"), None);
            assert_eq!((bound("max\n"), bound("1048576\n")), (None, Some(1 << 20)));
            let both = "0::/a/b\n4:cpu,memory:/c\n3:pids:/d\n";
            assert_eq!(
                folders(both),
                [
                    "/sys/fs/cgroup/a/b/memory.max",
                    "/sys/fs/cgroup/a/memory.max",
                    "/sys/fs/cgroup/memory.max",
                    "/sys/fs/cgroup/memory/c/memory.limit_in_bytes",
                    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                ]
            );
            assert_eq!(folders("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
            assert!(bytes() > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_an_instance_begins_with_is_not_counted_and_the_rest_comes_back() {
        let budget = Budget::new(Some(100 * MIB));
        let share = budget.share();
        let mut small = Held::new(share.clone());
        small.grow(limits::UNCOUNTED_BYTES).unwrap();
        assert_eq!(budget.stats().held, 0);
        let mut large = Held::new(share);
        large.grow(limits::UNCOUNTED_BYTES + 50 * MIB).unwrap();
        assert_eq!(budget.stats().held, 50 * MIB, "alone it may have half");
        let refused = small.grow(limits::UNCOUNTED_BYTES + 1).unwrap_err();
        assert!(refused.to_string().contains("holds 52428800"), "{refused}");
        let mut other = Held::new(budget.share());
        other.grow(limits::UNCOUNTED_BYTES + 25 * MIB).unwrap();
        drop(large);
        small.grow(limits::UNCOUNTED_BYTES + MIB).unwrap();
        drop((small, other));
        assert_eq!(budget.stats().held, 0);
    }
}

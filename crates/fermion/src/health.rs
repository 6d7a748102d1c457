//! How this node itself is: memory that is left to it, and what waits for a collector. Read once a second, for frames.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fermion_model::health::{ExportHealth, NodeHealth};
use fermion_telemetry::{ExportReading, Signal, Telemetry};

/// Reads it. Small files of the kernel's own and counters in memory: microseconds.
pub(crate) struct Health {
    telemetry: Arc<Telemetry>,
    export_bytes_max: u64,
    /// The folder of this process's memory controller, where it has one of its own.
    group: Option<PathBuf>,
    progress: Progress,
}

/// Whether what waits for a collector moves.
#[derive(Debug, Default)]
struct Progress {
    sent: u64,
    since: Duration,
}

impl Progress {
    /// For how long something has waited and nothing has arrived, at a moment of a clock that never goes back.
    fn stuck(&mut self, sent: u64, is_waiting: bool, now: Duration) -> Duration {
        if !is_waiting || sent != self.sent {
            (self.sent, self.since) = (sent, now);
        }
        now.saturating_sub(self.since)
    }
}

impl Health {
    pub(crate) fn new(telemetry: Arc<Telemetry>, export_bytes_max: u64) -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self {
            telemetry,
            export_bytes_max,
            group: group(&own, Path::new("/sys/fs/cgroup")),
            progress: Progress::default(),
        }
    }

    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// `now` is the time by a clock that never goes back.
    pub(crate) fn read(&mut self, now: Duration) -> NodeHealth {
        let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let (total, available) = machine_memory(&machine).unwrap_or_default();
        let (bytes, left) = match self.group.as_deref().and_then(group_memory) {
            Some((limit, used)) if limit < total => (limit, limit.saturating_sub(used).min(available)),
            _ => (total, available),
        };
        NodeHealth {
            memory_bytes: bytes,
            memory_available_bytes: left,
            export: self.telemetry.export().map(|reading| self.export(&reading, now)),
        }
    }

    fn export(&mut self, reading: &ExportReading, now: Duration) -> ExportHealth {
        let buffer = &reading.buffer;
        let sent = buffer.totals.sent.iter().sum();
        let waiting_items = buffer.items.iter().sum();
        // What lies there for an instant on its way out is no backlog; that nothing arrives for long is.
        let stuck = self.progress.stuck(sent, waiting_items > 0, now);
        ExportHealth {
            waiting_bytes: buffer.bytes,
            bytes_max: self.export_bytes_max,
            waiting_items,
            dropped_items: dropped(reading),
            failures: reading.failures.iter().sum(),
            stuck_seconds: stuck.as_secs(),
        }
    }
}

fn dropped(reading: &ExportReading) -> u64 {
    let of = |signal: Signal| {
        let reasons = reading.buffer.totals.dropped[signal as usize];
        reasons.iter().sum::<u64>()
    };
    Signal::ALL.into_iter().map(of).sum()
}

/// All and available memory in bytes, from `/proc/meminfo`.
fn machine_memory(text: &str) -> Option<(u64, u64)> {
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim_end_matches("kB").trim().parse().ok()?;
        kib.checked_mul(1_024)
    };
    Some((of("MemTotal:")?, of("MemAvailable:")?))
}

/// The folder of the group that `/proc/self/cgroup` names, by the second version of control groups.
fn group(own: &str, root: &Path) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let folder = root.join(path.trim_start_matches('/'));
    folder.join("memory.max").exists().then_some(folder)
}

/// A group's limit and what of it is used, without the pages that can be had back at once; none without a limit.
fn group_memory(folder: &Path) -> Option<(u64, u64)> {
    let number = |file: &str| {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let (limit, used) = (number("memory.max")?, number("memory.current")?);
    let statistics = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let cached = statistics
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "))
        .and_then(|text| text.trim().parse::<u64>().ok());
    Some((limit, used.saturating_sub(cached.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_machines_or_the_groups() {
        let text = "MemTotal:        2048 kB\nMemFree:          100 kB\nMemAvailable:     512 kB\n";
        assert_eq!(machine_memory(text), Some((2_048 * 1_024, 512 * 1_024)));
        assert_eq!(machine_memory("nothing"), None);
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(group("0::/a/b\n", root.path()), None, "it has no limit");
        fs::write(folder.join("memory.max"), "max\n").unwrap();
        fs::write(folder.join("memory.current"), "700\n").unwrap();
        assert_eq!(group("12:cpu:/x\n0::/a/b\n", root.path()), Some(folder.clone()));
        assert_eq!(group_memory(&folder), None);
        fs::write(folder.join("memory.max"), "1000\n").unwrap();
        assert_eq!(group_memory(&folder), Some((1_000, 700)));
        fs::write(folder.join("memory.stat"), "anon 600\ninactive_file 50\n").unwrap();
        assert_eq!(group_memory(&folder), Some((1_000, 650)));
    }

    #[test]
    fn what_waits_is_stuck_only_while_nothing_arrives() {
        let mut progress = Progress::default();
        let mut stuck = |sent, is_waiting, second| {
            let stuck = progress.stuck(sent, is_waiting, Duration::from_secs(second));
            stuck.as_secs()
        };
        assert_eq!(stuck(0, false, 5), 0);
        assert_eq!(stuck(0, true, 6), 1);
        assert_eq!(stuck(0, true, 20), 15);
        assert_eq!(stuck(3, true, 21), 0, "something arrived");
        assert_eq!(stuck(3, true, 30), 9);
    }
}

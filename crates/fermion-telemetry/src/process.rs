//! What the system says of this process, read at a scrape.

use std::fs;

/// Resident memory in bytes; none where the system does not say.
pub(crate) fn resident_bytes() -> Option<u64> {
    resident(&fs::read_to_string("/proc/self/status").ok()?)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_units() {
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t    1234 kB\n"), Some(1_263_616));
        assert_eq!(resident("VmRSS: many\n"), None);
    }
}

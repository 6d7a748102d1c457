//! The jail that the compiling child builds around itself. Three walls, each enough against most of what hostile code
//! could try, none trusted alone: resource limits, Landlock without a single allowed path or port, and a filter that
//! leaves the system calls of computing, memory and threads.
//!
//! The filter lists what is allowed; every other call answers ENOSYS, as if the kernel did not have it. Killing the
//! process instead would be no safer, since the call is not made either way, and would break compiling wherever a C
//! library tries something newer first and falls back: `clone3` before `clone`, for one.
//!
//! There is no limit on the number of processes: the system counts all processes of the user, so that the limit would
//! depend on the neighbours, and the filter lets the child make threads only.

use std::io;

use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use super::CompileLimits;
use crate::limits;

/// Which walls are built; all of them but in a probe of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layers {
    pub(super) landlock: bool,
    pub(super) seccomp: bool,
    /// Whether code that is made may also be run: for a snapshot.
    pub(super) runs_code: bool,
}

impl Layers {
    pub(super) const ALL: Self = Self {
        landlock: true,
        seccomp: true,
        runs_code: false,
    };
    pub(super) const ALL_BUT_RUNNING: Self = Self {
        runs_code: true,
        ..Self::ALL
    };
}

/// Dies with the parent. `parent` is who that should be: one that was gone before this was said would not be noticed.
pub(super) fn follow_parent(parent: Option<u32>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        if parent.is_some_and(|parent| now != Some(parent)) {
            return Err(io::Error::other("the process that ordered this is gone"));
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (parent, Signal::KILL);
    Ok(())
}

/// Closes the calling thread in, and every thread that it makes from now on. Gives what this system does not offer.
///
/// # Errors
/// When a limit cannot be set: then nothing may be compiled.
pub(super) fn enter(allowed: &CompileLimits, layers: Layers) -> io::Result<Vec<String>> {
    step_aside();
    limit(allowed)?;
    let mut lacking = Vec::new();
    #[cfg(target_os = "linux")]
    {
        if layers.landlock {
            lacking.extend(linux::close_paths_and_ports().err());
        }
        if layers.seccomp {
            lacking.extend(linux::filter_calls(layers.runs_code)?.err());
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = layers;
        lacking.push("Landlock and seccomp: Linux only".to_owned());
    }
    Ok(lacking)
}

/// Whoever serves comes first: for the CPU, and when memory runs out. Best effort; the limits do not depend on it.
fn step_aside() {
    rustix::process::nice(limits::COMPILE_NICENESS).ok();
    #[cfg(target_os = "linux")]
    drop(std::fs::write("/proc/self/oom_score_adj", "1000"));
}

fn limit(allowed: &CompileLimits) -> io::Result<()> {
    let limits = [
        (Resource::As, allowed.memory_bytes),
        (Resource::Cpu, allowed.cpu_seconds),
        (Resource::Fsize, limits::NATIVE_BYTES_MAX),
        (Resource::Core, 0),
        (Resource::Nofile, limits::COMPILE_FILES_MAX),
    ];
    for (resource, maximum) in limits {
        let limit = Rlimit {
            current: Some(maximum),
            maximum: Some(maximum),
        };
        setrlimit(resource, limit)?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;
    use std::io;

    use landlock::{
        ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope,
    };
    use seccompiler::SeccompCmpArgLen::{Dword, Qword};
    use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
    use seccompiler::{
        BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
        SeccompFilter, SeccompRule, TargetArch,
    };

    /// Handles every right that Landlock knows and grants none: no path can be opened, made, run or looked into, no
    /// port bound or connected to, no process outside signalled. Also sets `no_new_privs`.
    pub(super) fn close_paths_and_ports() -> Result<(), String> {
        let close = || -> Result<_, RulesetError> {
            Ruleset::default()
                .handle_access(AccessFs::from_all(ABI::V6))?
                .handle_access(AccessNet::from_all(ABI::V6))?
                .scope(Scope::from_all(ABI::V6))?
                .create()?
                .restrict_self()
        };
        match close() {
            Ok(status) => match status.ruleset {
                RulesetStatus::FullyEnforced => Ok(()),
                RulesetStatus::PartiallyEnforced => Err("parts of Landlock".to_owned()),
                RulesetStatus::NotEnforced => Err("Landlock".to_owned()),
            },
            Err(error) => Err(format!("Landlock ({error})")),
        }
    }

    /// The outer error is ours: a filter that cannot be made. The inner one is the system's: it takes none.
    pub(super) fn filter_calls(runs_code: bool) -> io::Result<Result<(), String>> {
        let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
            return Ok(Err("seccomp (not on this processor)".to_owned()));
        };
        let program = program(arch, runs_code).map_err(io::Error::other)?;
        Ok(seccompiler::apply_filter(&program).map_err(|error| format!("seccomp ({error})")))
    }

    fn program(arch: TargetArch, runs_code: bool) -> Result<BpfProgram, BackendError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            UNCONDITIONAL.iter().map(|call| (*call, Vec::new())).collect();
        rules.extend(conditional()?);
        if runs_code {
            // Memory that the engine has written code into is made executable; a mapping never is from the start.
            rules.insert(libc::SYS_mprotect, Vec::new());
        }
        let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
        SeccompFilter::new(rules, absent, SeccompAction::Allow, arch)?.try_into()
    }

    /// Memory, threads, time, signals to itself, and the end. None of them reaches outside of the process.
    const UNCONDITIONAL: [i64; 26] = [
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_membarrier,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_getcpu,
        libc::SYS_sysinfo,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_close,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];

    /// Calls of which a part is allowed, each by any one of its rules.
    fn conditional() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
        let exec = mask(libc::PROT_EXEC);
        let anonymous = mask(libc::MAP_ANONYMOUS);
        let thread = mask(libc::CLONE_THREAD);
        let own = u64::from(std::process::id());
        let rules = [
            // Descriptors by number: one that was inherited by mistake can be neither read nor written nor mapped.
            (libc::SYS_read, vec![rule(&[(0, Dword, Eq, 0)])?]),
            (
                libc::SYS_write,
                vec![rule(&[(0, Dword, Eq, 1)])?, rule(&[(0, Dword, Eq, 2)])?],
            ),
            (
                libc::SYS_writev,
                vec![rule(&[(0, Dword, Eq, 1)])?, rule(&[(0, Dword, Eq, 2)])?],
            ),
            // A compiler writes code, it does not run it: no memory ever becomes executable here, but for a snapshot.
            (
                libc::SYS_mmap,
                vec![rule(&[
                    (2, Dword, MaskedEq(exec), 0),
                    (3, Dword, MaskedEq(anonymous), anonymous),
                ])?],
            ),
            (libc::SYS_mprotect, vec![rule(&[(2, Dword, MaskedEq(exec), 0)])?]),
            // Threads, no processes. The flags of `clone3` cannot be seen by a filter: it is absent.
            (
                libc::SYS_clone,
                vec![rule(&[(0, Dword, MaskedEq(thread), thread)])?],
            ),
            // How a process aborts.
            (libc::SYS_tgkill, vec![rule(&[(0, Dword, Eq, own)])?]),
            // Names of threads and of memory.
            (
                libc::SYS_prctl,
                vec![
                    rule(&[(0, Dword, Eq, mask(libc::PR_SET_NAME))])?,
                    rule(&[(0, Dword, Eq, mask(libc::PR_SET_VMA))])?,
                ],
            ),
            // Reading its own limits: the pointer to new ones is null.
            (
                libc::SYS_prlimit64,
                vec![rule(&[(0, Dword, Eq, 0), (2, Qword, Eq, 0)])?],
            ),
        ];
        Ok(rules.into_iter().collect())
    }

    fn mask(flag: i32) -> u64 {
        u64::from(flag.unsigned_abs())
    }

    /// All of these arguments must hold. Integers are compared in the 32 bits that the kernel reads of them.
    fn rule(arguments: &[(u8, SeccompCmpArgLen, SeccompCmpOp, u64)]) -> Result<SeccompRule, BackendError> {
        let condition = |(argument, length, operator, value): &(u8, SeccompCmpArgLen, SeccompCmpOp, u64)| {
            SeccompCondition::new(*argument, length.clone(), operator.clone(), *value)
        };
        SeccompRule::new(arguments.iter().map(condition).collect::<Result<_, _>>()?)
    }
}

//! The binary as a child: started until it says that it is ready, watched, stopped by signals. Nothing here waits by
//! sleeping: a line that comes and a pipe that closes are the events.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;

/// What a child wrote to one of its outputs, line by line.
#[derive(Clone, Default)]
pub(crate) struct Lines {
    shared: Arc<(Mutex<Written>, Condvar)>,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    closed: bool,
}

impl Lines {
    fn follow(source: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        std::thread::spawn(move || {
            let (written, changed) = &*writer.shared;
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                written.lock().unwrap().lines.push(line);
                changed.notify_all();
            }
            written.lock().unwrap().closed = true;
            changed.notify_all();
        });
        lines
    }

    /// The first line that fits, now or when it comes; none if the output closes before or it takes too long.
    pub(crate) fn wait_for(&self, fits: impl Fn(&str) -> bool) -> Option<String> {
        self.wait(PATIENCE, |written| {
            written.lines.iter().find(|line| fits(line)).cloned()
        })
    }

    /// True once the output is closed, which is when the child and its children have ended.
    fn wait_closed(&self, patience: Duration) -> bool {
        self.wait(patience, |written| written.closed.then_some(()))
            .is_some()
    }

    fn wait<T>(&self, patience: Duration, look: impl Fn(&Written) -> Option<T>) -> Option<T> {
        let (written, changed) = &*self.shared;
        let deadline = Instant::now() + patience;
        let mut guard = written.lock().unwrap();
        loop {
            if let Some(found) = look(&guard) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if guard.closed || left.is_zero() {
                return None;
            }
            guard = changed.wait_timeout(guard, left).unwrap().0;
        }
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        self.shared.0.lock().unwrap().lines.join("\n")
    }
}

/// The running binary. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

impl Process {
    /// Starts the binary with these arguments, the compile cache of all tests, and nothing else of this environment
    /// that could change what it does.
    pub(crate) fn start<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fermion"));
        command
            .args(arguments)
            .env("FERMION_CACHE", cache())
            .env_remove("RUST_LOG")
            // Nobody's real credentials take part in a test.
            .env("DOCKER_CONFIG", "/nonexistent");
        Self::of(command)
    }

    /// Starts any command.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|why| panic!("{command:?} does not start ({why}): run `scripts/setup.sh test`"));
        let stdout = Lines::follow(child.stdout.take().expect("stdout is a pipe"));
        let stderr = Lines::follow(child.stderr.take().expect("stderr is a pipe"));
        Self {
            child,
            stdout,
            stderr,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the child can be signalled");
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a pid is small")).expect("a pid is not 0")
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        assert!(
            self.stdout.wait_closed(PATIENCE),
            "the process does not end\n{}",
            self.stderr.text()
        );
        let status = self.child.wait().expect("the child can be waited for");
        assert!(
            self.stderr.wait_closed(PATIENCE),
            "a child of the process still runs"
        );
        status
    }

    /// Signals again and again, as an impatient person does, and gives the exit status.
    pub(crate) fn insist(&mut self, signal: Signal) -> ExitStatus {
        let begun = Instant::now();
        while !self.stdout.wait_closed(Duration::from_millis(50)) {
            assert!(begun.elapsed() < PATIENCE, "the process does not end");
            self.signal(signal);
        }
        self.wait()
    }

    /// Asks it to stop and expects that it drains and says that all is well.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.stderr.text());
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory of its own in KiB: without the pages of the binary, which come in as they are first used.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let words = line.expect("a running process has memory").split_whitespace();
        words.filter_map(|word| word.parse().ok()).next().expect("KiB")
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        open.expect("it runs").count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended long ago.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `fermion serve` with its address.
pub(crate) struct Serve {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Serve {
    /// Serves a guest and returns once it says where.
    pub(crate) fn start(guest: &str, options: &[&str]) -> Self {
        let compiled = compiled(guest);
        // Whoever comes first compiles; the others find the code in the cache.
        let mut compiled = compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if *compiled {
            drop(compiled);
            return Self::start_now(guest, options);
        }
        let serve = Self::start_now(guest, options);
        *compiled = true;
        serve
    }

    fn start_now(guest: &str, options: &[&str]) -> Self {
        let file = guest_file(guest);
        let mut arguments = vec!["--json", "serve", file.to_str().expect("the path is text")];
        arguments.extend(["--listen", "127.0.0.1:0"]);
        arguments.extend(options);
        let process = Process::start(arguments);
        let ready = process.stdout.wait_for(|line| line.contains("\"serving\""));
        let Some(ready) = ready else {
            panic!("{guest} {options:?} is not served\n{}", process.stderr.text());
        };
        let ready: serde_json::Value = serde_json::from_str(&ready).expect("the ready line is JSON");
        let address = ready["address"].as_str().expect("it has an address");
        Self {
            address: address.parse().expect("the address is one"),
            process,
        }
    }

    /// Stops it and expects exit status 0.
    pub(crate) fn stop(self) {
        self.process.stop();
    }
}

/// Where `cargo xtask guests` leaves a component.
pub(crate) fn guest_file(guest: &str) -> PathBuf {
    let file = root().join(format!("target/guests/{guest}.wasm"));
    assert!(
        file.exists(),
        "{} is missing: run `cargo xtask guests` first",
        file.display()
    );
    file
}

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// One compile cache for all tests and all runs of them.
pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile-cache")
}

fn compiled(guest: &str) -> Arc<Mutex<bool>> {
    static COMPILED: LazyLock<Mutex<HashMap<String, Arc<Mutex<bool>>>>> = LazyLock::new(Mutex::default);
    let mut all = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    all.entry(guest.to_owned()).or_default().clone()
}

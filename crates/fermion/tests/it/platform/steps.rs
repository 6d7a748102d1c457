//! A process that stops after each thing it does to files. `strace` sends it SIGSTOP at every system call that writes,
//! renames, links or syncs; while all of its threads stand still, a test looks at the files, lets it go on, or kills it.
//! What `kill -9` leaves at that moment is exactly what lies there: the kernel keeps what was written.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

/// Everything by which a process changes files. Output to pipes and sockets stops it too, which does no harm.
const EFFECTS: &str = "write,pwrite64,writev,pwritev,fsync,fdatasync,sync_file_range,ftruncate,fallocate,rename,renameat,\
                       renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,msync";

/// The process and the one that steps it. Both are killed when dropped.
pub(crate) struct Steps {
    strace: Child,
    report: BufReader<File>,
    main: Option<Pid>,
    stopped: HashSet<Pid>,
    /// The traced process's standard output.
    pub(crate) stdout: Option<std::process::ChildStdout>,
}

impl Steps {
    /// Starts the binary; `folder` takes the pipe that `strace` reports on.
    pub(crate) fn start<A: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = A>) -> Self {
        let pipe = folder.join("strace.pipe");
        drop(std::fs::remove_file(&pipe));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe can be made");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o"]).arg(&pipe);
        command.args([
            "-e",
            &format!("trace={EFFECTS}"),
            "-e",
            &format!("inject={EFFECTS}:signal=STOP"),
        ]);
        command.arg(env!("CARGO_BIN_EXE_fermion")).args(arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut strace = command
            .spawn()
            .expect("strace is needed to stop a deploy at each of its steps: run `scripts/setup.sh test`");
        let stdout = strace.stdout.take();
        Self {
            // Opening waits until strace opens its end.
            report: BufReader::new(File::open(&pipe).expect("strace reports")),
            strace,
            main: None,
            stopped: HashSet::new(),
            stdout,
        }
    }

    /// Waits until the whole process stands still; false if it has ended instead.
    pub(crate) fn next(&mut self) -> bool {
        let mut line = String::new();
        loop {
            line.clear();
            if self.report.read_line(&mut line).expect("strace reports") == 0 {
                return false;
            }
            let Some((pid, what)) = line.split_once(' ') else {
                continue;
            };
            let pid = pid
                .parse()
                .ok()
                .and_then(Pid::from_raw)
                .expect("a report begins with a pid");
            // The first that is heard of is the process itself: its threads come later.
            let main = *self.main.get_or_insert(pid);
            if !what.contains("stopped by SIGSTOP") {
                continue;
            }
            let threads = threads(main);
            if !threads.contains(&pid) {
                // A child of it, which the files do not belong to.
                kill_process(pid, Signal::CONT).ok();
                continue;
            }
            self.stopped.insert(pid);
            if threads.is_subset(&self.stopped) {
                return true;
            }
        }
    }

    /// Lets it run to its next effect.
    pub(crate) fn go_on(&mut self) {
        self.stopped.clear();
        self.signal(Signal::CONT);
    }

    /// `kill -9` where it stands. A child of its that stands still as well goes on, to find that its parent is gone.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        let mut line = String::new();
        while self.report.read_line(&mut line).expect("strace reports") > 0 {
            if let Some(pid) = stopped(&line) {
                kill_process(pid, Signal::CONT).ok();
            }
            line.clear();
        }
        self.strace.wait().expect("strace can be waited for");
    }

    /// Waits for the end of a process that stops no more.
    pub(crate) fn end(mut self) -> ExitStatus {
        self.strace.wait().expect("strace can be waited for")
    }

    /// What it said on standard error.
    pub(crate) fn complaint(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.strace.stderr.take() {
            drop(stderr.read_to_string(&mut text));
        }
        text
    }

    fn signal(&self, signal: Signal) {
        if let Some(main) = self.main {
            // It may have ended.
            kill_process(main, signal).ok();
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        drop(self.strace.kill());
        drop(self.strace.wait());
    }
}

/// Who stands still, if that is what this line of a report says.
fn stopped(line: &str) -> Option<Pid> {
    let (pid, what) = line.split_once(' ')?;
    Pid::from_raw(pid.parse().ok()?).filter(|_| what.contains("stopped by SIGSTOP"))
}

fn threads(main: Pid) -> HashSet<Pid> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{}/task", main.as_raw_nonzero())) else {
        return HashSet::new();
    };
    let ids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
    ids.filter_map(Pid::from_raw).collect()
}

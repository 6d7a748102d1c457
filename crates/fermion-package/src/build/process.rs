//! A command in its own process group: its lines, its end, its time limit. Threads, because that is all it takes: one
//! per stream, one that waits for the end, one that watches the time. Nothing here outlives the call, unless a process
//! that left the group keeps the output open; such a reader ends with that process.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::limits::{
    BUILD_LINE_BYTES_MAX, BUILD_LINES_KEPT, BUILD_LINES_QUEUE, BUILD_OUTPUT_WAIT_MAX, BUILD_TIME_MAX,
};
use crate::{Error, Result};

/// Ends builds before their time. Clones end the same builds.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    cancelled: bool,
    /// Builds that ended by themselves, so that their watchers stop watching; by the process id of their command.
    ended: Vec<i32>,
}

impl Cancel {
    /// Ends every build that was given this, and every one that will be.
    pub fn cancel(&self) {
        self.state().cancelled = true;
        self.shared.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is a flag and a list, whole after every statement, so a panic elsewhere cannot have broken it.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of the build, a cancellation or the time limit; says how a build must be ended, if it must.
    fn watch(&self, pid: Pid, time_max: Duration) -> Option<Stop> {
        let id = pid.as_raw_nonzero().get();
        let running = |state: &mut State| !state.cancelled && !state.ended.contains(&id);
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.state(), time_max, running);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.ended.contains(&id) {
            state.ended.retain(|&ended| ended != id);
            return None;
        }
        Some(if timeout.timed_out() {
            Stop::TimedOut
        } else {
            Stop::Cancelled
        })
    }

    fn ended(&self, pid: Pid) {
        self.state().ended.push(pid.as_raw_nonzero().get());
        self.shared.changed.notify_all();
    }

    fn forget(&self, pid: Pid) {
        self.state()
            .ended
            .retain(|&ended| ended != pid.as_raw_nonzero().get());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Cancelled,
    TimedOut,
}

enum Event {
    Line(String),
    /// A stream has ended.
    End,
    /// The command itself has ended; it is not reaped yet, so its id still is its own.
    Exited,
    /// The group was killed.
    Stopped(Stop),
}

/// How long a command may take.
pub(super) struct Bounds {
    /// Until its end.
    pub(super) time_max: Duration,
    /// From its end until its output is given up.
    pub(super) output_wait_max: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            time_max: BUILD_TIME_MAX,
            output_wait_max: BUILD_OUTPUT_WAIT_MAX,
        }
    }
}

/// Runs `command` with `sh -c` in `folder` until it, and its output, have ended.
pub(super) fn run(
    command: &str,
    folder: &Path,
    variables: &BTreeMap<OsString, OsString>,
    bounds: &Bounds,
    cancel: &Cancel,
    on_line: &mut dyn FnMut(&str),
) -> Result<()> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .current_dir(folder)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(Error::io("start a shell in", folder))?;
    let mut output = Output {
        kept: VecDeque::new(),
        on_line,
    };
    let stop = follow(&mut child, bounds, cancel, &mut output);
    let status = child.wait().map_err(Error::io("wait for the build in", folder))?;
    let how = match stop {
        Some(Stop::Cancelled) => "was cancelled".to_owned(),
        Some(Stop::TimedOut) => {
            format!(
                "was stopped after {} minutes, the most a build may take",
                bounds.time_max.as_secs() / 60
            )
        }
        None if status.success() => return Ok(()),
        None => ended(status),
    };
    Err(Error::BuildFailed {
        command: command.to_owned(),
        how,
        lines: output.kept.into(),
    })
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// Passes lines on until the command has ended or was stopped. The child is not reaped when this returns.
fn follow(child: &mut Child, bounds: &Bounds, cancel: &Cancel, output: &mut Output<'_>) -> Option<Stop> {
    let pid = Pid::from_child(child);
    let (sender, events) = sync_channel(BUILD_LINES_QUEUE);
    let streams = [
        child
            .stdout
            .take()
            .map(|stream| Box::new(stream) as Box<dyn Read + Send>),
        child
            .stderr
            .take()
            .map(|stream| Box::new(stream) as Box<dyn Read + Send>),
    ];
    for stream in streams.into_iter().flatten() {
        let sender = sender.clone();
        thread::spawn(move || read_lines(stream, &sender));
    }
    let exits = sender.clone();
    thread::spawn(move || {
        // The child is left unreaped, so that its id cannot be another's while the group may still be killed.
        while waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
            .is_err_and(|error| error == rustix::io::Errno::INTR)
        {}
        // Nobody listens any more if the build was stopped.
        exits.send(Event::Exited).ok();
    });
    let (watcher, time_max) = (cancel.clone(), bounds.time_max);
    let watch = thread::spawn(move || {
        let stop = watcher.watch(pid, time_max);
        if let Some(stop) = stop {
            // It may have ended in this moment; then there is nothing to kill.
            kill_process_group(pid, Signal::KILL).ok();
            sender.send(Event::Stopped(stop)).ok();
        }
    });
    let stop = drain(&events, bounds.output_wait_max, output);
    drop(events);
    cancel.ended(pid);
    watch.join().expect("the watcher does not panic");
    cancel.forget(pid);
    stop
}

fn drain(events: &Receiver<Event>, output_wait_max: Duration, output: &mut Output<'_>) -> Option<Stop> {
    let mut open = 2;
    let mut exited = false;
    while open > 0 || !exited {
        // After the end, only what is already on its way is waited for: a daemon may hold the pipe for ever.
        let event = if exited {
            events.recv_timeout(output_wait_max)
        } else {
            events.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match event {
            Ok(Event::Line(line)) => output.line(line),
            Ok(Event::End) => open -= 1,
            Ok(Event::Exited) => exited = true,
            Ok(Event::Stopped(stop)) => return Some(stop),
            Err(_) => return None,
        }
    }
    None
}

/// Sends a stream's lines. Stops when nobody listens any more.
fn read_lines(stream: Box<dyn Read + Send>, sender: &SyncSender<Event>) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader)
            .take(BUILD_LINE_BYTES_MAX as u64)
            .read_until(b'\n', &mut line);
        if !read.is_ok_and(|length| length > 0) {
            break;
        }
        while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
            line.pop();
        }
        if sender
            .send(Event::Line(String::from_utf8_lossy(&line).into_owned()))
            .is_err()
        {
            return;
        }
    }
    sender.send(Event::End).ok();
}

/// The caller's view of the lines, and the last of them for a failure.
struct Output<'a> {
    kept: VecDeque<String>,
    on_line: &'a mut dyn FnMut(&str),
}

impl Output<'_> {
    fn line(&mut self, line: String) {
        (self.on_line)(&line);
        if self.kept.len() == BUILD_LINES_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: &str, bounds: &Bounds, cancel: &Cancel) -> (Result<()>, Vec<String>) {
        let variables = [("PATH".into(), "/usr/bin:/bin".into())].into();
        let mut lines = Vec::new();
        let cancelling = cancel.clone();
        let mut on_line = |line: &str| {
            if line == "cancel me" {
                cancelling.cancel();
            }
            lines.push(line.to_owned());
        };
        let result = run(command, Path::new("/"), &variables, bounds, cancel, &mut on_line);
        (result, lines)
    }

    #[test]
    fn lines_of_both_streams_come_in_order() {
        let (result, lines) = check(
            "echo one; echo two; printf three",
            &Bounds::default(),
            &Cancel::default(),
        );
        result.unwrap();
        assert_eq!(lines, ["one", "two", "three"]);
        let (result, lines) = check("echo oops >&2", &Bounds::default(), &Cancel::default());
        result.unwrap();
        assert_eq!(lines, ["oops"]);
    }

    #[test]
    fn a_failure_repeats_the_last_lines() {
        let (result, lines) = check("seq 1 100; exit 3", &Bounds::default(), &Cancel::default());
        assert_eq!(lines.len(), 100);
        let error = result.unwrap_err();
        assert_eq!(error.code(), "BUILD_FAILED");
        let text = error.to_string();
        assert!(
            text.contains("ended with exit status 3\n  81\n") && text.ends_with("\n  100"),
            "{text}"
        );
    }

    #[test]
    fn a_flood_without_line_feeds_is_cut_into_pieces() {
        let (result, lines) = check(
            "head -c 50000 /dev/zero | tr '\\0' x",
            &Bounds::default(),
            &Cancel::default(),
        );
        result.unwrap();
        assert_eq!(lines.concat().len(), 50_000);
        assert!(lines.iter().all(|line| line.len() <= BUILD_LINE_BYTES_MAX));
    }

    #[test]
    fn the_time_limit_kills_the_whole_group() {
        let bounds = Bounds {
            // Long enough for the shell to have made its group.
            time_max: Duration::from_millis(300),
            ..Bounds::default()
        };
        let (result, _) = check("sleep 1000 & wait", &bounds, &Cancel::default());
        assert!(
            result
                .unwrap_err()
                .to_string()
                .contains("was stopped after 0 minutes")
        );
    }

    #[test]
    fn cancelling_kills_the_whole_group_now_and_later() {
        let cancel = Cancel::default();
        let (result, _) = check(
            "echo cancel me; sleep 1000 | sleep 1000",
            &Bounds::default(),
            &cancel,
        );
        assert!(result.unwrap_err().to_string().contains("was cancelled"));
        let (result, _) = check("sleep 1000", &Bounds::default(), &cancel);
        assert!(result.unwrap_err().to_string().contains("was cancelled"));
    }

    #[test]
    fn a_daemon_that_holds_the_output_open_does_not_hold_the_build() {
        let bounds = Bounds {
            output_wait_max: Duration::from_millis(1),
            ..Bounds::default()
        };
        let (result, _) = check("setsid sleep 5 & true", &bounds, &Cancel::default());
        result.unwrap();
    }
}

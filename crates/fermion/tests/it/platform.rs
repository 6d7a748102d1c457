//! The whole platform as a child process: `fermion up` on a data directory of its own, projects whose build is a copy
//! of a ready component, and the other commands against it. What is asserted here is only what every test relies on.

pub(crate) mod operations;
mod projects;
pub(crate) mod remotes;
mod steps;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Ask, Process, Response};

pub(crate) use projects::{Package, Site, copy};
pub(crate) use steps::Steps;

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Runs the binary to its end.
    pub(crate) fn new<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fermion"));
        command.args(arguments).env_remove("FERMION_LOG");
        // Nobody's real credentials take part in a test.
        command.env("DOCKER_CONFIG", "/nonexistent");
        Self::of(command.stdin(Stdio::null()).output().expect("the binary starts"))
    }

    pub(crate) fn of(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("output is text"),
            stderr: String::from_utf8(output.stderr).expect("output is text"),
        }
    }

    /// Expects success; gives standard output.
    #[track_caller]
    pub(crate) fn done(&self) -> &str {
        assert_eq!(self.status, Some(0), "{}{}", self.stdout, self.stderr);
        &self.stdout
    }

    /// Expects success and one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.done()).expect("one JSON document")
    }

    /// Expects a failure with this code in the JSON on standard error; gives its words.
    #[track_caller]
    pub(crate) fn refused(&self, code: &str) -> String {
        assert_eq!(self.status, Some(1), "{}{}", self.stdout, self.stderr);
        let last = self.stderr.lines().last().expect("a failure says why");
        let failure: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{}", self.stderr));
        assert_eq!(failure["code"], code, "{failure}");
        let causes = failure["causes"].as_array().expect("causes are a list");
        let words = std::iter::once(&failure["error"]).chain(causes);
        words
            .map(|text| text.as_str().expect("causes are text"))
            .collect::<Vec<_>>()
            .join(": ")
    }
}

/// A running `fermion up`. Killed when dropped.
pub(crate) struct Up {
    pub(crate) process: Process,
    pub(crate) gateway: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// The line that says that all is ready.
    pub(crate) ready: Value,
    data: String,
}

impl Up {
    /// Starts it on the site's data directory with these projects and returns once it says that it is ready.
    #[track_caller]
    pub(crate) fn start<P: AsRef<Path>>(site: &Site, projects: &[P]) -> Self {
        Self::start_with(site, projects, &[])
    }

    #[track_caller]
    pub(crate) fn start_with<P: AsRef<Path>>(site: &Site, projects: &[P], options: &[&str]) -> Self {
        Self::on(&site.data(), projects, options)
    }

    /// The same on any data directory.
    #[track_caller]
    pub(crate) fn on<P: AsRef<Path>>(data: &Path, projects: &[P], options: &[&str]) -> Self {
        let data = data.to_str().expect("paths are text").to_owned();
        let mut arguments = Self::arguments(&data);
        arguments.extend(options.iter().map(ToString::to_string));
        arguments.extend(
            projects
                .iter()
                .map(|project| project.as_ref().to_str().unwrap().to_owned()),
        );
        Self::ready(Process::start(arguments), data)
    }

    /// The command line of `up` on free ports.
    pub(crate) fn arguments(data: &str) -> Vec<String> {
        let fixed = [
            "--json",
            "up",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--threads",
            "2",
            "--data",
        ];
        fixed.into_iter().chain([data]).map(str::to_owned).collect()
    }

    /// Waits until the process says that it is ready.
    #[track_caller]
    pub(crate) fn ready(process: Process, data: String) -> Self {
        let Some(line) = process.stdout.wait_for(|line| line.contains(r#""event":"up""#)) else {
            panic!("not ready\n{}\n{}", process.stdout.text(), process.stderr.text());
        };
        let ready: Value = serde_json::from_str(&line).expect("the ready line is JSON");
        let address = |name: &str| {
            ready[name]
                .as_str()
                .and_then(|text| text.parse().ok())
                .expect("an address")
        };
        Self {
            gateway: address("gateway"),
            admin: address("admin"),
            process,
            data,
            ready,
        }
    }

    /// A command against this platform, with `--json`.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        self.run_in(words, &["--json"])
    }

    /// The same as a person sees it.
    pub(crate) fn shown(&self, words: &[&str]) -> Ran {
        self.run_in(words, &[])
    }

    fn run_in(&self, words: &[&str], global: &[&str]) -> Ran {
        let admin = self.admin.to_string();
        let target = ["--admin", &admin, "--data", &self.data];
        Ran::new(global.iter().chain(words).chain(&target))
    }

    /// Deploys a project and expects that it serves.
    #[track_caller]
    pub(crate) fn deploy(&self, project: &Path) -> Value {
        self.run(&["deploy", project.to_str().unwrap()]).json()
    }

    /// Deploys a project and expects a refusal with this code; gives its words.
    #[track_caller]
    pub(crate) fn deploy_refused(&self, project: &Path, code: &str) -> String {
        self.run(&["deploy", project.to_str().unwrap()]).refused(code)
    }

    /// What `status` says of one app of the default namespace.
    #[track_caller]
    pub(crate) fn app(&self, name: &str) -> Value {
        let status = self.run(&["status"]).json();
        let apps = status["apps"].as_array().expect("apps are a list");
        let found = apps.iter().find(|app| app["app"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {status}")).clone()
    }

    /// Asks for an app's status until it fits.
    #[track_caller]
    pub(crate) fn waits_for(&self, name: &str, fits: impl Fn(&Value) -> bool) {
        let begun = std::time::Instant::now();
        loop {
            let app = self.app(name);
            if fits(&app) {
                return;
            }
            assert!(begun.elapsed() < crate::support::PATIENCE, "{app}");
        }
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        Ask::get(path).send(self.gateway)
    }

    /// The admin API's answer to a request with this token, or without one.
    #[track_caller]
    pub(crate) fn ask_admin(&self, path: &str, token: Option<&str>) -> Response {
        let mut connection = crate::support::Connection::open(self.admin);
        let authorization =
            token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        connection.send(format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\n{authorization}\r\n"
        ));
        connection.response("GET")
    }

    /// The admin token as it lies in the data directory.
    pub(crate) fn token(&self) -> String {
        let text = std::fs::read_to_string(Path::new(&self.data).join("admin.token"));
        text.expect("the token is there").trim().to_owned()
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait();
    }

    /// Ends it in good order.
    pub(crate) fn stop(self) {
        self.process.stop();
    }
}

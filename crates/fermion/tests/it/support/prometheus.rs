//! Debian's Prometheus as a child process, and its `promtool`: what a scraper of somebody's own makes of our metrics and
//! rules.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::{Ask, PATIENCE, Process, encode};

/// A running Prometheus. Killed when dropped.
pub(crate) struct Prometheus {
    process: Process,
    pub(crate) address: SocketAddr,
}

/// One series at one moment: its labels and its value.
pub(crate) type Sample = (Value, f64);

impl Prometheus {
    /// Scrapes a platform's metrics each second, and evaluates these rules as often.
    pub(crate) fn start(folder: &Path, target: SocketAddr, token: &str, rules: &str) -> Self {
        fs::write(folder.join("scrape.token"), token).unwrap();
        fs::write(folder.join("rules.yml"), rules).unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [rules.yml]\nscrape_configs:\n\
             - job_name: fermion\n  authorization: {{credentials_file: scrape.token}}\n  static_configs: [{{targets: \
             ['{target}']}}]\n"
        );
        let file = folder.join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .args([
                "--web.listen-address=127.0.0.1:0",
                "--enable-feature=exemplar-storage",
            ]);
        let process = Process::of(command);
        let line = process
            .stderr
            .wait_for(|line| line.contains("msg=\"Listening on\""));
        let line = line.unwrap_or_else(|| panic!("not ready: {}", process.stderr.text()));
        let address = line.split(" address=").nth(1).expect("it says where");
        let address = address.trim().parse().expect("an address");
        // It listens before it can answer.
        let deadline = Instant::now() + PATIENCE;
        while Ask::get("/-/ready").send(address).status != 200 {
            assert!(Instant::now() < deadline, "not ready: {}", process.stderr.text());
        }
        Self { process, address }
    }

    /// The `data` of an answer that must be a success.
    #[track_caller]
    pub(crate) fn ask(&self, path: &str) -> Value {
        let answer = Ask::get(path).send(self.address);
        let mut value: Value = serde_json::from_slice(&answer.body).expect("an answer is JSON");
        assert_eq!(
            value["status"],
            "success",
            "{path}: {value:#}\n{}",
            self.process.stderr.text()
        );
        value["data"].take()
    }

    /// A vector now.
    #[track_caller]
    pub(crate) fn query(&self, expression: &str) -> Vec<Sample> {
        let data = self.ask(&format!("/api/v1/query?query={}", encode(expression)));
        let sample = |result: &Value| {
            let value = result["value"][1].as_str().expect("a value is text");
            (
                result["metric"].clone(),
                value.parse().expect("a value is a number"),
            )
        };
        let result = data["result"].as_array().expect("a vector");
        result.iter().map(sample).collect()
    }

    /// The one number that an expression gives.
    #[track_caller]
    pub(crate) fn number(&self, expression: &str) -> f64 {
        match self.query(expression).as_slice() {
            [(_, value)] => *value,
            other => panic!("{expression}: {other:?}"),
        }
    }

    /// Asks until a vector is so.
    #[track_caller]
    pub(crate) fn when(&self, expression: &str, is_so: impl Fn(&[Sample]) -> bool) -> Vec<Sample> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let samples = self.query(expression);
            if is_so(&samples) {
                return samples;
            }
            let targets = || self.ask("/api/v1/targets")["activeTargets"].take();
            assert!(
                Instant::now() < deadline,
                "{expression}: {samples:#?}\n{:#}",
                targets()
            );
        }
    }
}

/// Runs `promtool` on a file; expects that it has nothing to say against it.
#[track_caller]
pub(crate) fn promtool(words: &[&str], file: &Path) -> String {
    let mut command = Command::new("promtool");
    // What is to be checked by its text comes on standard input.
    if words == ["check", "metrics"] {
        command.stdin(fs::File::open(file).unwrap());
    }
    let output = command
        .args(words)
        .args((words != ["check", "metrics"]).then_some(file))
        .output();
    let output =
        output.unwrap_or_else(|why| panic!("promtool does not start ({why}): run `scripts/setup.sh test`"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "promtool {words:?}: {stdout}{stderr}");
    stdout + &stderr
}

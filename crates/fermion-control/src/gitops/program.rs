//! Runs `git`: with an environment of its own, none of anybody's configuration, no hooks, no filters, no prompts, only
//! protocols that carry data, and bounds on time, output and what it may leave on disk. There is never a working tree,
//! so what a repository says of links, attributes and filters has no effect.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::Error;
use crate::limits::{GIT_REPOSITORY_BYTES_MAX, GIT_SIZE_EVERY, GIT_WORDS_BYTES_MAX};

/// Where programs are; nothing else of our environment is passed on.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

const ENVIRONMENT: &[(&str, &str)] = &[
    ("LC_ALL", "C"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ALLOW_PROTOCOL", "file:ssh:https"),
    ("GIT_LITERAL_PATHSPECS", "1"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_AUTHOR_NAME", "Fermion"),
    ("GIT_AUTHOR_EMAIL", "fermion@localhost"),
    ("GIT_COMMITTER_NAME", "Fermion"),
    ("GIT_COMMITTER_EMAIL", "fermion@localhost"),
];

const CONFIG: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.askPass", ""),
    ("credential.helper", ""),
    // A redirect could take a token elsewhere.
    ("http.followRedirects", "false"),
    ("gc.autoDetach", "false"),
    ("maintenance.autoDetach", "false"),
    ("submodule.recurse", "false"),
    ("gpg.format", "ssh"),
    ("gpg.minTrustLevel", "fully"),
    ("gpg.program", "/bin/false"),
    ("gpg.x509.program", "/bin/false"),
];

/// One run of the program.
pub(super) struct Call<'c> {
    /// For messages, after "git cannot".
    pub(super) doing: &'static str,
    /// What is data stands behind `--`, or has been checked not to look like an option.
    pub(super) arguments: Vec<&'c str>,
    /// What it reads.
    pub(super) input: Vec<u8>,
    /// Configuration beyond the usual.
    pub(super) config: Vec<(String, String)>,
    /// Environment beyond the usual.
    pub(super) environment: Vec<(&'static str, String)>,
    /// Texts that are in no message.
    pub(super) secrets: Vec<String>,
    /// How long it may take.
    pub(super) wait_max: Duration,
    /// Bytes it may write.
    pub(super) output_bytes_max: usize,
}

/// How a run ended.
pub(super) struct Ended {
    /// The exit status; none of one that was killed.
    pub(super) status: Option<i32>,
    /// What it wrote.
    pub(super) output: Vec<u8>,
    /// What it said.
    pub(super) words: String,
    doing: &'static str,
}

impl Ended {
    /// Its output, if it did what it was to do.
    pub(super) fn done(self) -> Result<Vec<u8>, Error> {
        if self.status == Some(0) {
            return Ok(self.output);
        }
        let why = if self.words.is_empty() {
            "it did not say why".to_owned()
        } else {
            self.words
        };
        Err(Error::Git {
            doing: self.doing,
            why,
        })
    }

    /// The same as one line of text.
    pub(super) fn line(self) -> Result<String, Error> {
        let output = self.done()?;
        Ok(String::from_utf8_lossy(&output).trim().to_owned())
    }
}

/// Ends what a run has started when nobody waits for it any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // Gone already is as good.
            kill_process_group(pid, Signal::KILL).ok();
        }
    }
}

/// Runs it in this folder, which is a bare repository or becomes one.
pub(super) async fn run(folder: &Path, call: Call<'_>) -> Result<Ended, Error> {
    let doing = call.doing;
    let failed = |why: String| Error::Git { doing, why };
    let wait_max = call.wait_max;
    let ended = tokio::select! {
        ended = tokio::time::timeout(wait_max, run_to_end(folder, call)) => ended,
        () = grown(folder) => {
            let max = GIT_REPOSITORY_BYTES_MAX >> 20;
            return Err(failed(format!("the repository is larger than {max} MiB")));
        }
    };
    ended.unwrap_or_else(|_| Err(failed(format!("it took longer than {} s", wait_max.as_secs()))))
}

fn command(folder: &Path, call: &Call<'_>) -> std::process::Command {
    let mut command = std::process::Command::new("git");
    command
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", folder)
        .env("GIT_DIR", folder)
        .envs(ENVIRONMENT.iter().copied())
        .envs(call.environment.iter().map(|(name, value)| (name, value)));
    let own = CONFIG
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()));
    // Not on the command line, which every user of the machine can read.
    let config: Vec<(String, String)> = own.chain(call.config.iter().cloned()).collect();
    command.env("GIT_CONFIG_COUNT", config.len().to_string());
    for (index, (key, value)) in config.into_iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{index}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
    command
        .args(&call.arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

async fn run_to_end(folder: &Path, call: Call<'_>) -> Result<Ended, Error> {
    let doing = call.doing;
    let failed = |why: String| Error::Git { doing, why };
    let spawned = Command::from(command(folder, &call)).kill_on_drop(true).spawn();
    let mut child = spawned.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failed(format!("there is no program git in {PATH}")),
        _ => failed(error.to_string()),
    })?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let mut group = Group(pid.and_then(Pid::from_raw));
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let input = call.input;
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read all of it says by its status whether it is content.
            stdin.write_all(&input).await.ok();
        }
    };
    let read = async {
        let mut output = Vec::new();
        if let Some(stdout) = stdout {
            let max = call.output_bytes_max as u64 + 1;
            stdout.take(max).read_to_end(&mut output).await?;
        }
        Ok::<_, std::io::Error>(output)
    };
    let hear = async {
        let mut words = Vec::new();
        if let Some(mut stderr) = stderr {
            (&mut stderr)
                .take(GIT_WORDS_BYTES_MAX)
                .read_to_end(&mut words)
                .await
                .ok();
            // The rest is read so that it can go on, and forgotten.
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await.ok();
        }
        words
    };
    let reading = async {
        let output = read.await.map_err(|error| failed(error.to_string()))?;
        if output.len() > call.output_bytes_max {
            return Err(failed(format!(
                "there is more than {} bytes of it",
                call.output_bytes_max
            )));
        }
        Ok(output)
    };
    let ((), output, words) = tokio::try_join!(
        async {
            write.await;
            Ok(())
        },
        reading,
        async { Ok(hear.await) }
    )?;
    let status = child.wait().await.map_err(|error| failed(error.to_string()))?;
    group.0 = None;
    Ok(Ended {
        status: status.code(),
        output,
        words: shown(&words, &call.secrets),
        doing,
    })
}

/// What it said, on one line, without advice and without secrets.
fn shown(words: &[u8], secrets: &[String]) -> String {
    let text = String::from_utf8_lossy(words);
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("hint:"));
    let mut text = lines.collect::<Vec<_>>().join("; ");
    for secret in secrets {
        text = text.replace(secret.as_str(), "***");
    }
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(500)
        .collect()
}

/// Waits until the folder holds more than a repository may.
async fn grown(folder: &Path) {
    loop {
        tokio::time::sleep(GIT_SIZE_EVERY).await;
        let folder = folder.to_owned();
        let bytes = tokio::task::spawn_blocking(move || bytes_of(&folder)).await;
        if bytes.unwrap_or(0) > GIT_REPOSITORY_BYTES_MAX {
            return;
        }
    }
}

fn bytes_of(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes += metadata.len(),
                // Git has just put it elsewhere.
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'c>(arguments: &[&'c str]) -> Call<'c> {
        Call {
            doing: "do this",
            arguments: arguments.to_vec(),
            input: Vec::new(),
            config: Vec::new(),
            environment: Vec::new(),
            secrets: Vec::new(),
            wait_max: Duration::from_secs(60),
            output_bytes_max: 1_000,
        }
    }

    #[test]
    fn secrets_and_advice_are_not_repeated() {
        let words = b"fatal: https://me:hunter2@host/ denied\nhint: try again\n\x1b[2J";
        let text = shown(words, &["hunter2".to_owned()]);
        assert_eq!(text, "fatal: https://me:***@host/ denied;  [2J");
    }

    #[tokio::test]
    async fn output_is_bounded_and_nobodys_configuration_counts() {
        let folder = tempfile::tempdir().unwrap();
        let made = run(folder.path(), call(&["init", "--quiet", "--bare", "--template="]))
            .await
            .unwrap();
        made.done().unwrap();
        let listed = run(folder.path(), call(&["config", "--list", "--show-scope"])).await;
        let text = listed.unwrap().line().unwrap();
        assert!(!text.contains("global\t") && !text.contains("system\t"), "{text}");
        let mut short = call(&["config", "--list"]);
        short.output_bytes_max = 10;
        let refused = run(folder.path(), short).await;
        assert!(matches!(refused, Err(Error::Git { why, .. }) if why.contains("more than 10 bytes")));
        let failed = run(folder.path(), call(&["cat-file", "-p", "HEAD"]))
            .await
            .unwrap()
            .done();
        assert!(
            failed
                .unwrap_err()
                .to_string()
                .starts_with("git cannot do this: fatal: ")
        );
    }

    #[tokio::test]
    async fn protocols_that_run_programs_are_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        run(folder.path(), call(&["init", "--quiet", "--bare", "--template="]))
            .await
            .unwrap();
        let address = format!("ext::touch {}", mark.display());
        let fetched = run(folder.path(), call(&["fetch", "--", &address]))
            .await
            .unwrap();
        assert!(fetched.done().unwrap_err().to_string().contains("not allowed"));
        assert!(!mark.exists());
    }
}

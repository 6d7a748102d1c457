//! Credentials out of a docker config: written there (`auths`), or held by a helper program (`credHelpers`,
//! `credsStore`; docker's helper protocol: the server's address in, one JSON object out). Nothing of a secret is ever
//! part of an error or of a debug print.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fermion_model::remote::Registry;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::limits::{CREDENTIAL_ANSWER_BYTES_MAX, CREDENTIAL_WAIT_MAX, DOCKER_CONFIG_BYTES_MAX};
use crate::{Error, RegistryFault, Result};

/// The user name with which a helper says that the secret is a token to be exchanged.
const TOKEN_USER: &str = "<token>";
/// What a helper answers if it has none (docker's credential helper protocol).
const NOT_FOUND: &str = "credentials not found";

/// How to show who we are.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    Password {
        user: String,
        password: String,
    },
    /// To be exchanged for tokens at the token service.
    Identity(String),
    /// A token for the registry itself.
    Bearer(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::Identity(_) => "Identity",
            Self::Bearer(_) => "Bearer",
        })
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: HashMap<String, Entry>,
    cred_helpers: HashMap<String, String>,
    creds_store: Option<String>,
    proxies: HashMap<String, Proxies>,
}

/// Proxies as docker's config names them, under `default`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Proxies {
    pub(super) http_proxy: Option<String>,
    pub(super) https_proxy: Option<String>,
    pub(super) no_proxy: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// What the config has for this registry; none if there is no config, or nothing in it.
///
/// # Errors
/// `CREDENTIALS_UNUSABLE` if the config or the helper it names cannot be used.
pub(super) async fn find(config: Option<&Path>, registry: &Registry) -> Result<Option<Credentials>> {
    let Some(path) = config else { return Ok(None) };
    let refuse = |why: String| unusable(registry, format!("{}: {why}", path.display()));
    let text = match read(path).await {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refuse(error.to_string())),
    };
    // Read as the struct that it is, a list would be a config without anything in it.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(refuse(
            "not a docker config: it does not begin with '{'".to_owned(),
        ));
    }
    // A parser's message may repeat what it stumbled over, which may be a secret: only the place is told.
    let config: Config = serde_json::from_slice(&text).map_err(|why| {
        refuse(format!(
            "not a docker config at line {}, column {}",
            why.line(),
            why.column()
        ))
    })?;
    let keys = keys(registry);
    let helper = keys.iter().find_map(|key| config.cred_helpers.get(key));
    if let Some(helper) = helper {
        return ask(helper, registry, &keys[0], CREDENTIAL_WAIT_MAX).await;
    }
    if let Some(store) = &config.creds_store
        && let Some(found) = ask(store, registry, &keys[0], CREDENTIAL_WAIT_MAX).await?
    {
        return Ok(Some(found));
    }
    let entry = config
        .auths
        .into_iter()
        .find(|(key, _)| keys.iter().any(|known| *known == address(key)));
    match entry {
        Some((_, entry)) => entry.credentials().map_err(refuse),
        None => Ok(None),
    }
}

/// The proxies that a docker config names; none where there is nothing to read, which whoever looks for credentials will
/// say. Blocks for a moment.
pub(super) fn proxies(config: Option<&Path>) -> Option<Proxies> {
    let mut text = Vec::new();
    let file = std::fs::File::open(config?).ok()?;
    std::io::Read::take(file, DOCKER_CONFIG_BYTES_MAX)
        .read_to_end(&mut text)
        .ok()?;
    let mut config: Config = serde_json::from_slice(&text).ok()?;
    config.proxies.remove("default")
}

async fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = tokio::fs::File::open(path).await?;
    let mut text = Vec::new();
    file.take(DOCKER_CONFIG_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .await?;
    if text.len() as u64 > DOCKER_CONFIG_BYTES_MAX {
        return Err(std::io::Error::other(format!(
            "more than {DOCKER_CONFIG_BYTES_MAX} bytes"
        )));
    }
    Ok(text)
}

/// The names under which a registry may stand in a docker config; helpers are asked for the first.
fn keys(registry: &Registry) -> Vec<String> {
    let mut keys = vec![registry.to_string()];
    if registry.host() == "docker.io" {
        keys.insert(0, "https://index.docker.io/v1/".to_owned());
        keys.extend(["index.docker.io", "registry-1.docker.io"].map(str::to_owned));
    }
    keys
}

/// The host and port of a key, which old configs write as a URL.
fn address(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    key.split('/').next().unwrap_or(key)
}

impl Entry {
    fn credentials(self) -> Result<Option<Credentials>, String> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = filled(self.registrytoken) {
            return Ok(Some(Credentials::Bearer(token)));
        }
        if let Some(token) = filled(self.identitytoken) {
            return Ok(Some(Credentials::Identity(token)));
        }
        if let Some(text) = filled(self.auth) {
            let pair = BASE64
                .decode(text.trim())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or("an auth that is not base64 text")?;
            let (user, password) = pair.split_once(':').ok_or("an auth without user and password")?;
            return Ok(Some(Credentials::Password {
                user: user.to_owned(),
                // Old writers padded it.
                password: password.trim_end_matches('\0').to_owned(),
            }));
        }
        Ok(match (filled(self.username), filled(self.password)) {
            (Some(user), Some(password)) => Some(Credentials::Password { user, password }),
            _ => None,
        })
    }
}

/// Asks the program `docker-credential-NAME`.
async fn ask(
    name: &str,
    registry: &Registry,
    server: &str,
    wait_max: Duration,
) -> Result<Option<Credentials>> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(good) {
        return Err(unusable(
            registry,
            format!("{name:?} is not the name of a credential helper"),
        ));
    }
    let program = format!("docker-credential-{name}");
    talk_to(program.as_ref(), &program, registry, server, wait_max).await
}

async fn talk_to(
    program: &OsStr,
    name: &str,
    registry: &Registry,
    server: &str,
    wait_max: Duration,
) -> Result<Option<Credentials>> {
    let refuse = |why: String| unusable(registry, format!("{name} {why}"));
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|why| refuse(format!("cannot be started: {why}")))?;
    let talk = async {
        if let Some(mut stdin) = child.stdin.take() {
            // One that answers without listening is no failure.
            drop(stdin.write_all(format!("{server}\n").as_bytes()).await);
        }
        let mut answer = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout
                .take(CREDENTIAL_ANSWER_BYTES_MAX)
                .read_to_end(&mut answer)
                .await?;
        }
        Ok::<_, std::io::Error>((child.wait().await?, answer))
    };
    let (status, answer) = tokio::time::timeout(wait_max, talk)
        .await
        .map_err(|_| refuse(format!("did not answer within {} s", wait_max.as_secs())))?
        .map_err(|why| refuse(why.to_string()))?;
    if !status.success() {
        if String::from_utf8_lossy(&answer).contains(NOT_FOUND) {
            return Ok(None);
        }
        return Err(refuse(format!("ended with {status}")));
    }
    let Answer { username, secret } = serde_json::from_slice(&answer)
        .map_err(|_| refuse("did not answer with a user name and a secret".to_owned()))?;
    Ok(Some(if username == TOKEN_USER {
        Credentials::Identity(secret)
    } else {
        Credentials::Password {
            user: username,
            password: secret,
        }
    }))
}

fn unusable(registry: &Registry, why: String) -> Error {
    Error::Registry {
        fault: RegistryFault::Credentials,
        registry: registry.to_string(),
        doing: "find the credentials".to_owned(),
        why: format!("{why}; mend the docker config, or choose another with --docker-config"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    async fn found(text: &str, registry: &str) -> Result<Option<Credentials>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        find(Some(&path), &registry.parse().unwrap()).await
    }

    fn password(user: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    #[tokio::test]
    async fn a_config_gives_what_it_has_for_this_registry_only() {
        // "ann:s3cret"
        let text = r#"{"auths":{"r.example.com:5000":{"auth":"YW5uOnMzY3JldA=="},
            "https://old.example.com/v1/":{"username":"bob","password":"pw"},
            "t.example.com":{"registrytoken":"abc"},"i.example.com":{"identitytoken":"xyz","auth":"YW5uOnMzY3JldA=="},
            "empty.example.com":{},"https://index.docker.io/v1/":{"auth":"YW5uOnMzY3JldA=="}}}"#;
        let cases = [
            ("r.example.com:5000", password("ann", "s3cret")),
            ("old.example.com", password("bob", "pw")),
            ("docker.io", password("ann", "s3cret")),
            ("t.example.com", Some(Credentials::Bearer("abc".to_owned()))),
            ("i.example.com", Some(Credentials::Identity("xyz".to_owned()))),
            ("empty.example.com", None),
            ("r.example.com", None),
            ("r.example.com:5001", None),
            ("example.com", None),
        ];
        for (registry, want) in cases {
            assert_eq!(found(text, registry).await.unwrap(), want, "{registry}");
        }
        assert_eq!(find(None, &"a.b".parse().unwrap()).await.unwrap(), None);
        let nowhere = Path::new("/nowhere/config.json");
        assert_eq!(find(Some(nowhere), &"a.b".parse().unwrap()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_unusable_config_is_refused_without_repeating_it() {
        for text in [
            "{",
            "[]",
            r#"{"auths":{"a.b":{"auth":"s3cret!"}}}"#,
            r#"{"auths":{"a.b":{"auth":"czNjcmV0"}}}"#,
            r#"{"auths":{"a.b":{"auth":["s3cret"]}}}"#,
            r#"{"credHelpers":{"a.b":"../s3cret"}}"#,
            r#"{"credsStore":"no-such-helper-anywhere"}"#,
        ] {
            let error = found(text, "a.b").await.expect_err(text);
            assert_eq!(error.code(), "CREDENTIALS_UNUSABLE", "{error}");
            let told = format!("{error} {error:?}");
            assert!(text.contains("../s3cret") || !told.contains("s3cret"), "{told}");
        }
        let shown = format!("{:?}", password("ann", "s3cret"));
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    /// Writes a helper program and asks it by its path's last name, as a shell would find it.
    async fn helper(script: &str, wait_max: Duration) -> Result<Option<Credentials>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker-credential-x");
        // Written by another process: while this one has a file open for writing, a fork of another test would have it
        // open too, and nobody could run it.
        let mut writer = std::process::Command::new("sh")
            .args(["-c", "cat >\"$0\" && chmod 700 \"$0\"", path.to_str().unwrap()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let text = format!("#!/bin/sh\n{script}\n");
        writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        let registry = "a.b".parse().unwrap();
        talk_to(
            path.as_os_str(),
            "docker-credential-x",
            &registry,
            "a.b",
            wait_max,
        )
        .await
    }

    #[tokio::test]
    async fn helpers_are_asked_bounded_and_believed() {
        let long = Duration::from_secs(30);
        let script =
            r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"$server\",\"Secret\":\"$1\"}""#;
        assert_eq!(helper(script, long).await.unwrap(), password("a.b", "get"));
        let token = r#"echo '{"ServerURL":"","Username":"<token>","Secret":"t"}'"#;
        assert_eq!(
            helper(token, long).await.unwrap(),
            Some(Credentials::Identity("t".to_owned()))
        );
        let none = "echo credentials not found in native keychain; exit 1";
        assert_eq!(helper(none, long).await.unwrap(), None);
        for (script, wait_max) in [
            ("exit 3", long),
            ("echo s3cret", long),
            ("head -c 1000000 /dev/zero", long),
            ("exec sleep 1000", Duration::from_millis(50)),
        ] {
            let error = helper(script, wait_max).await.expect_err(script);
            assert_eq!(error.code(), "CREDENTIALS_UNUSABLE", "{error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}

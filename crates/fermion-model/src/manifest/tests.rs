//! `fermion.toml` as data: what is accepted, and for each refusal where and with which words.

use std::time::Duration;

use super::*;

const FULL: &str = r#"#:schema https://fermion.dev/schema/fermion-1.json
[package]
name = "acme/checkout-tax"
version = "1.4.0"
component = "target/wasm32-wasip2/release/checkout_tax.wasm"

[build]
command = "cargo build --target wasm32-wasip2 --release --locked"
watch = ["src/**", "Cargo.toml"]

[limits]
memory = "64MiB"
cpu_time = "50ms"
wall_time = "2s"
request_body = "1MiB"
response_body = "8MiB"
concurrency = 40
adaptive_concurrency = true

[instances]
reuse = { requests = 10, concurrency = 4, idle = "5s" }
warm = { min = 1, max = 16 }
warmup = "/warm?up=1"

[capabilities]
config = ["currency"]
secrets = ["tax-api-token"]
http = ["https://tax.example.com", "127.0.0.1:9000"]
keyvalue = ["rates"]
sockets = ["tcp://db.example.com:5432", "udp://127.0.0.1:53"]

[telemetry]
owner = "team-checkout"
runbook = "https://runbooks.example.com/checkout-tax"
"#;

const MINIMAL: &str = "[package]\nname = \"hello\"\nversion = \"1.0.0\"\ncomponent = \"hello.wasm\"\n";

#[test]
fn reads_every_key() {
    let manifest = Manifest::parse(FULL, "fermion.toml").unwrap();
    assert_eq!(manifest.reference().to_string(), "acme/checkout-tax:1.4.0");
    assert_eq!(
        manifest.component,
        "target/wasm32-wasip2/release/checkout_tax.wasm"
    );
    let build = manifest.build.clone().unwrap();
    assert!(build.command.starts_with("cargo build"));
    assert_eq!(build.watch, ["src/**", "Cargo.toml"]);
    let want = Limits {
        memory_bytes: 64 << 20,
        cpu_time: Duration::from_millis(50),
        wall_time: Duration::from_secs(2),
        request_body_bytes: 1 << 20,
        response_body_bytes: 8 << 20,
        concurrency: 40,
        adaptive_concurrency: true,
    };
    assert_eq!(manifest.limits, want);
    assert_eq!(
        manifest.instances,
        Instances {
            reuse_requests: 10,
            reuse_concurrency: 4,
            idle: Duration::from_secs(5),
            warm_min: 1,
            warm_max: 16,
            warmup: Some("/warm?up=1".into()),
        }
    );
    let http: Vec<_> = manifest
        .capabilities
        .http
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(http, ["127.0.0.1:9000", "https://tax.example.com"]);
    let sockets: Vec<_> = manifest
        .capabilities
        .sockets
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(sockets, ["tcp://db.example.com:5432", "udp://127.0.0.1:53"]);
    assert_eq!(manifest.telemetry.owner.as_deref(), Some("team-checkout"));
    let notes: Vec<_> = manifest.unsupported().into_iter().map(|note| note.key).collect();
    assert_eq!(notes, ["capabilities.secrets"]);
}

#[test]
fn what_is_not_written_is_not_granted() {
    let manifest = Manifest::parse(MINIMAL, "fermion.toml").unwrap();
    assert_eq!(manifest.capabilities, Capabilities::default());
    assert_eq!(manifest.limits, Limits::default());
    assert_eq!(manifest.build, None);
    assert_eq!(manifest.unsupported(), []);
}

/// `extra` follows the minimal manifest's four lines, so its first line is line 5.
fn check_refused(extra: &str, want: &str) {
    let error = Manifest::parse(&format!("{MINIMAL}{extra}"), "f.toml")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("f.toml:5:") || error.starts_with("f.toml:6:"),
        "{extra:?}: {error}"
    );
    assert!(error.contains(want), "{extra:?}: {error}");
}

/// What follows the minimal manifest, and a part of the refusal; an empty part stands for any.
const REFUSED: &[(&str, &str)] = &[
    (
        "[limit]",
        "5:2: unknown key \"limit\" in the file; did you mean \"limits\"?",
    ),
    (
        "[limits]\nmemroy = \"1MiB\"",
        "6:1: unknown key \"memroy\" in [limits]; did you mean \"memory\"?",
    ),
    ("[limits]\ndisk = \"1MiB\"", "known here: memory, cpu_time"),
    ("licence = \"MIT\"", "unknown key \"licence\" in [package]"),
    (
        "[limits]\nmemory = \"5GiB\"",
        "6:10: limits.memory is 5GiB, its ceiling is 4GiB",
    ),
    ("[limits]\nmemory = \"1KiB\"", "write a size from 64KiB to 4GiB"),
    ("[limits]\nmemory = \"64MB\"", "write a size such as \"64MiB\""),
    ("[limits]\nmemory = 64", "limits.memory is a number, not text"),
    ("[limits]\ncpu_time = \"0s\"", "shorter than time is measured"),
    (
        "[limits]\nwall_time = \"2h\"",
        "limits.wall_time is 2h, its ceiling is 1h",
    ),
    (
        "[limits]\nconcurrency = 1001",
        "limits.concurrency is 1001, its ceiling is 1000",
    ),
    ("[limits]\nconcurrency = 0", "write a whole number from 1 to 1000"),
    ("[limits]\nconcurrency = 1.5", "limits.concurrency is 1.5"),
    (
        "[limits]\nconcurrency = \"4\"",
        "limits.concurrency is text, not a number",
    ),
    ("[limits]\nresponse_body = \"2000GiB\"", "its ceiling is 1024GiB"),
    ("limits = 3", "unknown key \"limits\" in [package]"),
    ("[[build]]\ncommand = \"x\"", "build] is a list, not a table"),
    ("[build]\nwatch = [\"src\"]", "build.command is missing"),
    ("[build]\ncommand = \"\"", "build.command is empty"),
    ("[build]\ncommand = \"x\\u0000\"", "control characters"),
    ("build.command = \"x\"", "unknown key \"build\" in [package]"),
    ("[build]\ncommand=\"x\"\nwatch = [\"a[\"]", ""),
    (
        "[instances]\nwarm = { min = 3, max = 2 }",
        "6:16: instances.warm.min is 3, more than its max, 2",
    ),
    (
        "[instances]\nreuse = { concurrency = 0 }",
        "instances.reuse.concurrency is 0",
    ),
    (
        "[instances]\nreuse = { idle = \"2h\" }",
        "instances.reuse.idle is 2h, its ceiling is 1h",
    ),
    ("[instances]\nwarmup = \"warm\"", "is not the path of a request"),
    ("[instances]\nwarmup = \"/a#b\"", "is not the path of a request"),
    (
        "[instances]\nreuse = 5",
        "[instances.reuse] is a number, not a table",
    ),
    (
        "[instances]\nreuse = { request = 5 }",
        "did you mean \"requests\"?",
    ),
    (
        "[capabilities]\nhttp = [\"*\"]",
        "is a wildcard; each server is named",
    ),
    (
        "[capabilities]\nhttp = [\"https://x/y\"]",
        "has more than scheme, host and port",
    ),
    (
        "[capabilities]\nhttp = \"https://x\"",
        "capabilities.http is text, not a list",
    ),
    (
        "[capabilities]\nsockets = [\"db:1\"]",
        "does not begin with tcp:// or udp://",
    ),
    (
        "[capabilities]\nconfig = [\"a\", \"a\"]",
        "6:16: capabilities.config has \"a\" twice",
    ),
    ("[capabilities]\nconfig = [\"../a\"]", "is not a name"),
    (
        "[capabilities]\nconfig = [1]",
        "capabilities.config is a number, not text",
    ),
    (
        "[capabilities]\nfilesystem = [\"x\"]",
        "known here: config, secrets, http, keyvalue, sockets",
    ),
    (
        "[telemetry]\nrunbook = \"javascript:alert(1)\"",
        "is not an http URL",
    ),
    ("[package]", "not TOML"),
    ("[limits", "not TOML"),
];

#[test]
fn refusals_say_where_what_and_what_next() {
    for (extra, want) in REFUSED {
        if want.is_empty() {
            assert!(
                Manifest::parse(&format!("{MINIMAL}{extra}"), "f").is_err(),
                "{extra}"
            );
        } else {
            check_refused(extra, want);
        }
    }
}

#[test]
fn names_versions_and_paths_are_checked() {
    for (key, value, want) in [
        ("name", "../evil", "1:8: package.name: NAME_INVALID"),
        ("name", "Acme/x", "NAME_INVALID"),
        ("version", "1.4", "is not a semantic version"),
        ("version", "1.4.0+linux", "build metadata"),
        ("component", "/abs/x.wasm", "is not a relative path"),
        ("component", "x.js", "does not end in .wasm"),
    ] {
        let mut keys = [("name", "hello"), ("version", "1.0.0"), ("component", "x.wasm")];
        keys.iter_mut()
            .filter(|(name, _)| *name == key)
            .for_each(|(_, old)| *old = value);
        let lines: Vec<_> = keys
            .iter()
            .map(|(key, value)| format!("package.{key} = {value:?}"))
            .collect();
        let error = Manifest::parse(&lines.join("\n"), "f.toml")
            .unwrap_err()
            .to_string();
        let want = want.strip_prefix("1:8: ").unwrap_or(want);
        assert!(error.contains(want), "{key} {value}: {error}");
    }
    for key in ["name", "version", "component"] {
        let text: String = MINIMAL
            .lines()
            .filter(|line| !line.starts_with(key))
            .map(|line| format!("{line}\n"))
            .collect();
        let error = Manifest::parse(&text, "f.toml").unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("f.toml:1:2: package.{key} is missing")),
            "{error}"
        );
    }
    let error = Manifest::parse("", "f.toml").unwrap_err().to_string();
    assert!(error.starts_with("f.toml:1:1: package is missing"), "{error}");
}

//! From the text of `fermion.toml` to a `Manifest`: every rule of every key.

use std::collections::BTreeSet;
use std::path::{Component, Path};
use std::time::Duration;

use crate::document::{DocumentError, Section, toml};
use crate::endpoint::Endpoint;
use crate::limits::{
    BODY_BYTES_MAX, CAPABILITIES_MAX, CONCURRENCY_MAX, CPU_TIME_MAX, ENVIRONMENT_MAX, IDLE_MAX,
    KEY_BYTES_MAX, Limits, MEMORY_BYTES_MAX, MEMORY_BYTES_MIN, REUSE_CONCURRENCY_MAX, REUSE_REQUESTS_MAX,
    WALL_TIME_MAX, WARMUP_BYTES_MAX, WATCH_GLOBS_MAX,
};
use crate::origin::Origin;
use crate::units::{format_bytes, format_duration, parse_bytes, parse_duration};

use super::{Build, Capabilities, Instances, Manifest, SnapshotAllow, Telemetry};

const SECTIONS: &[&str] = &[
    "package",
    "build",
    "limits",
    "instances",
    "capabilities",
    "telemetry",
];
const LIMITS: &[&str] = &[
    "memory",
    "cpu_time",
    "wall_time",
    "request_body",
    "response_body",
    "concurrency",
    "adaptive_concurrency",
];
/// The longest owner, in bytes: a line in a table.
pub(super) const OWNER_BYTES_MAX: usize = 128;
/// The longest URL, in bytes: what browsers and chat tools still take.
pub(super) const URL_BYTES_MAX: usize = 2048;
/// The longest path of a component, in bytes: a file system's own limit on Linux.
pub(super) const PATH_BYTES_MAX: usize = 4096;
/// The longest version, in bytes: what the tag of a registry holds.
pub(super) const VERSION_BYTES_MAX: usize = 128;
/// The shortest time that can be asked for: guest CPU is measured in ticks of this length.
pub(super) const TIME_MIN: Duration = Duration::from_millis(1);

impl Manifest {
    /// Parses and validates; `file` names the text in refusals.
    pub fn parse(text: &str, file: &str) -> Result<Self, DocumentError> {
        let mut root = Section::open(file, "", toml::read(text, file)?, SECTIONS)?;
        let mut package = root
            .section("package", &["name", "version", "serial", "component"])?
            .ok_or_else(|| {
                root.missing(
                    "package",
                    "begin with [package] and its name, version and component",
                )
            })?;
        let name_next = "write a name such as \"acme/hello\"";
        let name = package
            .parsed("name", name_next)?
            .ok_or_else(|| package.missing("name", name_next))?
            .value;
        let version_next = "write a version such as \"1.4.0\"";
        let version = package
            .converted("version", version_next, read_version)?
            .ok_or_else(|| package.missing("version", version_next))?
            .value;
        let serial = package.whole("serial", 1, u32::MAX)?.map(|serial| serial.value);
        let component_next = "write the path of the .wasm file that the build makes, relative to this file";
        let component = package
            .converted("component", component_next, read_component)?
            .ok_or_else(|| package.missing("component", component_next))?
            .value;
        Ok(Self {
            name,
            version,
            serial,
            component,
            build: build(&mut root)?,
            limits: limits(&mut root)?,
            instances: instances(&mut root)?,
            capabilities: capabilities(&mut root)?,
            telemetry: telemetry(&mut root)?,
        })
    }
}

fn read_version(text: &str) -> Result<semver::Version, String> {
    let version: semver::Version = text
        .parse()
        .map_err(|why| format!("{text:?} is not a semantic version ({why})"))?;
    if !version.build.is_empty() {
        return Err(format!(
            "{text:?} has build metadata, which a registry's tag cannot hold"
        ));
    }
    if text.len() > VERSION_BYTES_MAX {
        return Err(format!(
            "longer than the {VERSION_BYTES_MAX} characters of a registry's tag"
        ));
    }
    Ok(version)
}

fn read_path(text: &str) -> Result<(), String> {
    let path = Path::new(text);
    if text.len() > PATH_BYTES_MAX
        || path
            .components()
            .any(|part| matches!(part, Component::RootDir | Component::Prefix(_)))
    {
        return Err(format!("{text:?} is not a relative path"));
    }
    Ok(())
}

fn read_component(text: &str) -> Result<String, String> {
    read_path(text)?;
    let path = Path::new(text);
    if path.extension().is_none_or(|extension| extension != "wasm") {
        return Err(format!("{text:?} does not end in .wasm"));
    }
    Ok(text.to_owned())
}

fn build(root: &mut Section<'_>) -> Result<Option<Build>, DocumentError> {
    let known = [
        "command",
        "watch",
        "environment",
        "strip",
        "sbom",
        "snapshot",
        "snapshot_allow",
    ];
    let Some(mut build) = root.section("build", &known)? else {
        return Ok(None);
    };
    let next = "write one line for the shell, such as \"cargo build --release\"";
    let command = build
        .text("command", next)?
        .ok_or_else(|| build.missing("command", next))?
        .value;
    let next = "write globs such as \"src/**\"";
    let watch = build.list("watch", WATCH_GLOBS_MAX, next, |glob| {
        match globset::Glob::new(glob) {
            Ok(_) => Ok(glob.to_owned()),
            Err(why) => Err(format!("{glob:?} is not a glob ({})", why.kind())),
        }
    })?;
    let next = "write names of variables such as \"API_URL\"";
    let environment = build.list("environment", ENVIRONMENT_MAX, next, |name| {
        if is_variable(name) {
            Ok(name.to_owned())
        } else {
            Err(format!("{name:?} is not the name of a variable"))
        }
    })?;
    let strip = build.boolean("strip")?.unwrap_or(true);
    let next = "write the path of a CycloneDX file, relative to this file";
    let sbom = build.converted("sbom", next, |text| read_path(text).map(|()| text.to_owned()))?;
    let snapshot = build.boolean("snapshot")?.unwrap_or(false);
    let next = "write [\"insecure-seed\"], or leave it away";
    let snapshot_allow = build.list("snapshot_allow", SnapshotAllow::ALL.len(), next, str::parse)?;
    Ok(Some(Build {
        command,
        watch,
        environment,
        strip,
        sbom: sbom.map(|placed| placed.value),
        snapshot,
        snapshot_allow: snapshot_allow.into_iter().collect(),
    }))
}

fn is_variable(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let first = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    first && name.len() <= KEY_BYTES_MAX && name.bytes().all(allowed)
}

fn limits(root: &mut Section<'_>) -> Result<Limits, DocumentError> {
    let defaults = Limits::default();
    let Some(mut limits) = root.section("limits", LIMITS)? else {
        return Ok(defaults);
    };
    Ok(Limits {
        memory_bytes: bytes(&mut limits, "memory", MEMORY_BYTES_MIN, MEMORY_BYTES_MAX)?
            .unwrap_or(defaults.memory_bytes),
        cpu_time: time(&mut limits, "cpu_time", CPU_TIME_MAX)?.unwrap_or(defaults.cpu_time),
        wall_time: time(&mut limits, "wall_time", WALL_TIME_MAX)?.unwrap_or(defaults.wall_time),
        request_body_bytes: bytes(&mut limits, "request_body", 0, BODY_BYTES_MAX)?
            .unwrap_or(defaults.request_body_bytes),
        response_body_bytes: bytes(&mut limits, "response_body", 0, BODY_BYTES_MAX)?
            .unwrap_or(defaults.response_body_bytes),
        concurrency: limits
            .whole("concurrency", 1, CONCURRENCY_MAX)?
            .map_or(defaults.concurrency, |placed| placed.value),
        adaptive_concurrency: limits
            .boolean("adaptive_concurrency")?
            .unwrap_or(defaults.adaptive_concurrency),
    })
}

fn bytes(section: &mut Section<'_>, key: &str, min: u64, max: u64) -> Result<Option<u64>, DocumentError> {
    let full = section.full(key);
    let next = "write a size such as \"64MiB\"";
    let read = |text: &str| parse_bytes(text).map_err(|why| why.to_string());
    let Some(placed) = section.converted(key, next, read)? else {
        return Ok(None);
    };
    let next = format!("write a size from {} to {}", format_bytes(min), format_bytes(max));
    if placed.value > max {
        let what = format!(
            "{full} is {}, its ceiling is {}",
            format_bytes(placed.value),
            format_bytes(max)
        );
        return Err(section.refuse(placed.at, what, next));
    }
    if placed.value < min {
        let what = format!(
            "{full} is {}, which nothing can run in",
            format_bytes(placed.value)
        );
        return Err(section.refuse(placed.at, what, next));
    }
    Ok(Some(placed.value))
}

fn time(section: &mut Section<'_>, key: &str, max: Duration) -> Result<Option<Duration>, DocumentError> {
    let full = section.full(key);
    let next = "write a duration such as \"50ms\"";
    let read = |text: &str| parse_duration(text).map_err(|why| why.to_string());
    let Some(placed) = section.converted(key, next, read)? else {
        return Ok(None);
    };
    let (min_text, max_text) = (format_duration(TIME_MIN), format_duration(max));
    let next = format!("write a duration from {min_text} to {max_text}");
    if placed.value > max {
        let what = format!(
            "{full} is {}, its ceiling is {max_text}",
            format_duration(placed.value)
        );
        return Err(section.refuse(placed.at, what, next));
    }
    if placed.value < TIME_MIN {
        let what = format!(
            "{full} is {}, shorter than time is measured here",
            format_duration(placed.value)
        );
        return Err(section.refuse(placed.at, what, next));
    }
    Ok(Some(placed.value))
}

fn instances(root: &mut Section<'_>) -> Result<Instances, DocumentError> {
    let mut read = Instances::default();
    let Some(mut instances) = root.section("instances", &["reuse", "warm", "warmup"])? else {
        return Ok(read);
    };
    let next = "write a path such as \"/warmup\"";
    read.warmup = instances
        .converted("warmup", next, |text| read_warmup(text).map(|()| text.to_owned()))?
        .map(|placed| placed.value);
    if let Some(mut reuse) = instances.section("reuse", &["requests", "concurrency", "idle"])? {
        if let Some(requests) = reuse.whole("requests", 1, REUSE_REQUESTS_MAX)? {
            read.reuse_requests = requests.value;
        }
        if let Some(concurrency) = reuse.whole("concurrency", 1, REUSE_CONCURRENCY_MAX)? {
            read.reuse_concurrency = concurrency.value;
        }
        read.idle = time(&mut reuse, "idle", IDLE_MAX)?.unwrap_or(read.idle);
    }
    if let Some(mut warm) = instances.section("warm", &["min", "max"])? {
        let min = warm.whole("min", 0, CONCURRENCY_MAX)?;
        let max = warm.whole("max", 0, CONCURRENCY_MAX)?;
        read.warm_min = min.as_ref().map_or(read.warm_min, |placed| placed.value);
        read.warm_max = max.map_or(read.warm_max.max(read.warm_min), |placed| placed.value);
        if let Some(min) = min.filter(|_| read.warm_min > read.warm_max) {
            let (min_text, max_text) = (read.warm_min, read.warm_max);
            let what = format!("instances.warm.min is {min_text}, more than its max, {max_text}");
            return Err(warm.refuse(min.at, what, "raise max or lower min"));
        }
    }
    Ok(read)
}

/// Refuses what is no path, with an optional query, of a request's first line.
///
/// # Errors
/// Why it is none.
pub fn read_warmup(text: &str) -> Result<(), String> {
    let is_path = text.starts_with('/') && !text.contains('#') && text.bytes().all(|b| b.is_ascii_graphic());
    if text.len() > WARMUP_BYTES_MAX {
        return Err(format!("longer than {WARMUP_BYTES_MAX} bytes"));
    }
    if !is_path || text.parse::<http::uri::PathAndQuery>().is_err() {
        return Err(format!("{text:?} is not the path of a request"));
    }
    Ok(())
}

fn capabilities(root: &mut Section<'_>) -> Result<Capabilities, DocumentError> {
    let known = ["config", "secrets", "http", "keyvalue", "sockets"];
    let Some(mut section) = root.section("capabilities", &known)? else {
        return Ok(Capabilities::default());
    };
    let next = "write an origin such as \"https://tax.example.com\"";
    let origins = section.list("http", CAPABILITIES_MAX, next, |text| {
        text.parse::<Origin>().map_err(|why| why.to_string())
    })?;
    let next = "write protocol, host and port, such as \"tcp://db.example.com:5432\"";
    let endpoints = section.list("sockets", CAPABILITIES_MAX, next, |text| {
        text.parse::<Endpoint>().map_err(|why| why.to_string())
    })?;
    Ok(Capabilities {
        config: names(&mut section, "config")?,
        secrets: names(&mut section, "secrets")?,
        http: origins.into_iter().collect(),
        keyvalue: names(&mut section, "keyvalue")?,
        sockets: endpoints.into_iter().collect(),
    })
}

fn names(section: &mut Section<'_>, key: &str) -> Result<BTreeSet<String>, DocumentError> {
    let next = "write names of letters, digits, '-', '_' and '.'";
    let names = section.list(key, CAPABILITIES_MAX, next, |name| {
        if is_key(name) {
            Ok(name.to_owned())
        } else {
            Err(format!("{name:?} is not a name"))
        }
    })?;
    Ok(names.into_iter().collect())
}

/// True for the name of a config key, a secret or a store.
pub fn is_key(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= KEY_BYTES_MAX && edge(bytes.first()) && bytes.iter().all(|&b| allowed(b))
}

fn telemetry(root: &mut Section<'_>) -> Result<Telemetry, DocumentError> {
    let Some(mut section) = root.section("telemetry", &["owner", "runbook"])? else {
        return Ok(Telemetry::default());
    };
    let next = format!("write a team's name of at most {OWNER_BYTES_MAX} bytes");
    let owner = section.converted("owner", &next, |text| {
        if text.len() <= OWNER_BYTES_MAX {
            Ok(text.to_owned())
        } else {
            Err(format!("{} bytes", text.len()))
        }
    })?;
    let next = "write a URL such as \"https://runbooks.example.com/hello\"";
    let runbook = section.converted("runbook", next, |text| {
        let http = text.starts_with("https://") || text.starts_with("http://");
        let plain = text.len() <= URL_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic());
        if http && plain {
            Ok(text.to_owned())
        } else {
            Err(format!(
                "{:?} is not an http URL",
                text.chars().take(80).collect::<String>()
            ))
        }
    })?;
    Ok(Telemetry {
        owner: owner.map(|placed| placed.value),
        runbook: runbook.map(|placed| placed.value),
    })
}

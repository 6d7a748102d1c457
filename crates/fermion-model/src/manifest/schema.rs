//! `fermion.toml` as a JSON Schema, for editors and for people. Says what the parser says, from the same constants; where
//! a schema cannot (a size's ceiling, a glob, a whole host name), the parser alone decides and the description tells.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::{Value, json};

use crate::limits::{
    BODY_BYTES_MAX, CAPABILITIES_MAX, CONCURRENCY_MAX, CPU_TIME_MAX, ENVIRONMENT_MAX, IDLE_MAX,
    KEY_BYTES_MAX, Limits, MEMORY_BYTES_MAX, MEMORY_BYTES_MIN, REUSE_CONCURRENCY_MAX, REUSE_REQUESTS_MAX,
    WALL_TIME_MAX, WARMUP_BYTES_MAX, WATCH_GLOBS_MAX,
};
use crate::name::PACKAGE_NAME_BYTES_MAX;
use crate::units::{format_bytes, format_duration};

use super::Instances;
use super::parse::{OWNER_BYTES_MAX, PATH_BYTES_MAX, TIME_MIN, URL_BYTES_MAX, VERSION_BYTES_MAX};

/// The schema's identity, which a `#:schema` line of a file names.
pub const SCHEMA_ID: &str = "https://fermion.dev/schema/fermion-1.json";

/// Not blank, no control characters: what every text has to be.
const TEXT: &str = r"^ *[^\x00-\x20\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$";
/// Segments that begin and end with a letter or a digit, without two dots in a row.
const NAME: &str = r"^[a-z0-9]((\.?[-_])*\.?[a-z0-9])*(/[a-z0-9]((\.?[-_])*\.?[a-z0-9])*)*$";
/// A semantic version without build metadata.
const VERSION: &str = concat!(
    r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)",
    r"(-(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?$",
);
/// A relative path of a file whose name ends in `.wasm`.
const COMPONENT: &str = r"^([^/\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*)?[^/\x00-\x1f\x7f-\x9f]\.wasm$";
const SIZE: &str = "^ *[0-9]+ *(B|KiB|MiB|GiB) *$";
const TIME: &str = "^ *[0-9]+ *(us|ms|s|m|h) *$";
/// The name of a config key, a secret or a store.
const KEY: &str = "^[A-Za-z0-9][A-Za-z0-9._-]*$";
/// Scheme, host and port, the first and the last of them optional.
const ORIGIN: &str = concat!(
    r"^(https?://)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?",
    r"(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*)(:[0-9]+)?$",
);
/// Protocol, host and port.
const ENDPOINT: &str = concat!(
    r"^(tcp|udp)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?",
    r"(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*):[0-9]+$",
);
/// The name of an environment variable.
const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
/// A path with an optional query.
const WARMUP: &str = r"^/[!-\x22$-~]*$";
const URL: &str = "^https?://[!-~]*$";

/// The JSON Schema (draft 2020-12) of `fermion.toml`. `x-minimum` and `x-maximum` are the bounds of sizes and times,
/// which are text in the file; validators pass them by. Keys are sorted, so that the text is always the same.
pub fn schema() -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "fermion.toml",
        "description": "What a package is, how it is built, and what it may use. What is not written is not granted, \
                        and an unknown key is refused.",
        "type": "object",
        "additionalProperties": false,
        "required": ["package"],
        "properties": {
            "package": package(),
            "build": build(),
            "limits": limits(),
            "instances": instances(),
            "capabilities": capabilities(),
            "telemetry": telemetry(),
        },
    });
    schema.sort_all_objects();
    schema
}

/// A table that may hold `properties` and nothing else.
fn table(description: &str, required: &[&str], properties: Value) -> Value {
    let mut table = json!({
        "type": "object",
        "description": description,
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

fn text(description: &str, pattern: &str, characters_max: usize, examples: &[&str]) -> Value {
    json!({
        "type": "string",
        "description": description,
        "pattern": pattern,
        "maxLength": characters_max,
        "examples": examples,
    })
}

fn package() -> Value {
    let name = text(
        "Path segments of lower-case letters, digits, '-', '_' and '.'; the last one names the app unless app.yaml does.",
        NAME,
        PACKAGE_NAME_BYTES_MAX,
        &["acme/checkout-tax", "hello"],
    );
    let version = text(
        "A semantic version without build metadata, because it becomes an OCI tag.",
        VERSION,
        VERSION_BYTES_MAX,
        &["1.4.0", "2.0.0-rc.1"],
    );
    let component = text(
        "Where the build leaves the component, relative to the folder of this file.",
        COMPONENT,
        PATH_BYTES_MAX,
        &["target/wasm32-wasip2/release/hello.wasm", "dist/app.wasm"],
    );
    let serial = json!({
        "type": "integer",
        "description": "Counts up with every package of this name that is to be deployed: a lower one is refused then.",
        "minimum": 1,
        "maximum": u32::MAX,
        "examples": [17],
    });
    table(
        "What the package is.",
        &["name", "version", "component"],
        json!({"name": name, "version": version, "serial": serial, "component": component}),
    )
}

fn build() -> Value {
    let command = json!({
        "type": "string",
        "description": "One line for `sh -c`, run in the folder of this file.",
        "pattern": TEXT,
        "examples": ["cargo build --target wasm32-wasip2 --release --locked", "sh build.sh"],
    });
    let watch = json!({
        "type": "array",
        "description": "Globs, relative to the folder, of the files whose change means a new build; none: every file. \
                        fermion.toml and app.yaml always count.",
        "items": {"type": "string", "pattern": TEXT, "examples": ["src/**", "Cargo.toml"]},
        "maxItems": WATCH_GLOBS_MAX,
        "uniqueItems": true,
        "default": [],
    });
    let environment = json!({
        "type": "array",
        "description": "Variables of the caller's environment that the command sees besides the fixed few of \
                        docs/builds.md. What the component is made of then depends on them too.",
        "items": {"type": "string", "pattern": VARIABLE, "maxLength": KEY_BYTES_MAX, "examples": ["API_URL"]},
        "maxItems": ENVIRONMENT_MAX,
        "uniqueItems": true,
        "default": [],
    });
    let strip = json!({
        "type": "boolean",
        "description": "Take function names, debug information and other custom sections out of the component before \
                        it is packed.",
        "default": true,
    });
    let sbom = json!({
        "type": "string",
        "description": "A CycloneDX file to attach to the package, relative to the folder; without it, what the \
                        component or Cargo.lock says.",
        "pattern": TEXT,
        "maxLength": PATH_BYTES_MAX,
        "examples": ["sbom.cdx.json"],
    });
    let snapshot = json!({
        "type": "boolean",
        "description": "Run the component's initialisation when the package is made, and pack the memory that it \
                        leaves: docs/snapshots.md.",
        "default": false,
    });
    let snapshot_allow = json!({
        "type": "array",
        "description": "What a snapshot may hold of the world. insecure-seed: hash tables have the same, known seed in \
                        every instance.",
        "items": {"type": "string", "enum": super::SnapshotAllow::ALL.map(super::SnapshotAllow::word)},
        "maxItems": super::SnapshotAllow::ALL.len(),
        "uniqueItems": true,
        "default": [],
    });
    table(
        "How the component is made. Without this table it has to lie there ready.",
        &["command"],
        json!({
            "command": command, "watch": watch, "environment": environment, "strip": strip, "sbom": sbom,
            "snapshot": snapshot, "snapshot_allow": snapshot_allow,
        }),
    )
}

fn size(counts: &str, default: u64, min: u64, max: u64) -> Value {
    let (default, min, max) = (format_bytes(default), format_bytes(min), format_bytes(max));
    json!({
        "type": "string",
        "description": format!(
            "{counts} A whole number and B, KiB, MiB or GiB, from {min} to {max}; {default} unless written."
        ),
        "pattern": SIZE,
        "default": default,
        "x-minimum": min,
        "x-maximum": max,
        "examples": ["64KiB", "64MiB"],
    })
}

fn time(counts: &str, default: Duration, max: Duration) -> Value {
    let (default, min, max) = (
        format_duration(default),
        format_duration(TIME_MIN),
        format_duration(max),
    );
    json!({
        "type": "string",
        "description": format!(
            "{counts} A whole number and us, ms, s, m or h, from {min} to {max}; {default} unless written."
        ),
        "pattern": TIME,
        "default": default,
        "x-minimum": min,
        "x-maximum": max,
        "examples": ["50ms", "2s"],
    })
}

fn whole(counts: &str, default: u32, min: u32, max: u32) -> Value {
    json!({
        "type": "integer",
        "description": format!("{counts} From {min} to {max}; {default} unless written."),
        "minimum": min,
        "maximum": max,
        "default": default,
    })
}

fn limits() -> Value {
    let defaults = Limits::default();
    table(
        "The ceilings that the package runs under.",
        &[],
        json!({
            "memory": size(
                "Linear memory of one instance.",
                defaults.memory_bytes,
                MEMORY_BYTES_MIN,
                MEMORY_BYTES_MAX,
            ),
            "cpu_time": time(
                "Guest CPU time of one request; waiting is free.",
                defaults.cpu_time,
                CPU_TIME_MAX,
            ),
            "wall_time": time(
                "From the head of a request to the end of its answer.",
                defaults.wall_time,
                WALL_TIME_MAX,
            ),
            "request_body": size("Body of one request.", defaults.request_body_bytes, 0, BODY_BYTES_MAX),
            "response_body": size("Body of one answer.", defaults.response_body_bytes, 0, BODY_BYTES_MAX),
            "concurrency": whole("Requests running at once, per node.", defaults.concurrency, 1, CONCURRENCY_MAX),
            "adaptive_concurrency": json!({
                "description": "Whether fewer than that run at once while more would slow each other down: the limit \
                                follows their latency.",
                "type": "boolean",
                "default": defaults.adaptive_concurrency,
            }),
        }),
    )
}

fn instances() -> Value {
    let defaults = Instances::default();
    let requests = whole(
        "Requests that one instance may serve; 1 is a fresh instance per request.",
        defaults.reuse_requests,
        1,
        REUSE_REQUESTS_MAX,
    );
    let concurrency = whole(
        "Requests that one reused instance serves at once. WASI 0.3 only: an instance of 0.2 serves one after the other.",
        defaults.reuse_concurrency,
        1,
        REUSE_CONCURRENCY_MAX,
    );
    let idle = time("How long an unused instance is kept.", defaults.idle, IDLE_MAX);
    let warmup = text(
        "What each new instance is asked with GET before it waits for requests; none unless written.",
        WARMUP,
        WARMUP_BYTES_MAX,
        &["/warmup"],
    );
    let min = whole("Instances kept ready.", defaults.warm_min, 0, CONCURRENCY_MAX);
    let max = whole(
        "The most that wait ready; never less than min.",
        defaults.warm_max,
        0,
        CONCURRENCY_MAX,
    );
    table(
        "How long instances live and how many wait.",
        &[],
        json!({
            "reuse": table(
                "When an instance is made anew.",
                &[],
                json!({"requests": requests, "concurrency": concurrency, "idle": idle}),
            ),
            "warm": table("How many instances wait for requests.", &[], json!({"min": min, "max": max})),
            "warmup": warmup,
        }),
    )
}

fn capabilities() -> Value {
    let list = |description: &str, item: Value| {
        json!({
            "type": "array",
            "description": description,
            "items": item,
            "maxItems": CAPABILITIES_MAX,
            "uniqueItems": true,
            "default": [],
        })
    };
    let key = |example: &str| json!({"type": "string", "pattern": KEY, "maxLength": KEY_BYTES_MAX, "examples": [example]});
    let origin = json!({
        "type": "string",
        "pattern": ORIGIN,
        "examples": ["https://tax.example.com", "http://127.0.0.1:9000", "tax.example.com", "[::1]:8443"],
    });
    let endpoint = json!({
        "type": "string",
        "pattern": ENDPOINT,
        "examples": ["tcp://db.example.com:5432", "udp://127.0.0.1:53"],
    });
    table(
        "What the package may use. Without a key nothing of its kind is granted.",
        &[],
        json!({
            "config": list(
                "Keys that the component may read through wasi:config; app.yaml gives each its value.",
                key("currency"),
            ),
            "secrets": list("Names of secrets. This version has no secret store.", key("tax-api-token")),
            "http": list(
                "Servers that the component may call: scheme, host and port. Without a scheme http and https are meant, \
                 without a port the scheme's own. No wildcards.",
                origin,
            ),
            "keyvalue": list(
                "Names under which the component opens key-value stores; each app has its own.",
                key("rates"),
            ),
            "sockets": list(
                "Where sockets of the component may lead: protocol, host and port. No wildcards.",
                endpoint,
            ),
        }),
    )
}

fn telemetry() -> Value {
    let owner = text(
        "The team that answers for the package.",
        TEXT,
        OWNER_BYTES_MAX,
        &["team-checkout"],
    );
    let runbook = text(
        "What to do when it fails: an http or https URL.",
        URL,
        URL_BYTES_MAX,
        &["https://runbooks.example.com/checkout-tax"],
    );
    table(
        "Who to ask when it fails.",
        &[],
        json!({"owner": owner, "runbook": runbook}),
    )
}

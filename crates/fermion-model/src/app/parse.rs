//! From the text of `app.yaml` to an `App`: every rule of every key.

use std::collections::{BTreeMap, BTreeSet};

use crate::Namespace;
use crate::document::{DocumentError, Head, Node, Section, Value, read_head, yaml};
use crate::limits::{CAPABILITIES_MAX, CONFIG_VALUE_BYTES_MAX, ROUTES_MAX, WAVE_MAX};
use crate::manifest::{Unsupported, is_key};
use crate::origin::is_host;
use crate::release::Route;

use super::{App, default_routes, objectives, rollout};

const SPEC: &[&str] = &[
    "package",
    "routes",
    "config",
    "bindings",
    "placement",
    "scale",
    "objectives",
    "rollout",
    "wave",
];
/// Keys of the format that this version reads and does not act on.
const SPEC_LATER: &[&str] = &["placement", "scale"];
/// The longest path of a route, in bytes.
const PATH_BYTES_MAX: usize = 1024;
/// The most methods of a route: those of the IANA registry fit.
const METHODS_MAX: usize = 64;

impl App {
    /// Parses and validates; `file` names the text in refusals.
    pub fn parse(text: &str, file: &str) -> Result<Self, DocumentError> {
        Self::read(text, file, None)
    }

    /// The same of a document that may be of this namespace only, and is if it says nothing.
    pub fn parse_within(text: &str, file: &str, namespace: &Namespace) -> Result<Self, DocumentError> {
        Self::read(text, file, Some(namespace))
    }

    fn read(text: &str, file: &str, within: Option<&Namespace>) -> Result<Self, DocumentError> {
        let Head {
            name,
            namespace,
            mut root,
        } = read_head(yaml::read(text, file)?, file, "App", within)?;
        let mut app = Self {
            routes: default_routes(&name),
            name,
            namespace,
            package: None,
            config: BTreeMap::new(),
            keyvalue: BTreeSet::new(),
            rollout: None,
            objectives: None,
            wave: 0,
            notes: Vec::new(),
        };
        if let Some(mut spec) = root.section("spec", SPEC)? {
            app.read_spec(&mut spec, file)?;
        }
        Ok(app)
    }

    fn read_spec(&mut self, spec: &mut Section<'_>, file: &str) -> Result<(), DocumentError> {
        let next = "write a package such as acme/hello:1.2.3, acme/hello@sha256:... or registry.example.com/acme/hello:1.2.3";
        self.package = spec.parsed("package", next)?.map(|placed| placed.value);
        if let Some(entry) = spec.take("routes") {
            self.routes = routes(spec, entry.node, file)?;
        }
        if let Some(entry) = spec.take("config") {
            self.config = config(spec, entry.node)?;
        }
        if let Some(entry) = spec.take("bindings") {
            self.read_bindings(spec, entry.node, file)?;
        }
        if let Some(section) = spec.section("rollout", rollout::KEYS)? {
            self.rollout = Some(rollout::read(section, file)?);
        }
        if let Some(entry) = spec.take("objectives") {
            self.objectives = Some(objectives::read(spec, entry, file)?);
        }
        if let Some(wave) = spec.whole("wave", 0, WAVE_MAX)? {
            self.wave = wave.value;
        }
        for key in SPEC_LATER {
            if let Some(entry) = spec.take(key) {
                let note = format!("known, not in effect in this version ({file}:{})", entry.at.line);
                self.notes.push(Unsupported {
                    key: spec.full(key),
                    note,
                });
            }
        }
        Ok(())
    }
}

/// What can be bound. Only the first is in effect.
const BINDINGS: &[&str] = &["keyvalue", "blob", "queue", "sql", "secret", "http"];
/// Providers of key-value stores that this build has.
const KEYVALUE_PROVIDERS: &[&str] = &["embedded"];

impl App {
    fn read_bindings(&mut self, spec: &Section<'_>, node: Node, file: &str) -> Result<(), DocumentError> {
        let next = "write bindings: {rates: {keyvalue: {provider: embedded}}}";
        let at = node.at;
        let Value::Table(entries) = node.value else {
            let what = format!("spec.bindings is {}, not a table", node.value.kind());
            return Err(spec.refuse(at, what, next));
        };
        if entries.len() > CAPABILITIES_MAX {
            let what = format!(
                "spec.bindings has {} keys, the ceiling is {CAPABILITIES_MAX}",
                entries.len()
            );
            return Err(spec.refuse(at, what, "write fewer"));
        }
        for entry in entries {
            if !is_key(&entry.key) {
                let what = format!("{:?} is not the name of a binding", entry.key);
                return Err(spec.refuse(entry.at, what, "use letters, digits, '-', '_' and '.'"));
            }
            let full = format!("spec.bindings.{}", entry.key);
            let mut binding = Section::open(file, full.clone(), entry.node, BINDINGS)?;
            if let Some(mut keyvalue) = binding.section("keyvalue", &["provider"])? {
                keyvalue.converted("provider", "write provider: embedded", read_provider)?;
                self.keyvalue.insert(entry.key);
            }
            for kind in &BINDINGS[1..] {
                if let Some(entry) = binding.take(kind) {
                    let note = format!("known, not in effect in this version ({file}:{})", entry.at.line);
                    self.notes.push(Unsupported {
                        key: format!("{full}.{kind}"),
                        note,
                    });
                }
            }
        }
        Ok(())
    }
}

fn read_provider(text: &str) -> Result<(), String> {
    if KEYVALUE_PROVIDERS.contains(&text) {
        return Ok(());
    }
    let known = KEYVALUE_PROVIDERS.join(", ");
    Err(format!(
        "{text:?} is no provider of key-value stores here; there is {known}"
    ))
}

fn routes(spec: &Section<'_>, node: Node, file: &str) -> Result<Vec<Route>, DocumentError> {
    let next = "write routes: [{host: shop.example.com, path: /tax/*}]";
    let at = node.at;
    let Value::List(nodes) = node.value else {
        return Err(spec.refuse(
            at,
            format!("spec.routes is {}, not a list", node.value.kind()),
            next,
        ));
    };
    if nodes.len() > ROUTES_MAX {
        let what = format!(
            "spec.routes has {} entries, the ceiling is {ROUTES_MAX}",
            nodes.len()
        );
        return Err(spec.refuse(at, what, "write fewer"));
    }
    let mut routes: Vec<Route> = Vec::new();
    for (index, node) in nodes.into_iter().enumerate() {
        let at = node.at;
        let known = ["host", "path", "methods", "strip_prefix"];
        let route = route(Section::open(
            file,
            format!("spec.routes[{index}]"),
            node,
            &known,
        )?)?;
        if routes.contains(&route) {
            return Err(spec.refuse(at, "the same route twice", "write it once"));
        }
        routes.push(route);
    }
    Ok(routes)
}

fn route(mut section: Section<'_>) -> Result<Route, DocumentError> {
    let next = "write a host name without port, in lower case, or leave it out for every host";
    let host = section.converted("host", next, |text| {
        if is_host(text) {
            Ok(text.to_owned())
        } else {
            Err(format!("{text:?} is not a host"))
        }
    })?;
    let next = "write /*, a prefix such as /tax/*, or an exact path such as /tax";
    let path = section
        .converted("path", next, read_path)?
        .ok_or_else(|| section.missing("path", next))?
        .value;
    let next = "write methods in upper case, such as [GET, POST]";
    let methods = section.list("methods", METHODS_MAX, next, |text| {
        let upper = !text.bytes().any(|b| b.is_ascii_lowercase());
        match http::Method::from_bytes(text.as_bytes()) {
            Ok(_) if upper => Ok(text.to_owned()),
            _ => Err(format!("{text:?} is not a method")),
        }
    })?;
    let strip_prefix = section.boolean("strip_prefix")?.unwrap_or(false);
    Ok(Route {
        host: host.map(|placed| placed.value),
        path,
        methods,
        strip_prefix,
    })
}

fn read_path(text: &str) -> Result<String, String> {
    let refuse = |why: &str| Err(format!("{:?} {why}", text.chars().take(80).collect::<String>()));
    if !text.starts_with('/') {
        return refuse("does not begin with /");
    }
    if text.len() > PATH_BYTES_MAX {
        return refuse("is too long");
    }
    let prefix = text.strip_suffix("/*").unwrap_or(text);
    if prefix.contains('*') {
        return refuse("has a * elsewhere than as its last segment");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains(['?', '#', '\\']) {
        return refuse("has characters that no request path has");
    }
    if text.split('/').any(|segment| segment == ".." || segment == ".") || text.contains("//") {
        return refuse("has segments that clients resolve before they send");
    }
    Ok(text.to_owned())
}

fn config(spec: &Section<'_>, node: Node) -> Result<BTreeMap<String, String>, DocumentError> {
    let next = "write config: {currency: EUR}";
    let at = node.at;
    let Value::Table(entries) = node.value else {
        return Err(spec.refuse(
            at,
            format!("spec.config is {}, not a table", node.value.kind()),
            next,
        ));
    };
    if entries.len() > CAPABILITIES_MAX {
        let what = format!(
            "spec.config has {} keys, the ceiling is {CAPABILITIES_MAX}",
            entries.len()
        );
        return Err(spec.refuse(at, what, "write fewer"));
    }
    let mut config = BTreeMap::new();
    for entry in entries {
        if !is_key(&entry.key) {
            let what = format!("{:?} is not a config key", entry.key);
            return Err(spec.refuse(entry.at, what, "use letters, digits, '-', '_' and '.'"));
        }
        let full = format!("spec.config.{}", entry.key);
        let value = match entry.node.value {
            Value::Text(text) | Value::Number(text) => text,
            Value::Bool(value) => value.to_string(),
            other => {
                return Err(spec.refuse(
                    entry.node.at,
                    format!("{full} is {}", other.kind()),
                    "write one text",
                ));
            }
        };
        if value.len() > CONFIG_VALUE_BYTES_MAX {
            let what = format!(
                "{full} has {} bytes, the ceiling is {CONFIG_VALUE_BYTES_MAX}",
                value.len()
            );
            return Err(spec.refuse(entry.node.at, what, "a config value is a setting, not a file"));
        }
        config.insert(entry.key, value);
    }
    Ok(config)
}

//! The schema against its published file and against the parser, which is asked key by key what it takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::*;
use crate::document::DocumentError;
use crate::manifest::Manifest;
use crate::units::{parse_bytes, parse_duration};

const UNKNOWN: &str = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Parses a file that has every required key, with `key` (dotted) set to `value`, or without it.
fn parse_with(key: &str, value: Option<&str>) -> Result<Manifest, DocumentError> {
    let mut lines = vec![
        ("package.name", "\"hello\""),
        ("package.version", "\"1.0.0\""),
        ("package.component", "\"hello.wasm\""),
    ];
    if key.starts_with("build.") {
        lines.push(("build.command", "\"make\""));
    }
    // `package = 1` cannot stand beside `package.name`.
    lines.retain(|(written, _)| *written != key && !written.starts_with(&format!("{key}.")));
    if let Some(value) = value {
        lines.push((key, value));
    }
    let lines: Vec<_> = lines
        .iter()
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    Manifest::parse(&lines.join("\n"), "f")
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// The keys that the parser knows in a table, from its refusal of one that it cannot know.
fn parser_keys(path: &str) -> BTreeSet<String> {
    let refusal = parse_with(&join(path, UNKNOWN), Some("1")).unwrap_err();
    let known = refusal
        .next
        .strip_prefix("known here: ")
        .unwrap_or_else(|| panic!("{refusal}"));
    known.split(", ").map(str::to_owned).collect()
}

/// What the parser wants under a key, from its refusal of `true`.
fn parser_type(key: &str) -> &'static str {
    let Err(refusal) = parse_with(key, Some("true")) else {
        return "boolean";
    };
    for (words, kind) in [
        ("is a boolean, not a table", "object"),
        ("is a boolean, not text", "string"),
        ("is a boolean, not a list", "array"),
        ("is a boolean, not a number", "integer"),
    ] {
        if refusal.what.contains(words) {
            return kind;
        }
    }
    panic!("{refusal}")
}

/// Calls `check` with the dotted name and the schema of every key below `table`, tables first.
fn walk(table: &Value, path: &str, check: &mut dyn FnMut(&str, &Value)) {
    for (key, schema) in properties(table) {
        let full = join(path, key);
        check(&full, schema);
        if schema["type"] == "object" {
            walk(schema, &full, check);
        }
    }
}

fn properties(table: &Value) -> &Map<String, Value> {
    table["properties"].as_object().unwrap()
}

fn walk_all(check: &mut dyn FnMut(&str, &Value)) {
    walk(&schema(), "", check);
}

#[test]
fn the_published_schema_is_current() {
    let path = repository().join("docs/reference/fermion-1.schema.json");
    let generated = format!("{:#}\n", schema());
    if std::env::var_os("UPDATE_REFERENCES").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &generated).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == generated,
        "docs/reference/fermion-1.schema.json is not what the parser's constants say: run \
         `UPDATE_REFERENCES=1 cargo test -p fermion-model` and look at the difference"
    );
}

#[test]
fn schema_and_parser_know_the_same_keys_and_types() {
    let schema = schema();
    let keys = |table: &Value| properties(table).keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(&schema), parser_keys(""));
    let mut leaves = 0;
    walk(&schema, "", &mut |key, schema| {
        assert_eq!(schema["type"], parser_type(key), "{key}");
        assert!(schema["description"].is_string(), "{key}");
        match schema["type"].as_str() {
            Some("object") => {
                assert_eq!(keys(schema), parser_keys(key), "{key}");
                assert_eq!(schema["additionalProperties"], false, "{key}");
            }
            Some("array") => {
                assert_eq!(schema["items"]["type"], "string", "{key}");
                let refusal = parse_with(key, Some("[true]")).unwrap_err();
                assert!(refusal.what.contains("not text"), "{refusal}");
                leaves += 1;
            }
            _ => leaves += 1,
        }
    });
    assert!(leaves >= 20, "only {leaves} keys were compared");
}

#[test]
fn the_same_keys_are_required() {
    let check = |table: &Value, path: &str| {
        let required = table["required"].as_array().cloned().unwrap_or_default();
        for key in properties(table).keys() {
            let full = join(path, key);
            let refused = match parse_with(&full, None) {
                Ok(_) => false,
                Err(refusal) => {
                    assert!(
                        refusal.what.starts_with(&format!("{full} is missing")),
                        "{refusal}"
                    );
                    true
                }
            };
            // A table that is not written has no missing keys, so `build` is opened by another key of it.
            let refused = refused
                || full == "build.command"
                    && Manifest::parse(
                        "package = { name = \"a\", version = \"1.0.0\", component = \"a.wasm\" }\nbuild.watch = []",
                        "f",
                    )
                    .is_err_and(|refusal| refusal.what == "build.command is missing");
            assert_eq!(refused, required.contains(&Value::from(key.as_str())), "{full}");
        }
    };
    check(&schema(), "");
    walk_all(&mut |key, schema| {
        if schema["type"] == "object" {
            check(schema, key);
        }
    });
}

#[test]
fn bounds_are_where_the_parser_has_them() {
    let check = |key: &str, value: String, wanted: bool| {
        let parsed = parse_with(key, Some(&value));
        assert_eq!(parsed.is_ok(), wanted, "{key} = {value}: {parsed:?}");
    };
    walk_all(&mut |key, schema| {
        if schema["type"] == "integer" {
            let (min, max) = (
                schema["minimum"].as_i64().unwrap(),
                schema["maximum"].as_i64().unwrap(),
            );
            // A warm minimum above the default maximum raises it, so each bound can be tried alone.
            [(min - 1, false), (min, true), (max, true), (max + 1, false)]
                .into_iter()
                .for_each(|(value, wanted)| check(key, value.to_string(), wanted));
        }
        if let (Some(min), Some(max)) = (schema["x-minimum"].as_str(), schema["x-maximum"].as_str()) {
            check(key, format!("{min:?}"), true);
            check(key, format!("{max:?}"), true);
            let (below, above) = match (parse_bytes(min), parse_bytes(max)) {
                (Ok(min), Ok(max)) => (
                    min.checked_sub(1).map(|below| format!("{below}B")),
                    format!("{}B", max + 1),
                ),
                _ => {
                    let micros = |text| parse_duration(text).unwrap().as_micros();
                    (
                        Some(format!("{}us", micros(min) - 1)),
                        format!("{}us", micros(max) + 1),
                    )
                }
            };
            below
                .into_iter()
                .for_each(|below| check(key, format!("{below:?}"), false));
            check(key, format!("{above:?}"), false);
        }
        if let Some(count) = schema["maxItems"].as_u64() {
            let (prefix, suffix) = if key.ends_with("sockets") {
                ("tcp://n", ":1")
            } else {
                ("n", "")
            };
            let words = schema["items"]["enum"].as_array().cloned().unwrap_or_default();
            let word = |n: u64| {
                let known = words.get(usize::try_from(n).unwrap()).and_then(Value::as_str);
                known.map_or_else(|| format!("{prefix}{n}{suffix}"), str::to_owned)
            };
            let list = |count| (0..count).map(word).collect::<Vec<_>>();
            check(key, format!("{:?}", list(count)), true);
            check(key, format!("{:?}", list(count + 1)), false);
            assert_eq!(schema["uniqueItems"], true, "{key}");
            check(key, "[\"a\", \"a\"]".to_owned(), false);
        }
    });
}

#[test]
fn lengths_are_where_the_parser_has_them() {
    for (key, filled) in [
        ("package.name", ("", 'a', "")),
        ("package.version", ("1.0.0-", 'a', "")),
        ("package.component", ("", 'a', ".wasm")),
        ("telemetry.owner", ("", 'a', "")),
        ("telemetry.runbook", ("https://", 'a', "")),
        ("capabilities.config", ("", 'a', "")),
    ] {
        let pointer = format!("/properties/{}", key.replace('.', "/properties/"));
        let schema = schema();
        let of_key = schema.pointer(&pointer).unwrap();
        let is_list = of_key["type"] == "array";
        let of_text = if is_list { &of_key["items"] } else { of_key };
        let max = usize::try_from(of_text["maxLength"].as_u64().unwrap()).unwrap();
        for (length, wanted) in [(max, true), (max + 1, false)] {
            let (start, fill, end) = filled;
            let middle = fill.to_string().repeat(length - start.len() - end.len());
            let text = format!("\"{start}{middle}{end}\"");
            let value = if is_list { format!("[{text}]") } else { text };
            assert_eq!(
                parse_with(key, Some(&value)).is_ok(),
                wanted,
                "{key}, {length} bytes"
            );
        }
    }
}

#[test]
fn defaults_say_what_happens_without_the_key() {
    let mut defaults = 0;
    walk_all(&mut |key, schema| {
        if schema["default"].is_null() {
            return;
        }
        defaults += 1;
        let written = parse_with(key, Some(&schema["default"].to_string())).unwrap();
        assert_eq!(written, parse_with(key, None).unwrap(), "{key}");
    });
    assert!(defaults >= 14, "only {defaults} defaults were compared");
}

#[test]
fn examples_of_the_schema_parse() {
    walk_all(&mut |key, schema| {
        let is_list = schema["type"] == "array";
        let of_text = if is_list { &schema["items"] } else { schema };
        for example in of_text["examples"].as_array().into_iter().flatten() {
            let value = if is_list {
                format!("[{example}]")
            } else {
                example.to_string()
            };
            parse_with(key, Some(&value)).unwrap_or_else(|refusal| panic!("{key}: {refusal}"));
        }
        assert!(
            schema["type"] != "string" || of_text["examples"].is_array(),
            "{key} has no example"
        );
    });
}

#[test]
fn shipped_manifests_parse_and_name_the_schema() {
    for folder in ["examples", "crates/fermion/templates"] {
        let mut files = 0;
        for entry in fs::read_dir(repository().join(folder)).unwrap() {
            let file = entry.unwrap().path().join(crate::manifest::MANIFEST_FILE);
            let Ok(text) = fs::read_to_string(&file) else {
                continue;
            };
            files += 1;
            let text = text.replace("{{name}}", "hello");
            let first = text.lines().next().unwrap_or_default();
            assert_eq!(first, format!("#:schema {SCHEMA_ID}"), "{}", file.display());
            Manifest::parse(&text, &file.to_string_lossy()).unwrap_or_else(|refusal| panic!("{refusal}"));
        }
        assert!(files >= 3, "{folder} has only {files} manifests");
    }
}

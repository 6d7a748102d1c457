//! What differs between two documents, field by field.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `routes[0].path`.
    pub field: String,
    /// What it was; none if it was not there.
    pub before: Option<String>,
    /// What it is; none if it is not there any more.
    pub after: Option<String>,
}

/// Every field that differs, in the order of their names. What is null is not there.
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(String::new(), before, after, &mut found);
    found
}

fn compare(field: String, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(_) | Value::Null, Value::Object(_)) | (Value::Object(_), Value::Null) => {
            let (before, after) = (before.as_object(), after.as_object());
            let keys = before.into_iter().chain(after).flat_map(|map| map.keys());
            let keys: std::collections::BTreeSet<&String> = keys.collect();
            for key in keys {
                let of = |map: Option<&serde_json::Map<String, Value>>| {
                    map.and_then(|map| map.get(key)).cloned().unwrap_or(Value::Null)
                };
                let path = if field.is_empty() {
                    key.clone()
                } else {
                    format!("{field}.{key}")
                };
                compare(path, &of(before), &of(after), found);
            }
        }
        (Value::Array(_) | Value::Null, Value::Array(_)) | (Value::Array(_), Value::Null) => {
            let of = |value: &Value, index: usize| value.get(index).cloned().unwrap_or(Value::Null);
            let length = |value: &Value| value.as_array().map_or(0, Vec::len);
            for index in 0..length(before).max(length(after)) {
                compare(
                    format!("{field}[{index}]"),
                    &of(before, index),
                    &of(after, index),
                    found,
                );
            }
        }
        _ => found.push(Difference {
            field,
            before: text(before),
            after: text(after),
        }),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(before: Value, after: Value) -> Vec<String> {
        let line = |difference: Difference| {
            let side = |side: Option<String>| side.unwrap_or_else(|| "-".to_owned());
            format!(
                "{}: {} > {}",
                difference.field,
                side(difference.before),
                side(difference.after)
            )
        };
        differences(&before, &after).into_iter().map(line).collect()
    }

    #[test]
    fn fields_are_named_by_their_path() {
        let before = json!({"package": "a:1", "routes": [{"path": "/*"}], "config": {"a": "1", "b": "2"}, "rollout": null});
        let after = json!({"package": "a:2", "routes": [{"path": "/x"}, {"path": "/y", "methods": ["GET"]}],
                           "config": {"a": "1"}, "rollout": {"post_bake": 60}});
        assert_eq!(
            shown(before.clone(), after),
            [
                "config.b: 2 > -",
                "package: a:1 > a:2",
                "rollout.post_bake: - > 60",
                "routes[0].path: /* > /x",
                "routes[1].methods[0]: - > GET",
                "routes[1].path: - > /y"
            ]
        );
        assert_eq!(shown(before.clone(), before), Vec::<String>::new());
        assert_eq!(shown(Value::Null, json!({"a": [1]})), ["a[0]: - > 1"]);
        assert_eq!(
            shown(json!({"a": 1}), json!({"a": {"b": 1}})),
            ["a: 1 > {\"b\":1}"]
        );
    }
}

//! Files that people write, read into one tree with positions, whatever their syntax: TOML and YAML meet here, so that
//! every refusal has the same shape (file, line, column, what, what next) and unknown keys are refused in one place.
//! Refuses to guess: no type is converted, no key is ignored.

mod head;
mod section;
pub(crate) mod toml;
pub(crate) mod yaml;

pub(crate) use head::{Head, read_head};
pub(crate) use section::Section;

/// The largest file that is read, in bytes: a hundred times what anybody writes by hand.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// How deep tables and lists may nest: the formats need six.
pub(crate) const DOCUMENT_DEPTH_MAX: usize = 32;

/// A file that was refused: where, what is wrong, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {what}; {next}")]
pub struct DocumentError {
    /// The file as the caller named it.
    pub file: String,
    /// Counts from 1.
    pub line: usize,
    /// In characters, counts from 1.
    pub column: usize,
    /// What was found and why it is refused.
    pub what: String,
    /// What to do about it.
    pub next: String,
}

/// A place in a file; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    /// The place of byte `offset` in `text`.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// Refuses the file at this place.
    pub(crate) fn refuse(
        self,
        file: &str,
        what: impl Into<String>,
        next: impl Into<String>,
    ) -> DocumentError {
        let (what, next) = (what.into(), next.into());
        DocumentError {
            file: file.to_owned(),
            line: self.line,
            column: self.column,
            what,
            next,
        }
    }
}

/// The first character of a file.
pub(crate) const START: Position = Position { line: 1, column: 1 };

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
}

/// What both syntaxes can say. Numbers keep their spelling, because nothing here calculates with fractions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// One key of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) node: Node,
}

impl Value {
    /// The kind in words, with its article.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Refuses a YAML file for a field that is well-formed and does not fit what is there: `field` is a dotted path such as
/// `spec.package`. The refusal points at the field's value, or at what is nearest above it.
pub fn refuse_field(
    text: &str,
    file: &str,
    field: &str,
    why: impl std::fmt::Display,
    next: impl Into<String>,
) -> DocumentError {
    let mut at = START;
    if let Ok(mut node) = yaml::read(text, file) {
        for key in field.split('.') {
            let Value::Table(entries) = node.value else { break };
            let Some(entry) = entries.into_iter().find(|entry| entry.key == key) else {
                break;
            };
            // A table in block style begins a line below its key, and people look for the key.
            at = match entry.node.value {
                Value::Table(_) | Value::List(_) => entry.at,
                _ => entry.node.at,
            };
            node = entry.node;
        }
    }
    at.refuse(file, format!("{field}: {why}"), next)
}

/// Refuses a file that is too large to be meant.
pub(crate) fn check_size(text: &str, file: &str) -> Result<(), DocumentError> {
    if text.len() <= DOCUMENT_BYTES_MAX {
        return Ok(());
    }
    let what = format!(
        "the file has {} bytes, more than the {DOCUMENT_BYTES_MAX} that are read",
        text.len()
    );
    Err(START.refuse(file, what, "check that this is the file you meant"))
}

/// What to do about an unknown key: the known one that looks like it, or all of them.
pub(crate) fn suggest(unknown: &str, known: &[&str]) -> String {
    let lower = unknown.to_ascii_lowercase().replace('-', "_");
    let distance = |name: &&&str| strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase());
    match known.iter().min_by_key(distance) {
        Some(name) if distance(&name) <= (name.len() / 3).max(1) => format!("did you mean {name:?}?"),
        _ => format!("known here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let text = "ä = 1\nbé = 2";
        assert_eq!(Position::of(text, 0), START);
        assert_eq!(Position::of(text, 3), Position { line: 1, column: 3 });
        assert_eq!(
            Position::of(text, text.find('2').unwrap()),
            Position { line: 2, column: 6 }
        );
        assert_eq!(Position::of(text, 999), Position { line: 2, column: 7 });
    }

    #[test]
    fn a_field_is_found_or_what_is_above_it() {
        let text = "kind: App\nspec:\n  package: acme/a:1.0.0\n  config:\n    a: b\n";
        for (field, start) in [
            ("spec.package", "f:3:12: spec.package: no; do"),
            ("spec.config", "f:4:3: "),
            ("spec.config.a", "f:5:8: "),
            ("spec.routes", "f:2:1: "),
            ("metadata.name", "f:1:1: "),
        ] {
            let refusal = refuse_field(text, "f", field, "no", "do").to_string();
            assert!(refusal.starts_with(start), "{refusal}");
        }
    }

    #[test]
    fn suggestions_are_near_or_complete() {
        let known = ["memory", "cpu_time", "wall_time"];
        assert_eq!(suggest("memroy", &known), r#"did you mean "memory"?"#);
        assert_eq!(suggest("cpu-time", &known), r#"did you mean "cpu_time"?"#);
        assert_eq!(suggest("disk", &known), "known here: memory, cpu_time, wall_time");
    }
}

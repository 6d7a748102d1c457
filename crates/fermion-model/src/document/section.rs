//! One table of a file, read key by key. Opening it refuses keys that nobody reads, so forgetting one is not possible
//! for a writer and ignoring one is not possible for a reader.

use std::fmt::Display;
use std::str::FromStr;

use super::{DocumentError, Entry, Node, Position, Value, suggest};

/// A table whose keys are all known. Values are taken out; each read says where it failed.
pub(crate) struct Section<'a> {
    file: &'a str,
    /// `limits` or `spec.routes`; empty at the top.
    path: String,
    at: Position,
    entries: Vec<Entry>,
}

/// A value with the place of its key's value, for refusals that come later.
#[derive(Debug, Clone)]
pub(crate) struct Placed<T> {
    pub(crate) at: Position,
    pub(crate) value: T,
}

impl<'a> Section<'a> {
    /// Takes `node` as a table that may hold `known` and nothing else.
    pub(crate) fn open(
        file: &'a str,
        path: impl Into<String>,
        node: Node,
        known: &[&str],
    ) -> Result<Self, DocumentError> {
        let (path, at) = (path.into(), node.at);
        let Value::Table(entries) = node.value else {
            let what = format!("{} is {}, not a table", name_or_file(&path), node.value.kind());
            return Err(at.refuse(file, what, format!("it may hold {}", known.join(", "))));
        };
        for entry in &entries {
            if !known.contains(&entry.key.as_str()) {
                let what = format!("unknown key {:?} in {}", entry.key, name_or_file(&path));
                return Err(entry.at.refuse(file, what, suggest(&entry.key, known)));
            }
        }
        Ok(Self {
            file,
            path,
            at,
            entries,
        })
    }

    /// Where the table stands.
    pub(crate) fn at(&self) -> Position {
        self.at
    }

    /// Refuses the file at `at`.
    pub(crate) fn refuse(
        &self,
        at: Position,
        what: impl Into<String>,
        next: impl Into<String>,
    ) -> DocumentError {
        at.refuse(self.file, what, next)
    }

    /// `limits.memory`: how refusals name a key.
    pub(crate) fn full(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Takes a key's entry out; none if it is not written.
    pub(crate) fn take(&mut self, key: &str) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }

    /// The refusal for a key that must be written and is not.
    pub(crate) fn missing(&self, key: &str, next: &str) -> DocumentError {
        self.refuse(self.at, format!("{} is missing", self.full(key)), next)
    }

    /// A table below this one.
    pub(crate) fn section(&mut self, key: &str, known: &[&str]) -> Result<Option<Self>, DocumentError> {
        let path = self.full(key);
        let Some(entry) = self.take(key) else {
            return Ok(None);
        };
        let mut section = Self::open(self.file, path, entry.node, known)?;
        section.at = entry.at;
        Ok(Some(section))
    }

    /// A node below this one, as a table of its own.
    pub(crate) fn open_below(&self, key: &str, node: Node, known: &[&str]) -> Result<Self, DocumentError> {
        Self::open(self.file, self.full(key), node, known)
    }

    /// Text, not empty and without control characters.
    pub(crate) fn text(&mut self, key: &str, next: &str) -> Result<Option<Placed<String>>, DocumentError> {
        let full = self.full(key);
        self.take(key)
            .map(|entry| self.as_text(&full, entry.node, next))
            .transpose()
    }

    fn as_text(&self, full: &str, node: Node, next: &str) -> Result<Placed<String>, DocumentError> {
        let Value::Text(value) = node.value else {
            let what = format!("{full} is {}, not text", node.value.kind());
            return Err(self.refuse(node.at, what, format!("{next} (in quotes)")));
        };
        if value.trim().is_empty() || value.chars().any(char::is_control) {
            let what = format!("{full} is empty or holds control characters");
            return Err(self.refuse(node.at, what, next));
        }
        Ok(Placed { at: node.at, value })
    }

    /// Text that `T` can read.
    pub(crate) fn parsed<T>(&mut self, key: &str, next: &str) -> Result<Option<Placed<T>>, DocumentError>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.converted(key, next, |text| {
            text.parse::<T>().map_err(|error| error.to_string())
        })
    }

    /// Text that `convert` can read.
    pub(crate) fn converted<T>(
        &mut self,
        key: &str,
        next: &str,
        convert: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<Placed<T>>, DocumentError> {
        let full = self.full(key);
        let Some(Placed { at, value }) = self.text(key, next)? else {
            return Ok(None);
        };
        match convert(&value) {
            Ok(value) => Ok(Some(Placed { at, value })),
            Err(why) => Err(self.refuse(at, format!("{full}: {why}"), next)),
        }
    }

    /// A list of texts, each read by `convert`; twice the same text is refused, and more than `count_max` too.
    pub(crate) fn list<T>(
        &mut self,
        key: &str,
        count_max: usize,
        next: &str,
        convert: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, DocumentError> {
        let full = self.full(key);
        let mut seen = Vec::new();
        let mut values = Vec::new();
        for node in self.nodes(key, count_max, next)? {
            let Placed { at, value: text } = self.as_text(&full, node, next)?;
            if seen.contains(&text) {
                return Err(self.refuse(at, format!("{full} has {text:?} twice"), "write it once"));
            }
            values.push(
                convert(&text).map_err(|why| self.refuse(at, format!("{full}: {why}"), next.to_owned()))?,
            );
            seen.push(text);
        }
        Ok(values)
    }

    /// A list of anything; empty if the key is not written.
    pub(crate) fn nodes(
        &mut self,
        key: &str,
        count_max: usize,
        next: &str,
    ) -> Result<Vec<Node>, DocumentError> {
        let full = self.full(key);
        let Some(entry) = self.take(key) else {
            return Ok(Vec::new());
        };
        let Value::List(nodes) = entry.node.value else {
            let what = format!("{full} is {}, not a list", entry.node.value.kind());
            return Err(self.refuse(entry.node.at, what, next));
        };
        if nodes.len() > count_max {
            let what = format!("{full} has {} entries, the ceiling is {count_max}", nodes.len());
            return Err(self.refuse(entry.node.at, what, "write fewer"));
        }
        Ok(nodes)
    }

    /// A whole number from `min` to `max`.
    pub(crate) fn whole(
        &mut self,
        key: &str,
        min: u32,
        max: u32,
    ) -> Result<Option<Placed<u32>>, DocumentError> {
        let full = self.full(key);
        let Some(entry) = self.take(key) else {
            return Ok(None);
        };
        let at = entry.node.at;
        let next = format!("write a whole number from {min} to {max}");
        let Value::Number(raw) = &entry.node.value else {
            return Err(self.refuse(
                at,
                format!("{full} is {}, not a number", entry.node.value.kind()),
                next,
            ));
        };
        match raw.parse::<u32>() {
            Ok(value) if (min..=max).contains(&value) => Ok(Some(Placed { at, value })),
            Ok(value) if value > max => {
                Err(self.refuse(at, format!("{full} is {value}, its ceiling is {max}"), next))
            }
            _ => Err(self.refuse(at, format!("{full} is {raw}"), next)),
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, key: &str) -> Result<Option<bool>, DocumentError> {
        let full = self.full(key);
        let Some(entry) = self.take(key) else {
            return Ok(None);
        };
        match entry.node.value {
            Value::Bool(value) => Ok(Some(value)),
            other => {
                let what = format!("{full} is {}, not a boolean", other.kind());
                Err(self.refuse(entry.node.at, what, "write true or false"))
            }
        }
    }
}

fn name_or_file(path: &str) -> String {
    if path.is_empty() {
        "the file".to_owned()
    } else {
        format!("[{path}]")
    }
}

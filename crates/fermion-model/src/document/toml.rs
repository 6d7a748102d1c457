//! TOML into the tree. The `toml` crate parses, keeps spans and refuses keys written twice; dates are not used here
//! and are refused where a text was expected, by their kind.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{DOCUMENT_DEPTH_MAX, DocumentError, Entry, Node, Position, START, Value, check_size};

/// Parses `text`; `file` only names it in refusals.
pub(crate) fn read(text: &str, file: &str) -> Result<Node, DocumentError> {
    check_size(text, file)?;
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(START, |span| Position::of(text, span.start));
        at.refuse(
            file,
            format!("not TOML: {}", error.message().trim()),
            "correct the syntax here",
        )
    })?;
    let reader = Reader { text, file };
    Ok(Node {
        at: START,
        value: reader.table(table.into_inner(), 0)?,
    })
}

struct Reader<'a> {
    text: &'a str,
    file: &'a str,
}

impl Reader<'_> {
    fn table(&self, table: DeTable<'_>, depth: usize) -> Result<Value, DocumentError> {
        let mut entries = Vec::new();
        for (key, value) in table {
            let at = Position::of(self.text, key.span().start);
            let node = self.node(value, depth + 1)?;
            entries.push(Entry {
                key: key.into_inner().into_owned(),
                at,
                node,
            });
        }
        Ok(Value::Table(entries))
    }

    fn node(&self, value: Spanned<DeValue<'_>>, depth: usize) -> Result<Node, DocumentError> {
        let at = Position::of(self.text, value.span().start);
        if depth > DOCUMENT_DEPTH_MAX {
            return Err(at.refuse(self.file, "nested too deep", "no key of this file is this deep"));
        }
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) if number.radix() == 10 => Value::Number(number.as_str().to_owned()),
            DeValue::Integer(_) => {
                return Err(at.refuse(self.file, "a number in another base", "write it in decimal"));
            }
            DeValue::Float(number) => Value::Number(number.as_str().to_owned()),
            DeValue::Boolean(value) => Value::Bool(value),
            DeValue::Datetime(_) => {
                return Err(at.refuse(self.file, "a date", "no key of this file holds a date"));
            }
            DeValue::Array(items) => Value::List(
                items
                    .into_iter()
                    .map(|item| self.node(item, depth + 1))
                    .collect::<Result<_, _>>()?,
            ),
            DeValue::Table(table) => self.table(table, depth)?,
        };
        Ok(Node { at, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_where() {
        for (text, start) in [
            ("a = ", "f:1:"),
            ("a = 1\na = 2", "f:2:1: not TOML"),
            ("x = 1979-05-27", "f:1:5: a date"),
            ("x = 0x10", "f:1:5: a number in another base"),
        ] {
            let error = read(text, "f").unwrap_err().to_string();
            assert!(error.starts_with(start), "{text:?}: {error}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_a_stack_overflow() {
        let text = format!("x = {}1{}", "[".repeat(5000), "]".repeat(5000));
        assert!(read(&text, "f").is_err());
        let huge = " ".repeat(super::super::DOCUMENT_BYTES_MAX + 1);
        assert!(read(&huge, "f").unwrap_err().what.contains("more than"));
    }
}

//! YAML into the tree, from `saphyr-parser`'s events: that crate is maintained, permissively licensed, keeps positions
//! and has next to no dependencies. Only the plain part of YAML is taken: one document, no anchors and aliases (they
//! can blow a small file up), no tags, text keys, each once. `NO` and `on` are text, as YAML 1.2 says.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use super::{DOCUMENT_DEPTH_MAX, DocumentError, Entry, Node, Position, START, Value, check_size};

/// Parses `text`; `file` only names it in refusals.
pub(crate) fn read(text: &str, file: &str) -> Result<Node, DocumentError> {
    check_size(text, file)?;
    let mut tree = Tree {
        file,
        open: Vec::new(),
        root: None,
        documents: 0,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax(&error, file))?;
        tree.event(event, place(&span.start))?;
    }
    Ok(tree.root.unwrap_or(Node {
        at: START,
        value: Value::Null,
    }))
}

fn place(mark: &Marker) -> Position {
    Position {
        line: mark.line().max(1),
        column: mark.col() + 1,
    }
}

fn syntax(error: &ScanError, file: &str) -> DocumentError {
    place(error.marker()).refuse(
        file,
        format!("not YAML: {}", error.info()),
        "correct the syntax here",
    )
}

/// A list or table that has not ended yet; a table waits for a key or, holding one, for its value.
struct Open {
    at: Position,
    value: Value,
    key: Option<(String, Position)>,
}

struct Tree<'a> {
    file: &'a str,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

impl Tree<'_> {
    fn event(&mut self, event: Event<'_>, at: Position) -> Result<(), DocumentError> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(at.refuse(self.file, "a second document", "write one document a file"));
                }
                Ok(())
            }
            Event::Alias(_) => Err(self.no_anchors(at)),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                Err(self.no_anchors(at))
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                Err(at.refuse(self.file, "a YAML tag", "write the value without one"))
            }
            Event::Scalar(text, style, _, None) => self.scalar(text.into_owned(), style, at),
            Event::SequenceStart(..) => self.begin(Value::List(Vec::new()), at),
            Event::MappingStart(..) => self.begin(Value::Table(Vec::new()), at),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.attach(Node {
                    at: open.at,
                    value: open.value,
                }),
                None => Ok(()),
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn no_anchors(&self, at: Position) -> DocumentError {
        at.refuse(self.file, "an anchor or alias", "write the value out")
    }

    fn begin(&mut self, value: Value, at: Position) -> Result<(), DocumentError> {
        if self.open.len() >= DOCUMENT_DEPTH_MAX {
            return Err(at.refuse(self.file, "nested too deep", "no key of this file is this deep"));
        }
        if let Some(Open {
            value: Value::Table(_),
            key: None,
            ..
        }) = self.open.last()
        {
            return Err(at.refuse(self.file, "a key that is not text", "write a plain name"));
        }
        self.open.push(Open { at, value, key: None });
        Ok(())
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, at: Position) -> Result<(), DocumentError> {
        if let Some(Open {
            value: Value::Table(entries),
            key: key @ None,
            ..
        }) = self.open.last_mut()
        {
            if entries.iter().any(|entry| entry.key == text) {
                return Err(at.refuse(self.file, format!("{text:?} is written twice"), "keep one"));
            }
            *key = Some((text, at));
            return Ok(());
        }
        let value = if style == ScalarStyle::Plain {
            plain(text)
        } else {
            Value::Text(text)
        };
        self.attach(Node { at, value })
    }

    /// Puts a finished value where it belongs: under the waiting key, at a list's end, or at the root.
    fn attach(&mut self, node: Node) -> Result<(), DocumentError> {
        match self.open.last_mut() {
            Some(Open {
                value: Value::List(items),
                ..
            }) => items.push(node),
            Some(Open {
                value: Value::Table(entries),
                key,
                ..
            }) => {
                let (key, at) = key.take().expect("the parser gives a key before its value");
                entries.push(Entry { key, at, node });
            }
            _ => self.root = Some(node),
        }
        Ok(())
    }
}

/// What an unquoted word means; everything that is not null, a boolean or a number is text.
fn plain(text: String) -> Value {
    match text.as_str() {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        word if word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
            && word.parse::<f64>().is_ok() =>
        {
            Value::Number(text)
        }
        _ => Value::Text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(node: &Node) -> String {
        match &node.value {
            Value::Table(entries) => {
                let parts: Vec<_> = entries
                    .iter()
                    .map(|e| format!("{}@{}:{}={}", e.key, e.at.line, e.at.column, texts(&e.node)))
                    .collect();
                format!("{{{}}}", parts.join(" "))
            }
            Value::List(items) => format!("[{}]", items.iter().map(texts).collect::<Vec<_>>().join(" ")),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn reads_block_and_flow_with_positions() {
        let node = read("a: {b: NO, c: 1.50}\nd:\n  - true\n  - 'true'\n  - ~\n", "f").unwrap();
        let want = r#"{a@1:1={b@1:5=Text("NO") c@1:12=Number("1.50")} d@2:1=[Bool(true) Text("true") Null]}"#;
        assert_eq!(texts(&node), want);
    }

    #[test]
    fn refuses_what_is_not_plain() {
        for (text, start) in [
            ("a: &x 1\nb: *x", "f:1:"),
            ("a: !!str 1", "f:1:"),
            ("a: 1\na: 2", "f:2:1: \"a\" is written twice"),
            ("a: 1\n---\nb: 2", "f:2:1: a second document"),
            ("? [a]\n: 1", "f:1:3: a key that is not text"),
            ("a: [1", "f:"),
            ("a: 1\n\tb: 2", "f:"),
        ] {
            let error = read(text, "f").unwrap_err().to_string();
            assert!(error.starts_with(start), "{text:?}: {error}");
        }
        assert!(read(&format!("a: {}", "[".repeat(10_000)), "f").is_err());
        assert_eq!(read("", "f").unwrap().value, Value::Null);
    }
}

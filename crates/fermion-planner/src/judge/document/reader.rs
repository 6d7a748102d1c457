//! JSON values with the path that leads to them, so that a refusal says where.

use serde_json::{Map, Value};

use crate::Error;

/// The most a count may be: above it a number of JSON is no longer exact.
const COUNT_MAX: u64 = 1 << 53;

/// Between which values a number has to be.
#[derive(Debug, Clone, Copy)]
pub(in crate::judge) struct Bounds {
    pub(in crate::judge) low: f64,
    pub(in crate::judge) high: f64,
    /// Whether the bounds themselves are allowed.
    pub(in crate::judge) inclusive: bool,
}

impl Bounds {
    pub(in crate::judge) const fn between(low: f64, high: f64) -> Self {
        Self {
            low,
            high,
            inclusive: true,
        }
    }

    pub(in crate::judge) const fn inside(low: f64, high: f64) -> Self {
        Self {
            low,
            high,
            inclusive: false,
        }
    }

    fn hold(self, number: f64) -> bool {
        if self.inclusive {
            (self.low..=self.high).contains(&number)
        } else {
            self.low < number && (number < self.high || self.high == f64::MAX)
        }
    }

    pub(super) fn words(self) -> String {
        match (self.inclusive, self.high == f64::MAX) {
            (true, true) => format!("a number from {} up", self.low),
            (false, true) => format!("a number above {}", self.low),
            (true, false) => format!("a number from {} to {}", self.low, self.high),
            (false, false) => format!("a number between {} and {}", self.low, self.high),
        }
    }
}

/// A value and where it stands.
pub(super) struct Item<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Item<'a> {
    fn wrong(&self, expected: impl Into<String>) -> Error {
        Error::Document {
            path: self.path.clone(),
            what: shown(self.value),
            expected: expected.into(),
        }
    }

    /// The value as an object that may have these keys and no others.
    pub(super) fn object(&self, known: &[&str]) -> Result<Object<'a>, Error> {
        let Value::Object(map) = self.value else {
            return Err(self.wrong("an object"));
        };
        let object = Object {
            path: self.path.clone(),
            map,
        };
        match map.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(object),
            Some(key) => {
                let near = known.iter().find(|name| alike(name, key));
                let expected = match near {
                    Some(name) => format!("\"{name}\", probably; known here: {}", known.join(", ")),
                    None => format!("one of {}", known.join(", ")),
                };
                Err(object.fault(key, "is unknown", expected))
            }
        }
    }

    pub(super) fn items(&self, count_max: usize) -> Result<Vec<Item<'a>>, Error> {
        let Value::Array(values) = self.value else {
            return Err(self.wrong("a list"));
        };
        if values.len() > count_max {
            return Err(Error::Document {
                path: self.path.clone(),
                what: format!("has {} entries", values.len()),
                expected: format!("at most {count_max}"),
            });
        }
        let item = |(index, value)| Item {
            path: format!("{}[{index}]", self.path),
            value,
        };
        Ok(values.iter().enumerate().map(item).collect())
    }

    pub(super) fn number_within(&self, bounds: Bounds) -> Result<f64, Error> {
        match self.value.as_f64() {
            Some(number) if bounds.hold(number) => Ok(number),
            _ => Err(self.wrong(bounds.words())),
        }
    }

    pub(super) fn count(&self) -> Result<u64, Error> {
        match self.value.as_u64() {
            Some(count) if count <= COUNT_MAX => Ok(count),
            _ => Err(self.wrong("a whole number of requests")),
        }
    }

    /// A sample: JSON has no NaN, so `null` and the text "NaN" stand for it.
    pub(super) fn sample(&self) -> Result<f64, Error> {
        match self.value {
            Value::Null => Ok(f64::NAN),
            Value::String(text) if text == "NaN" => Ok(f64::NAN),
            Value::Number(number) => number
                .as_f64()
                .filter(|number| number.is_finite())
                .ok_or_else(|| self.wrong("a finite number")),
            _ => Err(self.wrong("a number, or null or \"NaN\" where nothing was measured")),
        }
    }
}

/// An object and where it stands.
pub(super) struct Object<'a> {
    path: String,
    map: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    /// The document itself.
    pub(super) fn root(document: &'a Value, known: &[&str]) -> Result<Self, Error> {
        let whole = Item {
            path: String::new(),
            value: document,
        };
        if !document.is_object() {
            return Err(Error::Document {
                path: "the document".to_owned(),
                what: shown(document),
                expected: "an object".to_owned(),
            });
        }
        whole.object(known)
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    pub(super) fn fault(&self, key: &str, what: &str, expected: impl Into<String>) -> Error {
        Error::Document {
            path: self.join(key),
            what: what.to_owned(),
            expected: expected.into(),
        }
    }

    pub(super) fn item(&self, key: &str) -> Option<Item<'a>> {
        let value = self.map.get(key)?;
        Some(Item {
            path: self.join(key),
            value,
        })
    }

    /// The entries of a list that has to be there.
    pub(super) fn list(&self, key: &str, count_max: usize) -> Result<Vec<Item<'a>>, Error> {
        let item = self
            .item(key)
            .ok_or_else(|| self.fault(key, "is missing", "a list"))?;
        item.items(count_max)
    }

    /// The entries of an object with free keys; none if it is not there.
    pub(super) fn entries(&self, key: &str) -> Result<Vec<(&'a String, Item<'a>)>, Error> {
        let Some(item) = self.item(key) else {
            return Ok(Vec::new());
        };
        let Value::Object(map) = item.value else {
            return Err(item.wrong("an object"));
        };
        let entry = |(name, value)| {
            let path = format!("{}.{name}", item.path);
            (name, Item { path, value })
        };
        Ok(map.iter().map(entry).collect())
    }

    pub(super) fn number_of(&self, key: &str, bounds: Bounds) -> Result<Option<f64>, Error> {
        self.item(key).map(|item| item.number_within(bounds)).transpose()
    }

    pub(super) fn number(&self, key: &str, default: f64, bounds: Bounds) -> Result<f64, Error> {
        Ok(self.number_of(key, bounds)?.unwrap_or(default))
    }

    pub(super) fn flag_of(&self, key: &str) -> Result<Option<bool>, Error> {
        let flag = |item: Item<'_>| item.value.as_bool().ok_or_else(|| item.wrong("true or false"));
        self.item(key).map(flag).transpose()
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, Error> {
        Ok(self.flag_of(key)?.unwrap_or(default))
    }

    pub(super) fn text(&self, key: &str, characters_max: usize) -> Result<Option<String>, Error> {
        let text = |item: Item<'_>| match item.value.as_str() {
            Some(text)
                if !text.trim().is_empty()
                    && text.chars().count() <= characters_max
                    && !text.contains(char::is_control) =>
            {
                Ok(text.to_owned())
            }
            _ => Err(item.wrong(format!("a text of 1 to {characters_max} characters"))),
        };
        self.item(key).map(text).transpose()
    }

    pub(super) fn choice_of<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>, Error> {
        let Some(item) = self.item(key) else {
            return Ok(None);
        };
        let found = choices.iter().find(|(name, _)| item.value.as_str() == Some(name));
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        match found {
            Some((_, choice)) => Ok(Some(*choice)),
            None => Err(item.wrong(names.join(" or "))),
        }
    }

    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)], default: T) -> Result<T, Error> {
        Ok(self.choice_of(key, choices)?.unwrap_or(default))
    }
}

/// A value as a refusal shows it.
fn shown(value: &Value) -> String {
    const CHARACTERS_MAX: usize = 60;
    match value {
        Value::Null => "is null".to_owned(),
        Value::Bool(flag) => format!("is {flag}"),
        Value::Number(number) => format!("is {number}"),
        Value::String(text) if text.chars().count() <= CHARACTERS_MAX => format!("is {text:?}"),
        Value::String(_) => "is a long text".to_owned(),
        Value::Array(_) => "is a list".to_owned(),
        Value::Object(_) => "is an object".to_owned(),
    }
}

/// Whether a key was probably meant to be the other: the same letters, give or take what lies between them.
fn alike(known: &str, key: &str) -> bool {
    let letters = |text: &str| -> String {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    let (known, key) = (letters(known), letters(key));
    known == key || known.strip_suffix('s') == Some(&key) || key.strip_suffix('s') == Some(&known)
}

//! What a split asks of a request: a header, a cookie or a parameter of the query, and perhaps its value.

use std::net::IpAddr;
use std::sync::Arc;

use fermion_model::rollout::{Condition, Field};
use http::header::{HeaderMap, HeaderName};

use super::cookies;
use crate::Countries;

/// One condition.
#[derive(Debug)]
pub(super) struct Asked {
    place: Place,
    /// Any if none.
    value: Option<String>,
}

#[derive(Debug)]
enum Place {
    Header(HeaderName),
    Cookie(String),
    Query(String),
    /// Nobody is in a country where there is no table of them.
    Country(Vec<String>, Option<Arc<Countries>>),
}

/// What is known of a request and who sent it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) query: Option<&'a str>,
    /// Where the connection comes from.
    pub(super) peer: Option<IpAddr>,
}

/// A header's name in any case.
pub(super) fn header_name(name: &str) -> Result<HeaderName, &'static str> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a header's name is one word")
}

impl Asked {
    pub(super) fn new(
        condition: &Condition,
        countries: Option<&Arc<Countries>>,
    ) -> Result<Self, &'static str> {
        let name = &condition.name;
        Ok(Self {
            place: match condition.field {
                Field::Header => Place::Header(header_name(name)?),
                Field::Cookie => Place::Cookie(name.clone()),
                Field::Query => Place::Query(name.clone()),
                Field::Country => Place::Country(condition.countries.clone(), countries.cloned()),
            },
            value: condition.value.clone(),
        })
    }

    /// True if the request has it: in any of several fields, cookies or parameters of the name.
    pub(super) fn holds(&self, caller: Caller<'_>) -> bool {
        let Caller { headers, query, peer } = caller;
        let wanted = self.value.as_deref();
        let is_wanted = |value: &[u8]| wanted.is_none_or(|wanted| wanted.as_bytes() == value);
        match &self.place {
            Place::Header(name) => headers
                .get_all(name)
                .iter()
                .any(|value| is_wanted(value.as_bytes())),
            Place::Cookie(name) => {
                cookies::pairs(headers).any(|(key, value)| key == name.as_bytes() && is_wanted(value))
            }
            Place::Country(wanted, countries) => match (countries, peer) {
                (Some(countries), Some(peer)) => countries.is_in(peer, wanted),
                _ => false,
            },
            Place::Query(name) => query.unwrap_or_default().split('&').any(|parameter| {
                let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                decoded(key).eq(name.bytes()) && wanted.is_none_or(|wanted| decoded(value).eq(wanted.bytes()))
            }),
        }
    }
}

/// The bytes that a name or value of a query stands for (WHATWG URL, `application/x-www-form-urlencoded`). A `%` that
/// begins no byte stands for itself.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (byte, after) = match rest {
            [] => return None,
            [b'+', after @ ..] => (b' ', after),
            [b'%', high, low, after @ ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (b'%', &rest[1..]),
            },
            [byte, after @ ..] => (*byte, after),
        };
        rest = after;
        Some(byte)
    })
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    #[test]
    fn conditions_look_where_they_say() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-tester", "no"),
            ("x-tester", "yes"),
            ("cookie", "a=1; beta; b=x=y"),
            ("cookie", "c=3"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let query = Some("lang=de&x+y=a%20b&=&100%&%6c=%C3%a4&e=");
        for (field, name, value, holds) in [
            (Field::Header, "X-Tester", None, true),
            (Field::Header, "x-tester", Some("yes"), true),
            (Field::Header, "x-tester", Some("YES"), false),
            (Field::Header, "x-other", None, false),
            (Field::Header, "x-other", Some(""), false),
            (Field::Cookie, "a", Some("1"), true),
            (Field::Cookie, "A", Some("1"), false),
            (Field::Cookie, "beta", None, true),
            (Field::Cookie, "b", Some("x=y"), true),
            (Field::Cookie, "c", Some("3"), true),
            (Field::Cookie, "c", Some("1"), false),
            (Field::Query, "lang", Some("de"), true),
            (Field::Query, "lang", Some("d"), false),
            (Field::Query, "lan", None, false),
            (Field::Query, "x y", Some("a b"), true),
            (Field::Query, "100%", None, true),
            (Field::Query, "l", Some("ä"), true),
            (Field::Query, "e", Some(""), true),
            (Field::Query, "f", None, false),
        ] {
            let condition = Condition {
                field,
                name: name.to_owned(),
                value: value.map(str::to_owned),
                countries: Vec::new(),
            };
            let asked = Asked::new(&condition, None).unwrap();
            assert_eq!(
                asked.holds(Caller {
                    headers: &headers,
                    query,
                    peer: None
                }),
                holds,
                "{field:?} {name} {value:?}"
            );
        }
        let lang = Condition {
            field: Field::Query,
            name: "lang".to_owned(),
            value: None,
            countries: Vec::new(),
        };
        let nothing = Caller {
            headers: &headers,
            query: None,
            peer: None,
        };
        assert!(!Asked::new(&lang, None).unwrap().holds(nothing));
    }

    #[test]
    fn a_country_is_that_of_the_connection_or_none() {
        let headers = HeaderMap::new();
        let nowhere = Caller {
            headers: &headers,
            query: None,
            peer: None,
        };
        let home = Condition {
            field: Field::Country,
            name: String::new(),
            value: None,
            countries: vec!["DE".to_owned()],
        };
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/countries.mmdb");
        let countries = Arc::new(Countries::open(&file).unwrap());
        let here = Caller {
            peer: Some([127, 0, 0, 1].into()),
            ..nowhere
        };
        assert!(Asked::new(&home, Some(&countries)).unwrap().holds(here));
        assert!(!Asked::new(&home, Some(&countries)).unwrap().holds(nowhere));
        assert!(!Asked::new(&home, None).unwrap().holds(here));
    }
}

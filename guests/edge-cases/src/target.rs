//! A request target taken apart: `/stream/4/100?url=http%3A%2F%2Fa` is the name `stream`, the arguments `4` and `100`,
//! and a query.

/// The parts of a path with a query.
pub struct Target {
    segments: Vec<String>,
    query: Vec<(String, String)>,
}

impl Target {
    /// Never fails: what is missing or malformed is empty.
    pub fn parse(path_with_query: &str) -> Self {
        let (path, query) = path_with_query.split_once('?').unwrap_or((path_with_query, ""));
        let segments = path.split('/').skip(1).map(decode).collect();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let query = pairs
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(key), decode(value))
            })
            .collect();
        Self { segments, query }
    }

    /// The first segment, which chooses the behaviour.
    pub fn name(&self) -> &str {
        self.segments.first().map_or("", String::as_str)
    }

    /// The segment after the name, counted from 0; empty if there is none.
    pub fn text(&self, index: usize) -> &str {
        self.segments.get(index + 1).map_or("", String::as_str)
    }

    /// The same as a number.
    pub fn number(&self, index: usize) -> Option<usize> {
        self.text(index).parse().ok()
    }

    /// The first value of a query key.
    pub fn query(&self, key: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Every value of a query key.
    pub fn query_all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.query
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a query key as a number of milliseconds, in nanoseconds.
    pub fn query_ms(&self, key: &str) -> Option<u64> {
        self.query(key)?.parse::<u64>().ok()?.checked_mul(1_000_000)
    }
}

/// Undoes percent encoding; an escape that is none is left as it stands.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = text
            .get(at + 1..at + 3)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[at], escape) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

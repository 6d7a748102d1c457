//! What is remembered of an answer to compare it with another one: never the answer itself.

use std::time::Duration;

use fermion_model::copies::Likeness;
use fermion_model::rollout::Compared;
use http::header::{self, HeaderMap, HeaderName};
use tokio::sync::oneshot;
use xxhash_rust::xxh3::Xxh3;

/// Fields by which clients and caches act. Others have times and numbers that differ from answer to answer.
const FIELDS: [HeaderName; 8] = [
    header::ALLOW,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::LOCATION,
    header::VARY,
    header::WWW_AUTHENTICATE,
];

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) status: u16,
    fields: u64,
    body: u128,
    /// From the request's head to the answer's end.
    pub(super) took: Duration,
}

impl Seen {
    /// How a copy's answer compares with this one, which the caller got. `had_credentials` says that the copy lacks what
    /// the caller had, so that only failing tells anything.
    pub(super) fn likeness(&self, copy: &Self, compare: &[Compared], had_credentials: bool) -> Likeness {
        if had_credentials {
            let fails = copy.status >= 500 && self.status < 500;
            return if fails { Likeness::Status } else { Likeness::Same };
        }
        let differs = |compared| match compared {
            Compared::Status => self.status != copy.status,
            Compared::Headers => self.fields != copy.fields,
            Compared::Body => self.body != copy.body,
        };
        let looked = [
            (Compared::Status, Likeness::Status),
            (Compared::Headers, Likeness::Headers),
            (Compared::Body, Likeness::Body),
        ];
        let found = looked
            .into_iter()
            .find(|(compared, _)| compare.contains(compared) && differs(*compared));
        found.map_or(Likeness::Same, |(_, likeness)| likeness)
    }
}

/// An answer on its way past.
pub(super) struct Glance {
    status: u16,
    fields: u64,
    body: Xxh3,
}

impl Glance {
    pub(super) fn new(status: u16, headers: &HeaderMap) -> Self {
        let mut fields = Xxh3::new();
        for (index, name) in (0_u64..).zip(&FIELDS) {
            for value in headers.get_all(name) {
                fields.update(&index.to_le_bytes());
                fields.update(&(value.len() as u64).to_le_bytes());
                fields.update(value.as_bytes());
            }
        }
        Self {
            status,
            fields: fields.digest(),
            body: Xxh3::new(),
        }
    }

    pub(super) fn see(&mut self, data: &[u8]) {
        self.body.update(data);
    }

    pub(super) fn end(&self, took: Duration) -> Seen {
        Seen {
            status: self.status,
            fields: self.fields,
            body: self.body.digest128(),
            took,
        }
    }
}

/// Sees the answer that a caller gets, and tells the copy of the request once it is whole.
pub(crate) struct Witness {
    tell: oneshot::Sender<Seen>,
    glance: Option<Box<Glance>>,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness").finish_non_exhaustive()
    }
}

impl Witness {
    pub(super) fn new(tell: oneshot::Sender<Seen>) -> Self {
        Self { tell, glance: None }
    }

    /// The answer's head is known.
    pub(crate) fn head(&mut self, status: u16, headers: &HeaderMap) {
        self.glance = Some(Box::new(Glance::new(status, headers)));
    }

    /// A piece of its body goes out.
    pub(crate) fn see(&mut self, data: &[u8]) {
        if let Some(glance) = &mut self.glance {
            glance.see(data);
        }
    }

    /// The caller has it all. Whoever drops the witness instead says that there is nothing to compare.
    pub(crate) fn end(self, took: Duration) {
        if let Some(glance) = self.glance {
            // A copy that was given up needs no answer.
            drop(self.tell.send(glance.end(took)));
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    fn seen(status: u16, fields: &[(&'static str, &'static str)], body: &[&str]) -> Seen {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let mut glance = Glance::new(status, &headers);
        body.iter().for_each(|piece| glance.see(piece.as_bytes()));
        glance.end(Duration::ZERO)
    }

    #[test]
    fn the_first_difference_that_is_looked_for_counts() {
        let all = Compared::ALL.map(|(compared, _)| compared);
        let html = ("content-type", "text/html");
        let old = seen(200, &[html, ("date", "now")], &["ab", "c"]);
        for (new, compare, expected) in [
            (
                seen(200, &[("date", "then"), html], &["a", "bc"]),
                &all[..],
                Likeness::Same,
            ),
            (seen(500, &[], &[]), &all, Likeness::Status),
            (seen(500, &[html], &["abc"]), &all[1..], Likeness::Same),
            (seen(200, &[], &["abc"]), &all, Likeness::Headers),
            (seen(200, &[html, html], &["abc"]), &all, Likeness::Headers),
            (
                seen(200, &[("vary", "text/html")], &["abc"]),
                &all,
                Likeness::Headers,
            ),
            (seen(200, &[html], &["abd"]), &all, Likeness::Body),
            (seen(200, &[html], &["abd"]), &all[..2], Likeness::Same),
        ] {
            assert_eq!(
                old.likeness(&new, compare, false),
                expected,
                "{new:?} {compare:?}"
            );
        }
        for (status, expected) in [
            (401, Likeness::Same),
            (302, Likeness::Same),
            (500, Likeness::Status),
        ] {
            assert_eq!(
                old.likeness(&seen(status, &[], &[]), &all, true),
                expected,
                "{status}"
            );
        }
        let failing = seen(503, &[], &[]);
        assert_eq!(failing.likeness(&seen(500, &[], &[]), &all, true), Likeness::Same);
    }
}

//! What became of copies of requests: how the answers of a release that answers nobody yet compare with those that
//! callers got.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::{COPY_EXAMPLES_MAX, COPY_PATH_BYTES_MAX};
use crate::sketch::Sketch;

/// How the copy's answer compares with the caller's. The first difference counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Likeness {
    /// In nothing that was compared do they differ.
    Same,
    /// They have different statuses.
    Status,
    /// The same status and different header fields.
    Headers,
    /// The same head and different bodies.
    Body,
    /// The copy has no whole answer, by the release's own fault.
    Failed,
}

/// One copy that was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Copied {
    /// None if there was nothing to compare, because the platform had no room for the copy.
    pub likeness: Option<Likeness>,
    /// The request's path without its query; empty where the answers are alike.
    pub path: String,
    /// The status that the caller got.
    pub status: u16,
    /// How long the caller's answer took.
    pub took: Duration,
    /// Copies since the last one that there was no room for.
    pub dropped: u64,
    /// Copies since the last one that could not be made, because of their bodies.
    pub skipped: u64,
}

/// A difference, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The path without the query.
    pub path: String,
    /// What differs.
    pub likeness: Likeness,
    /// The status that the caller got.
    pub old: u16,
    /// That of the copy; 0 if there was none.
    pub new: u16,
}

/// Copies counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CopyCounts {
    /// Answers alike.
    pub same: u64,
    /// With another status.
    pub status: u64,
    /// With other header fields.
    pub headers: u64,
    /// With another body.
    pub body: u64,
    /// Without an answer, by the release's fault.
    pub failed: u64,
    /// Copies that there was no room for.
    pub dropped: u64,
    /// Requests that could not be copied, because of their bodies.
    pub skipped: u64,
    /// How long callers' answers took, in seconds, of the requests whose copies were answered.
    pub old: Sketch,
    /// How long the copies' took without the making of their instances.
    pub new: Sketch,
    /// The first few differences.
    pub examples: Vec<Example>,
}

impl CopyCounts {
    /// Adds one copy. `status` is that of its answer, and `took` how long it took.
    pub fn add(&mut self, copied: &Copied, status: u16, took: Duration) {
        self.dropped += copied.dropped;
        self.skipped += copied.skipped;
        let Some(likeness) = copied.likeness else { return };
        let count = match likeness {
            Likeness::Same => &mut self.same,
            Likeness::Status => &mut self.status,
            Likeness::Headers => &mut self.headers,
            Likeness::Body => &mut self.body,
            Likeness::Failed => &mut self.failed,
        };
        *count += 1;
        if likeness != Likeness::Failed {
            self.old.add(copied.took.as_secs_f64(), 1);
            self.new.add(took.as_secs_f64(), 1);
        }
        if likeness != Likeness::Same {
            let end = copied.path.floor_char_boundary(COPY_PATH_BYTES_MAX);
            self.show(&Example {
                path: copied.path[..end].to_owned(),
                likeness,
                old: copied.status,
                new: status,
            });
        }
    }

    fn show(&mut self, example: &Example) {
        if self.examples.len() < COPY_EXAMPLES_MAX && !self.examples.contains(example) {
            self.examples.push(example.clone());
        }
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        self.same += other.same;
        self.status += other.status;
        self.headers += other.headers;
        self.body += other.body;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.skipped += other.skipped;
        self.old.merge(&other.old);
        self.new.merge(&other.new);
        other.examples.iter().for_each(|example| self.show(example));
    }

    /// Answers that differ, or are none.
    pub fn different(&self) -> u64 {
        self.status + self.headers + self.body + self.failed
    }

    /// Copies that say something.
    pub fn compared(&self) -> u64 {
        self.same + self.different()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_few_short_and_each_another_one() {
        let mut counts = CopyCounts::default();
        for index in 0..1_000_u64 {
            let copied = Copied {
                likeness: Some(if index % 2 == 0 {
                    Likeness::Body
                } else {
                    Likeness::Same
                }),
                path: format!("/{}{}", index % 64, "ä".repeat(2_000)),
                status: 200,
                took: Duration::from_millis(3),
                dropped: 1,
                skipped: 0,
            };
            counts.add(&copied, 200, Duration::from_millis(4));
        }
        assert_eq!((counts.same, counts.body, counts.dropped), (500, 500, 1_000));
        assert_eq!((counts.compared(), counts.different()), (1_000, 500));
        assert_eq!(counts.examples.len(), COPY_EXAMPLES_MAX);
        assert!(
            counts
                .examples
                .iter()
                .all(|example| example.path.len() <= COPY_PATH_BYTES_MAX)
        );
        let mut both = counts.clone();
        both.merge(&counts);
        assert_eq!((both.body, both.examples), (1_000, counts.examples.clone()));
        assert_eq!((both.old.count(), both.new.count()), (2_000, 2_000));
    }
}

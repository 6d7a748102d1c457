//! Sums on the bus: one full document for each promise, written now and then, and a small one with what has come since,
//! written every few seconds. A crash loses what came after the last of them.

use fermion_bus::limits::COMMIT_OPS_MAX;
use fermion_bus::{Entry, Event, Expect, Op};
use fermion_model::objective::Indicator;
use serde::{Deserialize, Serialize};

use super::observe::{Kept, Observed, Sources};
use super::tally::Tally;
use crate::control::check_schema;
use crate::limits::{TALLY_WRITE_EVERY, WHOLES_AT_ONCE_MAX};
use crate::{Control, Error};

const TALLY_SCHEMA: u32 = 1;
const WHOLE: &str = "slo/";
const SINCE: &str = "slo-recent/";
const SOURCES: &str = "slo-sources";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WholeDocument {
    schema: u32,
    indicator: Indicator,
    /// Counts up with every full document.
    number: u64,
    written_at: u64,
    tally: Tally,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SinceDocument {
    schema: u32,
    indicator: Indicator,
    /// The full document that this comes after; with any other it says nothing.
    after: u64,
    tally: Tally,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourcesDocument {
    schema: u32,
    sources: Sources,
}

/// What one operation, once committed, means for the sums in memory.
struct Written {
    app: String,
    objective: String,
    is_whole: bool,
}

impl Control {
    /// Reads everything back, at the start. What cannot be read is logged, left as it is, and begins anew.
    pub(super) async fn load_tallies(&self) -> Result<(), Error> {
        let mut since = Vec::new();
        let mut through = 0;
        loop {
            let changes = self.bus().changes(through, &[WHOLE, SINCE, SOURCES]).await?;
            let mut observed = self.shared.slo.observed();
            for event in changes.events {
                let Event::Put(entry) = event else { continue };
                let taken = if entry.key.starts_with(SINCE) {
                    since.push(entry);
                    continue;
                } else if entry.key == SOURCES {
                    take_sources(&mut observed, &entry)
                } else {
                    take_whole(&mut observed, &entry)
                };
                log_unreadable(&entry.key, taken);
            }
            through = changes.through;
            if changes.is_all {
                break;
            }
        }
        let mut observed = self.shared.slo.observed();
        for entry in since {
            log_unreadable(&entry.key, take_since(&mut observed, &entry));
        }
        Ok(())
    }

    /// Writes what is not on the bus yet. The numbers of the frames go first: what a crash then takes is lost, and never
    /// counted twice.
    pub(super) async fn save_tallies(&self, now: u64) -> Result<(), Error> {
        let sources = {
            let observed = self.shared.slo.observed();
            let document = SourcesDocument {
                schema: TALLY_SCHEMA,
                sources: observed.sources.clone(),
            };
            observed
                .is_unsaved
                .then(|| (document, Expect::unchanged(observed.sources_revision)))
        };
        if let Some((document, expect)) = sources {
            let revision = self.bus().put_json(SOURCES, &document, expect).await?;
            let mut observed = self.shared.slo.observed();
            observed.is_unsaved = false;
            observed.sources_revision = Some(revision);
        }
        let mut wholes = WHOLES_AT_ONCE_MAX;
        loop {
            let control = self.clone();
            // Whole documents are large: not on the reactor.
            let next = move || unsaved(&control.shared.slo.observed(), now, wholes);
            let next = tokio::task::spawn_blocking(next).await;
            let (ops, written) = next.map_err(|_| Error::Stopped {
                doing: "write objectives",
            })??;
            wholes = wholes.saturating_sub(written.iter().filter(|what| what.is_whole).count());
            if ops.is_empty() {
                return Ok(());
            }
            let revisions = self.bus().commit(ops).await?;
            let mut observed = self.shared.slo.observed();
            for (what, revision) in written.iter().zip(revisions) {
                let kept = observed.kept.get_mut(&what.app);
                let Some(kept) = kept.and_then(|kept| kept.get_mut(&what.objective)) else {
                    continue;
                };
                kept.is_unsaved = false;
                if what.is_whole {
                    kept.number += 1;
                    kept.written_at = now;
                    kept.since = Tally::default();
                    kept.revisions.0 = Some(revision);
                } else {
                    kept.revisions.1 = Some(revision);
                }
            }
        }
    }
}

/// The next commit, with at most so many whole documents beside those that are the first of their promise; the others'
/// turn comes. Nothing is added between this and its end: both are steps of one task.
fn unsaved(observed: &Observed, now: u64, mut wholes: usize) -> Result<(Vec<Op>, Vec<Written>), Error> {
    let (mut ops, mut written) = (Vec::new(), Vec::new());
    for (app, kept) in &observed.kept {
        for (objective, kept) in kept.iter().filter(|(_, kept)| kept.is_unsaved) {
            if ops.len() >= COMMIT_OPS_MAX {
                return Ok((ops, written));
            }
            let is_due = wholes > 0 && now.abs_diff(kept.written_at) >= TALLY_WRITE_EVERY.as_secs();
            let is_whole = kept.number == 0 || is_due || kept.written_at == 0;
            wholes = wholes.saturating_sub(usize::from(is_whole));
            ops.push(if is_whole {
                let document = WholeDocument {
                    schema: TALLY_SCHEMA,
                    indicator: kept.indicator,
                    number: kept.number + 1,
                    written_at: now,
                    tally: kept.whole.clone(),
                };
                let expect = Expect::unchanged(kept.revisions.0);
                Op::put_json(format!("{WHOLE}{app}/{objective}"), &document, expect)?
            } else {
                let document = SinceDocument {
                    schema: TALLY_SCHEMA,
                    indicator: kept.indicator,
                    after: kept.number,
                    tally: kept.since.clone(),
                };
                let expect = Expect::unchanged(kept.revisions.1);
                Op::put_json(format!("{SINCE}{app}/{objective}"), &document, expect)?
            });
            written.push(Written {
                app: app.clone(),
                objective: objective.clone(),
                is_whole,
            });
        }
    }
    Ok((ops, written))
}

fn take_sources(observed: &mut Observed, entry: &Entry) -> Result<(), Error> {
    observed.sources_revision = Some(entry.revision);
    let document: SourcesDocument = entry.json()?;
    check_schema(&entry.key, document.schema, TALLY_SCHEMA)?;
    observed.sources = document.sources;
    Ok(())
}

fn take_whole(observed: &mut Observed, entry: &Entry) -> Result<(), Error> {
    let Some((app, objective)) = names(&entry.key, WHOLE) else {
        return Ok(());
    };
    let mut kept = Kept::new(Indicator::Success);
    kept.revisions.0 = Some(entry.revision);
    let read = entry
        .json::<WholeDocument>()
        .map_err(Error::from)
        .and_then(|document| {
            check_schema(&entry.key, document.schema, TALLY_SCHEMA)?;
            Ok(document)
        });
    let read = read.map(|document| {
        kept.indicator = document.indicator;
        kept.whole = document.tally;
        (kept.number, kept.written_at) = (document.number, document.written_at);
    });
    // Also if it cannot be read: then the next one takes its place.
    observed.kept.entry(app).or_default().insert(objective, kept);
    read
}

fn take_since(observed: &mut Observed, entry: &Entry) -> Result<(), Error> {
    let Some((app, objective)) = names(&entry.key, SINCE) else {
        return Ok(());
    };
    let kept = observed.kept.get_mut(&app);
    let Some(kept) = kept.and_then(|kept| kept.get_mut(&objective)) else {
        return Ok(());
    };
    kept.revisions.1 = Some(entry.revision);
    let document: SinceDocument = entry.json()?;
    check_schema(&entry.key, document.schema, TALLY_SCHEMA)?;
    if document.after == kept.number && document.indicator == kept.indicator {
        kept.whole.merge(&document.tally);
        kept.since = document.tally;
    }
    Ok(())
}

/// `namespace/app` and the objective.
fn names(key: &str, folder: &str) -> Option<(String, String)> {
    let (app, objective) = key.strip_prefix(folder)?.rsplit_once('/')?;
    Some((app.to_owned(), objective.to_owned()))
}

fn log_unreadable(key: &str, taken: Result<(), Error>) {
    if let Err(error) = taken {
        tracing::error!(key, %error, "sums of an objective cannot be read; they begin anew");
    }
}

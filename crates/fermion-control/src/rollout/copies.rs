//! What copies of requests say of a release that has no traffic yet, and how it takes over if that is enough.

use fermion_api::RollbackRequest;
use fermion_bus::Expect;
use fermion_model::copies::{CopyCounts, Likeness};
use fermion_model::rollout::{MirrorSpec, Strategy, WEIGHT_ALL};
use fermion_planner::judge::Verdict;
use fermion_planner::rollout::{Observed, Phase};

use super::arms::Heard;
use super::document::{Event, RolloutDocument};
use super::words;
use crate::{Control, Error};

/// What so many copies say.
fn verdict(spec: &MirrorSpec, counts: &CopyCounts) -> Verdict {
    let compared = counts.compared();
    if compared < u64::from(spec.compared_min) {
        Verdict::Inconclusive
    } else if counts.different() * u64::from(WEIGHT_ALL) > compared * u64::from(spec.different_max) {
        Verdict::Fail
    } else {
        Verdict::Pass
    }
}

/// Adds what was heard of copies, and tells the planner.
pub(super) fn look(document: &mut RolloutDocument, heard: Option<&Heard>, observed: &mut Observed) {
    let Some(spec) = &document.spec.mirror else { return };
    if let Some(copies) = heard.and_then(|heard| heard.copies.as_ref()) {
        document.copies.merge(copies);
    }
    if let Some(telemetry) = &mut observed.telemetry {
        telemetry.copies = Some(verdict(spec, &document.copies));
    }
}

/// In words, with the figures and one example: `3 of 120 answers differ (1 in status, 2 in body), ...`.
pub(super) fn words(counts: &CopyCounts) -> String {
    let parts = [
        (counts.failed, "failed"),
        (counts.status, "in status"),
        (counts.headers, "in headers"),
        (counts.body, "in body"),
    ];
    let parts: Vec<_> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let mut text = format!("{} of {} answers differ", counts.different(), counts.compared());
    if !parts.is_empty() {
        text.push_str(&format!(" ({})", parts.join(", ")));
    }
    if let Some(example) = counts.examples.first() {
        let what = match example.likeness {
            Likeness::Failed => "none".to_owned(),
            Likeness::Status | Likeness::Same => example.new.to_string(),
            Likeness::Headers => format!("{} with other headers", example.new),
            Likeness::Body => format!("{} with another body", example.new),
        };
        text.push_str(&format!(
            ", such as that to {}: {}, and {what} of the new release",
            example.path, example.old
        ));
    }
    if counts.dropped + counts.skipped > 0 {
        text.push_str(&format!(
            "; {} copies were dropped for want of room, {} bodies were not copied",
            counts.dropped, counts.skipped
        ));
    }
    text
}

impl RolloutDocument {
    /// True if it was only tried, and came to a good end.
    fn is_tried(&self) -> bool {
        self.spec.strategy == Strategy::Shadow && self.state.phase == Phase::Succeeded
    }
}

impl Control {
    /// What was tried with copies takes over: as if it were deployed now, past the same gate. None if nothing was.
    pub(super) async fn promote_tried(
        &self,
        revision: u64,
        document: &RolloutDocument,
        by: &str,
    ) -> Result<Option<RolloutDocument>, Error> {
        if !document.is_tried() {
            return Ok(None);
        }
        let active = self
            .read_app(&document.namespace, &document.app)
            .await?
            .document
            .active;
        if active != Some(document.stable) {
            let serves = active.map_or_else(|| "nothing".to_owned(), |active| active.to_string());
            return Err(Error::RolloutNot {
                app: document.app.clone(),
                phase: words::phase(document.state.phase),
                why: format!(
                    "it was compared with {}, and {serves} serves by now",
                    document.stable
                ),
            });
        }
        let request = RollbackRequest {
            to: Some(document.canary),
            override_policy: None,
        };
        // A rollback that finds a rollout under way is an order itself, so the two call each other.
        Box::pin(self.rollback(&document.namespace, &document.app, request, by)).await?;
        let mut promoted = document.clone();
        promoted.note(Event {
            at: self.now(),
            phase: words::phase(promoted.state.phase),
            weight: WEIGHT_ALL,
            by: by.to_owned(),
            why: format!("{} takes over from {}", document.canary, document.stable),
        });
        let expect = Expect::unchanged(Some(revision));
        self.bus().put_json(&promoted.key(), &promoted, expect).await?;
        Ok(Some(promoted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_enough_and_tolerates_so_much() {
        let spec = MirrorSpec {
            different_max: 100,
            compared_min: 100,
            ..MirrorSpec::default()
        };
        for (same, body, failed, expected) in [
            (0, 0, 0, Verdict::Inconclusive),
            (0, 99, 0, Verdict::Inconclusive),
            (99, 1, 0, Verdict::Pass),
            (98, 1, 1, Verdict::Fail),
            (1_000, 0, 10, Verdict::Pass),
            (0, 0, 100, Verdict::Fail),
        ] {
            let counts = CopyCounts {
                same,
                body,
                failed,
                ..CopyCounts::default()
            };
            assert_eq!(verdict(&spec, &counts), expected, "{counts:?}");
        }
    }
}

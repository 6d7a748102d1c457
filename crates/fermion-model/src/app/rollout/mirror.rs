//! `spec.rollout.mirror` of `app.yaml`.

use super::{read_seconds, read_weight};
use crate::document::{DocumentError, Section};
use crate::limits::COPY_METHODS_MAX;
use crate::rollout::{Compared, MirrorSpec};

const KEYS: &[&str] = &["for", "methods", "compare", "max_different", "min_compared"];
/// Far more than anybody waits for.
const COMPARED_MIN_MAX: u32 = 1_000_000;

/// Reads the table, if it is there.
pub(super) fn read(section: &mut Section<'_>) -> Result<Option<MirrorSpec>, DocumentError> {
    let Some(mut section) = section.section("mirror", KEYS)? else {
        return Ok(None);
    };
    let mut mirror = MirrorSpec::default();
    let next = "write a duration such as 10m";
    if let Some(placed) = section.converted("for", next, read_seconds)? {
        mirror.seconds = placed.value;
    }
    let next = "write methods such as [GET, HEAD, POST]";
    let methods = section.list("methods", COPY_METHODS_MAX, next, read_method)?;
    if !methods.is_empty() {
        mirror.copies.methods = methods;
    }
    let next = "write some of status, headers, body";
    let compare = section.list("compare", Compared::ALL.len(), next, |text| {
        let known = Compared::ALL.iter().find(|(_, name)| *name == text);
        known
            .map(|(compared, _)| *compared)
            .ok_or_else(|| format!("{text:?} cannot be compared"))
    })?;
    if !compare.is_empty() {
        mirror.copies.compare = compare;
    }
    let next = "write a percentage such as 1%";
    if let Some(placed) = section.converted("max_different", next, read_different)? {
        mirror.different_max = placed.value;
    }
    if let Some(placed) = section.whole("min_compared", 1, COMPARED_MIN_MAX)? {
        mirror.compared_min = placed.value;
    }
    Ok(Some(mirror))
}

/// Like a weight, but nothing at all may be allowed to differ.
fn read_different(text: &str) -> Result<u16, String> {
    if text == "0%" { Ok(0) } else { read_weight(text) }
}

fn read_method(text: &str) -> Result<String, String> {
    let is_method = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') && text != "CONNECT";
    is_method
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is not a method that can be copied"))
}

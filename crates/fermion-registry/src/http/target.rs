//! What a path means. Taken apart from its end, because a name may have any number of segments; percent-encoding is
//! undone once, before anything is checked.

use http::Method;

use crate::access::Right;

/// What is asked for in a repository. References and digests are still as they were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Blob(String),
    Uploads,
    Upload(String),
    Manifest(String),
    Tags,
    Referrers(String),
}

impl Target {
    pub(super) fn right(&self, method: &Method) -> Right {
        let reads = *method == Method::GET || *method == Method::HEAD;
        match self {
            Self::Uploads | Self::Upload(_) => Right::Push,
            _ if reads => Right::Pull,
            _ => Right::Push,
        }
    }
}

/// The repository's name, unchecked, and what is asked for in it; none for a path of no meaning.
pub(super) fn parse(path: &str) -> Option<(String, Target)> {
    let path = decode(path.strip_prefix("/v2/")?)?;
    let (rest, last) = path.rsplit_once('/')?;
    let (before, kind) = rest.rsplit_once('/')?;
    let last = last.to_owned();
    let (name, target) = match kind {
        "tags" if last == "list" => (before, Target::Tags),
        "manifests" => (before, Target::Manifest(last)),
        "referrers" => (before, Target::Referrers(last)),
        "uploads" => {
            let name = before.strip_suffix("/blobs")?;
            let target = if last.is_empty() {
                Target::Uploads
            } else {
                Target::Upload(last)
            };
            (name, target)
        }
        "blobs" if last == "uploads" => (before, Target::Uploads),
        "blobs" => (before, Target::Blob(last)),
        _ => return None,
    };
    (!name.is_empty()).then(|| (name.to_owned(), target))
}

fn decode(path: &str) -> Option<String> {
    if !path.contains('%') {
        return Some(path.to_owned());
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let mut decoded = [0];
        hex::decode_to_slice(digits, &mut decoded).ok()?;
        bytes.extend(decoded);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_their_end() {
        let cases = [
            (
                "/v2/a/blobs/sha256:1",
                Some(("a", Target::Blob("sha256:1".into()))),
            ),
            ("/v2/a/b/c/blobs/uploads/", Some(("a/b/c", Target::Uploads))),
            ("/v2/a/blobs/uploads", Some(("a", Target::Uploads))),
            ("/v2/a/blobs/uploads/7", Some(("a", Target::Upload("7".into())))),
            ("/v2/a/manifests/v1", Some(("a", Target::Manifest("v1".into())))),
            (
                "/v2/a/manifests/sha256%3A1",
                Some(("a", Target::Manifest("sha256:1".into()))),
            ),
            ("/v2/tags/list/tags/list", Some(("tags/list", Target::Tags))),
            (
                "/v2/a/referrers/sha256:1",
                Some(("a", Target::Referrers("sha256:1".into()))),
            ),
            ("/v2/manifests/x", None),
            ("/v2//manifests/x", None),
            ("/v2/a", None),
            ("/v2/", None),
            ("/v2/a/tags/other", None),
            ("/v2/a/manifests/%zz", None),
            ("/v2/a/manifests/%f", None),
        ];
        for (path, want) in cases {
            let want = want.map(|(name, target)| (name.to_owned(), target));
            assert_eq!(parse(path), want, "{path}");
        }
    }
}

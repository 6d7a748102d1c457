//! What every document of an operations repository begins with: version, kind, name and namespace.

use std::fmt::Display;
use std::str::FromStr;

use super::{DocumentError, Node, Section};
use crate::Namespace;

/// The version of the format that this build reads.
const API_VERSION: &str = "fermion.dev/v1";

/// Kinds of the format that this version does not have.
const KINDS_LATER: &[&str] = &["Objective", "Policy", "Cell"];

/// What a document begins with, and the rest of it.
pub(crate) struct Head<'a, N> {
    pub(crate) name: N,
    pub(crate) namespace: Namespace,
    pub(crate) root: Section<'a>,
}

/// Reads the beginning of a document of this kind. `within` is the namespace that it must be of, and is of if it says
/// nothing; the default one if there is none.
pub(crate) fn read_head<'a, N>(
    node: Node,
    file: &'a str,
    kind: &str,
    within: Option<&Namespace>,
) -> Result<Head<'a, N>, DocumentError>
where
    N: FromStr,
    N::Err: Display,
{
    let mut root = Section::open(file, "", node, &["apiVersion", "kind", "metadata", "spec"])?;
    let next = format!("write apiVersion: {API_VERSION}");
    root.converted("apiVersion", &next, |text| {
        if text == API_VERSION {
            Ok(())
        } else {
            Err(format!("{text:?} is not a version this build reads"))
        }
    })?
    .ok_or_else(|| root.missing("apiVersion", &next))?;
    let next = format!("write kind: {kind}");
    root.converted("kind", &next, |text| check_kind(text, kind))?
        .ok_or_else(|| root.missing("kind", &next))?;

    let mut metadata = root
        .section("metadata", &["name", "namespace"])?
        .ok_or_else(|| root.missing("metadata", "write metadata: {name: NAME}"))?;
    let next = "write a name of lower-case letters, digits and '-'";
    let name = metadata
        .parsed("name", next)?
        .ok_or_else(|| metadata.missing("name", next))?
        .value;
    let written = metadata.parsed::<Namespace>("namespace", next)?;
    if let (Some(written), Some(within)) = (&written, within)
        && written.value != *within
    {
        let what = format!("metadata.namespace: this is a place of namespace {within} alone");
        return Err(metadata.refuse(written.at, what, format!("write {within}, or nothing")));
    }
    let namespace = written.map(|written| written.value);
    Ok(Head {
        name,
        namespace: namespace.or_else(|| within.cloned()).unwrap_or_default(),
        root,
    })
}

fn check_kind(text: &str, wanted: &str) -> Result<(), String> {
    match text {
        _ if text == wanted => Ok(()),
        "App" => Err("this is an app, which is deployed".to_owned()),
        "GitSource" => Err("a GitSource is handed over with `fermion git add`, not deployed".to_owned()),
        later if KINDS_LATER.contains(&later) => Err(format!("this version does not have the kind {later}")),
        _ => Err(format!("{text:?} is not a kind")),
    }
}

//! The crates of a `Cargo.lock`: all that the project's own package leads to, which is more than what is compiled in,
//! because the file knows neither targets nor tests.

use std::collections::BTreeSet;
use std::path::Path;

use rustsec::Lockfile;
use rustsec::package::Package;

use super::{Crate, Origin, check_count};

/// The crates below the local package whose component is the file `component`; all of them if there is no such package.
pub(super) fn read(text: &[u8], component: &str) -> Result<Vec<Crate>, String> {
    let text = std::str::from_utf8(text).map_err(|why| why.to_string())?;
    let lock: Lockfile = text.parse().map_err(|why| format!("{why}"))?;
    check_count(lock.packages.len())?;
    let mut packages = lock.packages;
    packages.sort_by(|a, b| {
        let key = |package: &Package| {
            (
                package.name.to_string(),
                package.version.clone(),
                package.source.as_ref().map(ToString::to_string),
            )
        };
        key(a).cmp(&key(b))
    });
    let find = |dependency: &rustsec::cargo_lock::Dependency| {
        packages.iter().position(|package| {
            package.name == dependency.name
                && package.version == dependency.version
                && (dependency.source.is_none() || package.source == dependency.source)
        })
    };
    let edges: Vec<Vec<usize>> = packages
        .iter()
        .map(|package| package.dependencies.iter().filter_map(find).collect())
        .collect();
    let stem = Path::new(component).file_stem().and_then(|stem| stem.to_str());
    // A component's file is named like its package, with `_` for `-`.
    let is_root = |package: &Package| {
        let library = package.name.as_str().replace('-', "_");
        package.source.is_none() && stem.is_some_and(|stem| stem.replace('-', "_") == library)
    };
    let roots: Vec<usize> = (0..packages.len()).filter(|&at| is_root(&packages[at])).collect();
    let kept = reachable(&edges, &roots);
    let place = |old: usize| kept.iter().position(|&at| at == old);
    let crates = kept.iter().map(|&at| {
        let package = &packages[at];
        Crate {
            name: package.name.to_string(),
            version: package.version.to_string(),
            origin: origin(package),
            checksum: package.checksum.as_ref().map(ToString::to_string),
            is_build_only: false,
            is_root: roots.contains(&at),
            dependencies: edges[at].iter().filter_map(|&edge| place(edge)).collect(),
        }
    });
    Ok(crates.collect())
}

fn origin(package: &Package) -> Origin {
    match &package.source {
        None => Origin::Local,
        Some(source) if source.is_default_registry() => Origin::CratesIo,
        Some(source) if source.is_git() => Origin::Git {
            commit: source.precise().map(str::to_owned),
        },
        Some(_) => Origin::Other,
    }
}

fn reachable(edges: &[Vec<usize>], roots: &[usize]) -> Vec<usize> {
    if roots.is_empty() {
        return (0..edges.len()).collect();
    }
    let mut seen: BTreeSet<usize> = roots.iter().copied().collect();
    let mut open = roots.to_vec();
    while let Some(next) = open.pop() {
        open.extend(edges[next].iter().copied().filter(|&edge| seen.insert(edge)));
    }
    seen.into_iter().collect()
}

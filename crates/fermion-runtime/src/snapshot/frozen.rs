//! Why an import may not be called while a component is initialised, in words for whoever wrote it.

/// The refusal for an import that was called, `wasi:clocks/wall-clock@0.2.6#now`.
pub(super) fn refusal(import: &str) -> String {
    let interface = import.split(['@', '#']).next().unwrap_or(import);
    let package = interface.split('/').next().unwrap_or(interface);
    let why = match (interface, package) {
        ("wasi:random/insecure-seed", _) => {
            "every instance would hash with the same seed (a hash table asks for one); where all its keys are your own, \
             allow it: --snapshot-allow insecure-seed, or [build] snapshot_allow = [\"insecure-seed\"]"
        }
        (_, "wasi:random") => "every instance would have the same numbers",
        (_, "wasi:clocks") => "the time would stand still for every instance",
        ("wasi:cli/environment" | "wasi:cli/run", _) | (_, "wasi:config" | "wasi:keyvalue") => {
            "its values belong to a release, and a package has many"
        }
        ("wasi:cli/stderr", _) => "nobody reads what is printed then (a panic prints: there may be one)",
        (_, "wasi:cli") => "nobody reads or writes it then",
        (_, "wasi:http" | "wasi:sockets") => "there is no network when a package is made",
        (_, "wasi:filesystem") => "no files are there when a package is made",
        _ => "nothing of the host is there when a package is made",
    };
    format!(
        "initialisation called {import}, which cannot be frozen: {why}. Do it when the first request comes, or leave \
         the snapshot away"
    )
}

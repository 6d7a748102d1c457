//! Flags of what a served component may reach: what `[capabilities]` says in a package.

use std::path::PathBuf;

use clap::Args;
use fermion_model::endpoint::Endpoint;
use fermion_runtime::EgressRule;

#[derive(Debug, Args)]
pub(crate) struct ReachArgs {
    /// Let the component send HTTP requests to HOST, HOST:PORT, https://HOST, or anywhere with '*'. May be repeated.
    #[arg(long, value_name = "HOST", value_parser = EgressRule::parse)]
    pub(crate) allow_http: Vec<EgressRule>,
    /// Give the component a key-value store of this name, empty and in memory. May be repeated.
    #[arg(long, value_name = "NAME", value_parser = store_name)]
    pub(crate) keyvalue: Vec<String>,
    /// Let sockets of the component lead to tcp://HOST:PORT or udp://HOST:PORT. May be repeated.
    #[arg(long, value_name = "ENDPOINT")]
    pub(crate) allow_socket: Vec<Endpoint>,
}

fn store_name(text: &str) -> Result<String, &'static str> {
    let named = fermion_model::manifest::is_key(text).then(|| text.to_owned());
    named.ok_or("a store's name has letters, digits, '-', '_' and '.'")
}

/// A directory as it is shown to a component: `HOST`, `HOST::GUEST`, with `:rw` if it may write there.
pub(crate) fn directory(text: &str) -> Result<fermion_runtime::Directory, String> {
    let (text, writable) = text
        .strip_suffix(":rw")
        .map_or((text, false), |rest| (rest, true));
    let (host, guest) = text.split_once("::").unwrap_or((text, text));
    if host.is_empty() || guest.is_empty() {
        return Err(format!("{text:?} is not HOST or HOST::GUEST"));
    }
    Ok(fermion_runtime::Directory {
        host: PathBuf::from(host),
        guest: guest.to_owned(),
        writable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_say_their_name_and_whether_they_may_change() {
        let read_only = directory("/srv/data").unwrap();
        assert_eq!(
            (read_only.guest.as_str(), read_only.writable),
            ("/srv/data", false)
        );
        let writable = directory("/srv/data::/data:rw").unwrap();
        assert_eq!(
            (writable.host, writable.guest.as_str(), writable.writable),
            ("/srv/data".into(), "/data", true)
        );
        assert!(directory("::x").is_err());
    }
}

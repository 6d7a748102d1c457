//! Flags of what a served component may reach: what `[capabilities]` says in a package.

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

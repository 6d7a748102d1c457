//! Options of the way out: how the names of upstreams are resolved, and whose certificates they may have.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use fermion_runtime::{Network, NetworkConfig};

/// The port of DNS.
const DNS_PORT: u16 = 53;

#[derive(Debug, Args)]
pub(crate) struct EgressArgs {
    /// Resolve the names of upstreams at this resolver instead of the system's. May be repeated.
    #[arg(long, value_name = "IP[:PORT]", value_parser = resolver)]
    pub(crate) dns: Vec<SocketAddr>,
    /// Trust the PEM certificates in this file beside the public authorities when components call https upstreams.
    #[arg(long, value_name = "FILE")]
    pub(crate) egress_ca: Option<PathBuf>,
}

impl EgressArgs {
    /// The way out that these options describe.
    pub(crate) fn network(&self) -> Result<Arc<Network>, fermion_runtime::Error> {
        let config = NetworkConfig {
            dns: self.dns.clone(),
            authorities: self.egress_ca.clone(),
        };
        Ok(Arc::new(Network::new(config)?))
    }
}

fn resolver(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
    address.or_else(|_| text.parse()).map_err(|_| {
        format!("{text:?} is not a resolver: write its address, or address and port: 10.0.0.2 or [::1]:5353")
    })
}

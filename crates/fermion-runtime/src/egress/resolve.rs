//! Names to addresses: from the system's hosts file and its resolvers, or from the resolvers that the operator names.
//! Answers are kept as long as they say, and callers who ask for the same name at once share one question.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::{Resolver, TokioResolver};
use tokio::sync::OnceCell;

use super::address::{HostKind, kind_of};
use super::origin::Origin;
use crate::limits;

/// Why a name has no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DnsFailure {
    /// There is no such name, or it has no address.
    #[error("there is no address behind the name")]
    NoAddress,
    /// The resolver says so.
    #[error("the resolver answered {0}")]
    Refused(String),
    /// Nobody answered in time.
    #[error("no resolver answered in time")]
    Timeout,
    /// Resolvers cannot be reached, or make no sense.
    #[error("the resolvers cannot be used: {0}")]
    Unusable(String),
}

type Answer = Result<Arc<[IpAddr]>, DnsFailure>;

/// The resolver of one runtime: its sockets live and end there.
pub(crate) struct Names {
    resolver: Result<TokioResolver, DnsFailure>,
    /// Questions that are being asked.
    asked: Mutex<HashMap<Box<str>, Arc<OnceCell<Answer>>>>,
}

impl Names {
    /// Asks these servers, or the system's if there are none.
    pub(crate) fn new(servers: &[SocketAddr]) -> Self {
        let resolver = build(servers).map_err(|error| DnsFailure::Unusable(error.to_string()));
        if let Err(error) = &resolver {
            tracing::error!(%error, "names of upstreams cannot be resolved");
        }
        Self {
            resolver,
            asked: Mutex::default(),
        }
    }

    /// Every address of an upstream, without any judgement.
    pub(crate) async fn addresses(&self, origin: &Origin) -> Result<Vec<SocketAddr>, DnsFailure> {
        let ips: Arc<[IpAddr]> = match kind_of(&origin.host) {
            HostKind::Literal(ip) => [ip].into(),
            HostKind::Localhost => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].into(),
            HostKind::Name | HostKind::Disguised => self.shared(&origin.host).await?,
        };
        let ips = ips.iter().take(limits::EGRESS_ADDRESSES_MAX);
        Ok(ips.map(|ip| SocketAddr::new(*ip, origin.port)).collect())
    }

    async fn shared(&self, name: &str) -> Answer {
        let asked = || self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let question = asked().entry(name.into()).or_default().clone();
        // Who asks first may leave: then the next one who waits asks.
        let answer = question.get_or_init(|| self.ask(name)).await.clone();
        let mut asked = asked();
        if asked.get(name).is_some_and(|other| Arc::ptr_eq(other, &question)) {
            asked.remove(name);
        }
        answer
    }

    async fn ask(&self, name: &str) -> Answer {
        let resolver = self.resolver.as_ref().map_err(Clone::clone)?;
        let found = resolver.lookup_ip(name).await.map_err(|error| failure(&error))?;
        let ips: Arc<[IpAddr]> = found.iter().collect();
        if ips.is_empty() {
            return Err(DnsFailure::NoAddress);
        }
        Ok(ips)
    }
}

fn build(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = servers.iter().map(|server| {
            let on_port = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(on_port);
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        Resolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = limits::DNS_TIMEOUT;
    options.attempts = limits::DNS_RETRIES;
    options.cache_size = limits::DNS_CACHE_NAMES_MAX;
    options.positive_max_ttl = Some(limits::DNS_TTL_MAX);
    options.negative_min_ttl = Some(limits::DNS_NEGATIVE_TTL_MIN);
    options.negative_max_ttl = Some(limits::DNS_NEGATIVE_TTL_MAX);
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build()
}

fn failure(error: &NetError) -> DnsFailure {
    match error {
        NetError::Timeout => DnsFailure::Timeout,
        NetError::Dns(DnsError::NoRecordsFound(_)) => DnsFailure::NoAddress,
        NetError::Dns(DnsError::ResponseCode(code)) => DnsFailure::Refused(code.to_string()),
        other => DnsFailure::Unusable(other.to_string()),
    }
}

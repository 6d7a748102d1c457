//! The client of OCI registries: it resolves, pulls, pushes and copies packages with everything that is attached to
//! them, byte for byte. It trusts no registry: every size is bounded by its descriptor and by our ceilings before and
//! while bytes are read, every byte is hashed on the way, every wait ends, credentials go to the registry's own host
//! only, and nothing is tried again that was not harmless the first time. It speaks plain HTTP to this machine alone,
//! unless it is told so.
//!
//! Whether a package may run is not decided here: what arrives is verified when it is loaded.

mod auth;
mod blobs;
mod credentials;
mod exchange;
mod landing;
mod manifests;
mod parcel;
mod progress;
mod pull;
mod push;
mod retry;
mod session;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fermion_model::RemoteReference;
use fermion_model::remote::Registry;

use crate::limits::{REMOTE_CONNECT_MAX, REMOTE_EXCHANGE_MAX, REMOTE_IDLE_MAX, REMOTE_RATE_MIN};
use crate::{Error, RegistryFault, Result};

pub use progress::{Event, Progress};
pub use pull::Pulled;
pub use push::Pushed;
pub use retry::Pause;

/// Where plain HTTP is spoken beyond this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Plaintext {
    /// Nowhere.
    #[default]
    Loopback,
    /// With these registries, `HOST` or `HOST:PORT`.
    With(Vec<Registry>),
    /// With every registry.
    Everywhere,
}

/// How long registries are waited for.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Until a connection stands.
    pub connect_max: Duration,
    /// Without a byte while some are expected.
    pub idle_max: Duration,
    /// One exchange, beside the time that its bytes need.
    pub exchange_max: Duration,
    /// The slowest transfer that is waited for, in bytes a second.
    pub rate_min: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect_max: REMOTE_CONNECT_MAX,
            idle_max: REMOTE_IDLE_MAX,
            exchange_max: REMOTE_EXCHANGE_MAX,
            rate_min: REMOTE_RATE_MIN,
        }
    }
}

/// What the client is told.
#[derive(Clone, Default)]
pub struct ClientConfig {
    /// The docker config with the credentials; none: no credentials.
    pub docker_config: Option<PathBuf>,
    /// Where plain HTTP is spoken beyond this machine.
    pub plaintext: Plaintext,
    /// Hosts of token services beside the registry's own, `HOST` or `HOST:PORT`.
    pub token_realms: Vec<Registry>,
    /// How long it waits.
    pub timing: Timing,
    /// How it pauses before it tries again.
    pub pause: Pause,
    /// Who is told how it goes on.
    pub progress: Progress,
}

/// A client of any registry; clones share its connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    config: ClientConfig,
    /// For this machine: without proxies, and without certificates, which a bare machine may lack.
    near: reqwest::Client,
    /// For everything else: made when it is first needed.
    far: OnceLock<reqwest::Client>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("plaintext", &self.inner.config.plaintext)
            .field("token_realms", &self.inner.config.token_realms)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client; nothing is opened or read yet.
    pub fn new(config: ClientConfig) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_root_certificates(rustls::RootCertStore::empty()))
            .map_err(|why| unusable(&why))?
            .with_no_client_auth();
        let near = builder(&config)
            .no_proxy()
            .tls_backend_preconfigured(tls)
            .build()
            .map_err(|why| unusable(&why))?;
        let inner = Inner {
            config,
            near,
            far: OnceLock::new(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// The connections for a host.
    fn connections(&self, is_loopback: bool) -> Result<&reqwest::Client> {
        if is_loopback {
            return Ok(&self.inner.near);
        }
        if let Some(client) = self.inner.far.get() {
            return Ok(client);
        }
        // The same provider that every other part of the process uses; whoever comes second finds it there.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = builder(self.config());
        // Those of the environment hold unless the config names some.
        if let Some(named) = credentials::proxies(self.config().docker_config.as_deref()) {
            let beside = named.no_proxy.as_deref().and_then(reqwest::NoProxy::from_string);
            let http = named.http_proxy.as_deref().map(reqwest::Proxy::http);
            let https = named.https_proxy.as_deref().map(reqwest::Proxy::https);
            for proxy in http.into_iter().chain(https) {
                let proxy = proxy.map_err(|why| unusable(&why))?.no_proxy(beside.clone());
                builder = builder.proxy(proxy);
            }
        }
        let client = builder.build().map_err(|why| unusable(&why))?;
        Ok(self.inner.far.get_or_init(|| client))
    }

    /// True if `http` may be spoken to this host.
    fn is_plaintext(&self, registry: &Registry) -> bool {
        registry.is_loopback()
            || match &self.config().plaintext {
                Plaintext::Loopback => false,
                Plaintext::Everywhere => true,
                Plaintext::With(listed) => listed.iter().any(|entry| covers(entry, registry)),
            }
    }
}

/// True if the entry of a list means this host: the same, and the same port if the entry has one.
fn covers(entry: &Registry, host: &Registry) -> bool {
    entry.host() == host.host() && entry.port().is_none_or(|port| host.port() == Some(port))
}

fn builder(config: &ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("fermion/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(config.timing.connect_max)
        .pool_idle_timeout(config.timing.idle_max)
}

fn unusable(why: &dyn std::fmt::Display) -> Error {
    Error::Registry {
        fault: RegistryFault::Unreachable,
        registry: "any registry".to_owned(),
        doing: "prepare connections".to_owned(),
        why: why.to_string(),
    }
}

/// What must be asked for: a tag or a digest is never made up.
fn identifier(reference: &RemoteReference) -> Result<String> {
    reference.identifier().ok_or_else(|| Error::ReferenceIncomplete {
        reference: reference.to_string(),
    })
}

//! What all releases share on their way out: resolvers and the authorities that upstreams' certificates are checked
//! against. Chosen by the operator, never by a package.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use tokio::runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::resolve::Names;
use crate::error::Error;

/// What an operator may choose. `Default` is what the system says.
#[derive(Debug, Clone, Default)]
pub struct NetworkConfig {
    /// Resolvers to ask instead of the system's.
    pub dns: Vec<SocketAddr>,
    /// A file of PEM certificates that are trusted beside the public authorities.
    pub authorities: Option<PathBuf>,
}

/// The way out of this process.
pub struct Network {
    dns: Vec<SocketAddr>,
    authorities: Vec<CertificateDer<'static>>,
    tls: OnceLock<TlsConnector>,
    /// By runtime: a resolver's sockets and tasks belong to the one they were made on.
    names: Mutex<HashMap<runtime::Id, Arc<Names>>>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network")
            .field("dns", &self.dns)
            .field("authorities", &self.authorities.len())
            .finish_non_exhaustive()
    }
}

impl Network {
    /// Reads the file of authorities, if there is one.
    pub fn new(config: NetworkConfig) -> Result<Self, Error> {
        let authorities = match &config.authorities {
            Some(file) => read_authorities(file)?,
            None => Vec::new(),
        };
        Ok(Self {
            dns: config.dns,
            authorities,
            tls: OnceLock::new(),
            names: Mutex::default(),
        })
    }

    /// Where nobody chose anything.
    pub(crate) fn system() -> Arc<Self> {
        static SYSTEM: LazyLock<Arc<Network>> = LazyLock::new(|| {
            Arc::new(Network {
                dns: Vec::new(),
                authorities: Vec::new(),
                tls: OnceLock::new(),
                names: Mutex::default(),
            })
        });
        SYSTEM.clone()
    }

    /// The resolver of the current runtime.
    pub(crate) fn names(&self) -> Arc<Names> {
        let mut all = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(runtime::Handle::current().id())
            .or_insert_with(|| Arc::new(Names::new(&self.dns)))
            .clone()
    }

    /// TLS that offers HTTP/2 and HTTP/1.1.
    pub(crate) fn tls(&self) -> &TlsConnector {
        self.tls.get_or_init(|| {
            let mut roots = RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.into(),
            };
            roots.add_parsable_certificates(self.authorities.iter().cloned());
            let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("the provider supports the default versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            TlsConnector::from(Arc::new(config))
        })
    }
}

fn read_authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let refuse = |reason: String| Error::Authorities {
        path: file.to_owned(),
        reason,
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| refuse(error.to_string()));
    let found = found?;
    let (usable, unusable) = RootCertStore::empty().add_parsable_certificates(found.iter().cloned());
    if usable == 0 || unusable > 0 {
        return Err(refuse(format!(
            "{usable} of its certificates can be used, {unusable} cannot"
        )));
    }
    Ok(found)
}

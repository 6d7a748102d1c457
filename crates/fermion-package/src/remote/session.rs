//! One registry, one repository, one right: where requests go, and who they say they are from.

use std::sync::Arc;

use fermion_model::RemoteReference;
use fermion_model::remote::Registry;
use http::HeaderValue;
use reqwest::Url;
use tokio::sync::Mutex;

use super::Client;
use crate::{Error, RegistryFault, Result};

/// What a token is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Pull,
    Push,
}

impl Right {
    /// The actions of a token's scope (distribution's token specification).
    pub(super) const fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
        }
    }
}

/// A repository in a registry, and the authorization that was found to work there.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) registry: Registry,
    pub(super) repository: String,
    pub(super) right: Right,
    base: Url,
    /// Held while a new one is being fetched, so that parallel requests fetch it once.
    pub(super) authorization: Mutex<Option<HeaderValue>>,
}

impl Client {
    pub(super) fn session(&self, reference: &RemoteReference, right: Right) -> Result<Arc<Session>> {
        let registry = reference.registry.clone();
        let scheme = if self.is_plaintext(&registry) {
            "http"
        } else {
            "https"
        };
        // The hub's API does not live under its name.
        let authority = match registry.host() {
            "docker.io" => "registry-1.docker.io".to_owned(),
            _ => registry.to_string(),
        };
        let base = Url::parse(&format!("{scheme}://{authority}/")).map_err(|why| Error::Registry {
            fault: RegistryFault::Refused,
            registry: registry.to_string(),
            doing: "make an address".to_owned(),
            why: why.to_string(),
        })?;
        Ok(Arc::new(Session {
            client: self.clone(),
            registry,
            repository: reference.repository().to_owned(),
            right,
            base,
            authorization: Mutex::new(None),
        }))
    }
}

impl Session {
    /// `/v2/REPOSITORY/path`
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{}/{path}", self.repository));
        url
    }

    /// True if credentials of this registry may go there.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// True if this is the registry's host, on whatever port.
    pub(super) fn is_own_host(&self, url: &Url) -> bool {
        url.host_str() == self.base.host_str()
    }

    /// Where an answer of the registry says that an upload goes on: on the registry itself and nowhere else.
    pub(super) fn upload_url(&self, location: &str) -> Result<Url> {
        let url = self.base.join(location).ok().filter(|url| self.is_own(url));
        url.ok_or_else(|| {
            self.fault(
                RegistryFault::Redirect,
                "upload",
                "it wants the upload at another host, or over another protocol; a registry behind a proxy must know its own address",
            )
        })
    }

    pub(super) fn fault(
        &self,
        fault: RegistryFault,
        doing: impl Into<String>,
        why: impl Into<String>,
    ) -> Error {
        Error::Registry {
            fault,
            registry: self.registry.to_string(),
            doing: doing.into(),
            why: why.into(),
        }
    }
}

/// The host and port of a URL, to compare with a list.
pub(super) fn registry_of(url: &Url) -> Option<Registry> {
    let host = url.host_str()?;
    let text = match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    text.parse().ok()
}

//! What can keep a release from being made ready on this node.

use fermion_model::assignment::Problem;
use fermion_model::fault::Failure;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The package is not what it says it is, or not trusted.
    #[error(transparent)]
    Package(#[from] fermion_package::Error),
    /// The component cannot be compiled, linked or loaded.
    #[error(transparent)]
    Runtime(#[from] fermion_runtime::Error),
    /// The component failed when it was instantiated ahead of its first request.
    #[error("WARM_FAILED: the component cannot be instantiated: {0}")]
    Warm(#[source] Failure),
    /// The routes of this node's apps contradict each other.
    #[error(transparent)]
    Routes(#[from] fermion_gateway::Error),
    /// The rollout asks for countries, and there is no table of them.
    #[error(
        "NO_COUNTRIES: the rollout asks from which country callers are, and this platform has no file of countries; \
         start it with --geoip FILE"
    )]
    NoCountries,
    /// The bus failed.
    #[error(transparent)]
    Bus(#[from] fermion_bus::Error),
    /// A task of this process ended unexpectedly.
    #[error("INTERNAL: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Error {
    /// The stable code, upper case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Package(error) => error.code(),
            Self::Runtime(error) => error.code(),
            Self::Warm(_) => "WARM_FAILED",
            Self::Routes(_) => "ROUTE_CONFLICT",
            Self::NoCountries => "NO_COUNTRIES",
            Self::Bus(_) => "BUS",
            Self::Task(_) => "INTERNAL",
        }
    }

    pub(crate) fn to_problem(&self) -> Problem {
        Problem {
            code: self.code().to_owned(),
            message: self.to_string(),
        }
    }
}

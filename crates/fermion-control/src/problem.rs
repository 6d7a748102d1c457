//! The one mapping of this crate's errors to HTTP. The public detail is the error's own text where the caller can act
//! on it; failures of the platform say less than the log does.

use fermion_api::Problem;
use fermion_package::RegistryFault;
use http::StatusCode;

use crate::Error;

/// The problem description of an error; the status is inside.
pub fn problem(error: &Error) -> Problem {
    let (status, code) = status_and_code(error);
    let detail = if status == StatusCode::INTERNAL_SERVER_ERROR {
        "the platform failed; its log says how".to_owned()
    } else {
        error.to_string()
    };
    Problem::new(status, code, detail)
}

fn status_and_code(error: &Error) -> (StatusCode, String) {
    let (status, code) = match error {
        Error::Name(_) => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
        Error::Request { .. } => (StatusCode::BAD_REQUEST, "REQUEST_INVALID"),
        Error::ContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "CONTENT_TYPE"),
        Error::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE"),
        Error::BodyLost { .. } => (StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT"),
        Error::Unauthenticated { .. } => (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
        Error::Host => (StatusCode::MISDIRECTED_REQUEST, "HOST_REFUSED"),
        Error::NoSuchPath => (StatusCode::NOT_FOUND, "NO_SUCH_PATH"),
        Error::NoSuchMethod => (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
        Error::NoSuchBlob => (StatusCode::NOT_FOUND, "BLOB_MISSING"),
        Error::NoSuchApp { .. } => (StatusCode::NOT_FOUND, "NO_SUCH_APP"),
        Error::NoSuchRelease { .. } => (StatusCode::NOT_FOUND, "NO_SUCH_RELEASE"),
        Error::NoSuchSource { .. } => (StatusCode::NOT_FOUND, "NO_SUCH_SOURCE"),
        Error::Document(_) => (StatusCode::UNPROCESSABLE_ENTITY, "DOCUMENT_INVALID"),
        Error::Git { .. } => (StatusCode::BAD_GATEWAY, "GIT_FAILED"),
        Error::NoSuchIncident { .. } => (StatusCode::NOT_FOUND, "NO_SUCH_INCIDENT"),
        Error::NoSuchTrace { .. } => (StatusCode::NOT_FOUND, "NO_SUCH_TRACE"),
        Error::AmbiguousTrace { .. } => (StatusCode::CONFLICT, "TRACE_AMBIGUOUS"),
        Error::Route { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "ROUTE_INVALID"),
        Error::RouteCollision { .. } => (StatusCode::CONFLICT, "ROUTE_COLLISION"),
        Error::Config { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "CONFIG_INVALID"),
        Error::Denied { decision } => (
            StatusCode::UNPROCESSABLE_ENTITY,
            decision
                .code
                .as_deref()
                .unwrap_or(fermion_package::policy::POLICY_DENIED),
        ),
        Error::ReleaseChanged { .. } => (StatusCode::CONFLICT, "RELEASE_CHANGED"),
        Error::Superseded { .. } => (StatusCode::CONFLICT, "SUPERSEDED"),
        Error::ReleaseFailed { problem, .. } => (StatusCode::UNPROCESSABLE_ENTITY, problem.code.as_str()),
        Error::NotYetReady { .. } => (StatusCode::GATEWAY_TIMEOUT, "DEPLOY_TIMEOUT"),
        Error::PullTimeout { .. } => (StatusCode::GATEWAY_TIMEOUT, "REGISTRY_TIMEOUT"),
        Error::SourceMoved { .. } => (StatusCode::CONFLICT, "SOURCE_MOVED"),
        Error::TrustNotJudged { .. } => (StatusCode::GATEWAY_TIMEOUT, "TRUST_TIMEOUT"),
        Error::NoRollout { .. } => (StatusCode::NOT_FOUND, "NO_ROLLOUT"),
        Error::RolloutNot { .. } => (StatusCode::CONFLICT, "ROLLOUT_PHASE"),
        Error::Quarantined { .. } => (StatusCode::CONFLICT, "QUARANTINED"),
        Error::Frozen { .. } => (StatusCode::CONFLICT, "FROZEN"),
        Error::NoSuchFreeze { .. } => (StatusCode::NOT_FOUND, "NO_SUCH_FREEZE"),
        Error::RolloutUnreadable { .. } => (StatusCode::CONFLICT, "ROLLOUT_UNREADABLE"),
        Error::Package(error) => (package_status(error), error.code()),
        Error::AssignmentFull => (StatusCode::INSUFFICIENT_STORAGE, "ASSIGNMENT_FULL"),
        Error::Busy { .. } | Error::Bus(fermion_bus::Error::Busy) => {
            (StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED")
        }
        Error::Bus(_)
        | Error::Schema { .. }
        | Error::Unreadable { .. }
        | Error::Stopped { .. }
        | Error::Random(_)
        | Error::NotLoopback { .. }
        | Error::Listen { .. }
        | Error::Receivers { .. }
        | Error::TokenFile { .. }
        | Error::TokenUnfit { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
    };
    (status, code.to_owned())
}

fn package_status(error: &fermion_package::Error) -> StatusCode {
    use fermion_package::Error as Package;
    match error {
        Package::SizeExceeded { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Package::Registry { fault, .. } => registry_status(*fault),
        // The platform's own policies are broken, and whoever deploys has to know which file.
        Package::PolicyInvalid { .. } => StatusCode::CONFLICT,
        Package::Io { .. } | Package::KeyInvalid { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// The registry is behind us, as seen by the caller: what it does wrong is a bad gateway's.
fn registry_status(fault: RegistryFault) -> StatusCode {
    match fault {
        RegistryFault::Timeout => StatusCode::GATEWAY_TIMEOUT,
        RegistryFault::Unreachable | RegistryFault::Unavailable | RegistryFault::Answer => {
            StatusCode::BAD_GATEWAY
        }
        RegistryFault::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RegistryFault::Unauthorized
        | RegistryFault::Missing
        | RegistryFault::Refused
        | RegistryFault::Realm
        | RegistryFault::Redirect
        | RegistryFault::OtherBytes
        | RegistryFault::OtherVersion
        | RegistryFault::Credentials => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

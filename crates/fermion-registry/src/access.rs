//! Who asks, and what they may do. Denied unless allowed: by the admin token, by a token of the file, or by what the
//! operator gives to everybody. The decision needs no look at the store, so it is the same for what is there and what
//! is not.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::limits::AUTHORIZATION_BYTES_MAX;
use crate::tokens::{Grant, TokenFile};

/// What somebody may do in a repository. Pushing includes deleting, and reading the state of uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Read.
    Pull,
    /// Write and delete.
    Push,
}

/// What everybody may do, without saying who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Anonymous {
    /// Nothing.
    #[default]
    Nothing,
    /// Read everything.
    Pull,
    /// Read and write everything.
    Push,
}

impl Anonymous {
    const fn may(self, right: Right) -> bool {
        match right {
            Right::Pull => matches!(self, Self::Pull | Self::Push),
            Right::Push => matches!(self, Self::Push),
        }
    }
}

/// Knows the admin token; compares in constant time.
pub type AdminCheck = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The rules of one registry.
#[derive(Clone)]
pub struct Access {
    admin: AdminCheck,
    tokens: TokenFile,
    anonymous: Anonymous,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    Nobody,
    Admin,
    Token(Arc<Grant>),
}

/// Credentials that are none, or no longer.
pub(crate) struct Unknown;

impl Access {
    /// `admin` decides whether a secret is the admin token.
    pub fn new(admin: AdminCheck, tokens: TokenFile, anonymous: Anonymous) -> Self {
        Self {
            admin,
            tokens,
            anonymous,
        }
    }

    /// Who sent these fields. Credentials that do not hold are refused even where nobody needs any: whoever gives them
    /// wants to know.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Unknown> {
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let Some(field) = fields.next() else {
            return Ok(Caller::Nobody);
        };
        if fields.next().is_some() || field.len() > AUTHORIZATION_BYTES_MAX {
            return Err(Unknown);
        }
        let secret = field.to_str().ok().and_then(secret).ok_or(Unknown)?;
        // What skopeo and its kin send when they are told how and have nothing to say: no user and no password.
        if secret.is_empty() {
            return Ok(Caller::Nobody);
        }
        if (self.admin)(&secret) {
            return Ok(Caller::Admin);
        }
        self.tokens.grant(&secret).map(Caller::Token).ok_or(Unknown)
    }

    /// Whether `caller` may do this in the repository `name`.
    pub(crate) fn may(&self, caller: &Caller, right: Right, name: &str) -> bool {
        self.anonymous.may(right)
            || match caller {
                Caller::Nobody => false,
                Caller::Admin => true,
                Caller::Token(grant) => grant.may(right, name),
            }
    }

    /// Whether `caller` may do this in every repository, those still to come included.
    pub(crate) fn may_everywhere(&self, caller: &Caller, right: Right) -> bool {
        self.anonymous.may(right)
            || match caller {
                Caller::Nobody => false,
                Caller::Admin => true,
                Caller::Token(grant) => grant.may_everywhere(right),
            }
    }

    /// Whether somebody who has not said who they are may do anything at all.
    pub(crate) fn admits_nobody(&self) -> bool {
        self.anonymous != Anonymous::Nothing
    }
}

/// The secret of `Bearer SECRET`, or the password of `Basic BASE64(USER:PASSWORD)` whoever the user (RFC 6750, section
/// 2.1; RFC 7617, section 2).
fn secret(field: &str) -> Option<String> {
    let (scheme, rest) = field.split_once(' ')?;
    let rest = rest.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64.decode(rest).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_as_bearer_or_as_a_password() {
        for (field, want) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc", Some("abc")),
            ("Basic dXNlcjphYmM=", Some("abc")),
            ("BASIC dXNlcjphOmI=", Some("a:b")),
            ("Basic dXNlcg==", None),
            ("Basic !", None),
            ("Digest abc", None),
            ("abc", None),
        ] {
            assert_eq!(secret(field).as_deref(), want, "{field}");
        }
    }
}

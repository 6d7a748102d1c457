//! Who we say we are. Nothing is said before the registry asks; then Basic, or a token from its token service
//! (distribution's token specification), for exactly the repository and right that are needed. The token service must
//! be the registry's own host or a listed one: a challenge may not send the credentials elsewhere.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use reqwest::Url;
use serde::Deserialize;

use super::covers;
use super::credentials::{Credentials, find};
use super::exchange::{Call, Try};
use super::session::{Session, registry_of};
use crate::limits::{TOKEN_ANSWER_BYTES_MAX, TOKEN_BYTES_MAX};
use crate::{Error, RegistryFault, Result};

/// Registries whose token service is known to live under another name.
const KNOWN_REALMS: [(&str, &str); 2] = [
    ("docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
];

/// What a registry wants to see.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Session {
    /// Finds an authorization that answers the challenge, unless somebody has found a newer one than `rejected`.
    pub(super) async fn authorize(
        &self,
        challenges: &[String],
        rejected: Option<&HeaderValue>,
        doing: &str,
    ) -> Try<()> {
        let mut authorization = self.authorization.lock().await;
        if authorization.as_ref() != rejected {
            return Ok(());
        }
        let credentials = find(self.client.config().docker_config.as_deref(), &self.registry).await?;
        let challenge = challenges
            .iter()
            .flat_map(|text| challenges_of(text))
            .max_by_key(|challenge| {
                // A token carries less than a password.
                matches!(challenge, Challenge::Bearer { .. })
            });
        let value = match (challenge, credentials) {
            (_, Some(Credentials::Bearer(token))) => format!("Bearer {token}"),
            (Some(Challenge::Bearer { realm, service }), credentials) => {
                let token = self
                    .token(&realm, service.as_deref(), credentials.as_ref())
                    .await?;
                format!("Bearer {token}")
            }
            (Some(Challenge::Basic), Some(Credentials::Password { user, password })) => {
                basic(&user, &password)
            }
            (Some(Challenge::Basic), _) => {
                return Err(self
                    .unauthorized(doing, "it wants credentials and there are none for it")
                    .into());
            }
            (None, _) => {
                let why = "it wants credentials and does not say of which kind";
                return Err(self.fault(RegistryFault::Answer, doing, why).into());
            }
        };
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| self.unauthorized(doing, "the credentials for it are not plain text"))?;
        value.set_sensitive(true);
        if rejected == Some(&value) {
            return Err(self
                .unauthorized(doing, "it refuses the credentials that are there for it")
                .into());
        }
        *authorization = Some(value);
        Ok(())
    }

    fn unauthorized(&self, doing: &str, why: &str) -> Error {
        let next = "write some with `docker login`, `skopeo login` or `oras login`, or choose a file with --docker-config";
        self.fault(RegistryFault::Unauthorized, doing, format!("{why}; {next}"))
    }

    /// The token service's address, if credentials may go there.
    fn realm(&self, realm: &str) -> Result<Url> {
        let refuse = |why: &str| {
            let shown: String = realm.chars().filter(|c| !c.is_control()).take(200).collect();
            self.fault(
                RegistryFault::Realm,
                "get a token",
                format!("its token service {shown:?} {why}"),
            )
        };
        let url = Url::parse(realm).map_err(|_| refuse("is not an address"))?;
        let Some(host) = registry_of(&url) else {
            return Err(refuse("is not an address"));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("has credentials in its address"));
        }
        let is_encrypted =
            url.scheme() == "https" || url.scheme() == "http" && self.client.is_plaintext(&host);
        if !is_encrypted {
            return Err(refuse("is not reached by https"));
        }
        let known = KNOWN_REALMS
            .iter()
            .any(|(registry, realm)| *registry == self.registry.host() && *realm == host.host());
        let listed = self
            .client
            .config()
            .token_realms
            .iter()
            .any(|entry| covers(entry, &host));
        if self.is_own_host(&url) || known || listed {
            return Ok(url);
        }
        Err(refuse(
            "is on another host; allow it with --token-realm HOST if you trust it with the credentials",
        ))
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        credentials: Option<&Credentials>,
    ) -> Try<String> {
        let doing = "get a token";
        let mut url = self.realm(realm)?;
        let scope = format!("repository:{}:{}", self.repository, self.right.actions());
        let mut fields = vec![("scope", scope.as_str())];
        fields.extend(service.map(|service| ("service", service)));
        let mut call = if let Some(Credentials::Identity(token)) = credentials {
            fields.extend([
                ("grant_type", "refresh_token"),
                ("client_id", "fermion"),
                ("refresh_token", token.as_str()),
            ]);
            let mut form = Url::parse("http://form/")
                .map_err(|why| self.fault(RegistryFault::Answer, doing, why.to_string()))?;
            form.query_pairs_mut().extend_pairs(&fields);
            let mut call =
                Call::new(Method::POST, url, doing).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            call.body = Bytes::from(form.query().unwrap_or_default().to_owned());
            call
        } else {
            url.query_pairs_mut().extend_pairs(&fields);
            Call::new(Method::GET, url, doing)
        };
        let authorization = match credentials {
            Some(Credentials::Password { user, password }) => {
                let mut value = HeaderValue::from_str(&basic(user, password))
                    .map_err(|_| self.unauthorized(doing, "the credentials for it are not plain text"))?;
                value.set_sensitive(true);
                Some(value)
            }
            _ => None,
        };
        if let Some(value) = authorization {
            call.headers.insert(AUTHORIZATION, value);
        }
        let response = self.send_once(&call, &call.url, None).await?;
        match response.status() {
            StatusCode::OK => {}
            // Also what a token service calls wrong credentials with status 400 or 401.
            _ => return Err(self.refusal(response, doing).await),
        }
        let body = self.body_of(response, TOKEN_ANSWER_BYTES_MAX, doing).await?;
        let token = serde_json::from_slice::<TokenAnswer>(&body)
            .ok()
            .and_then(|answer| answer.token.or(answer.access_token))
            .filter(|token| !token.is_empty() && token.len() <= TOKEN_BYTES_MAX);
        Ok(token.ok_or_else(|| {
            self.fault(
                RegistryFault::Answer,
                doing,
                "its token service does not answer with a token",
            )
        })?)
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
}

/// The challenges of one header (RFC 9110, section 11.6.1) that we can answer.
fn challenges_of(text: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut scheme = String::new();
    let mut parameters = BTreeMap::new();
    for part in parts(text) {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (part.trim(), None),
        };
        // `Bearer realm="..."` begins a challenge, `service="..."` continues it.
        let (new, name) = match name.split_once(char::is_whitespace) {
            Some((new, name)) => (Some(new), name.trim()),
            None if value.is_none() => (Some(name), ""),
            None => (None, name),
        };
        if let Some(new) = new {
            found.extend(challenge(&scheme, &mut parameters));
            scheme = new.to_ascii_lowercase();
        }
        if let Some(value) = value {
            parameters.insert(name.to_ascii_lowercase(), unquoted(value));
        }
    }
    found.extend(challenge(&scheme, &mut parameters));
    found
}

fn challenge(scheme: &str, parameters: &mut BTreeMap<String, String>) -> Option<Challenge> {
    let mut parameters = std::mem::take(parameters);
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer {
            realm: parameters.remove("realm")?,
            service: parameters.remove("service"),
        }),
        _ => None,
    }
}

/// Splits at commas that are not in quotes.
fn parts(text: &str) -> Vec<&str> {
    let (mut begin, mut quoted, mut escaped) = (0, false, false);
    let mut parts = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else {
        return value.to_owned();
    };
    let mut text = String::new();
    let mut escaped = false;
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
        }
    }

    #[test]
    fn challenges_are_read_as_they_are_written() {
        let realm = "https://auth.example.com/token";
        let cases = [
            (r#"Basic realm="x, y""#, vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            (
                r#"Bearer realm="https://auth.example.com/token",service="registry",scope="repository:a/b:pull,push""#,
                vec![bearer(realm, Some("registry"))],
            ),
            (
                r#"bearer  Service="a\"b", REALM=https://auth.example.com/token"#,
                vec![bearer(realm, Some("a\"b"))],
            ),
            (
                r#"Negotiate, Bearer realm="https://auth.example.com/token", Basic realm="x""#,
                vec![bearer(realm, None), Challenge::Basic],
            ),
            ("Bearer", vec![]),
            ("Digest realm=\"x\"", vec![]),
            ("", vec![]),
            (",,\"", vec![]),
        ];
        for (text, want) in cases {
            assert_eq!(challenges_of(text), want, "{text}");
        }
    }
}

//! Where telemetry is sent, as an operator writes it: `http://`, `https://` (OTLP over HTTP), `grpc://` or `grpcs://`
//! (OTLP over gRPC), and the headers that go along. A header's value is shown nowhere.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::{Error, Signal};

/// How batches are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// One POST a batch.
    Http,
    /// One call a batch.
    Grpc,
}

/// The other end.
#[derive(Debug, Clone)]
pub struct Receiver {
    pub(crate) protocol: Protocol,
    pub(crate) is_secure: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What precedes `/v1/traces`; without a slash at its end.
    pub(crate) base: String,
    /// Values are marked as sensitive, so that they are not printed.
    pub(crate) headers: HeaderMap,
}

impl Receiver {
    /// Reads the address and the headers.
    ///
    /// # Errors
    /// When the address is not one, has a scheme that is not known, a user, a query, or for gRPC a path; or when a header
    /// may not be sent.
    pub fn parse(given: &str, headers: &[(String, String)]) -> Result<Self, Error> {
        let shown = given.rsplit_once('@').map_or(given, |(_, place)| place);
        let refuse = |why: &str| Error::Receiver {
            given: shown.to_owned(),
            why: why.to_owned(),
        };
        let uri: Uri = given.parse().map_err(|_| refuse("it is not an address"))?;
        let (protocol, is_secure, port) = match uri.scheme_str() {
            Some("http") => (Protocol::Http, false, 4318),
            Some("https") => (Protocol::Http, true, 443),
            Some("grpc") => (Protocol::Grpc, false, 4317),
            Some("grpcs") => (Protocol::Grpc, true, 443),
            _ => {
                return Err(refuse(
                    "write http://, https://, grpc:// or grpcs:// before the host",
                ));
            }
        };
        let authority = uri.authority().ok_or_else(|| refuse("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("say who you are in a header, not in the address"));
        }
        if uri.query().is_some() {
            return Err(refuse("it may not have a query"));
        }
        let base = uri.path().trim_end_matches('/').to_owned();
        if protocol == Protocol::Grpc && !base.is_empty() {
            return Err(refuse("gRPC has no path"));
        }
        Ok(Self {
            protocol,
            is_secure,
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(port),
            base,
            headers: read_headers(headers)?,
        })
    }

    /// The path of a signal over HTTP.
    pub(crate) fn path(&self, signal: Signal) -> String {
        format!("{}/v1/{}", self.base, signal.as_str())
    }

    /// Host and port as they are written in an address.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn read_headers(given: &[(String, String)]) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let refuse = || Error::ReceiverHeader { name: name.clone() };
        let key: HeaderName = name.parse().map_err(|_| refuse())?;
        // These say how the batch is carried, which is not the operator's to say.
        if [
            "content-type",
            "content-length",
            "transfer-encoding",
            "host",
            "te",
            "connection",
        ]
        .contains(&key.as_str())
        {
            return Err(refuse());
        }
        let mut value: HeaderValue = value.parse().map_err(|_| refuse())?;
        value.set_sensitive(true);
        headers.append(key, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_meant() {
        for (given, protocol, is_secure, authority, path) in [
            (
                "http://collector",
                Protocol::Http,
                false,
                "collector:4318",
                "/v1/logs",
            ),
            (
                "https://otlp.test/otlp/",
                Protocol::Http,
                true,
                "otlp.test:443",
                "/otlp/v1/logs",
            ),
            ("grpc://[::1]:9", Protocol::Grpc, false, "[::1]:9", "/v1/logs"),
            (
                "grpcs://otlp.test",
                Protocol::Grpc,
                true,
                "otlp.test:443",
                "/v1/logs",
            ),
        ] {
            let receiver = Receiver::parse(given, &[]).unwrap();
            assert_eq!(
                (receiver.protocol, receiver.is_secure),
                (protocol, is_secure),
                "{given}"
            );
            assert_eq!(
                (
                    receiver.authority().as_str(),
                    receiver.path(Signal::Logs).as_str()
                ),
                (authority, path)
            );
        }
        for given in [
            "collector:4317",
            "ftp://x",
            "http://",
            "http://x/?a=b",
            "grpc://x/path",
            "http://me:pass@x",
        ] {
            let refused = Receiver::parse(given, &[]).unwrap_err().to_string();
            assert!(!refused.contains("pass"), "{refused}");
        }
    }

    #[test]
    fn header_values_are_never_shown() {
        let header = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        let receiver = Receiver::parse("http://x", &header("authorization", "Bearer s3cret")).unwrap();
        assert!(!format!("{receiver:?}").contains("s3cret"));
        let refused = Receiver::parse("http://x", &header("x-key", "s3cret\n")).unwrap_err();
        assert!(!format!("{refused:?}").contains("s3cret"));
        assert!(Receiver::parse("http://x", &header("Content-Type", "a")).is_err());
    }
}

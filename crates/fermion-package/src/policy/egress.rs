//! What is special about the places a package asks to call. The gateway's own rules about addresses hold whatever a
//! policy says; here it is made visible before anything runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fermion_model::endpoint::Endpoint;
use fermion_model::origin::{Origin, Scheme};

use super::facts::{CapabilityFacts, EgressFacts};

/// Names of metadata services, and addresses of theirs outside of the link-local ranges.
const METADATA_HOSTS: [&str; 4] = [
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    "instance-data.ec2.internal",
];
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Sorts origins and sockets by what is special about them. What is neither is in none of the sets. Whether a socket
/// carries TLS is not known, so none counts as plain.
pub(super) fn of(asked: &CapabilityFacts) -> EgressFacts {
    let mut facts = EgressFacts::default();
    for text in &asked.http {
        let Ok(origin) = text.parse::<Origin>() else {
            continue;
        };
        facts.sort(text, &origin.host);
        if origin.scheme != Some(Scheme::Https) {
            facts.plain.insert(text.clone());
        }
    }
    for text in &asked.sockets {
        if let Ok(endpoint) = text.parse::<Endpoint>() {
            facts.sort(text, &endpoint.host);
        }
    }
    facts
}

impl EgressFacts {
    fn sort(&mut self, text: &str, host: &str) {
        let address = address(host);
        let is_internal =
            host == "localhost" || host.ends_with(".localhost") || address.is_some_and(internal);
        if METADATA_HOSTS.contains(&host) || address.is_some_and(metadata) {
            self.metadata.insert(text.to_owned());
        } else if is_internal {
            self.internal.insert(text.to_owned());
        }
    }
}

/// The address that a host is; one IPv4 address inside an IPv6 one is that IPv4 address.
fn address(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let address: IpAddr = inner.unwrap_or(host).parse().ok()?;
    Some(match address {
        IpAddr::V6(v6) => embedded(v6).map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 => v4,
    })
}

/// Mapped (`::ffff:a.b.c.d`), compatible (`::a.b.c.d`) and NAT64 (`64:ff9b::a.b.c.d`, RFC 6052) addresses.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d] = {
        let octets = address.octets();
        [octets[12], octets[13], octets[14], octets[15]]
    };
    let segments = address.segments();
    let nat64 = segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    let mapped = segments[..6] == [0, 0, 0, 0, 0, 0xffff];
    let compatible = segments[..6] == [0; 6] && segments[6] != 0;
    (nat64 || mapped || compatible).then(|| Ipv4Addr::new(a, b, c, d))
}

fn metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == METADATA_V6,
    }
}

fn internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_sorted_by_what_is_special_about_them() {
        let kind = |origin: &str| {
            let EgressFacts {
                metadata,
                internal,
                plain,
            } = of(&CapabilityFacts {
                http: [origin.to_owned()].into(),
                sockets: [origin.to_owned()].into(),
                ..CapabilityFacts::default()
            });
            format!(
                "{}{}{}",
                if metadata.is_empty() { "" } else { "metadata " },
                if internal.is_empty() { "" } else { "internal " },
                if plain.is_empty() { "" } else { "plain" }
            )
        };
        for (origin, expected) in [
            ("https://tax.example.com", ""),
            ("tcp://db.example.com:5432", ""),
            ("tcp://127.0.0.1:5432", "internal "),
            ("udp://169.254.169.254:80", "metadata "),
            ("http://tax.example.com", "plain"),
            ("tax.example.com", "plain"),
            ("http://127.0.0.1:8080", "internal plain"),
            ("https://10.1.2.3", "internal "),
            ("https://[fd12::1]", "internal "),
            ("https://api.localhost", "internal "),
            ("http://169.254.169.254", "metadata plain"),
            ("https://169.254.0.1", "metadata "),
            ("https://[fe80::1]", "metadata "),
            ("https://[::ffff:169.254.169.254]", "metadata "),
            ("https://[64:ff9b::a9fe:a9fe]", "metadata "),
            ("https://[::a9fe:a9fe]", "metadata "),
            ("https://[fd00:ec2::254]", "metadata "),
            ("https://metadata.google.internal", "metadata "),
            ("https://100.100.100.200", "metadata "),
        ] {
            assert_eq!(kind(origin), expected, "{origin}");
        }
    }
}

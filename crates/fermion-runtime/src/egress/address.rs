//! Which addresses a request may be connected to. A name says nothing about where it leads, and whoever owns it may
//! change its mind, so every address is judged, at every connection, before anything is connected.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::origin::Origin;
use crate::grants::EgressRule;

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Anywhere.
    Public,
    /// This network.
    Private,
    /// This machine.
    Loopback,
    /// Link-local, metadata services, multicast, unspecified: meant only by who names the very address.
    Special,
}

/// Metadata and control services of clouds that lie in ranges which are otherwise ordinary.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// What the host of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostKind {
    /// An address, written as such.
    Literal(IpAddr),
    /// `localhost` or a name under it (RFC 6761).
    Localhost,
    /// A name to be resolved.
    Name,
    /// Digits that some parsers take for an address (decimal, hexadecimal, octal, too few parts): no name either.
    Disguised,
}

/// Reads a host as it stands in a URL.
pub(crate) fn kind_of(host: &str) -> HostKind {
    let host = host.strip_suffix('.').unwrap_or(host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return HostKind::Literal(ip);
    }
    let last = host.rsplit('.').next().unwrap_or(host);
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // As the URL standard has it: a host whose last part is a number is an address or nothing.
    if is_number(last) || hexadecimal.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return HostKind::Disguised;
    }
    if last.eq_ignore_ascii_case("localhost") {
        return HostKind::Localhost;
    }
    HostKind::Name
}

/// Why an address is not connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prohibited {
    pub(crate) address: SocketAddr,
    pub(crate) reason: &'static str,
}

/// Judges all addresses of one name together; true if they are public ones. One that may not be connected to refuses
/// them all: a name that leads to both sides of a boundary is not to be trusted with either.
pub(crate) fn judge(
    rules: &[EgressRule],
    origin: &Origin,
    was_public: bool,
    addresses: &[SocketAddr],
) -> Result<bool, Prohibited> {
    let kind = kind_of(&origin.host);
    let is_meant = |address: &SocketAddr| {
        let ip = address.ip().to_canonical();
        rules.iter().any(|rule| {
            rule.address() == Some(ip) && rule.allows(origin.scheme(), rule.host_text(), address.port())
        })
    };
    let by_name = rules.iter().any(|rule| rule.is_any() || rule.names(&origin.host));
    let is_public = addresses.iter().any(|address| reach(*address) == Reach::Public);
    for address in addresses.iter().filter(|address| !is_meant(address)) {
        let refuse = |reason| {
            Err(Prohibited {
                address: *address,
                reason,
            })
        };
        match reach(*address) {
            Reach::Public => {}
            Reach::Special => return refuse("it is link-local, a metadata service or none at all"),
            Reach::Loopback if kind == HostKind::Name => return refuse("a name leads to this machine"),
            Reach::Loopback | Reach::Private if !by_name => return refuse("it is not public"),
            Reach::Loopback | Reach::Private if is_public => {
                return refuse("the name leads to public addresses too");
            }
            Reach::Loopback | Reach::Private if was_public => {
                return refuse("the name led to public addresses before");
            }
            Reach::Loopback | Reach::Private => {}
        }
    }
    Ok(is_public)
}

/// Classifies an address, looking through the forms that wrap IPv4 in IPv6.
pub(crate) fn reach(address: SocketAddr) -> Reach {
    match address.ip() {
        IpAddr::V4(ip) => reach_v4(ip),
        IpAddr::V6(ip) => reach_v6(ip),
    }
}

fn reach_v4(ip: Ipv4Addr) -> Reach {
    let [a, b, ..] = ip.octets();
    if ip.is_link_local() || ip.is_multicast() || a == 0 || a >= 240 || METADATA_V4.contains(&ip) {
        return Reach::Special;
    }
    if ip.is_loopback() {
        return Reach::Loopback;
    }
    if ip.is_private() || (a == 100 && (64..128).contains(&b)) || (a == 198 && (18..20).contains(&b)) {
        return Reach::Private;
    }
    Reach::Public
}

fn reach_v6(ip: Ipv6Addr) -> Reach {
    let segments = ip.segments();
    if let Some(v4) = ip.to_ipv4_mapped() {
        return reach_v4(v4);
    }
    // NAT64 (RFC 6052) and 6to4 (RFC 3056) carry an IPv4 address inside.
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        reach_v4(Ipv4Addr::new(a, b, c, d))
    };
    if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return embedded(segments[6], segments[7]);
    }
    if segments[0] == 0x2002 {
        return embedded(segments[1], segments[2]);
    }
    if ip.is_loopback() {
        return Reach::Loopback;
    }
    // The deprecated form `::a.b.c.d`, and NAT64 prefixes of a network's own (RFC 8215).
    let is_wrapped = segments[..6] == [0; 6] || segments[..3] == [0x64, 0xff9b, 1];
    if is_wrapped || ip.is_unicast_link_local() || ip.is_multicast() || METADATA_V6.contains(&ip) {
        return Reach::Special;
    }
    if ip.is_unique_local() {
        return Reach::Private;
    }
    Reach::Public
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_how_far_an_address_reaches() {
        let cases = [
            ("1.1.1.1:80", Reach::Public),
            ("127.0.0.1:80", Reach::Loopback),
            ("10.1.2.3:80", Reach::Private),
            ("172.31.0.1:80", Reach::Private),
            ("192.168.1.1:80", Reach::Private),
            ("100.64.0.1:80", Reach::Private),
            ("169.254.169.254:80", Reach::Special),
            ("100.100.100.200:80", Reach::Special),
            ("168.63.129.16:80", Reach::Special),
            ("0.0.0.0:80", Reach::Special),
            ("224.0.0.1:80", Reach::Special),
            ("255.255.255.255:80", Reach::Special),
            ("[::]:80", Reach::Special),
            ("[::1]:80", Reach::Loopback),
            ("[fd12::1]:80", Reach::Private),
            ("[fe80::1]:80", Reach::Special),
            ("[fd00:ec2::254]:80", Reach::Special),
            ("[::ffff:169.254.169.254]:80", Reach::Special),
            ("[::169.254.169.254]:80", Reach::Special),
            ("[64:ff9b::a9fe:a9fe]:80", Reach::Special),
            ("[2002:7f00:1::]:80", Reach::Loopback),
            ("[2606:4700::1]:80", Reach::Public),
        ];
        for (address, expected) in cases {
            assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn tells_names_from_addresses_in_disguise() {
        for host in [
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "169.254.43518",
            "0xa9.254.169.254.",
            "127.1",
        ] {
            assert_eq!(kind_of(host), HostKind::Disguised, "{host}");
        }
        for host in ["example.com", "a.0x.example", "1.example", "0xa9fea9fe.example"] {
            assert_eq!(kind_of(host), HostKind::Name, "{host}");
        }
        assert_eq!(kind_of("LOCALHOST."), HostKind::Localhost);
        let literal = HostKind::Literal("169.254.169.254".parse().unwrap());
        assert_eq!(kind_of("169.254.169.254."), literal);
        assert!(matches!(
            kind_of("[::ffff:169.254.169.254]"),
            HostKind::Literal(_)
        ));
    }

    /// Rules, host, whether it was public, its addresses, and what comes of it.
    type Case<'a> = (&'a [&'a str], &'a str, bool, &'a [&'a str], &'a str);

    /// What a grant makes of a name that leads to these addresses: `public`, `private`, or the reason for a refusal.
    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn judges_all_addresses_of_a_name() {
        let cases: &[Case<'_>] = &[
            (&["api.test"], "api.test", false, &["1.1.1.1"], "public"),
            (
                &["api.test"],
                "api.test",
                false,
                &["10.0.0.1", "10.0.0.2"],
                "private",
            ),
            (&["*"], "api.test", false, &["10.0.0.1"], "private"),
            (
                &["api.test"],
                "api.test",
                false,
                &["1.1.1.1", "10.0.0.1"],
                "public addresses too",
            ),
            (
                &["*"],
                "api.test",
                false,
                &["10.0.0.1", "1.1.1.1"],
                "public addresses too",
            ),
            (&["api.test"], "api.test", true, &["10.0.0.1"], "before"),
            (&["api.test"], "api.test", true, &["1.1.1.2"], "public"),
            (&["api.test"], "api.test", false, &["127.0.0.1"], "this machine"),
            (&["*"], "api.test", false, &["::1"], "this machine"),
            (
                &["api.test", "127.0.0.1"],
                "api.test",
                false,
                &["127.0.0.1"],
                "private",
            ),
            (
                &["api.test", "127.0.0.1:81"],
                "api.test",
                false,
                &["127.0.0.1"],
                "this machine",
            ),
            (&["api.test"], "api.test", false, &["169.254.169.254"], "metadata"),
            (&["*"], "169.254.169.254", false, &["169.254.169.254"], "metadata"),
            (
                &["*"],
                "[::ffff:a9fe:a9fe]",
                false,
                &["::ffff:a9fe:a9fe"],
                "metadata",
            ),
            (
                &["169.254.169.254"],
                "169.254.169.254",
                false,
                &["169.254.169.254"],
                "private",
            ),
            (&["127.0.0.1"], "127.0.0.1", false, &["127.0.0.1"], "private"),
            (&["[::1]"], "[::1]", false, &["::1"], "private"),
            (
                &["localhost"],
                "localhost",
                false,
                &["127.0.0.1", "::1"],
                "private",
            ),
            (&["*"], "localhost", false, &["127.0.0.1"], "private"),
            (&["*"], "127.0.0.1", false, &["127.0.0.1"], "private"),
        ];
        for &(rules, host, was_public, addresses, expected) in cases {
            let rules: Vec<_> = rules
                .iter()
                .map(|rule| EgressRule::parse(rule).unwrap())
                .collect();
            let origin = Origin::new(false, host, 80);
            let addresses: Vec<_> = addresses
                .iter()
                .map(|ip| SocketAddr::new(ip.parse().unwrap(), 80))
                .collect();
            let found = match judge(&rules, &origin, was_public, &addresses) {
                Ok(true) => "public",
                Ok(false) => "private",
                Err(prohibited) => prohibited.reason,
            };
            assert!(
                found.contains(expected),
                "{rules:?} {host} {addresses:?}: {found}"
            );
        }
    }
}

//! The names of upstreams: resolved once for many, failing by name, and never a way around what may be called.

use std::net::IpAddr;
use std::time::Instant;

use crate::support::dns::{Dns, Says};
use crate::support::upstream::Upstream;
use crate::support::{Ask, EDGES, PATIENCE, Serve, encode};

fn list(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|ip| ip.parse().unwrap()).collect()
}

/// Serves a guest that may call these, with this resolver.
fn serve(guest: &str, dns: &Dns, grants: &[&str]) -> Serve {
    let resolver = dns.address.to_string();
    let mut options = vec!["--threads", "1", "--dns", &resolver];
    options.extend(grants.iter().flat_map(|grant| ["--allow-http", grant]));
    Serve::start(guest, &options)
}

/// What a guest that calls a URL says; `bounds` are its own for the call.
fn call(serve: &Serve, url: &str, bounds: &str) -> (u16, String) {
    let path = format!("/fetch-options?{bounds}&url={}", encode(url));
    let answer = Ask::get(&path).send(serve.address);
    (answer.status, answer.text().replace("-i-p-", "-ip-"))
}

#[test]
fn a_name_is_resolved_once_for_many_calls() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let port = upstream.address.port();
        let dns = Dns::start([("up.test", Says::Addresses(60, list(&["127.0.0.1"])))]);
        // The operator vouches for the address, since it is this machine's own.
        let (name, address) = (format!("up.test:{port}"), upstream.address.to_string());
        let serve = serve(guest, &dns, &[&name, &address]);
        let path = format!(
            "/fanout/16?url={}",
            encode(&format!("http://up.test:{port}/status/200"))
        );
        for _ in 0..5 {
            let answer = Ask::get(&path).send(serve.address);
            assert_eq!(answer.text(), "200 7\n".repeat(16), "{guest}");
        }
        assert_eq!(dns.asked("up.test"), 1, "{guest}");
        // This machine's own name needs nobody's answer.
        let url = format!("http://localhost:{port}/status/200");
        let local = format!("localhost:{port}");
        let serve = self::serve(guest, &dns, &[&local]);
        assert_eq!(
            call(&serve, &url, ""),
            (200, "200 status\n".to_owned()),
            "{guest}"
        );
    }
}

#[test]
fn names_that_fail_have_names() {
    for guest in EDGES {
        let dns = Dns::start([("broken.test", Says::Code(2)), ("silent.test", Says::Nothing)]);
        let serve = serve(guest, &dns, &["*"]);
        let cases = [
            ("http://missing.test/", "", "dns-error\n"),
            ("http://broken.test/", "", "dns-error\n"),
            ("http://silent.test/", "connect_ms=200", "dns-timeout\n"),
        ];
        for (url, bounds, expected) in cases {
            assert_eq!(
                call(&serve, url, bounds),
                (502, expected.to_owned()),
                "{guest} {url}"
            );
        }
        // That there is no such name is remembered for a moment.
        for _ in 0..3 {
            call(&serve, "http://missing.test/", "");
        }
        assert!(
            dns.asked("missing.test") < 4,
            "{guest}: {}",
            dns.asked("missing.test")
        );
    }
}

#[test]
fn a_name_is_no_way_to_addresses_that_are_not_granted() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let port = upstream.address.port();
        let one = |addresses: &[&str]| Says::Addresses(0, list(addresses));
        let dns = Dns::start([
            ("metadata.test", one(&["169.254.169.254"])),
            ("metadata6.test", one(&["fd00:ec2::254"])),
            ("machine.test", one(&["127.0.0.1"])),
            ("machine6.test", one(&["::1"])),
            ("mixed.test", one(&["127.0.0.1", "203.0.113.9"])),
            ("mapped.test", one(&["::ffff:169.254.169.254"])),
        ]);
        let names: Vec<String> = ["metadata", "metadata6", "machine", "machine6", "mixed", "mapped"]
            .iter()
            .map(|name| format!("{name}.test:{port}"))
            .collect();
        let named: Vec<&str> = names.iter().map(String::as_str).collect();
        for grants in [&named[..], &["*"]] {
            let serve = serve(guest, &dns, grants);
            for name in &names {
                let said = call(&serve, &format!("http://{name}/status/200"), "");
                let expected = (502, "destination-ip-prohibited\n".to_owned());
                assert_eq!(said, expected, "{guest} {name} {grants:?}");
            }
            let line = serve
                .process
                .stderr
                .wait_for(|line| line.contains("EGRESS_DENIED") && line.contains("169.254.169.254"));
            assert!(line.is_some(), "{}", serve.process.stderr.text());
        }
        assert_eq!(upstream.connections(), 0, "{guest}");
    }
}

#[test]
fn a_name_that_turns_inwards_is_not_followed() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let port = upstream.address.port();
        let turns = [
            ("to-metadata.test", "169.254.169.254"),
            ("to-machine.test", "127.0.0.1"),
            ("to-network.test", "10.255.255.1"),
        ];
        let says = |ip| Says::Addresses(0, list(&[ip]));
        let dns = Dns::start(turns.map(|(name, _)| (name, says("203.0.113.9"))));
        let rules = turns.map(|(name, _)| format!("{name}:{port}"));
        let serve = serve(guest, &dns, &rules.each_ref().map(String::as_str));
        for ((name, inwards), rule) in turns.into_iter().zip(&rules) {
            let url = format!("http://{rule}/status/200");
            // Nobody answers at the public address, whatever the network says of it.
            let (status, said) = call(&serve, &url, "connect_ms=50");
            assert_eq!(status, 502, "{guest} {name}");
            assert_ne!(said, "destination-ip-prohibited\n", "{guest} {name}");
            let asked = dns.asked(name);
            dns.turn(name, says(inwards));
            let said = call(&serve, &url, "connect_ms=5000");
            assert_eq!(
                said,
                (502, "destination-ip-prohibited\n".to_owned()),
                "{guest} {name}"
            );
            assert!(dns.asked(name) > asked, "{guest} {name}");
        }
        assert_eq!(upstream.connections(), 0, "{guest}");
    }
}

#[test]
fn a_failing_resolver_opens_the_breaker_too() {
    let dns = Dns::start([("broken.test", Says::Code(2))]);
    let serve = serve("p2-edge", &dns, &["*"]);
    for _ in 0..7 {
        let said = call(&serve, "http://broken.test/", "");
        assert_eq!(said, (502, "dns-error\n".to_owned()));
    }
    let asked = dns.asked("broken.test");
    let said = call(&serve, "http://broken.test/", "");
    assert_eq!(said, (502, "destination-unavailable\n".to_owned()));
    assert_eq!(dns.asked("broken.test"), asked);
    // A probe goes out when the penalty is over, and fails again.
    let deadline = Instant::now() + PATIENCE;
    while call(&serve, "http://broken.test/", "").1 != "dns-error\n" {
        assert!(Instant::now() < deadline, "no probe goes out");
    }
}

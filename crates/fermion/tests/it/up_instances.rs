//! Instances that are kept, over the life of their releases: they go when nobody asks, are made up for when they are
//! taken, and neither outlive their release nor die under a request.

use rustix::process::Signal;

use crate::platform::{Package, Site, Up};
use crate::support::upstream::Upstream;
use crate::support::{Ask, EDGES};
use crate::up_telemetry::Metrics;

fn kept(metrics: &Metrics) -> f64 {
    metrics.sum("fermion_instances_kept", &[])
}

#[test]
fn an_instance_that_nobody_uses_is_dropped() {
    for guest in EDGES {
        let site = Site::new();
        let project = site.project(Package {
            more: "[instances]\nreuse = { requests = 1000, idle = \"50ms\" }\n",
            ..Package::new("shop", "1.0.0", guest)
        });
        let up = Up::start(&site, &[&project]);
        for _ in 0..2 {
            let answer = up.get("/shop/state");
            assert_eq!(answer.status, 200, "{guest}: {answer:?}");
            // The next request finds a new one.
            Metrics::when(&up, |metrics| kept(metrics) < 0.5);
            up.get("/shop/state").expect(200, "1\n");
        }
        up.stop();
    }
}

#[test]
fn an_instance_that_waited_is_made_up_for_when_it_is_taken() {
    for guest in EDGES {
        let site = Site::new();
        let project = site.project(Package {
            more: "[instances]\nwarm = { min = 1, max = 1 }\nwarmup = \"/state\"\n",
            ..Package::new("shop", "1.0.0", guest)
        });
        let up = Up::start(&site, &[&project]);
        for request in 1..=5 {
            // Fresh, but for its warm-up.
            up.get("/shop/state").expect(200, "2\n");
            // Counted, and another one waits.
            let metrics = Metrics::when(&up, |metrics| {
                let counted = metrics.sum("fermion_requests_total", &[]);
                counted > f64::from(request) - 0.5 && kept(metrics) > 0.5
            });
            let cold = metrics.sum("fermion_cold_starts_total", &[]);
            assert!(cold < 0.5, "{guest}: request {request} made its own");
        }
        up.stop();
    }
}

/// A request is held in the first release while the second takes over, the first comes back, and the platform stops.
#[test]
fn kept_instances_go_with_their_release_and_a_request_in_one_is_finished() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let site = Site::new();
        let more = format!(
            "[instances]\nreuse = {{ requests = 1000, concurrency = 1 }}\n[capabilities]\nhttp = [\"http://{}\"]\n",
            upstream.address
        );
        let package = |version| Package {
            more: &more,
            ..Package::new("shop", version, guest)
        };
        let project = site.project(package("1.0.0"));
        let mut up = Up::start_with(&site, &[&project], &["--threads", "1"]);
        up.get("/shop/state").expect(200, "1\n");
        up.get("/shop/state").expect(200, "2\n");
        let hold = format!("/shop{}", upstream.via("/fetch", "/hold"));
        std::thread::scope(|scope| {
            let (gateway, hold) = (up.gateway, &hold);
            let held = scope.spawn(move || Ask::get(hold).send(gateway));
            upstream.wait_held(1);
            site.project(package("1.0.1"));
            up.deploy(&project);
            up.get("/shop/state").expect(200, "1\n");
            up.get("/shop/state").expect(200, "2\n");
            up.run(&["rollback", "shop"]).done();
            // Whether its instances are still there is up to the platform; they are of the right release.
            assert_eq!(up.get("/shop/state").status, 200);
            up.process.signal(Signal::TERM);
            upstream.release();
            held.join().unwrap().expect(200, "200 held\n");
        });
        assert_eq!(up.process.wait().code(), Some(0), "{guest}");
    }
}

#[test]
fn nothing_of_a_release_that_is_gone_is_kept() {
    for guest in EDGES {
        let site = Site::new();
        let package = |version| Package {
            more: "[instances]\nreuse = { requests = 1000, idle = \"1h\" }\n",
            ..Package::new("shop", version, guest)
        };
        let project = site.project(package("1.0.0"));
        let up = Up::start(&site, &[&project]);
        for version in ["1.0.1", "1.0.2", "1.0.3", "1.0.4"] {
            assert_eq!(up.get("/shop/state").status, 200);
            site.project(package(version));
            up.deploy(&project);
        }
        Metrics::when(&up, |metrics| {
            let gone = ["r1", "r2", "r3"].map(|release| format!("release=\"{release}\""));
            let left: f64 = gone
                .iter()
                .map(|release| metrics.sum("fermion_instances_kept", &[release]))
                .sum();
            left < 0.5
        });
        up.stop();
    }
}

#[test]
fn overlap_that_an_instance_cannot_offer_is_said_at_deploy() {
    let site = Site::new();
    let more = "[instances]\nreuse = { requests = 1000, concurrency = 8 }\n";
    let project = |guest| {
        site.project(Package {
            more,
            ..Package::new(guest, "1.0.0", guest)
        })
    };
    let up = Up::start(&site, &[&site.simple("shop", "1.0.0", "p2-hello")]);
    let deployed = |guest| {
        let folder = project(guest);
        let ran = up.run(&["deploy", folder.to_str().unwrap()]);
        ran.done();
        ran.stderr
    };
    let said = deployed("p2-edge");
    assert!(
        said.contains("instances.reuse.concurrency = 8 has no effect"),
        "{said}"
    );
    let silent = deployed("p3-edge");
    assert!(!silent.contains("has no effect"), "{silent}");
    up.stop();
}

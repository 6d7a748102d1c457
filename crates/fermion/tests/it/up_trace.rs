//! `fermion trace`: what is kept of requests, and what one of them was made of.

use std::time::Instant;

use serde_json::Value;

use crate::platform::{Package, Site, Up};
use crate::support::PATIENCE;
use crate::support::upstream::Upstream;

/// Asks until so many traces are listed: a request is taken in after its answer is out.
#[track_caller]
fn listed(up: &Up, words: &[&str], count: usize) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let list = up.run(words).json();
        let traces = list["traces"].as_array().unwrap();
        if traces.len() >= count {
            return traces.clone();
        }
        assert!(Instant::now() < deadline, "{list:#}");
    }
}

#[test]
fn a_request_is_taken_apart_into_what_it_waited_for_and_called() {
    let site = Site::new();
    let upstream = Upstream::start();
    let reach = format!("[capabilities]\nhttp = [\"http://{}\"]\n", upstream.address);
    let shop = site.project(Package {
        more: &reach,
        ..Package::new("shop", "1.0.0", "p2-edge")
    });
    let cart = site.project(Package {
        more: "[capabilities]\nkeyvalue = [\"rates\"]\n",
        ..Package::new("cart", "1.0.0", "p2-keyvalue")
    });
    let up = Up::start_with(&site, &[&shop, &cart], &["--trace-share", "1"]);
    let fetch = upstream.via("/shop/fetch", "/status/404?token=hush");
    up.get(&fetch).expect(200, "404 status\n");
    assert_eq!(up.get("/shop/trap").code(), "GUEST_TRAP");
    up.get("/cart/rates/set/a/1").expect(200, "set\n");

    let traces = listed(&up, &["trace", "--app", "shop"], 2);
    let of = |path: &str| traces.iter().find(|trace| trace["path"] == path).unwrap();
    let trap = of("/shop/trap");
    assert_eq!(
        (&trap["kept"], &trap["fault"]),
        (&"error".into(), &"GUEST_TRAP".into())
    );
    let id = of("/shop/fetch")["id"].as_str().unwrap();
    let view = up.run(&["trace", id]).json();
    let spans = view["requests"][0]["spans"].as_array().unwrap();
    let names: Vec<_> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    let call = format!("GET http://{}", upstream.address);
    assert_eq!(names.first(), Some(&"gateway"), "{names:?}");
    assert_eq!(names.last(), Some(&call.as_str()), "{names:?}");
    assert!(names.contains(&"guest"), "{names:?}");
    let call = spans.last().unwrap();
    assert_eq!(
        (&call["depth"], &call["failed"]),
        (&2.into(), &false.into()),
        "{call:#}"
    );
    assert_eq!(
        (&call["attributes"]["status"], &call["attributes"]["outcome"]),
        (&"404".into(), &"answered".into())
    );
    let end = |span: &Value| span["start_micros"].as_u64().unwrap() + span["micros"].as_u64().unwrap();
    assert!(
        end(call) <= end(&spans[0]) + 1,
        "a call lies within its request: {view:#}"
    );
    assert!(!view.to_string().contains("hush"), "no query is kept");

    let shown = up.shown(&["trace", &id[..12]]);
    assert!(shown.done().contains("  gateway"), "{}", shown.stdout);
    assert!(
        shown.stdout.contains("outcome=answered status=404"),
        "{}",
        shown.stdout
    );
    let stored = listed(&up, &["trace", "--app", "cart"], 1);
    let view = up.run(&["trace", stored[0]["id"].as_str().unwrap()]).json();
    assert!(view.to_string().contains("\"set rates\""), "{view:#}");
    let table = up.shown(&["trace"]);
    assert!(table.done().contains("GET /shop/trap"), "{}", table.stdout);
    up.run(&["trace", "ffffffff"]).refused("NO_SUCH_TRACE");
    up.run(&["trace", "../status"]).refused("NO_SUCH_PATH");
    up.stop();
}

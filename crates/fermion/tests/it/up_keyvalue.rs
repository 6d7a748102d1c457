//! Key-value stores under the platform: whose they are, how long they last, and what a package must say to have one.

use std::path::PathBuf;

use crate::platform::{Package, Site, Up};
use crate::support::Ask;

const STORES: &str = "[capabilities]\nkeyvalue = [\"rates\"]\n";

fn package<'a>(name: &'a str, version: &'a str) -> Package<'a> {
    Package {
        more: STORES,
        ..Package::new(name, version, "p2-keyvalue")
    }
}

/// A project of the app `name` in a namespace, routed at `/NAMESPACE/`.
fn in_namespace(site: &Site, name: &str, namespace: &str) -> PathBuf {
    let folder = site.project(package(&format!("{name}-{namespace}"), "1.0.0"));
    let app = format!(
        "apiVersion: fermion.dev/v1\nkind: App\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n  routes: [{{path: /{namespace}/*, strip_prefix: true}}]\n  \
         bindings: {{rates: {{keyvalue: {{provider: embedded}}}}}}\n"
    );
    std::fs::write(folder.join("app.yaml"), app).unwrap();
    folder
}

#[track_caller]
fn gives(up: &Up, path: &str, want: &str) {
    up.get(path).expect(200, &format!("{want}\n"));
}

#[test]
fn stores_belong_to_an_app_of_a_namespace_and_outlive_its_releases() {
    let site = Site::new();
    let first = site.project(package("first", "1.0.0"));
    let second = site.project(package("second", "1.0.0"));
    let (shop, bank) = (
        in_namespace(&site, "same", "shop"),
        in_namespace(&site, "same", "bank"),
    );
    let up = Up::start(&site, &[first, second, shop, bank]);
    gives(&up, "/first/rates/set/a/1", "set");
    gives(&up, "/second/rates/get/a", "none");
    gives(&up, "/shop/rates/set/a/shop", "set");
    gives(&up, "/bank/rates/get/a", "none");
    gives(&up, "/bank/rates/set/a/bank", "set");
    gives(&up, "/shop/rates/get/a", "shop");
    gives(&up, "/bank/rates/list", "1 Some(\"a\") None");
    // Names that would lead elsewhere on a disk are no names of stores.
    for path in ["/first/..%2F..%2Fbank%2Fsame%2Frates/get/a", "/first/other/get/a"] {
        let refused = up.get(path);
        assert!(
            refused.status != 200 && !refused.text().contains("bank\n"),
            "{refused:?}"
        );
    }
    up.deploy(&site.project(package("first", "2.0.0")));
    gives(&up, "/first/rates/get/a", "1");
    gives(&up, "/first/rates/increment/a/1", "2");
    up.run(&["rollback", "first", "r1"]).done();
    gives(&up, "/first/rates/get/a", "2");

    let metrics = up.ask_admin("/metrics", Some(&up.token()));
    let want = "fermion_keyvalue_operations_total{namespace=\"bank\",app=\"same\",store=\"rates\",operation=\"write\",\
                answer=\"done\"} 1";
    assert!(metrics.text().contains(want), "{}", metrics.text());
    up.stop();
}

#[test]
fn what_was_answered_survives_a_kill() {
    let site = Site::new();
    let project = site.project(package("counting", "1.0.0"));
    let up = Up::start(&site, &[&project]);
    let address = up.gateway;
    // Four callers count as fast as they can until the process is gone; each answer promises that its step is kept.
    let counting = |_| {
        std::thread::spawn(move || {
            let mut answered = 0_u64;
            loop {
                let ask = || Ask::get("/counting/rates/increment/n/1").send(address);
                match std::panic::catch_unwind(ask) {
                    Ok(answer) if answer.status == 200 => answered += 1,
                    _ => return answered,
                }
            }
        })
    };
    let callers: Vec<_> = (0..4).map(counting).collect();
    while up
        .get("/counting/rates/get/n")
        .text()
        .trim()
        .parse::<u64>()
        .unwrap_or(0)
        < 20
    {}
    up.kill();
    let answered: u64 = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
    let up = Up::start::<&str>(&site, &[]);
    let kept = up
        .get("/counting/rates/get/n")
        .text()
        .trim()
        .parse::<u64>()
        .unwrap();
    assert!(
        answered >= 10 && kept >= answered,
        "{kept} kept, {answered} answered"
    );
    // A write may have been made whose answer did not get out: one for each caller at most.
    assert!(kept <= answered + 4 + 1, "{kept} kept, {answered} answered");
    up.stop();
}

#[test]
fn a_store_that_is_not_declared_is_not_there() {
    let site = Site::new();
    let declared = site.project(Package {
        more: "[capabilities]\nkeyvalue = [\"other\"]\n",
        ..Package::new("app", "1.0.0", "p2-keyvalue")
    });
    let up = Up::start(&site, &[&declared]);
    let refused = up.get("/app/rates/get/a");
    assert_eq!(
        (refused.status, refused.text().trim()),
        (502, "Error::NoSuchStore"),
        "{refused:?}"
    );
    // A package that imports stores and asks for none is stopped by the policy.
    let silent = site.simple("silent", "1.0.0", "p2-keyvalue");
    let words = up.deploy_refused(&silent, "POLICY_DENIED");
    assert!(words.contains("wasi:keyvalue"), "{words}");
    up.stop();
}

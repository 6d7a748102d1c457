//! `fermion up --watch`: a changed source is a new release, a broken one changes nothing.

use std::fs;

use crate::platform::{Site, Up};
use crate::support::process::guest_file;

#[test]
fn a_change_is_rebuilt_and_swapped_and_a_broken_one_is_not() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start_with(&site, &[&project], &["--watch"]);
    up.get("/shop/state").expect(200, "Hello, world!\n");

    let source = project.join("source.txt");
    // Written beside and renamed, as editors do, so that no build sees half of it.
    let change = |text: &str| {
        fs::write(project.join("source.new"), text).unwrap();
        fs::rename(project.join("source.new"), &source).unwrap();
    };
    let deployed = |number: u32| {
        let wanted = format!("\"number\":{number},");
        let fits = |line: &str| line.contains("\"event\":\"deployed\"") && line.contains(&wanted);
        up.process
            .stdout
            .wait_for(fits)
            .unwrap_or_else(|| panic!("{}", up.process.stderr.text()));
    };
    change(guest_file("p2-edge").to_str().unwrap());
    deployed(2);
    up.get("/shop/state").expect(200, "1\n");

    change("/nowhere");
    let failed = up
        .process
        .stderr
        .wait_for(|line| line.contains("BUILD_FAILED"))
        .expect("the failure is said");
    assert!(failed.contains("the running release stays"), "{failed}");
    up.get("/shop/state").expect(200, "1\n");

    change(guest_file("p3-hello").to_str().unwrap());
    deployed(3);
    up.get("/shop/state").expect(200, "Hello, world!\n");
    up.stop();
}

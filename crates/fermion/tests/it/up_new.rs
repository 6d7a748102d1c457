//! The newcomer's road with the real toolchain: `fermion new`, `fermion up`, an answer.

use crate::platform::{Ran, Site, Up};

#[test]
fn a_new_rust_project_builds_and_serves() {
    let site = Site::new();
    let project = site.path().join("first-app");
    let made = Ran::new(["new", project.to_str().unwrap(), "--lang", "rust"]);
    assert!(made.done().contains("fermion up"), "{}", made.stdout);
    // The first build fetches and compiles everything; the one of `up` finds it done.
    Ran::new(["build", project.to_str().unwrap()]).done();
    let up = Up::start(&site, &[&project]);
    let answer = up.get("/first-app/");
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("Hello"), "{}", answer.text());
    assert_eq!(up.app("first-app")["serving"], 1);
    up.stop();
    let again = Ran::new(["--json", "new", project.to_str().unwrap()]);
    assert_eq!(again.status, Some(1), "a folder that is there is left alone");
}

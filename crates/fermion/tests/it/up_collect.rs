//! Garbage: what no tag and no release needs goes when it is old enough; what a release needs stays, also when nothing
//! names it any more.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::platform::{Site, Up};

const HELLO: &str = "Hello, world!\n";

/// Makes every file of the store old enough to be garbage.
fn age(folder: &Path) {
    let old = SystemTime::now() - Duration::from_secs(7 * 24 * 60 * 60);
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            age(&entry.path());
        } else {
            fs::File::open(entry.path()).unwrap().set_modified(old).unwrap();
        }
    }
}

#[test]
fn garbage_goes_and_what_a_release_can_go_back_to_stays() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project]);
    site.simple("shop", "1.1.0", "p2-edge");
    up.deploy(&project);
    // Packed, named by nothing any more, and of no release.
    let other = site.simple("other", "1.0.0", "p3-hello");
    let data = site.data();
    let data = data.to_str().unwrap();
    crate::platform::Ran::new(["--json", "pack", other.to_str().unwrap(), "--data", data]).done();
    let repositories = site.data().join("store/repositories/acme");
    for tag in ["other/_tags/1.0.0", "shop/_tags/1.0.0", "shop/_tags/1.1.0"] {
        fs::remove_file(repositories.join(tag)).unwrap();
    }
    let gc = |words: &[&str]| up.run(&[&["gc"], words].concat()).json();
    // Young things are left alone: they may be on their way into a release.
    let young = gc(&[]);
    assert_eq!(
        (&young["contents"], &young["pinned"]),
        (&0.into(), &2.into()),
        "{young}"
    );

    age(&site.data().join("store"));
    let would = gc(&["--dry-run"]);
    assert!(would["contents"].as_u64().unwrap() >= 3, "{would}");
    assert_eq!(gc(&["--dry-run"]), would, "nothing was done");
    let done = gc(&[]);
    for count in ["manifests", "contents", "bytes"] {
        assert_eq!(done[count], would[count], "{done} {would}");
    }
    assert_eq!(gc(&[])["contents"], 0, "nothing is left to do");
    assert!(!repositories.join("other").exists(), "the whole of it is gone");
    // Both releases of the shop are there, whole, with their signatures, and after a restart too.
    up.run(&["rollback", "shop"]).done();
    up.get("/shop/").expect(200, HELLO);
    up.kill();
    fs::remove_dir_all(site.data().join("native")).unwrap();
    let up = Up::start::<&str>(&site, &[]);
    up.get("/shop/").expect(200, HELLO);
    up.run(&["rollback", "shop", "r2"]).done();
    up.get("/shop/state").expect(200, "1\n");
    up.stop();
}

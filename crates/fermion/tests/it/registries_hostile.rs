//! A registry whose disk somebody has changed, through the real binary: each ends with its code, with bounded memory, and
//! with the last good release serving.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use crate::platform::Up;
use crate::platform::remotes::{Kind, Place, Remote};

const HELLO: &str = "Hello, world!\n";
/// More than the platform needs with a package of this size, and less than what the registry tries to make it take.
const MEMORY_KIB_MAX: u64 = 400 * 1024;

struct Scene {
    up: Up,
    remote: Remote,
    /// The component of the package that is about to be deployed.
    wasm: String,
    manifest: String,
    nowhere: String,
    _places: (Place, Place),
}

/// A platform that serves 1.0.0, and a registry that also has 2.0.0.
fn scene() -> Scene {
    let here = Place::new();
    let remote = Remote::start(Kind::Debian, &here.site);
    here.push(&remote, "shop", "1.0.0", "p2-hello");
    let there = Place::trusting(&here);
    let up = Up::start::<&str>(&there.site, &[]);
    let nowhere = there.site.path().to_str().unwrap().to_owned();
    up.run(&["deploy", &nowhere, "--from", &remote.at("acme/shop:1.0.0")])
        .json();
    let manifest = here.push(&remote, "shop", "2.0.0", "p2-edge");
    let wasm = here.run(&["inspect", "acme/shop:2.0.0"]).json()["wasm"]
        .as_str()
        .unwrap()
        .to_owned();
    Scene {
        up,
        remote,
        wasm,
        manifest,
        nowhere,
        _places: (here, there),
    }
}

impl Scene {
    #[track_caller]
    fn refused(&self, code: &str) -> String {
        let from = self.remote.at("acme/shop:2.0.0");
        let words = self
            .up
            .run(&["deploy", &self.nowhere, "--from", &from])
            .refused(code);
        self.up.get("/shop/state").expect(200, HELLO);
        assert!(self.up.process.memory_kib() < MEMORY_KIB_MAX);
        words
    }
}

fn flip(path: &Path, at: u64) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}

#[test]
fn flipped_bytes_are_not_taken() {
    let scene = scene();
    for digest in [&scene.wasm, &scene.manifest] {
        let path = scene.remote.blob(digest);
        let good = fs::read(&path).unwrap();
        flip(&path, 20);
        let words = scene.refused("DIGEST_MISMATCH");
        assert!(words.contains("acme/shop"), "{words}");
        fs::write(&path, good).unwrap();
    }
    let from = scene.remote.at("acme/shop:2.0.0");
    scene.up.run(&["deploy", &scene.nowhere, "--from", &from]).json();
    scene.up.get("/shop/state").expect(200, "1\n");
    scene.up.stop();
}

#[test]
fn a_blob_longer_than_its_descriptor_is_not_taken() {
    let scene = scene();
    let path = scene.remote.blob(&scene.wasm);
    let length = fs::metadata(&path).unwrap().len();
    for longer in [length + 1, 4 << 30] {
        // Without a byte on the disk: it is all holes.
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(longer)
            .unwrap();
        scene.refused("SIZE_EXCEEDED");
    }
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(length - 1)
        .unwrap();
    scene.refused("DIGEST_MISMATCH");
    let manifest = scene.remote.blob(&scene.manifest);
    File::options()
        .write(true)
        .open(&manifest)
        .unwrap()
        .set_len(64 << 20)
        .unwrap();
    // The registry itself refuses to read it, or hands it over; neither does harm.
    let from = scene.remote.at("acme/shop:2.0.0");
    let ran = scene.up.run(&["deploy", &scene.nowhere, "--from", &from]);
    assert_eq!(ran.status, Some(1), "{}{}", ran.stdout, ran.stderr);
    scene.up.get("/shop/state").expect(200, HELLO);
    assert!(scene.up.process.memory_kib() < MEMORY_KIB_MAX);
    scene.up.stop();
}

#[test]
fn a_version_that_is_another_one_is_not_taken() {
    let scene = scene();
    // The tag of 2.0.0 is made to name 1.0.0: a way back to what has been mended since.
    let older = scene.up.app("shop")["active"]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let tags = scene
        .remote
        .folder("acme/shop/_manifests/tags/2.0.0/current/link");
    fs::write(tags, older).unwrap();
    let words = scene.refused("VERSION_MISMATCH");
    assert!(words.contains("acme/shop:1.0.0"), "{words}");
    scene.up.stop();
}

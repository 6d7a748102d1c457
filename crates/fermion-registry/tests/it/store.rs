//! Damage and garbage: what is served is whole, what is needed stays.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use fermion_model::Digest;
use fermion_package::{Collected, Collection};

use crate::server::{IMAGE, INDEX, Server, sha256};

#[test]
fn tampered_content_is_never_served_and_can_be_pushed_again() {
    let server = Server::start();
    let content = vec![7; 300_000];
    let manifest = server.push_image("a", "v1", &content);
    let layer = sha256(&content);
    let path = format!("/v2/a/blobs/{layer}");
    server.get(&path).expect(200);
    let mut bad = content.clone();
    bad[299_999] ^= 1;
    std::fs::write(server.path_of(&layer), &bad).unwrap();
    server
        .ask("GET", &path, &[("range", "bytes=0-9")], b"")
        .expect(404);
    server.get(&path).expect(404);
    server.ask("HEAD", &path, &[], b"").expect(404);
    assert_eq!(
        std::fs::read_dir(server.store.root().join("quarantine"))
            .unwrap()
            .count(),
        1
    );
    server.push_blob("a", &content);
    assert_eq!(server.get(&path).expect(200).body, content);
    let digest = sha256(&manifest);
    std::fs::write(server.path_of(&digest), b"{}").unwrap();
    assert_eq!(
        server.get("/v2/a/manifests/v1").expect(404).code(),
        "MANIFEST_UNKNOWN"
    );
    server.put("/v2/a/manifests/v1", IMAGE, &manifest).expect(201);
    assert_eq!(server.get("/v2/a/manifests/v1").expect(200).body, manifest);
}

/// Makes everything in the store older than any grace.
fn age(server: &Server) {
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let mut folders = vec![server.store.root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let file = std::fs::File::options().write(true).open(path).unwrap();
                file.set_modified(old).unwrap();
            }
        }
    }
}

/// The time by the clock of the file system.
fn now(server: &Server) -> SystemTime {
    let file = tempfile::NamedTempFile::new_in(server.folder.path()).unwrap();
    file.as_file().metadata().unwrap().modified().unwrap()
}

fn collect(server: &Server, pinned: &[&str]) -> Collected {
    let pinned: BTreeSet<Digest> = pinned.iter().map(|digest| digest.parse().unwrap()).collect();
    server
        .store
        .collect(&Collection {
            now: now(server),
            grace: Duration::from_secs(3600),
            pinned: &pinned,
        })
        .unwrap()
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one repository with one of everything that may be in it"
)]
fn garbage_is_what_no_tag_no_pin_and_no_referrer_of_these_needs() {
    let server = Server::start();
    let push = |manifest: &[u8]| {
        let digest = sha256(manifest);
        server
            .put(&format!("/v2/a/manifests/{digest}"), IMAGE, manifest)
            .expect(201);
        digest
    };
    let subject = |of: &[u8]| {
        format!(
            r#""subject":{{"mediaType":"{IMAGE}","digest":"{}","size":{}}},"#,
            sha256(of),
            of.len()
        )
    };
    let tagged = server.push_image("a", "v1", b"tagged");
    let signature = server.image("a", b"signature", &subject(&tagged));
    let signature_digest = push(&signature);
    let of_signature = push(&server.image("a", b"signature's own", &subject(&signature)));
    let pinned = server.image("a", b"pinned", "");
    let pinned_digest = push(&pinned);
    let pinned_signature = push(&server.image("a", b"pin's signature", &subject(&pinned)));
    let dead = server.image("a", b"dead", "");
    let dead_digest = push(&dead);
    let dead_signature = push(&server.image("a", b"dead's signature", &subject(&dead)));
    let tag = format!("{}.sig", dead_digest.replace(':', "-"));
    server
        .put(
            &format!("/v2/a/manifests/{tag}"),
            IMAGE,
            &server.image("a", b"old form", ""),
        )
        .expect(201);
    let child = server.image("a", b"child", "");
    let child_digest = push(&child);
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"{IMAGE}","digest":"{child_digest}","size":{}}}]}}"#,
        child.len()
    );
    server
        .put("/v2/a/manifests/index", INDEX, index.as_bytes())
        .expect(201);
    let loose = server.push_blob("a", b"of nobody");
    assert_eq!(collect(&server, &[]), Collected::default(), "all is young");
    age(&server);
    let young = server.push_blob("a", b"of somebody soon");
    let collected = collect(&server, &[&pinned_digest]);
    assert_eq!((collected.manifests, collected.tags), (3, 1), "{collected:?}");
    for digest in [
        &signature_digest,
        &of_signature,
        &pinned_digest,
        &pinned_signature,
        &child_digest,
    ] {
        server.get(&format!("/v2/a/manifests/{digest}")).expect(200);
    }
    for content in [
        &b"tagged"[..],
        b"signature",
        b"signature's own",
        b"pinned",
        b"pin's signature",
        b"child",
    ] {
        server
            .get(&format!("/v2/a/blobs/{}", sha256(content)))
            .expect(200);
    }
    for digest in [&dead_digest, &dead_signature] {
        server.get(&format!("/v2/a/manifests/{digest}")).expect(404);
        assert!(!server.path_of(digest).exists());
    }
    server.get(&format!("/v2/a/blobs/{loose}")).expect(404);
    server.get(&format!("/v2/a/blobs/{young}")).expect(200);
    assert_eq!(collect(&server, &[&pinned_digest]), Collected::default());
    // The pin is gone: so is what it held.
    age(&server);
    collect(&server, &[]);
    server
        .get(&format!("/v2/a/manifests/{pinned_digest}"))
        .expect(404);
    server.get("/v2/a/manifests/v1").expect(200);
}

#[test]
fn a_repository_without_content_is_gone_and_content_of_two_stays_with_the_other() {
    let server = Server::start();
    server.push_image("a", "v1", b"shared");
    server.push_image("b/c", "v1", b"shared");
    server.ask("DELETE", "/v2/a/manifests/v1", &[], b"").expect(202);
    age(&server);
    collect(&server, &[]);
    server.get("/v2/a/tags/list").expect(404);
    server
        .get(&format!("/v2/b/c/blobs/{}", sha256(b"shared")))
        .expect(200);
    let names: Vec<_> = server.store.repositories().unwrap();
    assert_eq!(
        names.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        ["b/c"]
    );
}

#[test]
fn a_damaged_manifest_keeps_what_it_may_have_named() {
    let server = Server::start();
    let manifest = server.push_image("a", "v1", b"layer");
    std::fs::write(server.path_of(&sha256(&manifest)), b"damaged").unwrap();
    age(&server);
    assert_eq!(collect(&server, &[]).links, 0);
    server.put("/v2/a/manifests/v1", IMAGE, &manifest).expect(201);
    server
        .get(&format!("/v2/a/blobs/{}", sha256(b"layer")))
        .expect(200);
}

#[test]
fn pushes_beside_collections_lose_nothing() {
    let server = Server::start();
    // What is pushed lies here already, old and needed by nobody.
    for round in 0..8_u8 {
        server.push_image("shared", "gone", &[round]);
    }
    server
        .ask("DELETE", "/v2/shared/manifests/gone", &[], b"")
        .expect(202);
    age(&server);
    std::thread::scope(|scope| {
        let pushers: Vec<_> = (0..3_u8)
            .map(|pusher| {
                let server = &server;
                scope.spawn(move || {
                    for round in 0..8_u8 {
                        let name = format!("p{pusher}");
                        let tag = format!("r{round}");
                        server.push_image(&name, &tag, &[pusher, round]);
                        server.push_image("shared", &format!("{name}-{tag}"), &[round]);
                    }
                })
            })
            .collect();
        while pushers.iter().any(|pusher| !pusher.is_finished()) {
            collect(&server, &[]);
        }
    });
    age(&server);
    collect(&server, &[]);
    for pusher in 0..3_u8 {
        for round in 0..8_u8 {
            server
                .get(&format!("/v2/p{pusher}/manifests/r{round}"))
                .expect(200);
            let layer = sha256(&[pusher, round]);
            assert_eq!(
                server
                    .get(&format!("/v2/p{pusher}/blobs/{layer}"))
                    .expect(200)
                    .body,
                [pusher, round]
            );
            server
                .get(&format!("/v2/shared/manifests/p{pusher}-r{round}"))
                .expect(200);
        }
    }
    assert!(server.folder.path().join("store").is_dir());
}

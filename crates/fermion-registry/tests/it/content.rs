//! Pull, push and content management.

use crate::server::{IMAGE, Server, sha256, sha512};

#[test]
fn what_is_not_there_is_not_found_in_the_form_of_the_specification() {
    let server = Server::start();
    let digest = sha256(b"nothing");
    for (path, code) in [
        (format!("/v2/a/blobs/{digest}"), "BLOB_UNKNOWN"),
        (format!("/v2/a/manifests/{digest}"), "MANIFEST_UNKNOWN"),
        ("/v2/a/manifests/v1".to_owned(), "MANIFEST_UNKNOWN"),
        (
            "/v2/a/manifests/.INVALID_MANIFEST_NAME".to_owned(),
            "MANIFEST_UNKNOWN",
        ),
        ("/v2/a/tags/list".to_owned(), "NAME_UNKNOWN"),
        (
            format!("/v2/a/blobs/uploads/{}", "0".repeat(32)),
            "BLOB_UPLOAD_UNKNOWN",
        ),
    ] {
        assert_eq!(server.get(&path).expect(404).code(), code, "{path}");
        if !path.contains("uploads") {
            let head = server.ask("HEAD", &path, &[], b"").expect(404);
            assert!(head.body.is_empty());
        }
    }
    let version = server.get("/v2/").expect(200);
    assert_eq!(version.header("docker-distribution-api-version"), "registry/2.0");
}

#[test]
fn names_and_digests_that_are_none_are_refused() {
    let server = Server::start();
    for name in ["A", "a..b", "a//b", "..%2f..%2fetc", "-a", &"a".repeat(256)] {
        let path = format!("/v2/{name}/manifests/v1");
        assert_eq!(server.get(&path).expect(400).code(), "NAME_INVALID", "{name}");
    }
    for digest in ["sha256:bad", "md5:00", "sha256:../../x"] {
        let path = format!("/v2/a/manifests/{digest}");
        let status = server.get(&path).status;
        assert!(status == 400 || status == 404, "{digest}");
    }
    let path = "/v2/a/manifests/sha256:totallywrong";
    let refused = server.put(path, IMAGE, b"blablabla").expect(400);
    assert_eq!(refused.code(), "DIGEST_INVALID");
}

#[test]
fn blobs_go_in_by_every_road_and_come_out_byte_for_byte() {
    let server = Server::start();
    let whole = server.push_blob("a/b", b"monolithic");
    let begun = server.ask("POST", "/v2/a/b/blobs/uploads/", &[], b"").expect(202);
    assert_eq!(begun.header("range"), "0-0");
    let place = begun.header("location").to_owned();
    let then = sha256(b"post, then put");
    let put = server
        .ask("PUT", &format!("{place}?digest={then}"), &[], b"post, then put")
        .expect(201);
    assert_eq!(put.header("location"), format!("/v2/a/b/blobs/{then}"));
    assert_eq!(put.header("docker-content-digest"), then);
    let streamed = server.ask("POST", "/v2/a/b/blobs/uploads/", &[], b"").expect(202);
    let place = streamed.header("location").to_owned();
    server.ask("PATCH", &place, &[], b"streamed").expect(202);
    let stream = sha256(b"streamed");
    server
        .ask("PUT", &format!("{place}?digest={stream}"), &[], b"")
        .expect(201);
    let empty = server.push_blob("a/b", b"");
    let long = sha512(b"longer address");
    let path = format!("/v2/a/b/blobs/uploads/?digest={long}");
    server.ask("POST", &path, &[], b"longer address").expect(201);
    for (digest, content) in [
        (&whole, &b"monolithic"[..]),
        (&then, b"post, then put"),
        (&stream, b"streamed"),
        (&empty, b""),
        (&long, b"longer address"),
    ] {
        let path = format!("/v2/a/b/blobs/{digest}");
        let got = server.get(&path).expect(200);
        assert_eq!(got.body, content);
        let head = server.ask("HEAD", &path, &[], b"").expect(200);
        for answer in [&got, &head] {
            assert_eq!(answer.header("docker-content-digest"), digest);
            assert_eq!(answer.header("content-length"), content.len().to_string());
        }
        assert!(head.body.is_empty());
        // Others have nothing of it.
        server.get(&format!("/v2/other/blobs/{digest}")).expect(404);
    }
}

#[test]
fn chunks_are_taken_in_order_only() {
    let server = Server::start();
    let content = b"first chunk|second chunk|the rest";
    let begun = server.ask("POST", "/v2/a/blobs/uploads/", &[], b"").expect(202);
    let place = begun.header("location").to_owned();
    let patch = |range: &str, body: &[u8]| server.ask("PATCH", &place, &[("content-range", range)], body);
    let refused = patch("12-24", &content[12..25]).expect(416);
    assert_eq!(refused.header("location"), place);
    let first = patch("0-11", &content[..12]).expect(202);
    assert_eq!(first.header("range"), "0-11");
    patch("0-11", &content[..12]).expect(416);
    patch("12-24", &content[12..20]).expect(400);
    patch("nonsense", &content[12..20]).expect(400);
    let status = server.get(&place).expect(204);
    assert_eq!(status.header("range"), "0-11");
    assert_eq!(status.header("location"), place);
    patch("12-24", &content[12..25]).expect(202);
    let digest = sha256(content);
    let finish = format!("{place}?digest={digest}");
    let last = |range: &str, body: &[u8]| server.ask("PUT", &finish, &[("content-range", range)], body);
    last("26-32", &content[26..]).expect(416);
    last("25-32", &content[25..]).expect(201);
    assert_eq!(
        server.get(&format!("/v2/a/blobs/{digest}")).expect(200).body,
        content
    );
    assert_eq!(server.get(&place).expect(404).code(), "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn content_of_another_digest_is_refused_and_forgotten() {
    let server = Server::start();
    let digest = sha256(b"what was meant");
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    assert_eq!(
        server.ask("POST", &path, &[], b"other").expect(400).code(),
        "DIGEST_INVALID"
    );
    let begun = server.ask("POST", "/v2/a/blobs/uploads/", &[], b"").expect(202);
    let place = begun.header("location").to_owned();
    server.ask("PUT", &place, &[], b"what was meant").expect(400);
    server
        .ask("PUT", &format!("{place}?digest={digest}"), &[], b"other")
        .expect(400);
    server.get(&format!("/v2/a/blobs/{digest}")).expect(404);
    let begun = server.ask("POST", "/v2/a/blobs/uploads/", &[], b"").expect(202);
    let place = begun.header("location").to_owned();
    // An upload belongs to where it was begun.
    server.get(&place.replace("/v2/a/", "/v2/b/")).expect(404);
    server.ask("DELETE", &place, &[], b"").expect(204);
    server.ask("DELETE", &place, &[], b"").expect(404);
    assert_eq!(
        std::fs::read_dir(server.store.root().join("uploads"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn blobs_are_mounted_or_else_an_upload_begins() {
    let server = Server::start();
    let digest = server.push_blob("from/here", b"shared");
    let mount = |query: &str| server.ask("POST", &format!("/v2/to/there/blobs/uploads/?{query}"), &[], b"");
    let missing = sha256(b"nobody has it");
    mount(&format!("mount={missing}&from=from/here")).expect(202);
    mount(&format!("mount={digest}&from=no/such")).expect(202);
    mount(&format!("mount={missing}")).expect(202);
    server.get(&format!("/v2/to/there/blobs/{digest}")).expect(404);
    let mounted = mount(&format!("mount={digest}&from=from/here")).expect(201);
    assert_eq!(mounted.header("location"), format!("/v2/to/there/blobs/{digest}"));
    assert_eq!(
        server.get(&format!("/v2/to/there/blobs/{digest}")).body,
        b"shared"
    );
    server
        .ask("DELETE", &format!("/v2/from/here/blobs/{digest}"), &[], b"")
        .expect(202);
    server.get(&format!("/v2/from/here/blobs/{digest}")).expect(404);
    server.get(&format!("/v2/to/there/blobs/{digest}")).expect(200);
}

#[test]
fn parts_of_blobs() {
    let server = Server::start();
    let content: Vec<u8> = (0..400_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let digest = server.push_blob("a", &content);
    let path = format!("/v2/a/blobs/{digest}");
    assert_eq!(server.get(&path).expect(200).body, content);
    let part = |range: &str| server.ask("GET", &path, &[("range", range)], b"");
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=500-1499", 500, 1499),
        ("bytes=100000-", 100_000, 399_999),
        ("bytes=-500", 399_500, 399_999),
        ("bytes=399999-500000", 399_999, 399_999),
    ] {
        let got = part(range).expect(206);
        assert_eq!(got.body, &content[first..=last], "{range}");
        assert_eq!(
            got.header("content-range"),
            format!("bytes {first}-{last}/400000")
        );
    }
    for range in ["bytes=400000-", "bytes=500-0", "bytes=-0"] {
        assert_eq!(part(range).expect(416).header("content-range"), "bytes */400000");
    }
    assert_eq!(part("bytes=0-1,5-6").expect(200).body.len(), content.len());
    let other = [("range", "bytes=0-0"), ("if-range", "\"another\"")];
    server.ask("GET", &path, &other, b"").expect(200);
}

#[test]
fn manifests_keep_their_bytes_and_their_type() {
    let server = Server::start();
    let mut manifest = server.push_image("a", "v1", b"layer");
    let digest = sha256(&manifest);
    for reference in ["v1", &digest] {
        let path = format!("/v2/a/manifests/{reference}");
        let got = server.get(&path).expect(200);
        assert_eq!(got.body, manifest);
        let head = server.ask("HEAD", &path, &[], b"").expect(200);
        for answer in [&got, &head] {
            assert_eq!(answer.header("content-type"), IMAGE);
            assert_eq!(answer.header("docker-content-digest"), digest);
            assert_eq!(answer.header("content-length"), manifest.len().to_string());
        }
    }
    manifest.push(b'\n');
    let again = server.put("/v2/a/manifests/v1", IMAGE, &manifest).expect(201);
    assert_eq!(
        again.header("location"),
        format!("/v2/a/manifests/{}", sha256(&manifest))
    );
    assert_eq!(server.get("/v2/a/manifests/v1").body, manifest);
    assert_eq!(
        server
            .put(&format!("/v2/a/manifests/{digest}"), IMAGE, &manifest)
            .expect(400)
            .code(),
        "DIGEST_INVALID"
    );
    let long = sha512(&manifest);
    server
        .put(&format!("/v2/a/manifests/{long}?tag=x&tag=y"), IMAGE, &manifest)
        .expect(201);
    assert_eq!(
        server.get("/v2/a/manifests/y").header("docker-content-digest"),
        long
    );
}

#[test]
fn manifests_that_cannot_be_kept_are_refused() {
    let server = Server::start();
    let good = String::from_utf8(server.push_image("a", "v1", b"layer")).unwrap();
    let put = |body: &str| server.put("/v2/a/manifests/v2", IMAGE, body.as_bytes());
    for bad in [
        "{}",
        "[]",
        "blablabla",
        &good.replace("\"schemaVersion\":2", "\"schemaVersion\":1"),
        &good.replace("\"size\":5", "\"size\":6"),
        &good.replace("sha256:", "md5:"),
        &good.replace(IMAGE, "application/json"),
    ] {
        assert_eq!(put(bad).expect(400).code(), "MANIFEST_INVALID", "{bad}");
    }
    let missing = good.replace(&sha256(b"layer"), &sha256(b"not here"));
    assert_eq!(put(&missing).expect(404).code(), "MANIFEST_BLOB_UNKNOWN");
    let elsewhere = missing.replace("\"size\":5", "\"size\":5,\"urls\":[\"https://example.com/x\"]");
    put(&elsewhere).expect(201);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    put(&deep).expect(400);
    let large = "x".repeat(4 * 1024 * 1024 + 1);
    assert_eq!(put(&large).expect(413).code(), "SIZE_INVALID");
    // Whoever sends all of it before reading gets to the answer as well.
    assert_eq!(put(&" ".repeat(20 << 20)).expect(413).code(), "SIZE_INVALID");
    let bare = server
        .ask("PUT", "/v2/a/manifests/v3", &[], good.as_bytes())
        .expect(201);
    assert!(bare.has("docker-content-digest"));
    assert_eq!(server.get("/v2/a/manifests/v3").header("content-type"), IMAGE);
    server
        .put("/v2/a/manifests/-bad", IMAGE, good.as_bytes())
        .expect(400);
}

#[test]
fn deleting_a_tag_leaves_the_manifest_and_deleting_that_takes_its_tags() {
    let server = Server::start();
    let manifest = server.push_image("a", "one", b"layer");
    server.put("/v2/a/manifests/two", IMAGE, &manifest).expect(201);
    server.put("/v2/a/manifests/three", IMAGE, &manifest).expect(201);
    let delete = |what: &str| server.ask("DELETE", &format!("/v2/a/{what}"), &[], b"");
    let digest = sha256(&manifest);
    delete("manifests/one").expect(202);
    delete("manifests/one").expect(404);
    server.get("/v2/a/manifests/one").expect(404);
    server.get(&format!("/v2/a/manifests/{digest}")).expect(200);
    delete(&format!("manifests/{digest}")).expect(202);
    delete(&format!("manifests/{digest}")).expect(404);
    server.get("/v2/a/manifests/two").expect(404);
    let tags = server.get("/v2/a/tags/list").expect(200).json();
    assert_eq!(tags["tags"], serde_json::json!([]));
    let layer = sha256(b"layer");
    server.get(&format!("/v2/a/blobs/{layer}")).expect(200);
    delete(&format!("blobs/{layer}")).expect(202);
    delete(&format!("blobs/{layer}")).expect(404);
}

#[test]
fn methods_and_paths_without_meaning_are_refused() {
    let server = Server::start();
    server.ask("POST", "/v2/", &[], b"").expect(405);
    server.ask("POST", "/v2/a/tags/list", &[], b"").expect(405);
    server.ask("PATCH", "/v2/a/manifests/v1", &[], b"").expect(405);
    server.get("/v2/a/nothing").expect(404);
    let foreign = server.raw("GET", "/v2/", &[("host", "evil.example.com")], b"");
    assert!(foreign.status == 421 || foreign.status == 400);
}

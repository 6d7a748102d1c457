//! Who may do what.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fermion_package::Quotas;
use fermion_registry::{Anonymous, NewToken};

use crate::server::{IMAGE, Server, sha256};

fn basic(token: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("anybody:{token}")))
}

fn token(server: &Server, repository: &str, pull: bool, push: bool) -> (String, String) {
    let new = NewToken {
        repositories: vec![repository.to_owned()],
        pull,
        push,
    };
    let bytes = repository.as_bytes();
    let (view, text) = server
        .tokens
        .create(&new, SystemTime::UNIX_EPOCH, |random| {
            for (at, byte) in random.iter_mut().enumerate() {
                *byte = bytes[at % bytes.len()] ^ u8::from(pull) ^ (u8::from(push) << 1);
            }
            Ok(())
        })
        .unwrap();
    (view.id, text)
}

#[test]
fn nobody_may_do_anything_and_cannot_tell_what_there_is() {
    let server = Server::start();
    server.push_image("secret/app", "v1", b"layer");
    let refused = |path: &str, fields: &[(&str, &str)]| {
        let answer = server.raw("GET", path, fields, b"").expect(401);
        assert_eq!(answer.code(), "UNAUTHORIZED");
        assert!(answer.header("www-authenticate").starts_with("Basic realm="));
        answer.body
    };
    let there = refused("/v2/secret/app/manifests/v1", &[]);
    assert_eq!(refused("/v2/secret/none/manifests/v1", &[]), there);
    assert_eq!(refused("/v2/", &[]), there);
    assert_eq!(refused("/v2/NOT-A-NAME", &[]).len(), there.len());
    for wrong in [
        "Bearer wrong",
        "Basic !",
        "Bearer",
        "Digest x",
        &basic("wrong"),
        &basic("fermion_0_0"),
    ] {
        refused("/v2/secret/app/manifests/v1", &[("authorization", wrong)]);
    }
    let twice = [
        ("authorization", "Bearer the-admin-token"),
        ("authorization", "Bearer x"),
    ];
    refused("/v2/", &twice);
    let admin = basic("the-admin-token");
    server
        .raw("GET", "/v2/", &[("authorization", &admin)], b"")
        .expect(200);
}

#[test]
fn tokens_grant_pull_and_push_by_name_until_they_are_revoked() {
    let server = Server::start();
    let manifest = server.push_image("acme/app", "v1", b"layer");
    server.push_image("other/app", "v1", b"layer");
    let (reader_id, reader) = token(&server, "acme/*", true, false);
    let (_, writer) = token(&server, "acme/app", true, true);
    let ask = |token: &str, method: &str, path: &str, body: &[u8]| {
        let authorization = basic(token);
        let fields = [("authorization", authorization.as_str()), ("content-type", IMAGE)];
        server.raw(method, path, &fields, body)
    };
    ask(&reader, "GET", "/v2/", b"").expect(200);
    ask(&reader, "GET", "/v2/acme/app/manifests/v1", b"").expect(200);
    assert_eq!(
        ask(&reader, "PUT", "/v2/acme/app/manifests/v2", &manifest)
            .expect(403)
            .code(),
        "DENIED"
    );
    ask(&reader, "DELETE", "/v2/acme/app/manifests/v1", b"").expect(403);
    ask(&reader, "POST", "/v2/acme/app/blobs/uploads/", b"").expect(403);
    let there = ask(&reader, "GET", "/v2/other/app/manifests/v1", b"").expect(403);
    let not_there = ask(&reader, "GET", "/v2/other/none/manifests/v1", b"").expect(403);
    assert_eq!(there.body, not_there.body);
    ask(&writer, "PUT", "/v2/acme/app/manifests/v2", &manifest).expect(201);
    ask(&writer, "GET", "/v2/acme/other/manifests/v1", b"").expect(403);
    // What may not be read elsewhere cannot be mounted from there, nor from everywhere.
    let layer = server.push_blob("other/app", b"theirs alone");
    let mount = format!("/v2/acme/app/blobs/uploads/?mount={layer}");
    ask(&writer, "POST", &format!("{mount}&from=other/app"), b"").expect(202);
    ask(&writer, "POST", &mount, b"").expect(202);
    ask(&writer, "GET", &format!("/v2/acme/app/blobs/{layer}"), b"").expect(404);
    server.tokens.revoke(&reader_id).unwrap();
    ask(&reader, "GET", "/v2/acme/app/manifests/v1", b"").expect(401);
    ask(&writer, "GET", "/v2/acme/app/manifests/v2", b"").expect(200);
}

#[test]
fn what_everybody_may_do_needs_no_token_and_the_rest_does() {
    let server = Server::start_with(Quotas::default(), Anonymous::Pull);
    server.push_image("a", "v1", b"layer");
    let version = server.raw("GET", "/v2/", &[], b"").expect(200);
    assert!(version.has("www-authenticate"));
    server.raw("GET", "/v2/a/manifests/v1", &[], b"").expect(200);
    server.raw("POST", "/v2/a/blobs/uploads/", &[], b"").expect(401);
    server.raw("DELETE", "/v2/a/manifests/v1", &[], b"").expect(401);
    server
        .raw(
            "GET",
            "/v2/a/manifests/v1",
            &[("authorization", "Bearer wrong")],
            b"",
        )
        .expect(401);
}

#[test]
fn quotas_bound_bytes_tags_repositories_and_uploads() {
    let quotas = Quotas {
        bytes: Some(10_000),
        repository_bytes: Some(5_000),
        prefix_bytes: vec![("small/".to_owned(), 1_000)],
        repositories: Some(3),
        tags: Some(2),
        uploads: Some(1),
    };
    let server = Server::start_with(quotas, Anonymous::Nothing);
    let post = |name: &str, body: &[u8]| {
        let path = format!("/v2/{name}/blobs/uploads/?digest={}", sha256(body));
        server.ask("POST", &path, &[], body)
    };
    assert_eq!(post("a", &[1; 5_001]).expect(403).code(), "DENIED");
    post("a", &[1; 3_000]).expect(201);
    post("a", &[2; 3_000]).expect(403);
    post("small/x", &[3; 600]).expect(201);
    post("small/y", &[4; 600]).expect(403);
    post("b", &[5; 4_000]).expect(201);
    post("c", &[6; 10]).expect(403);
    // What is deleted makes room.
    let digest = sha256(&[1; 3_000]);
    server
        .ask("DELETE", &format!("/v2/a/blobs/{digest}"), &[], b"")
        .expect(202);
    let manifest = server.push_image("a", "one", b"layer");
    server.put("/v2/a/manifests/two", IMAGE, &manifest).expect(201);
    server.put("/v2/a/manifests/three", IMAGE, &manifest).expect(403);
    server.put("/v2/a/manifests/one", IMAGE, &manifest).expect(201);
    server.ask("POST", "/v2/a/blobs/uploads/", &[], b"").expect(202);
    server.ask("POST", "/v2/a/blobs/uploads/", &[], b"").expect(403);
}

//! Registries that lie, flood, loop, stall and fail: each ends with its code, in bounded time and memory, and with
//! nothing in the store that anybody could load.

use std::sync::Arc;

use fermion_package::canonical::{INDEX_TYPE, MANIFEST_TYPE};

use super::server::{Reply, Request, Server, digest};
use super::{Talk, at, filled, fresh};
use crate::fixtures::{World, world};

/// Pulls from a registry with the package that answers some requests otherwise; gives the code.
async fn code(hook: impl Fn(&Request, &World) -> Option<Reply> + Send + Sync + 'static) -> (String, usize) {
    code_for(Talk::new(), hook).await
}

async fn code_for(
    talk: Talk,
    hook: impl Fn(&Request, &World) -> Option<Reply> + Send + Sync + 'static,
) -> (String, usize) {
    let world = Arc::new(world());
    let hooked = world.clone();
    let server = Server::hooked(false, move |request| {
        // Filling it is not part of the mischief.
        let is_reading = matches!(request.method.as_str(), "GET");
        if is_reading { hook(request, &hooked) } else { None }
    });
    for document in [world.digest(), &world.packed.config, &world.packed.wasm] {
        server.put_blob(&world.store.read(document, 1 << 20).unwrap());
    }
    let manifest = world.store.read(world.digest(), 1 << 20).unwrap();
    server.put_manifest("acme/hello", "1.2.3", MANIFEST_TYPE, &manifest);
    let fresh = fresh();
    let pulled = talk
        .client
        .pull(&fresh.store, &at(&server, "acme/hello:1.2.3"))
        .await;
    let code = pulled.map_or_else(|error| error.code(), |_| "OK").to_owned();
    if code != "OK" {
        assert_ne!(fresh.code(&world), "OK");
        assert!(fresh.store.tags(&world.packed.reference.name).unwrap().is_empty());
    }
    assert!(server.requests().len() < 40, "{:#?}", server.asked());
    (code, talk.retries())
}

fn of_wasm(request: &Request, world: &World) -> bool {
    request.is("GET", &format!("/blobs/{}", world.packed.wasm))
}

fn of_tag(request: &Request) -> bool {
    request.is("GET", "/manifests/1.2.3")
}

fn head(lines: &[&str]) -> Vec<u8> {
    format!("HTTP/1.1 200 X\r\n{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

const TYPE: &str = "content-type: application/vnd.oci.image.manifest.v1+json";

#[tokio::test]
async fn undisturbed_it_works() {
    assert_eq!(code(|_, _| None).await, ("OK".to_owned(), 0));
}

#[tokio::test]
async fn other_bytes_are_refused() {
    let flipped = |request: &Request, world: &World| {
        let mut wasm = world.store.read(&world.packed.wasm, 1 << 20).unwrap();
        wasm[20] ^= 1;
        of_wasm(request, world).then(|| Reply::Full(200, vec![], wasm))
    };
    assert_eq!(code(flipped).await.0, "DIGEST_MISMATCH");
    let shorter = |request: &Request, world: &World| {
        of_wasm(request, world).then(|| Reply::Full(200, vec![], b"short".to_vec()))
    };
    assert_eq!(code(shorter).await.0, "DIGEST_MISMATCH");
    // The header says one digest, the bytes have another.
    let lying = |request: &Request, world: &World| {
        let named = format!("docker-content-digest: {}", world.packed.wasm);
        let manifest = world.store.read(world.digest(), 1 << 20).unwrap();
        of_tag(request).then(|| Reply::Full(200, vec![TYPE.to_owned(), named], manifest))
    };
    assert_eq!(code(lying).await.0, "DIGEST_MISMATCH");
}

#[tokio::test]
async fn a_manifest_by_digest_must_be_that_manifest() {
    let (wanted, other) = (world(), crate::fixtures::world_with("other"));
    let server = Server::start(true);
    let bytes = other.store.read(other.digest(), 1 << 20).unwrap();
    let hex = wanted.digest().to_string();
    server.put_manifest("acme/hello", &hex, MANIFEST_TYPE, &bytes);
    let reference = at(&server, &format!("acme/hello@{hex}"));
    let error = Talk::new().client.resolve(&reference).await.unwrap_err();
    assert_eq!(error.code(), "DIGEST_MISMATCH");
}

#[tokio::test]
async fn too_much_is_refused_before_and_while_it_comes() {
    let announced = |request: &Request, world: &World| {
        of_wasm(request, world).then(|| Reply::Endless(head(&["content-length: 99999999999"])))
    };
    assert_eq!(code(announced).await, ("SIZE_EXCEEDED".to_owned(), 0));
    let unannounced = |request: &Request, world: &World| {
        of_wasm(request, world).then(|| Reply::Endless(head(&["connection: close"])))
    };
    assert_eq!(code(unannounced).await, ("SIZE_EXCEEDED".to_owned(), 0));
    let manifest = |request: &Request, _: &World| {
        of_tag(request).then(|| Reply::Endless(head(&["content-length: 99999999999", TYPE])))
    };
    assert_eq!(code(manifest).await, ("SIZE_EXCEEDED".to_owned(), 0));
    let signature = |request: &Request, _: &World| {
        (request.is("GET", "/manifests/sha256-") && request.path.ends_with(".sig"))
            .then(|| Reply::Endless(head(&["content-length: 99999999999", TYPE])))
    };
    assert_eq!(code(signature).await, ("SIZE_EXCEEDED".to_owned(), 0));
}

#[tokio::test]
async fn sizes_of_descriptors_are_bounded_before_anything_is_read() {
    for (part, size) in [("config", 1 << 21), ("layers", 1_u64 << 30), ("layers", u64::MAX)] {
        let announces = move |request: &Request, world: &World| {
            let mut manifest: serde_json::Value = serde_json::from_str(&world.text(world.digest())).unwrap();
            match part {
                "config" => manifest["config"]["size"] = size.into(),
                _ => manifest["layers"][0]["size"] = size.into(),
            }
            if request.path.contains("/blobs/") {
                panic!("nothing is read: {}", request.path);
            }
            of_tag(request)
                .then(|| Reply::Full(200, vec![TYPE.to_owned()], manifest.to_string().into_bytes()))
        };
        assert_eq!(code(announces).await.0, "SIZE_EXCEEDED", "{part} {size}");
    }
}

#[tokio::test]
async fn what_is_no_package_is_not_pulled() {
    let two = |request: &Request, world: &World| {
        let mut manifest: serde_json::Value = serde_json::from_str(&world.text(world.digest())).unwrap();
        let layer = manifest["layers"][0].clone();
        manifest["layers"].as_array_mut().unwrap().push(layer);
        of_tag(request).then(|| Reply::Full(200, vec![TYPE.to_owned()], manifest.to_string().into_bytes()))
    };
    assert_eq!(code(two).await.0, "UNSUPPORTED_LAYOUT");
    let index = |request: &Request, _: &World| {
        let text =
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        of_tag(request).then(|| Reply::Full(200, vec![format!("content-type: {INDEX_TYPE}")], text.into()))
    };
    assert_eq!(code(index).await.0, "UNSUPPORTED_LAYOUT");
    let page = |request: &Request, _: &World| {
        of_tag(request).then(|| {
            Reply::Full(
                200,
                vec!["content-type: text/html".to_owned()],
                b"<html>".to_vec(),
            )
        })
    };
    assert_eq!(code(page).await.0, "UNSUPPORTED_LAYOUT");
}

#[tokio::test]
async fn a_version_tag_that_was_moved_is_noticed() {
    let world = world();
    let server = filled(&world, Server::start(true)).await;
    let manifest = world.store.read(world.digest(), 1 << 20).unwrap();
    server.put_manifest("acme/hello", "2.0.0", MANIFEST_TYPE, &manifest);
    server.put_manifest("acme/hello", "prod", MANIFEST_TYPE, &manifest);
    let talk = Talk::new();
    let error = talk
        .client
        .pull(&fresh().store, &at(&server, "acme/hello:2.0.0"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "VERSION_MISMATCH");
    assert!(error.to_string().contains("acme/hello:1.2.3"), "{error}");
    talk.client
        .pull(&fresh().store, &at(&server, "acme/hello:prod"))
        .await
        .unwrap();
}

#[tokio::test]
async fn who_stalls_or_fails_for_long_is_given_up() {
    let hang = |request: &Request, world: &World| of_wasm(request, world).then_some(Reply::Hang);
    assert_eq!(code_for(Talk::impatient(), hang).await.0, "REGISTRY_TIMEOUT");
    let cut = |request: &Request, world: &World| {
        let length = format!(
            "content-length: {}",
            world.store.size(&world.packed.wasm).unwrap()
        );
        of_wasm(request, world).then(|| Reply::Raw([head(&[&length]), b"\0asm".to_vec()].concat()))
    };
    assert_eq!(code(cut).await, ("REGISTRY_UNREACHABLE".to_owned(), 4));
    let fails = |request: &Request, _: &World| of_tag(request).then(|| Reply::status(503));
    assert_eq!(code(fails).await, ("REGISTRY_UNAVAILABLE".to_owned(), 4));
    let busy = |request: &Request, _: &World| {
        (of_tag(request) && request.before < 3)
            .then(|| Reply::Full(429, vec!["retry-after: 1".to_owned()], vec![]))
    };
    assert_eq!(code(busy).await, ("OK".to_owned(), 3));
    let forbidden = |request: &Request, _: &World| of_tag(request).then(|| Reply::status(403));
    assert_eq!(code(forbidden).await, ("REGISTRY_UNAUTHORIZED".to_owned(), 0));
    let gone = |request: &Request, _: &World| of_tag(request).then(|| Reply::status(404));
    assert_eq!(code(gone).await, ("REMOTE_MISSING".to_owned(), 0));
    let odd = |request: &Request, _: &World| of_tag(request).then(|| Reply::status(418));
    assert_eq!(code(odd).await, ("REGISTRY_REFUSED".to_owned(), 0));
}

#[tokio::test]
async fn a_part_that_was_not_asked_for_is_refused() {
    let part = |request: &Request, world: &World| {
        let size = world.store.size(&world.packed.wasm).unwrap();
        let range = format!("content-range: bytes 7-{}/{size}", size - 1);
        of_wasm(request, world).then(|| Reply::Full(206, vec![range], vec![0; 10]))
    };
    assert_eq!(code(part).await.0, "REGISTRY_ANSWER_INVALID");
}

#[tokio::test]
async fn redirects_end_and_lead_nowhere_else() {
    let looping =
        |request: &Request, world: &World| of_wasm(request, world).then(|| Reply::redirect(&request.path));
    assert_eq!(code(looping).await.0, "REDIRECT_REFUSED");
    for target in [
        "http://registry.example.com/blob",
        "http://user:pass@127.0.0.1/blob",
        "ftp://127.0.0.1/blob",
        "file:///etc/passwd",
        "https://",
    ] {
        let away =
            move |request: &Request, world: &World| of_wasm(request, world).then(|| Reply::redirect(target));
        assert_eq!(code(away).await.0, "REDIRECT_REFUSED", "{target}");
    }
}

#[tokio::test]
async fn endless_lists_of_referrers_end() {
    let pages = |request: &Request, _: &World| {
        let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX_TYPE}","manifests":[]}}"#);
        let link = format!("link: <{}?page={}>; rel=\"next\"", request.path, request.before);
        request.is("GET", "/referrers/").then(|| {
            Reply::Full(
                200,
                vec![format!("content-type: {INDEX_TYPE}"), link],
                index.into_bytes(),
            )
        })
    };
    assert_eq!(code(pages).await.0, "SIZE_EXCEEDED");
    let many = |request: &Request, _: &World| {
        let entry = format!(
            r#"{{"mediaType":"{MANIFEST_TYPE}","digest":"{}","size":9}}"#,
            digest(b"x")
        );
        let entries = vec![entry; 1000].join(",");
        let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX_TYPE}","manifests":[{entries}]}}"#);
        request.is("GET", "/referrers/").then(|| {
            Reply::Full(
                200,
                vec![format!("content-type: {INDEX_TYPE}")],
                index.into_bytes(),
            )
        })
    };
    assert_eq!(code(many).await.0, "SIZE_EXCEEDED");
}

#[tokio::test]
async fn what_refers_to_something_else_is_not_attached() {
    let (mine, other) = (world(), crate::fixtures::world_with("other"));
    let server = filled(&mine, filled(&other, Server::start(false)).await).await;
    let list = |world: &World| format!("sha256-{}", world.digest().hex());
    let strange = server.manifest("acme/hello", &list(&other)).unwrap();
    server.put_manifest("acme/hello", &list(&mine), INDEX_TYPE, &strange);
    let fresh = fresh();
    let pinned = at(&server, &format!("acme/hello@{}", mine.digest()));
    let pulled = Talk::new().client.pull(&fresh.store, &pinned).await.unwrap();
    assert_eq!((pulled.referrers, fresh.code(&mine)), (0, "OK"));
}

#[tokio::test]
async fn a_registry_that_stores_something_else_is_noticed() {
    let world = world();
    let server = Server::hooked(true, |request| {
        let named = format!("docker-content-digest: {}", digest(b"something else"));
        request
            .is("PUT", "/manifests/")
            .then(|| Reply::Full(201, vec![named], vec![]))
    });
    let error = Talk::new()
        .client
        .push(&world.store, world.digest(), &at(&server, "acme/hello"))
        .await;
    assert_eq!(error.unwrap_err().code(), "DIGEST_MISMATCH");
    // An upload that is to go on at another host is not followed.
    let server = Server::hooked(true, |request| {
        let elsewhere = vec!["location: http://127.0.0.1:9/upload".to_owned()];
        request
            .is("POST", "/uploads/")
            .then(|| Reply::Full(202, elsewhere, vec![]))
    });
    let error = Talk::new()
        .client
        .push(&world.store, world.digest(), &at(&server, "acme/hello"))
        .await;
    assert_eq!(error.unwrap_err().code(), "REDIRECT_REFUSED");
}

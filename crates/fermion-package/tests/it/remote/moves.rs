//! What is carried: everything that belongs to a package, byte for byte, in the right order, once, and on from where it
//! broke off.

use fermion_package::sign;

use super::server::{Reply, Server};
use super::{Talk, at, filled, fresh};
use crate::fixtures::{key, now, world, world_with};

const REPOSITORY: &str = "acme/hello";

#[tokio::test]
async fn a_package_comes_back_as_it_went() {
    for has_referrers in [true, false] {
        let world = world();
        let server = Server::start(has_referrers);
        let talk = Talk::new();
        let pushed = talk
            .client
            .push(&world.store, world.digest(), &at(&server, REPOSITORY))
            .await
            .unwrap();
        assert_eq!(pushed.at, at(&server, "acme/hello:1.2.3"));
        assert_eq!((pushed.digest, pushed.referrers), (*world.digest(), 1));
        let hex = world.digest().hex();
        assert!(
            server
                .manifest(REPOSITORY, &format!("sha256-{hex}.sig"))
                .is_some()
        );
        let index = server.manifest(REPOSITORY, &format!("sha256-{hex}"));
        assert_eq!(
            index.is_none(),
            has_referrers,
            "the fallback list is for registries that keep none"
        );

        let fresh = fresh();
        let pulled = talk.client.pull(&fresh.store, &pushed.at).await.unwrap();
        assert_eq!((pulled.digest, pulled.referrers), (*world.digest(), 1));
        assert_eq!(fresh.code(&world), "OK");
        let name = &world.packed.reference.name;
        assert_eq!(
            fresh.store.tag(name, "1.2.3").unwrap(),
            None,
            "naming it is not the client's"
        );
        pulled.set_tag(&fresh.store).unwrap();
        assert_eq!(fresh.store.tags(name).unwrap(), world.store.tags(name).unwrap());
        assert_eq!(talk.client.resolve(&pushed.at).await.unwrap(), *world.digest());
        assert_eq!(talk.retries(), 0);
    }
}

#[tokio::test]
async fn the_tag_comes_last_and_what_is_there_is_not_sent_again() {
    let world = world();
    let server = Server::start(false);
    let talk = Talk::new();
    let to = at(&server, REPOSITORY);
    talk.client.push(&world.store, world.digest(), &to).await.unwrap();
    let asked = server.asked();
    let place = |part: &str| {
        let found = asked
            .iter()
            .rposition(|line| line.starts_with("PUT") && line.contains(part));
        found.unwrap_or_else(|| panic!("no PUT {part} in {asked:#?}"))
    };
    let hex = world.digest().hex();
    let order = [
        place("/blobs/uploads/"),
        place(&format!("/manifests/sha256:{hex}")),
        place(&format!("/manifests/sha256-{hex}.sig")),
        place("/manifests/1.2.3"),
    ];
    assert!(order.is_sorted(), "{asked:#?}");
    assert!(asked.last().unwrap().ends_with("/manifests/1.2.3"), "{asked:#?}");

    server.forget();
    talk.client.push(&world.store, world.digest(), &to).await.unwrap();
    let again: Vec<_> = server
        .asked()
        .into_iter()
        .filter(|line| line.contains("uploads"))
        .collect();
    assert!(again.is_empty(), "{again:?}");
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    // Whether the registry does ranges or not, and however often it breaks off within reason.
    for does_ranges in [true, false] {
        let world = world_with(&"x".repeat(300_000));
        let wasm = world.store.read(&world.packed.wasm, 1 << 20).unwrap();
        let path = format!("/blobs/{}", world.packed.wasm);
        let server = Server::hooked(true, move |request| {
            let from = request.header("range").map_or(0, |range| {
                range
                    .trim_start_matches("bytes=")
                    .trim_end_matches('-')
                    .parse::<usize>()
                    .unwrap()
            });
            if !request.is("GET", &path) || request.before > 2 {
                return None;
            }
            let (status, rest) = match from {
                from if from > 0 && does_ranges => {
                    let range = format!(
                        "content-range: bytes {from}-{}/{}\r\n",
                        wasm.len() - 1,
                        wasm.len()
                    );
                    (format!("206 X\r\n{range}"), &wasm[from..])
                }
                _ => ("200 X\r\n".to_owned(), &wasm[..]),
            };
            let head = format!("HTTP/1.1 {status}content-length: {}\r\n\r\n", rest.len());
            let cut = 50_000 * (request.before + 1);
            Some(Reply::Raw(
                [head.as_bytes(), &rest[..cut.min(rest.len() / 2)]].concat(),
            ))
        });
        let server = filled(&world, server).await;
        let (talk, fresh) = (Talk::new(), fresh());
        talk.client
            .pull(&fresh.store, &at(&server, "acme/hello:1.2.3"))
            .await
            .unwrap();
        assert_eq!((fresh.code(&world), talk.retries()), ("OK", 3));
        let asked: Vec<_> = server
            .requests()
            .into_iter()
            .filter(|request| request.is("GET", &world.packed.wasm.to_string()))
            .map(|request| request.header("range").map(str::to_owned))
            .collect();
        assert_eq!((asked.len(), asked[0].as_deref()), (4, None));
        assert!(asked[1..].iter().all(Option::is_some), "{asked:?}");
    }
}

#[tokio::test]
async fn a_later_process_goes_on_where_an_earlier_one_ended() {
    let world = world_with(&"x".repeat(3_000_000));
    let wasm = world.store.read(&world.packed.wasm, 1 << 24).unwrap();
    let path = format!("/blobs/{}", world.packed.wasm);
    let (size, cut) = (
        wasm.len(),
        std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true)),
    );
    let cutting = cut.clone();
    // For the first process it breaks off after half, and then answers nobody.
    let server = Server::hooked(true, move |request| {
        if !request.is("GET", &path) || !cutting.load(std::sync::atomic::Ordering::SeqCst) {
            return None;
        }
        if request.before > 0 {
            return Some(Reply::status(404));
        }
        let head = format!("HTTP/1.1 200 X\r\ncontent-length: {size}\r\n\r\n");
        Some(Reply::Raw([head.as_bytes(), &wasm[..size / 2]].concat()))
    });
    let server = filled(&world, server).await;
    let folder = tempfile::tempdir().unwrap();
    let reference = at(&server, "acme/hello:1.2.3");
    for damage in [false, true] {
        let root = folder.path().join(format!("{damage}"));
        cut.store(true, std::sync::atomic::Ordering::SeqCst);
        server.forget();
        let store = fermion_package::Store::open(&root).unwrap();
        let error = Talk::new().client.pull(&store, &reference).await.unwrap_err();
        assert_eq!(error.code(), "REMOTE_MISSING", "{error}");
        drop(store);

        cut.store(false, std::sync::atomic::Ordering::SeqCst);
        server.forget();
        let left: Vec<_> = std::fs::read_dir(root.join("uploads"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        assert_eq!(left.len(), 1);
        if damage {
            let mut bytes = std::fs::read(&left[0]).unwrap();
            bytes[100] ^= 1;
            std::fs::write(&left[0], bytes).unwrap();
        }
        let store = fermion_package::Store::open(&root).unwrap();
        Talk::new().client.pull(&store, &reference).await.unwrap();
        fermion_package::load(&store, world.digest(), &crate::fixtures::trust(1), now()).unwrap();
        let ranges: Vec<_> = server
            .requests()
            .into_iter()
            .filter(|request| request.is("GET", &world.packed.wasm.to_string()))
            .map(|request| request.header("range").map(str::to_owned))
            .collect();
        let half = Some(format!("bytes={}-", size / 2));
        assert_eq!(ranges, if damage { vec![half, None] } else { vec![half] });
    }
}

#[tokio::test]
async fn an_upload_goes_on_where_the_registry_says() {
    let world = world_with(&"x".repeat(3_000_000));
    let server = Server::start(true);
    server.cut_upload_at(1_000_000);
    let talk = Talk::new();
    talk.client
        .push(&world.store, world.digest(), &at(&server, REPOSITORY))
        .await
        .unwrap();
    assert_eq!(talk.retries(), 1);
    let parts: Vec<_> = server
        .requests()
        .into_iter()
        .filter(|request| request.method == "PATCH")
        .map(|request| request.body.len())
        .collect();
    let size = usize::try_from(world.store.size(&world.packed.wasm).unwrap()).unwrap();
    assert_eq!(parts, [1_000_000, size - 1_000_000]);
    let (blobs, _) = server.contents();
    assert_eq!(blobs[&world.packed.wasm.to_string()].len(), size);
}

#[tokio::test]
async fn an_upload_that_the_registry_has_forgotten_begins_anew() {
    let world = world_with(&"x".repeat(3_000_000));
    let server = Server::hooked(true, |request| {
        request.is("GET", "/uploads/").then(|| Reply::status(404))
    });
    server.cut_upload_at(1_000_000);
    let talk = Talk::new();
    talk.client
        .push(&world.store, world.digest(), &at(&server, REPOSITORY))
        .await
        .unwrap();
    let (blobs, _) = server.contents();
    assert!(blobs.contains_key(&world.packed.wasm.to_string()));
}

#[tokio::test]
async fn signatures_are_added_to_those_that_are_there() {
    for has_referrers in [true, false] {
        let (first, second) = (world(), world());
        let server = filled(&first, Server::start(has_referrers)).await;
        // The same package, signed by somebody else elsewhere.
        let elsewhere = fresh();
        let talk = Talk::new();
        talk.client
            .pull(&elsewhere.store, &at(&server, "acme/hello:1.2.3"))
            .await
            .unwrap();
        sign(
            &elsewhere.store,
            &first.packed.reference.name,
            first.digest(),
            &key(2),
        )
        .unwrap();
        talk.client
            .push(&elsewhere.store, first.digest(), &at(&server, REPOSITORY))
            .await
            .unwrap();
        // Whoever knows only the first signature takes none away.
        talk.client
            .push(&second.store, second.digest(), &at(&server, REPOSITORY))
            .await
            .unwrap();

        let all = fresh();
        let pulled = talk
            .client
            .pull(&all.store, &at(&server, "acme/hello:1.2.3"))
            .await
            .unwrap();
        assert_eq!(pulled.referrers, 2);
        for number in [1, 2] {
            let trust = crate::fixtures::trust(number);
            fermion_package::load(&all.store, first.digest(), &trust, now()).unwrap();
        }
        // And pulling into a store that has one of them adds the other.
        talk.client
            .pull(&second.store, &at(&server, "acme/hello:1.2.3"))
            .await
            .unwrap();
        fermion_package::load(&second.store, first.digest(), &crate::fixtures::trust(2), now()).unwrap();
        fermion_package::load(&second.store, first.digest(), &crate::fixtures::trust(1), now()).unwrap();
    }
}

#[tokio::test]
async fn a_copy_is_the_same_to_the_last_byte() {
    let world = world();
    let from = filled(&world, Server::start(false)).await;
    let to = Server::start(false);
    let (talk, between) = (Talk::new(), fresh());
    let copied = talk
        .client
        .copy(
            &between.store,
            &at(&from, "acme/hello:1.2.3"),
            &at(&to, REPOSITORY),
        )
        .await
        .unwrap();
    assert_eq!(copied.digest, *world.digest());
    assert_eq!(from.contents(), to.contents());
}

#[tokio::test]
async fn within_a_registry_blobs_are_taken_over() {
    let world = world();
    let server = filled(
        &world,
        Server::hooked(true, |request| {
            (request.is("HEAD", "/other/") && request.path.contains("/blobs/")).then(|| Reply::status(404))
        }),
    )
    .await;
    let (talk, between) = (Talk::new(), fresh());
    talk.client
        .copy(
            &between.store,
            &at(&server, "acme/hello:1.2.3"),
            &at(&server, "other/hello"),
        )
        .await
        .unwrap();
    let asked = server.asked();
    assert!(
        asked
            .iter()
            .any(|line| line.contains("mount=") && line.contains("from=acme%2Fhello")),
        "{asked:#?}"
    );
    assert!(!asked.iter().any(|line| line.starts_with("PATCH")), "{asked:#?}");
}

#[tokio::test]
async fn a_digest_pins_and_sets_no_tag() {
    let world = world();
    let server = Server::start(true);
    let talk = Talk::new();
    let pinned = at(&server, &format!("acme/hello@{}", world.digest()));
    talk.client
        .push(&world.store, world.digest(), &pinned)
        .await
        .unwrap();
    assert!(server.manifest(REPOSITORY, "1.2.3").is_none());
    talk.client.pull(&fresh().store, &pinned).await.unwrap();
    let other = at(&server, &format!("acme/hello@{}", world.packed.wasm));
    let error = talk
        .client
        .push(&world.store, world.digest(), &other)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "DIGEST_MISMATCH");
    let error = talk
        .client
        .pull(&fresh().store, &at(&server, REPOSITORY))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "NAME_INVALID");
}

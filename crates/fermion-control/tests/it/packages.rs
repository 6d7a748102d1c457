//! The whole road of a package over the API: made and signed elsewhere, uploaded blob by blob, verified for real.

use std::sync::Arc;

use fermion_api::{DeployRequest, RefTag, Refs};
use fermion_control::verifier;
use fermion_model::manifest::Manifest;
use fermion_package::{Export, PrivateKey, Store, Trust, export, publish};

use crate::platform::{LONG, Platform, request};

const COMPONENT: &str = r#"(component (core module (memory 1)) (instance $handler)
    (export "wasi:http/incoming-handler@0.2.3" (instance $handler)))"#;
const MANIFEST: &str = "[package]\nname = \"acme/hello\"\nversion = \"1.4.0\"\ncomponent = \"a.wasm\"";

struct Road {
    platform: Platform,
    export: Export,
    request: DeployRequest,
}

/// A platform that trusts the key of `trusted`, and a package signed with the key of `signer`.
async fn road(signer: &str, trusted: &str) -> Road {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let key = |name: &str| PrivateKey::load_or_create(&folder.path().join(name)).unwrap();
    let elsewhere = Store::open(&folder.path().join("elsewhere")).unwrap();
    let manifest = Manifest::parse(MANIFEST, "fermion.toml").unwrap();
    let wasm = wat::parse_str(COMPONENT).unwrap();
    let packed = publish(&manifest, &wasm, &elsewhere, &key(signer)).unwrap();
    let trust = Trust::of([key(trusted).public().clone()]);
    let (_keeper, trust) = tokio::sync::watch::channel(trust);
    let seen = fermion_package::channel::Seen::new(&folder.path().join("keys"));
    let clock = || std::time::SystemTime::UNIX_EPOCH;
    let check = |store: &Store| verifier(store.clone(), trust, seen, Arc::new(clock));
    let mut platform = Platform::checking(Arc::clone(&folder), LONG, check).await;
    platform.start_node();

    let export = export(&elsewhere, &packed.digest).unwrap();
    let tags = export.refs.tags.iter().map(|(tag, digest)| RefTag {
        tag: tag.clone(),
        digest: *digest,
    });
    let refs = Refs {
        name: export.refs.name.clone(),
        tags: tags.collect(),
    };
    let request = DeployRequest {
        digest: Some(packed.digest),
        source: None,
        refs: Some(refs),
        ..request(0, "/hello/*")
    };
    Road {
        platform,
        export,
        request,
    }
}

async fn upload(road: &Road, leave_out: Option<usize>) {
    for (index, blob) in road.export.blobs.iter().enumerate() {
        if leave_out != Some(index) {
            road.platform
                .client
                .put_blob(&blob.digest, &blob.path)
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn a_signed_package_is_uploaded_verified_and_released() {
    let road = road("mine", "mine").await;
    upload(&road, None).await;
    assert_eq!(road.platform.deploy("hello", &road.request).await, Ok(1));
    let status = road.platform.client.status().await.unwrap();
    let active = status.apps[0].active.as_ref().unwrap();
    assert_eq!(
        (active.package.as_str(), active.version.to_string().as_str()),
        ("acme/hello", "1.4.0")
    );
}

#[tokio::test]
async fn a_package_that_is_not_whole_is_refused_whichever_blob_is_missing() {
    let road = road("mine", "mine").await;
    for missing in 0..road.export.blobs.len() {
        let root = road.platform.store.root().join("blobs/sha256");
        std::fs::remove_dir_all(&root).unwrap();
        std::fs::create_dir(&root).unwrap();
        upload(&road, Some(missing)).await;
        let refused = road.platform.deploy("hello", &road.request).await;
        assert!(refused.is_err(), "{:?}", road.export.blobs[missing]);
    }
    upload(&road, None).await;
    assert_eq!(
        road.platform.deploy("hello", &road.request).await,
        Ok(1),
        "no refusal took a number"
    );
}

#[tokio::test]
async fn a_package_signed_by_a_stranger_is_refused() {
    let road = road("theirs", "mine").await;
    upload(&road, None).await;
    assert_eq!(
        road.platform.deploy("hello", &road.request).await,
        Err("SIG_UNTRUSTED".to_owned())
    );
    assert!(road.platform.client.status().await.unwrap().apps.is_empty());
}

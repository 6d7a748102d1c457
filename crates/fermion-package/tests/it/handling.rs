//! Packing, building, inspecting and carrying packages.

use std::fs;
use std::io::Write;

use fermion_model::manifest::Manifest;
use fermion_package::{Cancel, Environment, Store, build, export, import_refs, inspect, load, pack, publish};

use crate::fixtures::{component, key, manifest, now, trust, world};

#[test]
fn the_same_inputs_make_the_same_package_everywhere_and_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let wasm = component(&["wasi:io/streams@0.2.3"], "hello");
    let root = folder.path().join("shared");
    let digests: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let store = Store::open(&root).unwrap();
                    publish(&manifest("acme/hello"), &wasm, &store, &key(1))
                        .unwrap()
                        .digest
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let elsewhere = Store::open(&folder.path().join("elsewhere")).unwrap();
    let again = pack(&manifest("acme/hello"), &wasm, &elsewhere).unwrap().digest;
    assert!(digests.iter().all(|digest| *digest == again));
    load(&Store::open(&root).unwrap(), &again, &trust(1), now()).unwrap();
}

#[test]
fn what_would_be_refused_is_not_packed() {
    let world = world();
    let refused = pack(
        &manifest("acme/hello"),
        &component(&["acme:foo/bar@1.0.0"], ""),
        &world.store,
    );
    assert_eq!(refused.unwrap_err().code(), "POLICY_DENIED");
    let refused = pack(&manifest("acme/hello"), b"not wasm", &world.store);
    assert_eq!(refused.unwrap_err().code(), "COMPONENT_INVALID");
}

#[test]
fn a_package_travels_with_its_signatures() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    let there = Store::open(folder.path()).unwrap();
    let exported = export(&world.store, world.digest()).unwrap();
    assert_eq!(exported.refs.tags.last().unwrap().0, "1.2.3");
    assert_eq!(
        import_refs(&there, &exported.refs).unwrap_err().code(),
        "BLOB_MISSING"
    );
    for blob in &exported.blobs {
        let mut writer = there.writer(blob.size).unwrap();
        writer.push(&fs::read(&blob.path).unwrap()).unwrap();
        assert_eq!(writer.finish(&blob.digest).unwrap(), blob.size);
    }
    let mut hostile = exported.refs.clone();
    hostile.tags.push(("9.9.9".to_owned(), *world.digest()));
    assert_eq!(
        import_refs(&there, &hostile).unwrap_err().code(),
        "UNSUPPORTED_LAYOUT"
    );
    hostile.tags = vec![("../../evil".to_owned(), *world.digest())];
    assert_eq!(import_refs(&there, &hostile).unwrap_err().code(), "NAME_INVALID");
    assert_eq!(there.tags(&exported.refs.name).unwrap(), []);

    import_refs(&there, &exported.refs).unwrap();
    assert_eq!(there.resolve(&world.packed.reference).unwrap(), *world.digest());
    load(&there, world.digest(), &trust(1), now()).unwrap();
}

#[test]
fn an_inspection_shows_what_is_inside_and_who_signed_it() {
    let world = world();
    let inspected = inspect(&world.store, world.digest(), &trust(1), now()).unwrap();
    assert_eq!(
        (inspected.name.as_str(), inspected.version.as_str()),
        ("acme/hello", "1.2.3")
    );
    assert_eq!(
        inspected.imports,
        ["wasi:cli/stdout@0.2.3", "wasi:io/streams@0.2.3"]
    );
    assert_eq!(
        (
            inspected.limits.memory.as_str(),
            inspected.limits.cpu_time.as_str()
        ),
        ("64MiB", "50ms")
    );
    assert_eq!(inspected.capabilities.http, ["https://tax.example.com"]);
    assert_eq!(inspected.signer, Some(key(1).public().id()));
    assert!(inspected.refusal.is_none());
    assert!(
        inspected
            .sections
            .iter()
            .any(|section| section.name == "data" && section.bytes > 5)
    );

    let refused = inspect(&world.store, world.digest(), &trust(2), now()).unwrap();
    assert_eq!(refused.refusal.unwrap().code, "SIG_UNTRUSTED");
    let json = serde_json::to_value(&refused.signatures).unwrap();
    assert_eq!(
        json[0],
        serde_json::json!({"form": "simplesigning", "verdict": "untrusted"})
    );
}

#[test]
fn a_build_command_runs_in_its_folder_and_leaves_a_component() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("source"), component(&[], "built")).unwrap();
    let text = r#"
[package]
name = "hello"
version = "1.0.0"
component = "out/hello.wasm"
[build]
command = "echo building with $GREETING; mkdir -p out && cp source out/hello.wasm"
environment = ["GREETING"]
"#;
    let manifest = Manifest::parse(text, "fermion.toml").unwrap();
    let variables = [
        ("PATH", "/usr/bin:/bin"),
        ("GREETING", "care"),
        ("CARGO_TARGET_DIR", "/nowhere"),
    ];
    let environment = Environment::new(variables.map(|(name, value)| (name.into(), value.into())));
    let mut log = Vec::new();
    let mut on_line = |line: &str| writeln!(log, "{line}").unwrap();
    let wasm = build(
        &manifest,
        folder.path(),
        &environment,
        &Cancel::default(),
        &mut on_line,
    )
    .unwrap();
    assert_eq!(wasm, component(&[], "built"));
    assert_eq!(log, b"building with care\n");
}

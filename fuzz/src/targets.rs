//! What is fuzzed: a function for each kind of input that strangers write. It takes any bytes and must neither panic nor
//! take long; beside that each states something that must hold for whatever it accepts. Used by the binaries of
//! cargo-fuzz and, with the seeds and their mutations, by a test that runs everywhere.

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use fermion_model::app::App;
use fermion_model::manifest::Manifest;
use fermion_model::{Digest, PackageName, RemoteReference};
use fermion_package::channel::ChannelDocument;
use fermion_package::policy::{Action, Policies, PolicyFacts, Question};
use fermion_package::secrets::Scan;
use fermion_package::trust::SignedRoot;
use fermion_package::{PublicKey, Trust, When, facts, outside, sbom, sizes, strip};

// The registry's own file: nothing else of that crate is needed, and so none of it is built.
#[path = "../../crates/fermion-registry/src/http/range.rs"]
mod range;

/// A target by its name, which is also that of its folder of seeds.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 12] = [
    ("app", app),
    ("bundle", bundle),
    ("channel", channel),
    ("component", component),
    ("config", config),
    ("facts", policy_facts),
    ("manifest", manifest),
    ("range", ranges),
    ("reference", reference),
    ("sbom", bill_of_materials),
    ("secrets", secret_scan),
    ("trust_root", trust_root),
];

fn text(data: &[u8]) -> &str {
    std::str::from_utf8(data).unwrap_or_default()
}

/// `fermion.toml`: what is refused is refused in words, with a place.
pub fn manifest(data: &[u8]) {
    match Manifest::parse(text(data), "fermion.toml") {
        Ok(manifest) => {
            let name = manifest.name.to_string();
            assert_eq!(name.parse(), Ok(manifest.name), "a name is written as it is read");
        }
        Err(refusal) => assert!(refusal.to_string().starts_with("fermion.toml"), "{refusal}"),
    }
}

/// `app.yaml`.
pub fn app(data: &[u8]) {
    match App::parse(text(data), "app.yaml") {
        Ok(app) => assert!(!app.routes.is_empty(), "an app can be reached"),
        Err(refusal) => assert!(refusal.to_string().starts_with("app.yaml"), "{refusal}"),
    }
}

/// A package's manifest and config, as they come from a registry.
pub fn config(data: &[u8]) {
    if let Err(refusal) = outside::config(data) {
        assert!(!refusal.code().is_empty());
    }
    black_box(outside::manifest(data).is_ok());
}

/// The key of the seeds: nobody has its private half.
const KEY: &str = include_str!("../seeds/key.pub");
/// The package that the seeds sign.
const SIGNED: &str = include_str!("../seeds/signed.txt");

/// A signature bundle: none but the one that the key has made of this package may be accepted.
pub fn bundle(data: &[u8]) {
    let key = PublicKey::from_pem(KEY, "key.pub".as_ref()).expect("the seeds' key is one");
    let trust = Trust::of([key]);
    let digest: Digest = SIGNED.trim().parse().expect("the seeds' digest is one");
    let name: PackageName = "acme/hello".parse().expect("a name");
    let when = When::admission(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let other = Digest::from_bytes([7; 32]);
    black_box(outside::bundle(data, &name, &digest, &trust, when));
    assert!(
        !outside::bundle(data, &name, &other, &trust, when),
        "nobody signed this one"
    );
}

/// A trust root: what was read is written as it was understood.
pub fn trust_root(data: &[u8]) {
    if let Ok(root) = SignedRoot::read(data) {
        let again = SignedRoot::read(&root.write()).expect("what was written is read");
        assert_eq!(again.document(), root.document());
        assert_eq!(again.identity(), root.identity());
    }
}

/// What a channel says.
pub fn channel(data: &[u8]) {
    if let Ok(document) = serde_json::from_slice::<ChannelDocument>(data) {
        let text = serde_json::to_vec(&document).expect("it is JSON");
        let again = serde_json::from_slice::<ChannelDocument>(&text).expect("what was written is read");
        assert_eq!(again, document);
    }
}

/// The registry's `Range` and `Content-Range`: what is given out lies within the content.
pub fn ranges(data: &[u8]) {
    let text = text(data);
    for length in [0, 1, 1000, u64::MAX] {
        if let range::Part::Bytes { first, last } = range::wanted(Some(text), length) {
            assert!(first <= last && last < length, "{text:?} of {length}");
        }
    }
    if let Some((first, last)) = range::chunk(text) {
        assert!(
            last.checked_sub(first)
                .and_then(|bytes| bytes.checked_add(1))
                .is_some()
        );
    }
}

/// References and digests: what is accepted is written as it is read.
pub fn reference(data: &[u8]) {
    let text = text(data);
    if let Ok(reference) = text.parse::<RemoteReference>() {
        let (shown, path) = (reference.to_string(), reference.repository());
        assert!(!path.contains("..") && !path.starts_with('/'), "{shown}");
        assert_eq!(
            shown.parse::<RemoteReference>().as_ref(),
            Ok(&reference),
            "{shown}"
        );
    }
    if let Ok(name) = text.parse::<PackageName>() {
        assert_eq!(name.to_string(), text);
        assert!(!text.contains("..") && !text.starts_with('/'), "{text}");
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
}

/// A component: facts, sizes, stripping. Stripping twice is stripping once, and changes no fact.
pub fn component(data: &[u8]) {
    black_box(sizes(data).is_ok());
    let found = facts(data);
    if let Ok(stripped) = strip(data) {
        assert_eq!(strip(&stripped).expect("what was written is read"), stripped);
        if let Ok(found) = found {
            let after = facts(&stripped).expect("a stripped component is one");
            assert_eq!((after.imports, after.exports), (found.imports, found.exports));
        }
    }
}

/// The list of crates in a component, a lock file, a bill of materials that is given: what comes of the first two is
/// accepted as the third.
pub fn bill_of_materials(data: &[u8]) {
    let text = "[package]\nname = \"a\"\nversion = \"1.0.0\"\ncomponent = \"a.wasm\"";
    let manifest = Manifest::parse(text, "fermion.toml").expect("a manifest");
    black_box(sbom::given(data, "data").is_ok());
    for made in [sbom::of_list(&manifest, data), sbom::of_lock(&manifest, data)]
        .into_iter()
        .flatten()
    {
        let again = sbom::given(&made.bytes, "made").expect("what was made can be given");
        assert_eq!(again.components, made.components);
    }
}

/// Facts for policies: whatever they are, the default policies come to a decision, and say why they deny.
pub fn policy_facts(data: &[u8]) {
    static POLICIES: LazyLock<Policies> = LazyLock::new(Policies::builtin);
    let Ok(facts) = PolicyFacts::parse(data) else {
        return;
    };
    let question = Question {
        by: "operator".to_owned(),
        action: Action::Deploy,
        namespace: "shop".parse().expect("a namespace"),
        app: "hello".parse().expect("an app"),
        hosts: Default::default(),
        paths: Default::default(),
        config_keys: facts.capabilities.config.clone(),
    };
    let decision = POLICIES.decide(&facts, &question);
    assert!(!decision.explanation().is_empty());
    let text = serde_json::to_vec(&facts).expect("facts are JSON");
    assert_eq!(
        PolicyFacts::parse(&text).ok(),
        Some(facts),
        "what was written is read"
    );
}

/// The scan for secrets, over a component and over text.
pub fn secret_scan(data: &[u8]) {
    let mut scan = Scan::default();
    scan.component(data);
    scan.text("config", data);
    black_box(scan.found().count());
}

//! From a manifest and a component to a package in the store. Deterministic: the same two inputs give the same digest
//! on every machine. Refuses to pack what would be refused when it is loaded.

use std::collections::BTreeMap;

use fermion_model::manifest::Manifest;
use fermion_model::{Digest, PackageName, PackageReference};
use serde_json::Value;

use crate::attest::{PROVENANCE_PREDICATE, SBOM_TYPE};
use crate::canonical::{self, CONFIG_TYPE, Descriptor, ImageManifest, MANIFEST_TYPE, WASM_TYPE};
use crate::contract::{Config, SnapshotOf};
use crate::limits::PROVENANCES_MAX;
use crate::{Facts, PrivateKey, Result, Store, attach, attest, facts, sign};

/// A package that has been written.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Name and version.
    pub reference: PackageReference,
    /// The digest of the OCI manifest: the package's identity.
    pub digest: Digest,
    /// The config blob.
    pub config: Digest,
    /// The component.
    pub wasm: Digest,
    /// The component's length.
    pub wasm_bytes: u64,
    /// What the component says of itself.
    pub facts: Facts,
}

/// What goes with a package.
#[derive(Debug, Clone, Copy, Default)]
pub struct Companions<'a> {
    /// What is in it: CycloneDX JSON. The package names it by its digest.
    pub sbom: Option<&'a [u8]>,
    /// Where it comes from: the SLSA predicate, and the key that vouches for it.
    pub provenance: Option<(&'a Value, &'a PrivateKey)>,
    /// What the component was before its initialisation, if it is a snapshot.
    pub snapshot: Option<&'a SnapshotOf>,
}

/// Writes the package's blobs. It has no tag and no signature yet, so nothing will run it.
pub fn pack(manifest: &Manifest, wasm: &[u8], store: &Store) -> Result<Packed> {
    pack_naming(manifest, wasm, store, None, None)
}

fn pack_naming(
    manifest: &Manifest,
    wasm: &[u8],
    store: &Store,
    sbom: Option<Digest>,
    snapshot: Option<&SnapshotOf>,
) -> Result<Packed> {
    let facts = facts(wasm)?;
    facts.check_imports()?;
    let layer = Descriptor::of(WASM_TYPE, wasm).note(
        "org.opencontainers.image.title",
        &format!("{}.wasm", manifest.name.base()),
    );
    let config = canonical::json(&Config::new(manifest, &facts, layer.digest, sbom, snapshot));
    let config_descriptor = Descriptor::of(CONFIG_TYPE, &config);
    let (wasm_digest, config_digest) = (layer.digest, config_descriptor.digest);
    let mut image = ImageManifest::new(config_descriptor, vec![layer]);
    image.annotations.insert(
        "org.opencontainers.image.version".to_owned(),
        manifest.version.to_string(),
    );
    let image = canonical::json(&image);
    let repository = store.repository(&manifest.name);
    repository.put_blob(wasm)?;
    repository.put_blob(&config)?;
    repository.put_manifest(MANIFEST_TYPE, &image, None)?;
    let digest = canonical::digest(&image);
    Ok(Packed {
        reference: manifest.reference(),
        digest,
        config: config_digest,
        wasm: wasm_digest,
        wasm_bytes: wasm.len() as u64,
        facts,
    })
}

/// Packs, signs in both forms, and only then points the version's tag at the package.
pub fn publish(manifest: &Manifest, wasm: &[u8], store: &Store, key: &PrivateKey) -> Result<Packed> {
    publish_with(manifest, wasm, store, key, Companions::default())
}

/// The same, with what goes along attached before the tag is set.
pub fn publish_with(
    manifest: &Manifest,
    wasm: &[u8],
    store: &Store,
    key: &PrivateKey,
    companions: Companions<'_>,
) -> Result<Packed> {
    let Companions {
        sbom,
        provenance,
        snapshot,
    } = companions;
    let packed = pack_naming(manifest, wasm, store, sbom.map(canonical::digest), snapshot)?;
    sign(store, &manifest.name, &packed.digest, key)?;
    if let Some(sbom) = sbom {
        attach(
            store,
            &manifest.name,
            &packed.digest,
            SBOM_TYPE,
            sbom,
            BTreeMap::new(),
        )?;
    }
    // The same component comes from many commits; that the first few were recorded is enough.
    if let Some((predicate, key)) = provenance
        && provenances(store, &manifest.name, packed.digest)? < PROVENANCES_MAX
    {
        attest(
            store,
            &manifest.name,
            &packed.digest,
            PROVENANCE_PREDICATE,
            predicate,
            key,
        )?;
    }
    store.set_tag(&manifest.name, &manifest.version.to_string(), &packed.digest)?;
    Ok(packed)
}

/// How many statements about where it comes from a package has already.
fn provenances(store: &Store, name: &PackageName, digest: Digest) -> Result<usize> {
    let referrers = store.repository(name).referrers(&digest.into())?;
    let is_one = |notes: &BTreeMap<String, String>| notes.values().any(|note| note == PROVENANCE_PREDICATE);
    Ok(referrers
        .iter()
        .filter(|referrer| is_one(&referrer.annotations))
        .count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Trust, load};

    fn component(data: &str) -> Vec<u8> {
        let text = format!(
            r#"(component (core module (memory 1) (data (i32.const 0) "{data}")) (instance $handler)
                (export "wasi:http/incoming-handler@0.2.3" (instance $handler)))"#
        );
        wat::parse_str(text).unwrap()
    }

    /// Cuts the power before each effect of a publication in turn: the tag still points at a package that loads, the old
    /// one or the new, and publishing again completes it.
    #[test]
    fn a_power_cut_at_any_effect_of_a_publication_leaves_a_package_that_loads() {
        let text = "[package]\nname = \"acme/hello\"\nversion = \"1.0.0\"\ncomponent = \"a.wasm\"";
        let manifest = Manifest::parse(text, "fermion.toml").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let key = PrivateKey::load_or_create(&folder.path().join("keys")).unwrap();
        let when = crate::When::admission(std::time::SystemTime::UNIX_EPOCH);
        let trust = Trust::of([key.public().clone()]);
        for effects in (0..).step_by(3) {
            let root = folder.path().join(format!("store-{effects}"));
            let store = Store::open(&root).unwrap();
            let old = publish(&manifest, &component("old"), &store, &key)
                .unwrap()
                .digest;
            store.cut_power_after(effects);
            let done = publish(&manifest, &component("new"), &store, &key).is_ok();

            let after = Store::open(&root).unwrap();
            let tagged = after.resolve(&manifest.reference()).unwrap();
            load(&after, &tagged, &trust, when).unwrap();
            load(&after, &old, &trust, when).unwrap();
            let new = publish(&manifest, &component("new"), &after, &key)
                .unwrap()
                .digest;
            assert_eq!(after.resolve(&manifest.reference()).unwrap(), new);
            load(&after, &new, &trust, when).unwrap();
            if done {
                assert!(effects > 30, "a publication is more than {effects} effects");
                return;
            }
        }
    }
}

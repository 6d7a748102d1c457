//! A package with everything that is attached to it, ready to be carried: the documents in memory, byte for byte, and
//! the list of blobs. The one file of the client that knows how the local store keeps a package.

use std::collections::BTreeMap;

use fermion_model::{Digest, PackageName};

use super::manifests::Document;
use crate::canonical::{
    self, CONFIG_TYPE, Descriptor, INDEX_TYPE, ImageManifest, Index, MANIFEST_TYPE, WASM_TYPE,
};
use crate::contract::Config;
use crate::limits::{
    ATTACHED_BYTES_MAX, ATTACHMENTS_BYTES_MAX, CONFIG_BYTES_MAX, MANIFEST_BYTES_MAX, REFERRERS_MAX,
    SIGNATURE_BYTES_MAX, SIGNATURES_MAX, WASM_BYTES_MAX,
};
use crate::referrers::referrers_tag;
use crate::sign::simple_tag;
use crate::{Error, Result, Store, load};

/// What belongs to one package.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) package: Document,
    /// The manifest at `sha256-HEX.sig`.
    pub(super) signature: Option<Document>,
    /// Manifests whose subject is the package.
    pub(super) referrers: Vec<Document>,
    /// Every blob once.
    pub(super) blobs: BTreeMap<Digest, Descriptor>,
}

/// Who a package says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) name: PackageName,
    pub(super) version: semver::Version,
}

impl Parcel {
    /// Of a package's manifest: its layout and the sizes that it announces are checked.
    pub(super) fn of(package: Document) -> Result<Self> {
        let (config, layer) = load::layout(&package.bytes)?;
        let mut parcel = Self {
            package,
            signature: None,
            referrers: Vec::new(),
            blobs: BTreeMap::new(),
        };
        parcel.add("the config", config, CONFIG_BYTES_MAX)?;
        parcel.add("the component", layer, WASM_BYTES_MAX)?;
        Ok(parcel)
    }

    pub(super) fn digest(&self) -> Digest {
        self.package.descriptor.digest
    }

    /// The config's descriptor.
    pub(super) fn config(&self) -> Result<Descriptor> {
        load::layout(&self.package.bytes).map(|(config, _)| config)
    }

    /// Adds the manifest with the simplesigning signatures.
    pub(super) fn add_signature(&mut self, document: Document) -> Result<()> {
        let what = "the signature manifest";
        let manifest = image(&document, what)?;
        check_count(what, manifest.layers.len(), SIGNATURES_MAX)?;
        for blob in manifest.layers.into_iter().chain([manifest.config]) {
            self.add("a signature", blob, SIGNATURE_BYTES_MAX)?;
        }
        self.signature = Some(document);
        self.check_attached()
    }

    /// Adds what refers to the package; what is of something else is passed over.
    pub(super) fn add_referrer(&mut self, mut document: Document) -> Result<()> {
        let what = "a referring manifest";
        let manifest = image(&document, what)?;
        if manifest.subject.map(|subject| subject.digest) != Some(self.digest()) {
            return Ok(());
        }
        check_count(what, manifest.layers.len(), SIGNATURES_MAX)?;
        check_count("the list of referrers", self.referrers.len() + 1, REFERRERS_MAX)?;
        // As the distribution specification lists it, whatever the list said that it was found in.
        document.descriptor = Descriptor {
            annotations: manifest.annotations,
            artifact_type: manifest
                .artifact_type
                .or(Some(manifest.config.media_type.clone())),
            media_type: MANIFEST_TYPE.to_owned(),
            ..document.descriptor
        };
        for blob in manifest.layers.into_iter().chain([manifest.config]) {
            self.add("a referring artifact", blob, ATTACHED_BYTES_MAX)?;
        }
        self.referrers.push(document);
        self.check_attached()
    }

    fn has_referrer(&self, digest: &Digest) -> bool {
        self.referrers
            .iter()
            .any(|known| known.descriptor.digest == *digest)
    }

    fn add(&mut self, what: &'static str, blob: Descriptor, bytes_max: u64) -> Result<()> {
        if blob.size > bytes_max {
            return Err(Error::SizeExceeded {
                what: format!("{what} {}", blob.digest),
                bytes_max,
            });
        }
        match self.blobs.get(&blob.digest) {
            Some(known) if known.size != blob.size => Err(Error::layout(
                what,
                format!("{} is described with two lengths", blob.digest),
            )),
            _ => {
                self.blobs.insert(blob.digest, blob);
                Ok(())
            }
        }
    }

    fn check_attached(&self) -> Result<()> {
        let blobs = self
            .blobs
            .values()
            .filter(|blob| blob.media_type != WASM_TYPE && blob.media_type != CONFIG_TYPE);
        let documents = self.referrers.iter().chain(&self.signature);
        let bytes: u64 = blobs
            .map(|blob| blob.size)
            .chain(documents.map(|document| document.descriptor.size))
            .sum();
        if bytes <= ATTACHMENTS_BYTES_MAX {
            return Ok(());
        }
        Err(Error::SizeExceeded {
            what: "what is attached to the package".to_owned(),
            bytes_max: ATTACHMENTS_BYTES_MAX,
        })
    }

    /// Who the package is, once its config is in the store.
    pub(super) fn identity(&self, store: &Store) -> Result<Identity> {
        let bytes = store.read_described("the config", &self.config()?, CONFIG_BYTES_MAX)?;
        let contract = Config::read(&bytes)?.contract;
        Ok(Identity {
            name: contract.name,
            version: contract.version,
        })
    }

    /// A package of the local store.
    pub(super) fn read(store: &Store, digest: &Digest) -> Result<(Self, Identity)> {
        let bytes = store.read_part("the manifest", digest, MANIFEST_BYTES_MAX)?;
        let mut parcel = Self::of(Document::of(MANIFEST_TYPE, bytes.into()))?;
        let identity = parcel.identity(store)?;
        if let Some(tagged) = store.tag(&identity.name, &simple_tag(digest))? {
            parcel.add_signature(read(store, MANIFEST_TYPE, &tagged)?)?;
        }
        if let Some(tagged) = store.tag(&identity.name, &referrers_tag(digest))? {
            let index: Index = read(store, INDEX_TYPE, &tagged)?.parse("the list of referrers")?;
            check_count("the list of referrers", index.manifests.len(), REFERRERS_MAX)?;
            for entry in &index.manifests {
                parcel.add_referrer(read(store, &entry.media_type, &entry.digest)?)?;
            }
        }
        // What came through the registry of this store is listed by the repository itself.
        for entry in store.repository(&identity.name).referrers(&(*digest).into())? {
            let Some(referrer) = entry.digest.sha256() else {
                continue;
            };
            if !parcel.has_referrer(referrer) {
                parcel.add_referrer(read(store, &entry.media_type, referrer)?)?;
            }
        }
        Ok((parcel, identity))
    }

    /// Makes the package the repository's own, with what is attached to it beside what is attached there already. All
    /// blobs must be in the store.
    pub(super) fn keep(&self, store: &Store, name: &PackageName) -> Result<()> {
        let repository = store.repository(name);
        let digest = self.digest();
        let adopt = |document: &Document, tag: Option<&str>| {
            repository.adopt_manifest(&store.put(&document.bytes)?, tag)
        };
        adopt(&self.package, None)?;
        for document in &self.referrers {
            adopt(document, None)?;
        }
        let _lock = store.lock_refs()?;
        if let Some(signature) = &self.signature {
            let old = match store.tag(name, &simple_tag(&digest))? {
                Some(tagged) => Some(read(store, MANIFEST_TYPE, &tagged)?),
                None => None,
            };
            let (document, config) = merged_signature(signature, old.as_ref())?;
            if let Some(config) = config {
                store.put(&config)?;
            }
            adopt(&document, Some(&simple_tag(&digest)))?;
        }
        if self.referrers.is_empty() {
            return Ok(());
        }
        let old: Option<Index> = match store.tag(name, &referrers_tag(&digest))? {
            Some(tagged) => Some(read(store, INDEX_TYPE, &tagged)?.parse("the list of referrers")?),
            None => None,
        };
        for entry in old.iter().flat_map(|index| &index.manifests) {
            repository.adopt_manifest(&entry.digest, None)?;
        }
        adopt(
            &merged_index(&self.referrers, old)?,
            Some(&referrers_tag(&digest)),
        )
    }
}

/// The manifest with the signatures of both, and its config if it is a new one. What is the same stays byte for byte.
pub(super) fn merged_signature(
    ours: &Document,
    theirs: Option<&Document>,
) -> Result<(Document, Option<Vec<u8>>)> {
    let what = "the signature manifest";
    let Some(theirs) = theirs else {
        return Ok((ours.clone(), None));
    };
    let mine = image(ours, what)?.layers;
    let mut layers = image(theirs, what)?.layers;
    let known = layers.len();
    layers.extend(
        mine.iter()
            .filter(|layer| !layers.contains(layer))
            .cloned()
            .collect::<Vec<_>>(),
    );
    if layers.len() == known {
        return Ok((theirs.clone(), None));
    }
    if layers.len() == mine.len() {
        return Ok((ours.clone(), None));
    }
    check_count(what, layers.len(), SIGNATURES_MAX)?;
    layers.sort_by(|a, b| (a.digest, &a.annotations).cmp(&(b.digest, &b.annotations)));
    let config = crate::sign::simple_config(&layers);
    let descriptor = Descriptor::of(crate::sign::IMAGE_CONFIG_TYPE, &config);
    let manifest = canonical::json(&ImageManifest::new(descriptor, layers));
    Ok((Document::of(MANIFEST_TYPE, manifest.into()), Some(config)))
}

/// The list with these entries beside those that are there.
pub(super) fn merged_index(referrers: &[Document], old: Option<Index>) -> Result<Document> {
    let mut manifests = old.map_or_else(Vec::new, |index| index.manifests);
    manifests.retain(|entry| !referrers.iter().any(|new| new.descriptor.digest == entry.digest));
    manifests.extend(referrers.iter().map(|document| document.descriptor.clone()));
    manifests.sort_by_key(|entry| entry.digest);
    check_count("the list of referrers", manifests.len(), REFERRERS_MAX)?;
    let index = Index {
        manifests,
        media_type: INDEX_TYPE.to_owned(),
        schema_version: 2,
    };
    Ok(Document::of(INDEX_TYPE, canonical::json(&index).into()))
}

fn image(document: &Document, what: &'static str) -> Result<ImageManifest> {
    let manifest: ImageManifest = document.parse(what)?;
    if manifest.schema_version == 2
        && (manifest.media_type.is_empty() || manifest.media_type == MANIFEST_TYPE)
    {
        return Ok(manifest);
    }
    Err(Error::layout(
        what,
        format!("media type {:?}", manifest.media_type),
    ))
}

fn read(store: &Store, media_type: &str, digest: &Digest) -> Result<Document> {
    let bytes = store.read_part("a signature", digest, MANIFEST_BYTES_MAX)?;
    Ok(Document::of(media_type, bytes.into()))
}

fn check_count(what: &'static str, count: usize, count_max: usize) -> Result<()> {
    if count <= count_max {
        return Ok(());
    }
    Err(Error::layout(
        what,
        format!("{count} entries, the ceiling is {count_max}"),
    ))
}

//! Canonical JSON and the OCI documents written with it. Compact, keys sorted by their bytes, no floating point: the
//! same content has the same bytes and so the same digest, whoever writes it and whenever.

use std::collections::BTreeMap;

use fermion_model::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Digest as _;

/// The media type of every OCI image manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an OCI index.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of a package's config.
pub const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
/// The media type of a component.
pub const WASM_TYPE: &str = "application/wasm";

/// The address of `bytes`.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(sha2::Sha256::digest(bytes).into())
}

/// `value` as canonical JSON.
///
/// # Panics
/// If `value` cannot be JSON at all (maps with keys that are not text), which only a bug in this crate can bring about.
pub fn json(value: &impl Serialize) -> Vec<u8> {
    let value = serde_json::to_value(value).expect("our documents have text keys and no infinite numbers");
    let mut out = Vec::new();
    write(&value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            out.push(b'{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                scalar(key, out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        other => scalar(other, out),
    }
}

fn scalar(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a scalar is JSON and memory takes it");
}

/// Where a blob is, what it is and how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Notes of the writer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// In an index: what kind of artifact the manifest is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The address.
    pub digest: Digest,
    /// The kind.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
}

impl Descriptor {
    /// Describes `bytes`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            annotations: BTreeMap::new(),
            artifact_type: None,
            digest: digest(bytes),
            media_type: media_type.to_owned(),
            size: bytes.len() as u64,
        }
    }

    /// With one more annotation.
    #[must_use]
    pub fn note(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }
}

/// An OCI image manifest: a package's own, or a signature's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Notes of the writer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What kind of artifact this is, if it is not told by the config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The config blob.
    pub config: Descriptor,
    /// The content.
    pub layers: Vec<Descriptor>,
    /// Always `MANIFEST_TYPE`.
    #[serde(default)]
    pub media_type: String,
    /// Always 2.
    pub schema_version: u32,
    /// What this artifact is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
}

impl ImageManifest {
    /// A manifest of a config and its layers.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            annotations: BTreeMap::new(),
            artifact_type: None,
            config,
            layers,
            media_type: MANIFEST_TYPE.to_owned(),
            schema_version: 2,
            subject: None,
        }
    }
}

/// An OCI index: here, the list of what refers to a package where no registry keeps that list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// The referring manifests.
    pub manifests: Vec<Descriptor>,
    /// Always `INDEX_TYPE`.
    #[serde(default)]
    pub media_type: String,
    /// Always 2.
    pub schema_version: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_at_every_depth_and_nothing_is_added() {
        let value: Value =
            serde_json::from_str(r#"{"b":[{"z":1,"a":null}],"a":{"d":"\u00e4\n","c":true}}"#).unwrap();
        let want = r#"{"a":{"c":true,"d":"ä\n"},"b":[{"a":null,"z":1}]}"#;
        assert_eq!(String::from_utf8(json(&value)).unwrap(), want);
    }

    #[test]
    fn the_empty_object_has_its_well_known_digest() {
        let want = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(digest(&json(&serde_json::json!({}))).to_string(), want);
    }
}

//! DSSE envelopes: bytes, what they are, and who signed them. Used for trust roots, channel documents and bundles. The
//! signature is over the bytes as they stand, so nothing has to be brought into a form before it can be checked.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fermion_model::Digest;
use serde::{Deserialize, Serialize};

use crate::limits::SIGNATURES_MAX;
use crate::{PrivateKey, PublicKey, canonical};

/// The bytes that a DSSE signature is over (DSSE protocol, "pre-authentication encoding").
pub(crate) fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// An envelope as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct EnvelopeSignature {
    /// A hint for people; never believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
    sig: String,
}

impl Envelope {
    /// Unsigned.
    pub(crate) fn new(payload_type: &str, payload: &[u8]) -> Self {
        Self {
            payload: BASE64.encode(payload),
            payload_type: payload_type.to_owned(),
            signatures: Vec::new(),
        }
    }

    /// Reads one of at most `SIGNATURES_MAX` signatures. The refusal says what is wrong.
    pub(crate) fn read(bytes: &[u8], payload_type: &str) -> Result<Self, String> {
        let envelope: Self = serde_json::from_slice(bytes).map_err(|why| why.to_string())?;
        envelope.check(payload_type)?;
        Ok(envelope)
    }

    /// The same for one that is part of something else.
    pub(crate) fn check(&self, payload_type: &str) -> Result<(), String> {
        if self.payload_type != payload_type {
            return Err(format!(
                "its payload is {:?}, not {payload_type:?}",
                self.payload_type
            ));
        }
        if self.signatures.len() > SIGNATURES_MAX {
            return Err(format!(
                "{} signatures, the ceiling is {SIGNATURES_MAX}",
                self.signatures.len()
            ));
        }
        Ok(())
    }

    /// The signed bytes.
    pub(crate) fn payload(&self) -> Result<Vec<u8>, String> {
        BASE64.decode(&self.payload).map_err(|why| why.to_string())
    }

    /// How many signatures there are, good or not.
    pub(crate) fn signature_count(&self) -> usize {
        self.signatures.len()
    }

    /// Adds a signature; one by the same key is replaced.
    pub(crate) fn sign(&mut self, key: &PrivateKey) -> Result<(), String> {
        let signature = key.sign(&pre_authentication(&self.payload_type, &self.payload()?));
        let id = key.public().id().to_string();
        self.signatures
            .retain(|signature| signature.keyid.as_deref() != Some(&id));
        self.signatures.push(EnvelopeSignature {
            keyid: Some(id),
            sig: BASE64.encode(signature),
        });
        Ok(())
    }

    /// Signed once, without a key id, as bundles have it.
    pub(crate) fn signed_nameless(payload_type: &str, payload: &[u8], key: &PrivateKey) -> Self {
        let signature = key.sign(&pre_authentication(payload_type, payload));
        Self {
            signatures: vec![EnvelopeSignature {
                keyid: None,
                sig: BASE64.encode(signature),
            }],
            ..Self::new(payload_type, payload)
        }
    }

    /// For each signature: the key among `keys` that made it; none if no one did.
    pub(crate) fn makers<'k>(&self, keys: &[&'k PublicKey]) -> Result<Vec<Option<&'k PublicKey>>, String> {
        let signed = pre_authentication(&self.payload_type, &self.payload()?);
        let maker = |signature: &EnvelopeSignature| {
            let bytes = BASE64.decode(&signature.sig).ok()?;
            keys.iter().find(|key| key.verifies(&signed, &bytes)).copied()
        };
        Ok(self.signatures.iter().map(maker).collect())
    }

    /// The ids of the keys among `keys` that signed, each once.
    pub(crate) fn signers(&self, keys: &[&PublicKey]) -> Result<BTreeSet<Digest>, String> {
        Ok(self
            .makers(keys)?
            .into_iter()
            .flatten()
            .map(PublicKey::id)
            .collect())
    }

    /// As a file.
    pub(crate) fn write(&self) -> Vec<u8> {
        canonical::json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the DSSE protocol's specification.
    #[test]
    fn pre_authentication_encoding_is_that_of_the_specification() {
        let want = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(
            pre_authentication("http://example.com/HelloWorld", b"hello world"),
            want
        );
    }
}

//! The published document is what the types say.

use std::path::Path;

#[test]
fn the_published_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/openapi.json");
    let generated = fermion_api::openapi();
    if std::env::var_os("UPDATE_REFERENCES").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &generated).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == generated,
        "docs/reference/openapi.json is not what the types say: run \
         `UPDATE_REFERENCES=1 cargo test -p fermion-api` and look at the difference"
    );
}

#[test]
fn every_reference_in_the_document_resolves() {
    let document: serde_json::Value = serde_json::from_str(&fermion_api::openapi()).unwrap();
    let mut pending = vec![&document];
    let mut references = 0;
    while let Some(value) = pending.pop() {
        match value {
            serde_json::Value::Object(map) => {
                if let Some(reference) = map.get("$ref").and_then(|value| value.as_str()) {
                    references += 1;
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                pending.extend(map.values());
            }
            serde_json::Value::Array(list) => pending.extend(list),
            _ => {}
        }
    }
    assert!(references > 20);
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 28);
    assert!(paths["/api/v1/decisions"]["get"].is_object());
    assert!(paths["/api/v1/namespaces/{namespace}/apps/{app}/releases"]["post"].is_object());
    assert!(paths["/api/v1/namespaces/{namespace}/apps/{app}/releases"]["get"].is_object());
}

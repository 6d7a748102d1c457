//! Bills of materials from each of their three places, and what is refused.

use wasm_encoder::{CustomSection, Section as _};

use super::*;

fn manifest() -> Manifest {
    let text = "[package]\nname = \"acme/shop\"\nversion = \"1.2.3\"\ncomponent = \"target/my_shop.wasm\"";
    Manifest::parse(text, "fermion.toml").unwrap()
}

/// zlib without compression: a header, one stored block, Adler-32.
fn zlib(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    let (mut a, mut b) = (1u32, 0u32);
    for byte in data {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    let mut out = vec![0x78, 0x01, 0x01];
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(data);
    out.extend(((b << 16) | a).to_be_bytes());
    out
}

/// A component whose second module has a `.dep-v0` section with this content.
fn component(section: &[u8]) -> Vec<u8> {
    let first = wat::parse_str("(module (func))").unwrap();
    let mut second = wasm_encoder::Module::HEADER.to_vec();
    CustomSection {
        name: auditable::SECTION.into(),
        data: section.into(),
    }
    .append_to(&mut second);
    let mut wasm = wasm_encoder::Component::HEADER.to_vec();
    for module in [first, second] {
        wasm_encoder::RawSection { id: 1, data: &module }.append_to(&mut wasm);
    }
    wasm
}

const LIST: &str = r#"{"packages":[
    {"name":"my-shop","version":"0.1.0","source":"local","dependencies":[1,2],"root":true},
    {"name":"serde","version":"1.0.228","source":"crates.io","dependencies":[2]},
    {"name":"proc-macro2","version":"1.0.1+x","source":"crates.io","kind":"build"}]}"#;

fn document(sbom: &Sbom) -> serde_json::Value {
    serde_json::from_slice(&sbom.bytes).unwrap()
}

#[test]
fn what_cargo_auditable_left_is_taken_from_any_module() {
    let wasm = component(&zlib(LIST.as_bytes()));
    let sbom = find(&manifest(), &wasm, None, None).unwrap().unwrap();
    assert_eq!((sbom.source, sbom.components), (SbomSource::Auditable, 3));
    let text = String::from_utf8(sbom.bytes).unwrap();
    let want = concat!(
        r#"{"bomFormat":"CycloneDX","components":["#,
        r#"{"bom-ref":"cargo:my-shop@0.1.0","name":"my-shop","properties":[{"name":"fermion:source","value":"local"}],"scope":"required","type":"library","version":"0.1.0"},"#,
        r#"{"bom-ref":"cargo:proc-macro2@1.0.1+x","name":"proc-macro2","properties":[{"name":"fermion:source","value":"crates.io"}],"purl":"pkg:cargo/proc-macro2@1.0.1%2Bx","scope":"excluded","type":"library","version":"1.0.1+x"},"#,
        r#"{"bom-ref":"cargo:serde@1.0.228","name":"serde","properties":[{"name":"fermion:source","value":"crates.io"}],"purl":"pkg:cargo/serde@1.0.228","scope":"required","type":"library","version":"1.0.228"}],"#,
        r#""dependencies":[{"dependsOn":["cargo:proc-macro2@1.0.1+x","cargo:serde@1.0.228"],"ref":"cargo:my-shop@0.1.0"},{"dependsOn":[],"ref":"cargo:proc-macro2@1.0.1+x"},{"dependsOn":["cargo:proc-macro2@1.0.1+x"],"ref":"cargo:serde@1.0.228"},{"dependsOn":["cargo:my-shop@0.1.0"],"ref":"package"}],"#,
        r#""metadata":{"component":{"bom-ref":"package","name":"acme/shop","type":"application","version":"1.2.3"},"properties":[{"name":"fermion:sbom:source","value":"cargo-auditable data in the component"}]},"specVersion":"1.5","version":1}"#,
    );
    assert_eq!(text, want);
}

#[test]
fn a_list_that_cannot_be_read_is_refused_and_never_unpacked_beyond_its_bound() {
    let bad = LIST.replace("\"serde\"", "\"ser de\"");
    let bomb = {
        // A stored block may claim no more than it holds; a long one is refused by its length.
        let mut data = vec![0x78, 0x01];
        data.resize(AUDITABLE_BYTES, 0);
        data
    };
    for section in [b"not zlib".to_vec(), zlib(b"{"), zlib(bad.as_bytes()), bomb] {
        let refusal = find(&manifest(), &component(&section), None, None).unwrap_err();
        assert_eq!(refusal.code(), "SBOM_INVALID");
    }
}

const AUDITABLE_BYTES: usize = crate::limits::AUDITABLE_BYTES_MAX + 1;

const LOCK: &str = r#"
version = 4
[[package]]
name = "my-shop"
version = "0.1.0"
dependencies = ["serde", "shared"]
[[package]]
name = "other-member"
version = "0.1.0"
dependencies = ["unused"]
[[package]]
name = "serde"
version = "1.0.228"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "9a8e94ea7f378bd32cbbd37198a4a91436180c5bb472411e48b5ec2e2124ae9e"
[[package]]
name = "shared"
version = "0.2.0"
source = "git+https://user:secret@git.example.com/shared?branch=main#0123456789abcdef0123456789abcdef01234567"
[[package]]
name = "unused"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "9a8e94ea7f378bd32cbbd37198a4a91436180c5bb472411e48b5ec2e2124ae9e"
"#;

#[test]
fn a_lock_file_gives_what_the_projects_own_package_leads_to() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join(LOCK_FILE);
    std::fs::write(&lock, LOCK).unwrap();
    let wasm = wat::parse_str("(component)").unwrap();
    let sbom = find(&manifest(), &wasm, None, Some(&lock)).unwrap().unwrap();
    assert_eq!((sbom.source, sbom.components), (SbomSource::Lockfile, 3));
    let text = String::from_utf8(sbom.bytes.clone()).unwrap();
    assert!(
        !text.contains("secret") && !text.contains("unused") && !text.contains("other-member"),
        "{text}"
    );
    let document = document(&sbom);
    let component = |name: &str| {
        let components = document["components"].as_array().unwrap();
        components
            .iter()
            .find(|component| component["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(component("serde")["purl"], "pkg:cargo/serde@1.0.228");
    assert_eq!(component("serde")["hashes"][0]["alg"], "SHA-256");
    let commit = &component("shared")["properties"][1];
    assert_eq!(commit["value"], "0123456789abcdef0123456789abcdef01234567");

    std::fs::write(&lock, "version = 4\n[[package]]\nname = 3").unwrap();
    let refusal = find(&manifest(), &wasm, None, Some(&lock)).unwrap_err();
    assert_eq!(refusal.code(), "SBOM_INVALID");
    assert!(find(&manifest(), &wasm, None, None).unwrap().is_none());
}

#[test]
fn a_given_file_is_kept_as_it_is_and_looked_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sbom.json");
    let wasm = component(&zlib(LIST.as_bytes()));
    let text = "{ \"bomFormat\": \"CycloneDX\", \"specVersion\": \"1.6\", \"components\": [{}] }\n";
    std::fs::write(&file, text).unwrap();
    let sbom = find(&manifest(), &wasm, Some(&file), None).unwrap().unwrap();
    assert_eq!((sbom.source, sbom.components), (SbomSource::Given, 1));
    assert_eq!(sbom.bytes, text.as_bytes());
    for (from, to) in [("CycloneDX", "SPDX"), ("1.6", "9.9"), ("[{}]", "{}"), ("}\n", "")] {
        std::fs::write(&file, text.replace(from, to)).unwrap();
        let refusal = find(&manifest(), &wasm, Some(&file), None).unwrap_err();
        assert_eq!(refusal.code(), "SBOM_INVALID", "{to}");
    }
    let refusal = find(&manifest(), &wasm, Some(&folder.path().join("none")), None).unwrap_err();
    assert_eq!(refusal.code(), "STORE_IO");
}

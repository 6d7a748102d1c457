//! Content discovery: tags and referrers.

use crate::server::{IMAGE, INDEX, Server, sha256};

#[test]
fn tags_come_sorted_and_in_pages() {
    let server = Server::start();
    let manifest = server.push_image("a", "t0", b"layer");
    for tag in ["t3", "t1", "T9", "t2"] {
        server
            .put(&format!("/v2/a/manifests/{tag}"), IMAGE, &manifest)
            .expect(201);
    }
    let list = |query: &str| server.get(&format!("/v2/a/tags/list{query}")).expect(200);
    let all = list("");
    assert_eq!(
        all.json()["tags"],
        serde_json::json!(["T9", "t0", "t1", "t2", "t3"])
    );
    assert_eq!(all.json()["name"], "a");
    assert!(!all.has("link"));
    let page = list("?n=2");
    assert_eq!(page.json()["tags"], serde_json::json!(["T9", "t0"]));
    assert_eq!(page.header("link"), "</v2/a/tags/list?n=2&last=t0>; rel=\"next\"");
    assert_eq!(
        list("?n=2&last=t0").json()["tags"],
        serde_json::json!(["t1", "t2"])
    );
    assert_eq!(list("?last=t2").json()["tags"], serde_json::json!(["t3"]));
    assert_eq!(list("?n=0").json()["tags"], serde_json::json!([]));
    assert!(!list("?n=1&last=t2").has("link"));
    server.get("/v2/a/tags/list?n=x").expect(400);
}

fn subject(digest: &str, size: usize, kind: &str) -> String {
    format!(
        r#""artifactType":"{kind}","annotations":{{"note":"{kind}"}},"subject":{{"mediaType":"{IMAGE}","digest":"{digest}","size":{size}}},"#
    )
}

#[test]
fn referrers_are_listed_whether_or_not_their_subject_is_there() {
    let server = Server::start();
    let manifest = server.image("a", b"layer", "");
    let digest = sha256(&manifest);
    let path = format!("/v2/a/referrers/{digest}");
    let none = server.get(&path).expect(200);
    assert_eq!(none.header("content-type"), INDEX);
    assert_eq!(none.json()["schemaVersion"], 2);
    assert_eq!(none.json()["manifests"], serde_json::json!([]));
    let mut digests = Vec::new();
    for kind in ["text/sbom", "text/sig"] {
        let referrer = server.image("a", kind.as_bytes(), &subject(&digest, manifest.len(), kind));
        let place = format!("/v2/a/manifests/{}", sha256(&referrer));
        let put = server.put(&place, IMAGE, &referrer).expect(201);
        assert_eq!(put.header("oci-subject"), digest);
        digests.push(sha256(&referrer));
    }
    server.put("/v2/a/manifests/v1", IMAGE, &manifest).expect(201);
    let all = server.get(&path).expect(200).json();
    assert_eq!(all["manifests"].as_array().unwrap().len(), 2);
    let sbom = server.get(&format!("{path}?artifactType=text/sbom")).expect(200);
    assert_eq!(sbom.header("oci-filters-applied"), "artifactType");
    let entries = sbom.json()["manifests"].clone();
    assert_eq!(entries[0]["digest"], digests[0]);
    assert_eq!(entries[0]["artifactType"], "text/sbom");
    assert_eq!(entries[0]["annotations"]["note"], "text/sbom");
    assert_eq!(entries[0]["mediaType"], IMAGE);
    assert_eq!(entries.as_array().unwrap().len(), 1);
    let nothing = server
        .get(&format!("{path}?artifactType=text/other"))
        .expect(200)
        .json();
    assert_eq!(nothing["manifests"], serde_json::json!([]));
    server
        .ask("DELETE", &format!("/v2/a/manifests/{}", digests[1]), &[], b"")
        .expect(202);
    let left = server.get(&path).json();
    assert_eq!(left["manifests"].as_array().unwrap().len(), 1);
    server.get(&path.replace("/v2/a/", "/v2/b/")).expect(200);
    server.get("/v2/a/referrers/nonsense").expect(400);
}

#[test]
fn lists_under_a_tag_are_taken_in_as_far_as_they_are_true() {
    let server = Server::start();
    let manifest = server.push_image("a", "v1", b"layer");
    let digest = sha256(&manifest);
    let referrer = server.image("a", b"sig", &subject(&digest, manifest.len(), "text/sig"));
    let other = server.image("a", b"unrelated", "");
    for manifest in [&referrer, &other] {
        let place = format!("/v2/a/manifests/{}", sha256(manifest));
        server.put(&place, IMAGE, manifest).expect(201);
    }
    // As if it had been pushed where nobody keeps such lists.
    std::fs::remove_dir_all(server.store.root().join("repositories/a/_referrers")).unwrap();
    let entry = |manifest: &[u8]| {
        format!(
            r#"{{"mediaType":"{IMAGE}","digest":"{}","size":{}}}"#,
            sha256(manifest),
            manifest.len()
        )
    };
    let list = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{},{}]}}"#,
        entry(&referrer),
        entry(&other)
    );
    let tag = digest.replace(':', "-");
    server
        .put(&format!("/v2/a/manifests/{tag}"), INDEX, list.as_bytes())
        .expect(201);
    let found = server
        .get(&format!("/v2/a/referrers/{digest}"))
        .expect(200)
        .json();
    assert_eq!(found["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(found["manifests"][0]["digest"], sha256(&referrer));
    assert_eq!(found["manifests"][0]["artifactType"], "text/sig");
}

//! Requests refuse what they do not know; answers do not.

use fermion_api::{DeployRequest, Problem, RollbackRequest};

const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn requests_refuse_unknown_fields_by_name() {
    let refused = |text: &str| {
        serde_json::from_str::<DeployRequest>(text)
            .unwrap_err()
            .to_string()
    };
    let unknown = refused(&format!(r#"{{"digest":"{DIGEST}","routes":[],"weight":5}}"#));
    assert!(unknown.contains("weight"), "{unknown}");
    let nested = refused(&format!(
        r#"{{"digest":"{DIGEST}","routes":[{{"path":"/","hosts":"a"}}]}}"#
    ));
    assert!(nested.contains("hosts"), "{nested}");
    assert!(refused(r#"{"digest":"sha256:1","routes":[]}"#).contains("digest"));
    assert!(serde_json::from_str::<RollbackRequest>(r#"{"too":1}"#).is_err());
    assert_eq!(serde_json::from_str::<RollbackRequest>("{}").unwrap().to, None);
}

#[test]
fn a_request_writes_only_what_it_says() {
    let text = format!(r#"{{"digest":"{DIGEST}","routes":[{{"path":"/*"}}]}}"#);
    let request: DeployRequest = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&request).unwrap(), text);
}

#[test]
fn a_problem_may_grow() {
    let text = r#"{"type":"about:blank","title":"Conflict","status":409,"code":"X","detail":"y","later":1}"#;
    assert_eq!(
        serde_json::from_str::<Problem>(text).unwrap(),
        Problem::new(http::StatusCode::CONFLICT, "X", "y")
    );
}

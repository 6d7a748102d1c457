//! Requests that are refused, each with its status and code, and nothing stored.

use fermion_api::Problem;
use fermion_model::Namespace;

use crate::platform::{Platform, app, package, request};

const RELEASES: &str = "/api/v1/namespaces/default/apps/shop/releases";

/// Status and code of a raw answer.
fn verdict(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("application/problem+json"), "{answer}");
    let problem: Problem = serde_json::from_str(body).unwrap();
    assert!(
        head.starts_with(&format!("HTTP/1.1 {} ", problem.status)),
        "{answer}"
    );
    format!("{} {}", problem.status, problem.code)
}

#[tokio::test]
async fn bodies_that_are_not_what_is_expected() {
    let platform = Platform::start().await;
    let digest = package(1);
    let routes = r#""routes":[{"path":"/shop/*"}]"#;
    let cases = [
        (String::new(), "400 REQUEST_INVALID"),
        ("{".to_owned(), "400 REQUEST_INVALID"),
        ("[]".to_owned(), "400 REQUEST_INVALID"),
        (
            format!(r#"{{"digest":"{digest}",{routes},"weight":5}}"#),
            "400 REQUEST_INVALID",
        ),
        (
            format!(r#"{{"digest":"sha256:12",{routes}}}"#),
            "400 REQUEST_INVALID",
        ),
        (
            format!(r#"{{"digest":"{}",{routes}}}"#, digest.to_string().to_uppercase()),
            "400 REQUEST_INVALID",
        ),
        (
            format!(r#"{{"digest":"{digest}","routes":[]}}"#),
            "400 REQUEST_INVALID",
        ),
        (
            format!(r#"{{"digest":"{digest}","routes":[{{"path":"shop"}}]}}"#),
            "422 ROUTE_INVALID",
        ),
        (
            format!(r#"{{"digest":"{digest}","routes":[{{"path":"/a/../b"}}]}}"#),
            "422 ROUTE_INVALID",
        ),
        (
            format!(r#"{{"digest":"{}",{routes}}}"#, package(200)),
            "422 SIG_UNTRUSTED",
        ),
        (
            format!(r#"{{"digest":"{digest}",{routes},"config":{{"currency":"EUR"}}}}"#),
            "422 CONFIG_INVALID",
        ),
        (
            format!(r#"{{"digest":"{}",{routes}}}"#, package(100)),
            "422 CONFIG_INVALID",
        ),
    ];
    for (body, expected) in cases {
        let answer = platform.send("POST", RELEASES, &body).await;
        assert_eq!(verdict(&answer), expected, "{body}");
    }
    let unknown = platform
        .send(
            "POST",
            RELEASES,
            &format!(r#"{{"digest":"{digest}",{routes},"weight":5}}"#),
        )
        .await;
    assert!(unknown.contains("weight"), "{unknown}");
    assert!(
        platform.client.status().await.unwrap().apps.is_empty(),
        "nothing was stored"
    );
}

#[tokio::test]
async fn paths_names_and_methods() {
    let platform = Platform::start().await;
    let long = format!("/api/v1/namespaces/default/apps/{}/releases", "a".repeat(64));
    let cases = [
        ("GET", "/", "404 NO_SUCH_PATH"),
        ("GET", "/api/v2/status", "404 NO_SUCH_PATH"),
        ("DELETE", "/api/v1/status", "405 METHOD_NOT_ALLOWED"),
        ("GET", RELEASES, "404 NO_SUCH_APP"),
        ("GET", "/api/v1/namespaces/Default/apps", "400 NAME_INVALID"),
        ("GET", "/api/v1/namespaces/..%2f..%2fx/apps", "400 NAME_INVALID"),
        (
            "GET",
            "/api/v1/namespaces/default/apps/a_b/releases",
            "400 NAME_INVALID",
        ),
        ("GET", long.as_str(), "400 NAME_INVALID"),
        (
            "GET",
            "/api/v1/namespaces/default/apps/shop/logs",
            "404 NO_SUCH_APP",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/apps/shop/logs?follow=perhaps",
            "400 REQUEST_INVALID",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/apps/shop/logs?since=1",
            "400 REQUEST_INVALID",
        ),
        ("PUT", "/api/v1/blobs/sha256:12", "400 REQUEST_INVALID"),
        ("PUT", "/api/v1/blobs/..%2f..%2fetc", "400 REQUEST_INVALID"),
    ];
    for (method, path, expected) in cases {
        assert_eq!(
            verdict(&platform.send(method, path, "").await),
            expected,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn large_bodies_and_other_media_types() {
    let platform = Platform::start().await;
    let head = |extra: &str| {
        format!(
            "POST {RELEASES} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nconnection: close\r\n{extra}\r\n",
            platform.address, platform.token
        )
    };
    let form = head("content-type: text/plain\r\ncontent-length: 2\r\n") + "{}";
    assert_eq!(verdict(&platform.raw(form.as_bytes()).await), "415 CONTENT_TYPE");
    let none = head("content-length: 2\r\n") + "{}";
    assert_eq!(verdict(&platform.raw(none.as_bytes()).await), "415 CONTENT_TYPE");
    // Refused by its announcement, without a byte of it.
    let large = head("content-type: application/json\r\ncontent-length: 99999999\r\n");
    assert_eq!(
        verdict(&platform.raw(large.as_bytes()).await),
        "413 BODY_TOO_LARGE"
    );
    let headers = head(&format!("x: {}\r\n", "a".repeat(64 * 1024)));
    assert!(!platform.raw(headers.as_bytes()).await.contains("200 OK"));

    let mut many = request(1, "/shop/*");
    many.config = (0..257).map(|n| (format!("k{n}"), String::new())).collect();
    assert_eq!(
        platform.deploy("shop", &many).await,
        Err("CONFIG_INVALID".to_owned())
    );
    many.config = [("currency".to_owned(), "x".repeat(65 * 1024))].into();
    assert_eq!(
        platform.deploy("shop", &many).await,
        Err("CONFIG_INVALID".to_owned())
    );
}

#[tokio::test]
async fn a_collision_names_both_apps() {
    let platform = Platform::start().await;
    assert_eq!(platform.deploy("shop", &request(1, "/tax/*")).await, Ok(1));
    let other: Namespace = "other".parse().unwrap();
    let error = platform
        .client
        .deploy(&other, &app("tax"), &request(2, "/tax/*"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some("ROUTE_COLLISION"));
    let text = error.to_string();
    assert!(
        text.contains("default/shop") && text.contains("other/tax") && text.contains("/tax/*"),
        "{text}"
    );
    assert_eq!(
        platform.deploy("shop", &request(2, "/tax/*")).await,
        Ok(2),
        "its own route is no collision"
    );
    assert!(platform.client.apps(&other).await.unwrap().is_empty());
}

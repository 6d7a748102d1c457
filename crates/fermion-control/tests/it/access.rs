//! Who may speak to the admin API, and from where.

use std::sync::Arc;

use fermion_api::Client;
use fermion_control::{Control, Error};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::platform::Platform;

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("")
}

#[tokio::test]
async fn everything_but_the_health_check_needs_the_token() {
    let platform = Platform::start().await;
    let ask = async |path: &str, authorization: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{authorization}\r\n",
            platform.address
        );
        platform.raw(request.as_bytes()).await
    };
    let right = format!("authorization: Bearer {}\r\n", platform.token);
    let wrong = [
        format!("authorization: Bearer {}\r\n", "0".repeat(64)),
        format!("authorization: Bearer {}0\r\n", platform.token),
        format!("authorization: Basic {}\r\n", platform.token),
        format!("authorization: {}\r\n", platform.token),
        "authorization: Bearer \r\n".to_owned(),
        format!("{right}{right}"),
    ];
    let digest = format!("/api/v1/blobs/sha256:{}", "0".repeat(64));
    let paths = [
        "/api/v1/status",
        "/metrics",
        "/api/v1/namespaces/default/apps",
        "/api/v1/namespaces/default/apps/a/releases",
        "/api/v1/namespaces/default/apps/a/logs",
        "/nothing/here",
        digest.as_str(),
    ];
    for path in paths {
        let missing = ask(path, "").await;
        assert_eq!(status(&missing), "401", "{path}");
        assert!(
            missing.contains("www-authenticate: Bearer realm=\"fermion\"\r\n"),
            "{missing}"
        );
        assert!(
            missing.contains("application/problem+json") && missing.contains("UNAUTHENTICATED"),
            "{missing}"
        );
        for wrong in &wrong {
            let refused = ask(path, wrong).await;
            assert_eq!(status(&refused), "401", "{path} {wrong}");
            assert!(refused.contains("invalid_token"), "{refused}");
            assert!(!refused.contains(&platform.token), "{refused}");
        }
    }
    assert_eq!(status(&ask("/api/v1/status", &right).await), "200");
    let health = ask("/healthz", "").await;
    assert!(
        status(&health) == "200" && health.ends_with("\r\n\r\nok\n"),
        "{health}"
    );

    let stranger = Client::new(&platform.address, "wrong").unwrap();
    stranger.health().await.unwrap();
    assert_eq!(
        stranger.status().await.unwrap_err().code(),
        Some("UNAUTHENTICATED")
    );
    let blob = fermion_model::Digest::from_bytes([0; 32]);
    assert_eq!(
        stranger.has_blob(&blob).await.unwrap_err().code(),
        Some("UNAUTHENTICATED")
    );
    let metrics = platform.client.metrics().await.unwrap();
    assert!(metrics.contains("\nfermion_build_info{"), "{metrics}");
}

#[tokio::test]
async fn metrics_are_written_as_the_scraper_wants_them() {
    let platform = Platform::start().await;
    let ask = async |accept: &str| {
        let request = format!(
            "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {}\r\n{accept}\r\n",
            platform.token
        );
        platform.raw(request.as_bytes()).await
    };
    let plain = ask("").await;
    assert!(
        plain.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{plain}"
    );
    assert!(
        plain.contains("fermion_build_info{version=\"1.2.3\",commit=\"abc\"} 1\n"),
        "{plain}"
    );
    let open = ask("accept: application/openmetrics-text; version=1.0.0\r\n").await;
    assert!(
        open.contains("content-type: application/openmetrics-text; version=1.0.0;"),
        "{open}"
    );
    assert!(open.contains("# EOF\n"), "{open}");
}

#[tokio::test]
async fn other_hosts_are_refused_whatever_the_token() {
    let platform = Platform::start().await;
    let ask = async |path: &str, host: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\n{host}authorization: Bearer {}\r\nconnection: close\r\n\r\n",
            platform.token
        );
        platform.raw(request.as_bytes()).await
    };
    for host in [
        "host: localhost\r\n",
        "host: localhost:7070\r\n",
        "host: [::1]:1\r\n",
    ] {
        assert_eq!(status(&ask("/api/v1/status", host).await), "200", "{host}");
    }
    for host in [
        "host: evil.example\r\n",
        "host: localhost.evil.example\r\n",
        "host: localhost\r\nhost: evil\r\n",
        "",
    ] {
        for path in ["/api/v1/status", "/healthz", "/nothing"] {
            let answer = ask(path, host).await;
            assert_eq!(status(&answer), "421", "{path} {host:?} {answer}");
        }
    }
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let platform = Platform::start().await;
    let parts = |listen: &str| fermion_control::ControlParts {
        bus: platform.bus.clone(),
        store: platform.store.clone(),
        registries: crate::platform::registries(),
        verifier: Arc::new(|digest, _| Err(fermion_package::Error::BlobMissing((*digest).into()))),
        trust: crate::platform::trust(platform.folder.path()),
        gate: Arc::new(fermion_package::policy::Gate::new(
            platform.folder.path().join("policy"),
            platform.folder.path().join("advisories"),
        )),
        count: Arc::new(|_| ()),
        logs: platform.logs.clone(),
        telemetry: crate::platform::telemetry(),
        traces: fermion_telemetry::Traces::new(&Default::default()),
        clock: Arc::new(|| std::time::SystemTime::UNIX_EPOCH),
        salt: Arc::new(|| Ok("5a".repeat(16))),
        receivers: fermion_control::Receivers::default(),
        token: crate::platform::load_token(platform.folder.path()),
        config: fermion_control::ControlConfig {
            listen: listen.parse().unwrap(),
            node: "local".to_owned(),
            version: String::new(),
            git: platform.folder.path().join("git"),
            deploy_wait_max: std::time::Duration::ZERO,
        },
    };
    for address in ["0.0.0.0:0", "10.1.2.3:7070", "[::]:7070"] {
        let refused = Control::new(parts(address)).unwrap_err();
        assert!(
            matches!(refused, Error::NotLoopback { .. }) && refused.to_string().contains("TLS"),
            "{refused}"
        );
    }
    let taken = Control::new(parts(&platform.address))
        .unwrap()
        .bind()
        .await
        .unwrap_err();
    assert!(
        taken.to_string().contains(&platform.address) && taken.to_string().contains("--admin"),
        "{taken}"
    );
}

#[tokio::test]
async fn a_stop_lets_an_open_request_finish_and_takes_no_new_one() {
    let mut platform = Platform::start().await;
    let mut stream = tokio::net::TcpStream::connect(&platform.address).await.unwrap();
    let body = "{}";
    let head = format!(
        "POST /api/v1/namespaces/default/apps/a/rollback HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        platform.token,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body, so the request is in its hands.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"), "{go_on:?}");
    platform.shutdown.cancel();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), "404", "{answer}");
    platform.server.join_next().await.unwrap().unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(&platform.address).await.is_err());
}

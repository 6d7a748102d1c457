//! What components write, over HTTP.

use std::sync::Arc;

use fermion_api::LogLines;
use fermion_model::Namespace;
use fermion_model::record::Served;
use fermion_telemetry::Stream;

use crate::platform::{Platform, app, request};

fn write(platform: &Platform, app: &str, text: &str) {
    let served = Arc::new(Served {
        namespace: "default".to_owned(),
        app: app.to_owned(),
        release: 1,
    });
    platform
        .logs
        .guest(&served, [0xab; 16], [0xcd; 8])
        .write(Stream::Stdout, format!("{text}\n").as_bytes());
}

async fn next(lines: &mut LogLines) -> Option<String> {
    lines.next().await.unwrap().map(|line| line.line)
}

#[tokio::test]
async fn the_past_and_then_each_new_line() {
    let platform = Platform::start().await;
    platform.deploy("shop", &request(1, "/shop/*")).await.unwrap();
    for text in ["one", "two", "three"] {
        write(&platform, "shop", text);
    }
    write(&platform, "other", "not for shop");
    let logs = async |tail, follow| {
        platform
            .client
            .logs(&Namespace::default(), &app("shop"), tail, follow)
            .await
            .unwrap()
    };
    let mut lines = logs(2, false).await;
    assert_eq!(next(&mut lines).await.as_deref(), Some("two"));
    let three = lines.next().await.unwrap().unwrap();
    assert_eq!(
        (three.line.as_str(), three.stream.as_str(), three.release),
        ("three", "stdout", 1)
    );
    assert_eq!(three.request_id, "ab".repeat(16));
    assert_eq!(next(&mut lines).await, None);

    let mut followed = logs(1, true).await;
    assert_eq!(next(&mut followed).await.as_deref(), Some("three"));
    write(&platform, "other", "still not");
    write(&platform, "shop", "four");
    write(&platform, "shop", "five");
    assert_eq!(next(&mut followed).await.as_deref(), Some("four"));
    assert_eq!(next(&mut followed).await.as_deref(), Some("five"));
}

#[tokio::test]
async fn a_stop_ends_a_followed_log() {
    let mut platform = Platform::start().await;
    platform.deploy("shop", &request(1, "/shop/*")).await.unwrap();
    let mut followed = platform
        .client
        .logs(&Namespace::default(), &app("shop"), 0, true)
        .await
        .unwrap();
    platform.shutdown.cancel();
    assert_eq!(next(&mut followed).await, None);
    platform.server.join_next().await.unwrap().unwrap().unwrap();
}

//! Uploads: kept whole and right, or not at all.

use fermion_model::Digest;
use tokio::io::AsyncWriteExt as _;

use crate::platform::Platform;

async fn file(platform: &Platform, bytes: &[u8]) -> std::path::PathBuf {
    let path = platform.folder.path().join("upload");
    tokio::fs::write(&path, bytes).await.unwrap();
    path
}

#[tokio::test]
async fn a_blob_goes_in_and_is_there() {
    let platform = Platform::start().await;
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let elsewhere = fermion_package::Store::open(&platform.folder.path().join("elsewhere")).unwrap();
    let digest = elsewhere.put(&bytes).unwrap();
    assert!(!platform.client.has_blob(&digest).await.unwrap());
    let path = file(&platform, &bytes).await;
    platform.client.put_blob(&digest, &path).await.unwrap();
    assert!(platform.client.has_blob(&digest).await.unwrap());
    assert_eq!(platform.store.read(&digest, bytes.len() as u64).unwrap(), bytes);
    platform.client.put_blob(&digest, &path).await.unwrap();
}

#[tokio::test]
async fn other_content_than_announced_is_refused_and_not_kept() {
    let platform = Platform::start().await;
    let path = file(&platform, b"something else").await;
    let digest = Digest::from_bytes([1; 32]);
    let error = platform.client.put_blob(&digest, &path).await.unwrap_err();
    assert_eq!(error.code(), Some("DIGEST_MISMATCH"));
    assert!(!platform.client.has_blob(&digest).await.unwrap());
}

#[tokio::test]
async fn too_large_and_cut_off_uploads_leave_nothing() {
    let platform = Platform::start().await;
    let digest = platform.store.put(b"known").unwrap();
    let head = |length: u64| {
        format!(
            "PUT /api/v1/blobs/{digest} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n",
            platform.token
        )
    };
    let refused = platform.raw(head(1 << 40).as_bytes()).await;
    assert!(
        refused.starts_with("HTTP/1.1 413 ") && refused.contains("BODY_TOO_LARGE"),
        "{refused}"
    );

    let mut stream = tokio::net::TcpStream::connect(&platform.address).await.unwrap();
    stream.write_all(head(1000).as_bytes()).await.unwrap();
    stream.write_all(b"half").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer)
        .await
        .unwrap();
    assert!(
        !answer.starts_with(b"HTTP/1.1 2"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(platform.store.read(&digest, 5).unwrap(), b"known");
}

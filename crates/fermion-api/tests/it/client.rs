//! What the client says when there is nobody, nobody of ours, or a file that is not there.

use fermion_api::{Client, Error};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

#[tokio::test]
async fn nobody_there_is_said_with_the_address_and_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = Client::new(&address.to_string(), "token").unwrap();
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains(&address.to_string()) && text.contains("fermion up") && text.contains("refused"),
        "{text}"
    );
}

/// A server that reads one head and says `answer`.
async fn answering(answer: &'static [u8]) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let runtime = tokio::runtime::Handle::current();
    (
        address,
        runtime.spawn(async move { tasks.join_next().await.unwrap().unwrap() }),
    )
}

#[tokio::test]
async fn the_token_is_sent_and_strange_answers_are_named() {
    let (address, served) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n<html/>").await;
    let error = Client::new(&address, "abc\n")
        .unwrap()
        .status()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Answer { .. }), "{error:?}");
    let head = served.await.unwrap();
    assert!(head.contains("authorization: Bearer abc\r\n"), "{head}");

    let (address, _served) = answering(b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\nno").await;
    let error = Client::new(&address, "abc").unwrap().status().await.unwrap_err();
    assert!(error.to_string().contains("500"), "{error}");

    let (address, _served) = answering(b"SSH-2.0-OpenSSH_9.9\r\n").await;
    let error = Client::new(&address, "abc").unwrap().status().await.unwrap_err();
    assert!(matches!(error, Error::Exchange { .. }), "{error:?}");
}

#[tokio::test]
async fn a_missing_file_is_named_before_anything_is_sent() {
    let client = Client::new("127.0.0.1:9", "abc").unwrap();
    let digest = fermion_model::Digest::from_bytes([0; 32]);
    let error = client
        .put_blob(&digest, std::path::Path::new("no/such/file"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no/such/file"), "{error}");
}

//! Who we say we are, to whom, and to whom not.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fermion_package::remote::{ClientConfig, Plaintext};
use tempfile::TempDir;

use super::server::{Reply, Request, Server};
use super::{Talk, at, filled, fresh};
use crate::fixtures::{World, world};

const PASSWORD: &str = "s3cret";

/// A docker config with one password.
fn config(registry: &str) -> (TempDir, ClientConfig) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let auth = BASE64.encode(format!("ann:{PASSWORD}"));
    std::fs::write(
        &path,
        format!(r#"{{"auths":{{"{registry}":{{"auth":"{auth}"}}}}}}"#),
    )
    .unwrap();
    let config = ClientConfig {
        docker_config: Some(path),
        ..ClientConfig::default()
    };
    (folder, config)
}

fn unauthorized(challenge: &str) -> Reply {
    Reply::Full(401, vec![format!("www-authenticate: {challenge}")], Vec::new())
}

/// A registry that lets nobody in without this header, once `armed`.
fn guarded(challenge: &Arc<Mutex<Option<(String, String)>>>) -> Server {
    let challenge = challenge.clone();
    Server::hooked(true, move |request: &Request| {
        let challenge = challenge.lock().unwrap();
        let (challenge, wanted) = challenge.as_ref()?;
        (request.header("authorization") != Some(wanted)).then(|| unauthorized(challenge))
    })
}

async fn pulled(server: &Server, world: &World, config: ClientConfig) -> String {
    let (talk, fresh) = (Talk::with(config), fresh());
    let pulled = talk
        .client
        .pull(&fresh.store, &at(server, "acme/hello:1.2.3"))
        .await;
    match pulled {
        Ok(_) => fresh.code(world).to_owned(),
        Err(error) => {
            let told = format!("{error} {error:?}");
            assert!(
                !told.contains(PASSWORD) && !told.contains(&BASE64.encode(PASSWORD)),
                "{told}"
            );
            error.code().to_owned()
        }
    }
}

#[tokio::test]
async fn a_password_is_shown_only_when_asked_and_only_to_its_registry() {
    let world = world();
    let armed = Arc::default();
    let server = filled(&world, guarded(&armed)).await;
    let (_folder, with) = config(&server.address().to_string());
    let (_other_folder, with_other) = config("127.0.0.1:1");
    assert_eq!(pulled(&server, &world, with.clone()).await, "OK");
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );

    let wanted = format!("Basic {}", BASE64.encode(format!("ann:{PASSWORD}")));
    *armed.lock().unwrap() = Some(("Basic realm=\"r\"".to_owned(), wanted));
    assert_eq!(pulled(&server, &world, with.clone()).await, "OK");
    assert_eq!(
        pulled(&server, &world, ClientConfig::default()).await,
        "REGISTRY_UNAUTHORIZED"
    );
    assert_eq!(pulled(&server, &world, with_other).await, "REGISTRY_UNAUTHORIZED");
    // Wrong ones are shown once, not for ever.
    *armed.lock().unwrap() = Some(("Basic realm=\"r\"".to_owned(), "Basic other".to_owned()));
    server.forget();
    assert_eq!(
        pulled(&server, &world, with.clone()).await,
        "REGISTRY_UNAUTHORIZED"
    );
    assert_eq!(server.requests().len(), 2);
    *armed.lock().unwrap() = Some(("Unheard-Of".to_owned(), String::new()));
    assert_eq!(pulled(&server, &world, with).await, "REGISTRY_ANSWER_INVALID");
}

/// A token service that hands out `token` to whoever has the password.
fn tokens(token: &'static str) -> Server {
    Server::hooked(true, move |request: &Request| {
        let wanted = format!("Basic {}", BASE64.encode(format!("ann:{PASSWORD}")));
        let body = format!(r#"{{"token":"{token}"}}"#);
        Some(match request.header("authorization") {
            Some(given) if given == wanted => Reply::Full(200, vec![], body.into_bytes()),
            _ => Reply::status(401),
        })
    })
}

#[tokio::test]
async fn tokens_are_fetched_for_what_is_needed_and_no_more() {
    let world = world();
    let armed = Arc::default();
    let server = filled(&world, guarded(&armed)).await;
    let service = tokens("t0ken");
    let challenge = format!(
        "Bearer realm=\"http://{}/token\",service=\"reg\",scope=\"repository:everything:*\"",
        service.address()
    );
    *armed.lock().unwrap() = Some((challenge, "Bearer t0ken".to_owned()));
    let (_folder, with) = config(&server.address().to_string());
    assert_eq!(pulled(&server, &world, with.clone()).await, "OK");
    assert_eq!(
        service.asked(),
        ["GET /token?scope=repository%3Aacme%2Fhello%3Apull&service=reg"]
    );
    assert_eq!(
        pulled(&server, &world, ClientConfig::default()).await,
        "REGISTRY_UNAUTHORIZED"
    );

    service.forget();
    let talk = Talk::with(with);
    talk.client
        .push(&world.store, world.digest(), &at(&server, "acme/hello"))
        .await
        .unwrap();
    assert!(
        service.asked()[0].contains("%3Apull%2Cpush&"),
        "{:?}",
        service.asked()
    );
    assert_eq!(service.asked().len(), 1, "parallel requests share a token");
}

#[tokio::test]
async fn a_token_that_runs_out_is_fetched_anew() {
    let world = world();
    let service = Server::hooked(true, |request: &Request| {
        let body = format!(r#"{{"access_token":"t{}"}}"#, request.before + 1);
        Some(Reply::Full(200, vec![], body.into_bytes()))
    });
    let realm = service.address();
    let (armed, uses) = (Arc::new(Mutex::new(false)), Mutex::new(0));
    let is_armed = armed.clone();
    // The first token is good for three requests.
    let server = Server::hooked(true, move |request: &Request| {
        let mut uses = uses.lock().unwrap();
        let good = match request.header("authorization") {
            _ if !*is_armed.lock().unwrap() => true,
            Some("Bearer t1") => *uses < 3,
            given => given == Some("Bearer t2"),
        };
        *uses += u32::from(good && *is_armed.lock().unwrap());
        (!good).then(|| unauthorized(&format!("Bearer realm=\"http://{realm}/\"")))
    });
    let server = filled(&world, server).await;
    *armed.lock().unwrap() = true;
    assert_eq!(pulled(&server, &world, ClientConfig::default()).await, "OK");
    assert_eq!(service.asked().len(), 2, "parallel requests share the new one");
}

#[tokio::test]
async fn a_challenge_does_not_send_the_password_elsewhere() {
    let world = world();
    let armed = Arc::default();
    let server = filled(&world, guarded(&armed)).await;
    let service = tokens("t0ken");
    let (_folder, with) = config(&server.address().to_string());
    let port = service.address().port();
    for realm in [
        format!("http://localhost:{port}/token"),
        "http://auth.example.com/token".to_owned(),
        "https://auth.example.com/token".to_owned(),
        format!("http://ann:x@127.0.0.1:{port}/token"),
        "file:///etc/passwd".to_owned(),
        "nonsense".to_owned(),
        String::new(),
    ] {
        *armed.lock().unwrap() = Some((format!("Bearer realm=\"{realm}\""), "Bearer t0ken".to_owned()));
        assert_eq!(
            pulled(&server, &world, with.clone()).await,
            "TOKEN_REALM_REFUSED",
            "{realm}"
        );
    }
    assert!(service.asked().is_empty());
    // A listed host is trusted with it.
    let challenge = format!("Bearer realm=\"http://localhost:{port}/token\"");
    *armed.lock().unwrap() = Some((challenge, "Bearer t0ken".to_owned()));
    let listed = ClientConfig {
        token_realms: vec!["localhost".parse().unwrap()],
        ..with.clone()
    };
    // "localhost" may be ::1 first, where nobody listens; the client goes on to the next address.
    assert_eq!(pulled(&server, &world, listed).await, "OK");
    let other_port = ClientConfig {
        token_realms: vec!["localhost:1".parse().unwrap()],
        ..with
    };
    assert_eq!(pulled(&server, &world, other_port).await, "TOKEN_REALM_REFUSED");
}

#[tokio::test]
async fn token_services_are_bounded_too() {
    let world = world();
    let armed = Arc::default();
    let server = filled(&world, guarded(&armed)).await;
    let (_folder, with) = config(&server.address().to_string());
    let big = "x".repeat(40_000);
    for (answer, want) in [
        (
            Box::new(|| Reply::Endless(b"HTTP/1.1 200 X\r\nconnection: close\r\n\r\n".to_vec()))
                as Box<dyn Fn() -> Reply + Send + Sync>,
            "SIZE_EXCEEDED",
        ),
        (
            Box::new(|| Reply::Full(200, vec![], b"{}".to_vec())),
            "REGISTRY_ANSWER_INVALID",
        ),
        (
            Box::new(|| Reply::Full(200, vec![], b"<html>".to_vec())),
            "REGISTRY_ANSWER_INVALID",
        ),
        (
            Box::new(move || Reply::Full(200, vec![], format!(r#"{{"token":"{big}"}}"#).into_bytes())),
            "REGISTRY_ANSWER_INVALID",
        ),
        (
            Box::new(|| Reply::Full(200, vec![], br#"{"token":"a\nb"}"#.to_vec())),
            "REGISTRY_UNAUTHORIZED",
        ),
        (
            Box::new(|| Reply::redirect("http://127.0.0.1:1/")),
            "REGISTRY_ANSWER_INVALID",
        ),
    ] {
        let service = Server::hooked(true, move |_: &Request| Some(answer()));
        let challenge = format!("Bearer realm=\"http://{}/\"", service.address());
        *armed.lock().unwrap() = Some((challenge, "Bearer t0ken".to_owned()));
        assert_eq!(pulled(&server, &world, with.clone()).await, want);
    }
}

#[tokio::test]
async fn a_redirected_download_takes_no_credentials_along() {
    let world = world();
    let armed = Arc::new(Mutex::new(None::<String>));
    let storage = Server::start(true);
    storage.put_blob(&world.store.read(&world.packed.wasm, 1 << 20).unwrap());
    let (wasm, place) = (world.packed.wasm.to_string(), storage.address());
    let wanted = armed.clone();
    let server = Server::hooked(true, move |request: &Request| {
        let wanted = wanted.lock().unwrap();
        let wanted = wanted.as_ref()?;
        if request.header("authorization") != Some(wanted) {
            return Some(unauthorized("Basic realm=\"r\""));
        }
        request
            .is("GET", &wasm)
            .then(|| Reply::redirect(&format!("http://{place}/v2/any/blobs/{wasm}")))
    });
    let server = filled(&world, server).await;
    *armed.lock().unwrap() = Some(format!("Basic {}", BASE64.encode(format!("ann:{PASSWORD}"))));
    let (_folder, with) = config(&server.address().to_string());
    assert_eq!(pulled(&server, &world, with).await, "OK");
    let seen = storage.requests();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].header("authorization").is_none(), "{seen:?}");
}

#[tokio::test]
async fn beyond_this_machine_it_is_tls_unless_somebody_says_otherwise() {
    let world = world();
    // It plays the proxy and, behind it, the registry.
    let proxy = Server::hooked(true, |request: &Request| {
        request.is("CONNECT", "").then(|| Reply::status(502))
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let address = proxy.address();
    let text = format!(
        r#"{{"proxies":{{"default":{{"httpProxy":"http://{address}","httpsProxy":"http://{address}"}}}}}}"#
    );
    std::fs::write(&path, text).unwrap();
    let config = |plaintext| ClientConfig {
        docker_config: Some(path.clone()),
        plaintext,
        ..ClientConfig::default()
    };
    let to: fermion_model::RemoteReference = "registry.example.com/acme/hello".parse().unwrap();
    let other = Plaintext::With(vec!["other.example.com".parse().unwrap()]);
    for plaintext in [Plaintext::Loopback, other] {
        let talk = Talk::with(config(plaintext));
        let error = talk
            .client
            .push(&world.store, world.digest(), &to)
            .await
            .unwrap_err();
        assert_eq!(error.code(), "REGISTRY_UNREACHABLE", "{error}");
    }
    let asked = proxy.asked();
    assert!(
        !asked.is_empty()
            && asked
                .iter()
                .all(|line| line.starts_with("CONNECT registry.example.com:443")),
        "{asked:?}"
    );

    for plaintext in [
        Plaintext::Everywhere,
        Plaintext::With(vec!["registry.example.com".parse().unwrap()]),
    ] {
        let talk = Talk::with(config(plaintext));
        talk.client.push(&world.store, world.digest(), &to).await.unwrap();
        assert_eq!(
            talk.client.resolve(&to.with_tag("1.2.3").unwrap()).await.unwrap(),
            *world.digest()
        );
    }
}

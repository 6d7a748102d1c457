//! Keys on disk: made once, never loose, never half.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use super::*;
use crate::Trust;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn made_once_with_its_public_half() {
    let folder = folder();
    let keys = folder.path().join("keys");
    let first = PrivateKey::load_or_create(&keys).unwrap();
    let again = PrivateKey::load_or_create(&keys).unwrap();
    assert_eq!(first.public(), again.public());
    let mode = fs::metadata(keys.join(PRIVATE_KEY_FILE))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let public = fs::read_to_string(keys.join(PUBLIC_KEY_FILE)).unwrap();
    assert_eq!(PublicKey::from_pem(&public, &keys).unwrap(), *first.public());
    let trust = Trust::load(&keys, SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(trust.keys()[0].key, *first.public());
    assert_eq!((trust.keys().len(), trust.epoch()), (1, 0));
    let printed = format!("{first:?}");
    assert!(printed.starts_with("PrivateKey(of sha256:"), "{printed}");
}

#[test]
fn of_many_makers_one_wins() {
    let folder = folder();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| PrivateKey::load_or_create(folder.path()).unwrap().public().id()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = folder();
    PrivateKey::load_or_create(folder.path()).unwrap();
    let path = folder.path().join(PRIVATE_KEY_FILE);
    for mode in [0o640, 0o604, 0o660, 0o610] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = PrivateKey::load_or_create(folder.path()).unwrap_err();
        assert_eq!(error.code(), "KEY_INVALID");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    PrivateKey::load(&path).unwrap();
}

#[test]
fn damaged_pem_is_refused_and_its_content_not_repeated() {
    let folder = folder();
    PrivateKey::load_or_create(folder.path()).unwrap();
    let private = fs::read_to_string(folder.path().join(PRIVATE_KEY_FILE)).unwrap();
    let public = fs::read_to_string(folder.path().join(PUBLIC_KEY_FILE)).unwrap();
    let body = private.lines().nth(1).unwrap();
    for bad in [
        String::new(),
        private[..private.len() - 10].to_owned(),
        private[..private.len() / 2].to_owned(),
        format!("{private}{private}"),
        format!("{private}trailing"),
        format!("leading{private}"),
        private.replacen(body, &body[..body.len() - 4], 1),
        private.replacen(body, &format!("{body}AAAA"), 1),
        public.clone(),
    ] {
        let error = PrivateKey::from_pem(&bad, Path::new("p"))
            .unwrap_err()
            .to_string();
        assert!(!error.contains(&body[..20]), "{error}");
    }
    for bad in [
        private.clone(),
        public[..40].to_owned(),
        format!("{public}{public}"),
        format!("{public}x"),
    ] {
        assert!(PublicKey::from_pem(&bad, Path::new("p")).is_err(), "{bad}");
    }
    fs::write(folder.path().join("old.pub"), "not a key").unwrap();
    assert!(
        Trust::load(folder.path(), SystemTime::UNIX_EPOCH)
            .unwrap_err()
            .to_string()
            .contains("old.pub")
    );
}

#[test]
fn signatures_are_deterministic_and_bound_to_message_and_key() {
    let (one, two) = (folder(), folder());
    let one = PrivateKey::load_or_create(one.path()).unwrap();
    let two = PrivateKey::load_or_create(two.path()).unwrap();
    let signature = one.sign(b"message");
    assert_eq!(signature, one.sign(b"message"));
    assert!(one.public().verifies(b"message", &signature));
    assert!(!one.public().verifies(b"Message", &signature));
    assert!(!two.public().verifies(b"message", &signature));
    for index in 0..signature.len() {
        let mut bad = signature.clone();
        bad[index] ^= 1;
        assert!(!one.public().verifies(b"message", &bad), "byte {index}");
    }
    assert!(!one.public().verifies(b"message", &[]));
    assert!(
        !one.public()
            .verifies(b"message", &[&signature[..], b"x"].concat())
    );
}

//! What is planted, stale, damaged or odd is never loaded; what is used stays.

use std::os::unix::fs::symlink;

use rustix::fs::{FileType, mknodat};

use super::*;

const CODE: &[u8] = b"native code";

fn wasm(number: u8) -> Digest {
    Digest::from_bytes([number; 32])
}

fn open(directory: &Path, bytes_max: u64) -> NativeCache {
    NativeCache::open(directory, SealKey::from_bytes([7; 32]), bytes_max).unwrap()
}

#[track_caller]
fn refused(cache: &NativeCache, path: &Path) {
    let before = cache.usage().quarantined;
    let error = cache.get(&wasm(1), 9).err().expect("it is refused");
    assert_eq!(error.code(), "SEAL_INVALID", "{error}");
    assert!(fs::symlink_metadata(path).is_err(), "it is moved aside");
    let kept = (before + 1).min(limits::NATIVE_QUARANTINE_FILES_MAX as u64);
    assert_eq!(cache.usage().quarantined, kept);
    assert!(cache.get(&wasm(1), 9).unwrap().is_none(), "and gone after that");
}

#[test]
fn loads_only_what_this_node_sealed_for_this_component_and_engine() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path(), 1 << 20);
    let path = cache.path(&wasm(1), 9);
    assert!(cache.get(&wasm(1), 9).unwrap().is_none());
    cache.put(&wasm(1), 9, CODE).unwrap();
    assert_eq!(cache.get(&wasm(1), 9).unwrap().unwrap().bytes(), CODE);
    let sound = fs::read(&path).unwrap();
    let plant = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    for position in 0..sound.len() {
        let mut bad = sound.clone();
        bad[position] ^= 1;
        plant(&bad);
        refused(&cache, &path);
    }
    for length in [0, 10, HEADER_BYTES, sound.len() - 1] {
        plant(&sound[..length]);
        refused(&cache, &path);
    }
    // Another node's, another component's and another engine's file under this name.
    let other = tempfile::tempdir().unwrap();
    let elsewhere = NativeCache::open(other.path(), SealKey::from_bytes([8; 32]), 1 << 20).unwrap();
    elsewhere.put(&wasm(1), 9, CODE).unwrap();
    plant(&fs::read(elsewhere.path(&wasm(1), 9)).unwrap());
    refused(&cache, &path);
    for (digest, code_key) in [(wasm(2), 9), (wasm(1), 8)] {
        cache.put(&digest, code_key, CODE).unwrap();
        fs::rename(cache.path(&digest, code_key), &path).unwrap();
        refused(&cache, &path);
    }
}

#[test]
fn what_is_not_a_file_of_ours_is_moved_aside_without_being_followed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder.path().join("native"), 1 << 20);
    let path = cache.path(&wasm(1), 9);
    let sound = folder.path().join("sound");
    cache.put(&wasm(1), 9, CODE).unwrap();
    fs::rename(&path, &sound).unwrap();

    symlink(&sound, &path).unwrap();
    refused(&cache, &path);
    symlink(folder.path().join("nowhere"), &path).unwrap();
    refused(&cache, &path);
    fs::hard_link(&sound, &path).unwrap();
    refused(&cache, &path);
    fs::remove_dir_all(cache.directory.join(QUARANTINE)).unwrap();
    fs::create_dir(cache.directory.join(QUARANTINE)).unwrap();
    cache.bound_quarantine();
    fs::create_dir(&path).unwrap();
    refused(&cache, &path);
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    refused(&cache, &path);
    let _listening = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
    fs::rename(folder.path().join("s"), &path).unwrap();
    refused(&cache, &path);
    for mode in [0o644, 0o606, 0o700, 0o4600] {
        fs::copy(&sound, &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        refused(&cache, &path);
    }
    assert_eq!(
        fs::read(&sound).unwrap().len(),
        HEADER_BYTES + CODE.len(),
        "what a link led to is left alone"
    );
    let huge = File::create(&path).unwrap();
    huge.set_len(limits::NATIVE_BYTES_MAX + 1024).unwrap();
    huge.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    let error = cache.get(&wasm(1), 9).err().unwrap();
    assert_eq!(error.code(), "SEAL_INVALID");
}

#[test]
fn the_quarantine_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path(), 1 << 20);
    let path = cache.path(&wasm(1), 9);
    for _ in 0..limits::NATIVE_QUARANTINE_FILES_MAX + 3 {
        fs::write(&path, b"planted").unwrap();
        assert!(cache.get(&wasm(1), 9).is_err());
    }
    let aside = list(&folder.path().join(QUARANTINE)).len();
    assert_eq!(aside, limits::NATIVE_QUARANTINE_FILES_MAX);
    assert_eq!(cache.usage().quarantined, aside as u64);
}

#[test]
fn the_least_recently_used_goes_and_what_is_pinned_stays() {
    let folder = tempfile::tempdir().unwrap();
    let size = (HEADER_BYTES + CODE.len()) as u64;
    let cache = open(folder.path(), 3 * size);
    let age = |number: u8, seconds: u64| {
        let file = File::open(cache.path(&wasm(number), 9)).unwrap();
        let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        file.set_modified(then).unwrap();
    };
    for number in 1..=3 {
        cache.put(&wasm(number), 9, CODE).unwrap();
        age(number, u64::from(number));
    }
    assert_eq!(cache.usage().bytes, 3 * size);
    // The oldest is used, so that the second is now the one to go; the third is pinned.
    assert!(cache.get(&wasm(1), 9).unwrap().is_some());
    cache.pin(HashSet::from([wasm(3)]));
    let left = |numbers: &[u8]| {
        let mut found: Vec<_> = (1..=9)
            .filter(|number| cache.path(&wasm(*number), 9).exists())
            .collect();
        found.sort_unstable();
        assert_eq!(found, numbers);
    };
    cache.put(&wasm(4), 9, CODE).unwrap();
    left(&[1, 3, 4]);
    age(4, 10);
    cache.put(&wasm(5), 9, CODE).unwrap();
    left(&[1, 3, 5]);
    // Pins go beyond the quota, and a file that is no code of ours is not touched.
    fs::write(folder.path().join("node.key"), b"secret").unwrap();
    cache.pin((1..=9).map(wasm).collect());
    cache.put(&wasm(6), 9, CODE).unwrap();
    left(&[1, 3, 5, 6]);
    assert_eq!(cache.usage().bytes, 4 * size);
    assert!(folder.path().join("node.key").exists());
}

#[test]
fn opening_makes_it_private_and_cleans_what_nobody_writes() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(folder.path().join(".native-left"), b"half").unwrap();
    let writing = File::create(folder.path().join(".native-writing")).unwrap();
    writing.lock().unwrap();
    let cache = open(folder.path(), 1);
    assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o700);
    assert!(!folder.path().join(".native-left").exists());
    assert!(folder.path().join(".native-writing").exists());
    // Too large for the quota, and kept all the same: it is the newest.
    cache.put(&wasm(1), 9, CODE).unwrap();
    assert!(cache.get(&wasm(1), 9).unwrap().is_some());
}

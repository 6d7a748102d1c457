//! What cannot be served is refused before anything is announced, in words that name it, with exit status 1.

use std::net::TcpListener;

use crate::support::process::{Process, guest_file};

/// Runs `serve` on something that cannot be served and gives what it says.
fn refused(file: &str, options: &[&str]) -> String {
    let mut process = Process::start(["serve", file, "--listen", "127.0.0.1:0"].iter().chain(options));
    let status = process.wait();
    let said = process.stderr.text();
    assert_eq!(status.code(), Some(1), "{file}: {said}");
    assert_eq!(process.stdout.text(), "", "{file}");
    assert!(said.starts_with("error: "), "{file}: {said}");
    assert!(!said.contains("panicked"), "{file}: {said}");
    said
}

fn written(bytes: &[u8]) -> tempfile::TempPath {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file.into_temp_path()
}

#[test]
fn a_component_without_a_handler_is_refused() {
    let said = refused(guest_file("no-http").to_str().unwrap(), &[]);
    assert!(
        said.contains("no-http.wasm") && said.contains("wasi:http"),
        "{said}"
    );
}

#[test]
fn a_core_module_is_refused() {
    let module = written(b"\0asm\x01\0\0\0");
    let said = refused(module.to_str().unwrap(), &[]);
    assert!(
        said.contains("COMPONENT_INVALID") && said.contains("module"),
        "{said}"
    );
}

#[test]
fn what_is_not_wasm_is_refused() {
    let whole = std::fs::read(guest_file("p2-hello")).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0xff;
    flipped[whole.len() / 3] ^= 0xff;
    for bytes in [
        &b""[..],
        b"garbage",
        b"\0asm",
        b"\x7fELF\x02\x01\x01",
        &whole[..whole.len() / 2],
        &flipped,
    ] {
        let file = written(bytes);
        let said = refused(file.to_str().unwrap(), &[]);
        let named = said.contains("COMPONENT_INVALID") || said.contains("COMPILE_FAILED");
        assert!(
            named && said.contains(file.to_str().unwrap()),
            "{} bytes: {said}",
            bytes.len()
        );
    }
}

#[test]
fn a_component_that_traps_at_its_start_is_refused() {
    let said = refused(guest_file("p2-start-trap").to_str().unwrap(), &[]);
    assert!(said.contains("GUEST_TRAP"), "{said}");
}

#[test]
fn a_missing_file_is_named() {
    let said = refused("/no/such/component.wasm", &[]);
    assert!(
        said.contains("/no/such/component.wasm") && said.contains("No such file"),
        "{said}"
    );
}

#[test]
fn an_occupied_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = guest_file("p2-hello");
    let mut process = Process::start(["serve", file.to_str().unwrap(), "--listen", &address]);
    assert_eq!(process.wait().code(), Some(1));
    assert!(
        process.stderr.text().contains(&address),
        "{}",
        process.stderr.text()
    );
}

#[test]
fn a_missing_directory_is_named() {
    let file = guest_file("p2-hello");
    let said = refused(file.to_str().unwrap(), &["--dir", "/no/such/directory"]);
    assert!(said.contains("/no/such/directory"), "{said}");
}

#[test]
fn errors_are_json_if_asked_for() {
    let mut process = Process::start([
        "--json",
        "serve",
        "/no/such/component.wasm",
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(process.wait().code(), Some(1));
    let said: serde_json::Value = serde_json::from_str(&process.stderr.text()).expect("the error is JSON");
    assert!(
        said["error"]
            .as_str()
            .unwrap()
            .contains("/no/such/component.wasm"),
        "{said}"
    );
}

#[test]
fn wrong_flags_are_refused_with_status_2() {
    let file = guest_file("p2-hello");
    let file = file.to_str().unwrap();
    for flags in [
        ["--memory", "lots"],
        ["--cpu-time", "5"],
        ["--concurrency", "0"],
        ["--env", "NOVALUE"],
        ["--allow-http", "http://"],
        ["--listen", "nowhere"],
        ["--dir", "::"],
    ] {
        let mut process = Process::start(["serve", file].iter().chain(&flags));
        assert_eq!(
            process.wait().code(),
            Some(2),
            "{flags:?}: {}",
            process.stderr.text()
        );
        assert!(
            process.stderr.text().contains(flags[0]),
            "{flags:?}: {}",
            process.stderr.text()
        );
    }
}

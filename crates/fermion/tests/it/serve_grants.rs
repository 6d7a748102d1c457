//! What a component may see of its surroundings: nothing, until a flag grants it. And what it says and does is told to
//! whoever runs it.

use crate::support::{Ask, EDGES, Response, Serve};

fn file(serve: &Serve, path: &str) -> Response {
    Ask::get(&format!("/file?path={path}")).send(serve.address)
}

#[test]
fn a_component_sees_nothing_by_default() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        for path in ["/env", "/fs"] {
            Ask::get(path).send(serve.address).expect(200, "");
        }
        for path in [
            "/etc/passwd",
            "/etc/hostname",
            "../../etc/passwd",
            "/proc/self/environ",
            "Cargo.toml",
        ] {
            assert_eq!(file(&serve, path).status, 403, "{guest} {path}");
        }
        let random = || Ask::get("/random").send(serve.address).text().to_owned();
        assert_ne!(random(), random(), "{guest}");
        let clock = Ask::get("/clock").send(serve.address);
        let wall = clock.text().lines().find_map(|line| line.strip_prefix("wall "));
        assert!(
            wall.expect("a wall clock").parse::<u64>().unwrap() > 1_700_000_000,
            "{guest}"
        );
    }
}

#[test]
fn environment_is_what_the_flags_say() {
    for guest in EDGES {
        let serve = Serve::start(guest, &["--env", "GREETING=hello = world", "--env", "EMPTY="]);
        Ask::get("/env")
            .send(serve.address)
            .expect(200, "GREETING=hello = world\nEMPTY=\n");
    }
}

#[test]
fn configuration_is_what_the_flags_say() {
    let serve = Serve::start("p2-config", &["--config", "color=blue", "--config", "size=1=2"]);
    Ask::get("/")
        .send(serve.address)
        .expect(200, "color=blue\nsize=1=2\n");
    Ask::get("/color").send(serve.address).expect(200, "blue\n");
    Ask::get("/none").send(serve.address).expect(404, "no such key\n");
    let empty = Serve::start("p2-config", &[]);
    Ask::get("/").send(empty.address).expect(200, "");
}

#[test]
fn a_directory_is_shown_and_nothing_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let shown = directory.path().join("shown");
    std::fs::create_dir(&shown).unwrap();
    std::fs::write(shown.join("inside.txt"), "inside\n").unwrap();
    std::fs::write(directory.path().join("outside.txt"), "outside\n").unwrap();
    std::os::unix::fs::symlink("../outside.txt", shown.join("link.txt")).unwrap();
    let grant = format!("{}::/data", shown.display());
    for guest in EDGES {
        let serve = Serve::start(guest, &["--dir", &grant]);
        Ask::get("/fs").send(serve.address).expect(200, "/data\n");
        file(&serve, "/data/inside.txt").expect(200, "inside\n");
        for path in [
            "/data/../outside.txt",
            "/data/link.txt",
            "/outside.txt",
            "/etc/passwd",
        ] {
            let refused = file(&serve, path);
            assert_eq!(refused.status, 403, "{guest} {path}: {refused:?}");
        }
    }
}

#[test]
fn what_a_guest_prints_becomes_lines_with_its_name_and_request() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let ask =
            Ask::get("/log/a%22b%0Ac").header("traceparent", &format!("00-{trace}-b7ad6b7169203331-01"));
        ask.send(serve.address).expect(200, "logged\n");
        for (stream, text) in [
            ("stdout", "stdout a\"b"),
            ("stdout", "c"),
            ("stderr", "stderr a\"b"),
            ("stderr", "c"),
        ] {
            let line = serve.process.stderr.wait_for(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
                line["stream"] == stream && line["line"] == text
            });
            let line = line.unwrap_or_else(|| panic!("{guest} {text}:\n{}", serve.process.stderr.text()));
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(line["app"], guest);
            assert_eq!(line["request_id"], trace);
            assert!(line["release"].is_string() && line["time"].is_string(), "{line}");
        }
        serve.stop();
    }
}

#[test]
fn the_access_log_has_a_line_a_request() {
    for guest in EDGES {
        let log = tempfile::NamedTempFile::new().unwrap();
        let serve = Serve::start(guest, &["--access-log", log.path().to_str().unwrap()]);
        Ask::get("/hello?q=1")
            .send(serve.address)
            .expect(200, "Hello, world!\n");
        assert_eq!(Ask::get("/trap").send(serve.address).code(), "GUEST_TRAP");
        // Stopping writes out what is queued.
        serve.stop();
        let text = std::fs::read_to_string(log.path()).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2, "{guest}: {text}");
        let of = |path: &str| {
            let mut lines = lines.iter();
            let line = lines.find(|line| line["path"].as_str().is_some_and(|text| text.starts_with(path)));
            line.unwrap_or_else(|| panic!("{guest} {path}: {text}"))
        };
        let (hello, trap) = (of("/hello"), of("/trap"));
        assert_eq!((&hello["status"], &hello["method"]), (&200.into(), &"GET".into()));
        assert_eq!(
            (&trap["fault"], &trap["blame"]),
            (&"GUEST_TRAP".into(), &"guest".into())
        );
    }
}

#[test]
fn the_trace_is_accepted_if_valid_and_begun_if_not() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        let seen = |headers: &[&str]| {
            let mut ask = Ask::get("/info");
            for value in headers {
                ask = ask.header("traceparent", value);
            }
            let text = ask
                .header("tracestate", "vendor=1")
                .send(serve.address)
                .text()
                .to_owned();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("header traceparent: "));
            let has_state = text.contains("header tracestate: vendor=1");
            (line.expect("there is a trace").to_owned(), has_state)
        };
        let valid = format!("00-{TRACE}-b7ad6b7169203331-01");
        let (kept, has_state) = seen(&[&valid]);
        assert!(
            kept.starts_with(&format!("00-{TRACE}-")) && has_state,
            "{guest}: {kept}"
        );
        let zeros = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let upper = valid.to_ascii_uppercase();
        let unknown = format!("ff-{TRACE}-b7ad6b7169203331-01");
        for invalid in [
            &[][..],
            &["junk"],
            &[&zeros],
            &[&upper],
            &[&unknown],
            &[&valid, &valid],
        ] {
            let (begun, has_state) = seen(invalid);
            assert!(
                !begun.contains(TRACE) && !has_state,
                "{guest} {invalid:?}: {begun}"
            );
            assert_eq!(begun.len(), 55);
        }
        // The id of a refusal is the trace's own.
        let refused = Ask::get("/trap")
            .header("traceparent", &valid)
            .send(serve.address);
        assert!(refused.text().contains(TRACE), "{guest}: {refused:?}");
    }
}

//! Initialisations of small components, in this process: what is frozen, what is refused by which name, and what ends.

use super::*;

const MEMORY_BYTES: u64 = 1024 * 1024;

fn freeze_with(text: &str, is_seed_fixed: bool) -> Result<Vec<u8>, Failure> {
    let engine = make_engine(Generation::P2).unwrap();
    let allowed = Initialisation {
        memory_bytes: MEMORY_BYTES,
        instructions_max: Some(1_000_000),
        is_seed_fixed,
    };
    initialise(&engine, &wat::parse_str(text).unwrap(), allowed)
}

fn freeze(text: &str) -> Result<Vec<u8>, Failure> {
    freeze_with(text, false)
}

/// A component whose initialisation is `body`; `parts` stand beside it in its module.
fn component(parts: &str, body: &str) -> String {
    format!(
        r#"(component
            (core module $main {parts} (func (export "begin") {body}))
            (core instance $main (instantiate $main))
            (func (export "wizer-initialize") (canon lift (core func $main "begin"))))"#
    )
}

/// Instantiates a frozen component and calls its `read`.
fn read(frozen: &[u8]) -> u32 {
    let engine = make_engine(Generation::P2).unwrap();
    let component = Component::new(&engine, frozen).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_fuel(1_000).unwrap();
    let instance = Linker::new(&engine).instantiate(&mut store, &component).unwrap();
    let read = instance.get_typed_func::<(), (u32,)>(&mut store, "read").unwrap();
    read.call(&mut store, ()).unwrap().0
}

/// Counts how often it is initialised: in a global by the export, in memory by the module's start. The module's export
/// has the same name, as toolchains have it.
const COUNTER: &str = r#"(component
    (core module $main
        (memory (export "memory") 1)
        (global $begun (mut i32) (i32.const 0))
        (func $start (i32.store (i32.const 70000) (i32.const 40)))
        (func $grow (drop (memory.grow (i32.const 1))) (call $start))
        (start $grow)
        (func (export "wizer-initialize") (global.set $begun (i32.add (global.get $begun) (i32.const 2))))
        (func (export "read") (result i32) (i32.add (global.get $begun) (i32.load (i32.const 70000)))))
    (core instance $main (instantiate $main))
    (func (export "wizer-initialize") (canon lift (core func $main "wizer-initialize")))
    (func (export "read") (result u32) (canon lift (core func $main "read"))))"#;

#[test]
fn globals_and_memory_are_kept_and_nothing_runs_twice() {
    let frozen = freeze(COUNTER).unwrap();
    assert_eq!(read(&frozen), 42);
    assert_eq!(freeze(COUNTER).unwrap(), frozen, "the same bytes each time");
}

#[test]
fn without_an_export_to_call_instantiation_is_the_initialisation() {
    let text = COUNTER.replace("wizer-initialize", "something-else");
    assert_eq!(read(&freeze(&text).unwrap()), 40);
}

#[test]
fn what_cannot_be_frozen_is_refused_by_name() {
    for (import, function, why) in [
        ("wasi:clocks/wall-clock@0.2.6", "now", "stand still"),
        ("wasi:clocks/monotonic-clock@0.2.0", "now", "stand still"),
        ("wasi:random/random@0.2.6", "get-random-u64", "the same numbers"),
        (
            "wasi:random/insecure-seed@0.2.6",
            "insecure-seed",
            "--snapshot-allow insecure-seed",
        ),
        (
            "wasi:cli/environment@0.2.6",
            "get-environment",
            "belong to a release",
        ),
        ("wasi:config/store@0.2.0-rc.1", "get-all", "belong to a release"),
        ("wasi:keyvalue/store@0.2.0-draft", "open", "belong to a release"),
        ("wasi:http/outgoing-handler@0.2.6", "handle", "no network"),
        (
            "wasi:sockets/instance-network@0.2.6",
            "instance-network",
            "no network",
        ),
        ("wasi:filesystem/preopens@0.2.6", "get-directories", "no files"),
        ("wasi:cli/stderr@0.2.6", "get-stderr", "a panic prints"),
        ("acme:own/thing@1.0.0", "call", "nothing of the host"),
    ] {
        let text = format!(
            r#"(component
                (import "{import}" (instance $host (export "{function}" (func))))
                (core func $call (canon lower (func $host "{function}")))
                (core module $main (import "" "call" (func $call)) (func (export "begin") (call $call)))
                (core instance $main (instantiate $main (with "" (instance (export "call" (func $call))))))
                (func (export "wizer-initialize") (canon lift (core func $main "begin"))))"#
        );
        let Err(Failure::Refused(words)) = freeze(&text) else {
            panic!("{import} was not refused");
        };
        assert!(
            words.contains(&format!("called {import}#{function}, ")),
            "{words}"
        );
        assert!(words.contains(why), "{words}");
        // What is imported and not called is no matter.
        let idle = text.replace(
            "(func (export \"begin\") (call $call))",
            "(func (export \"begin\"))",
        );
        assert!(freeze(&idle).is_ok(), "{import}");
    }
}

#[test]
fn a_seed_that_is_allowed_follows_from_the_component() {
    let text = r#"(component
        (import "wasi:random/insecure-seed@0.2.6"
            (instance $host (export "insecure-seed" (func (result (tuple u64 u64))))))
        (core module $memory (memory (export "memory") 1))
        (core instance $memory (instantiate $memory))
        (alias core export $memory "memory" (core memory $shared))
        (core func $seed (canon lower (func $host "insecure-seed") (memory $shared)))
        (core module $main
            (import "" "seed" (func $seed (param i32)))
            (import "" "memory" (memory 1))
            (func (export "begin") (call $seed (i32.const 64)))
            (func (export "read") (result i32) (i32.load (i32.const 64))))
        (core instance $main (instantiate $main (with "" (instance
            (export "seed" (func $seed)) (export "memory" (memory $shared))))))
        (func (export "wizer-initialize") (canon lift (core func $main "begin")))
        (func (export "read") (result u32) (canon lift (core func $main "read"))))"#;
    let Err(Failure::Refused(_)) = freeze(text) else {
        panic!("without leave there is no seed");
    };
    let frozen = freeze_with(text, true).unwrap();
    assert_eq!(frozen, freeze_with(text, true).unwrap());
    let other = freeze_with(&text.replace("i32.const 64", "i32.const 128"), true).unwrap();
    let seed = |wasm: &[u8]| {
        let data = wasm
            .windows(8)
            .map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        data.collect::<std::collections::HashSet<_>>()
    };
    let first = u64::from_le_bytes(
        Sha256::digest(wat::parse_str(text).unwrap())[..8]
            .try_into()
            .unwrap(),
    );
    assert!(seed(&frozen).contains(&first) && !seed(&other).contains(&first));
}

#[test]
fn what_does_not_end_is_ended() {
    let ends = [
        ("", "(loop (br 0))", "not done after 1000000 instructions"),
        (
            "(memory 1)",
            "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable",
            "more than 1 MiB of memory",
        ),
    ];
    for (parts, body, why) in ends {
        let Err(Failure::Limit(words)) = freeze(&component(parts, body)) else {
            panic!("{body} was not ended");
        };
        assert!(words.contains(why), "{words}");
    }
}

#[test]
fn a_component_of_the_wrong_shape_is_refused_in_words() {
    let cases = [
        ("", "unreachable", "initialisation failed"),
        ("(func $deep (call $deep) (call $deep))", "(call $deep)", "stack"),
        (
            "(table 1 funcref) (func $f) (elem declare func $f)",
            "(table.set (i32.const 0) (ref.func $f))",
            "table.set",
        ),
        ("(global (mut v128) (v128.const i64x2 0 0))", "", "v128"),
        ("(memory 1 1)", "", "reading what initialisation left"),
    ];
    for (parts, body, why) in cases {
        match freeze(&component(parts, body)) {
            Err(Failure::Refused(words)) => assert!(words.contains(why), "{words}"),
            other => panic!("{parts} {body}: {other:?}"),
        }
    }
}

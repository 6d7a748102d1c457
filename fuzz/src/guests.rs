//! Generated guests of WASI 0.2: from any bytes a component that exports a handler and calls the host, in good order or
//! in none: a script of calls on handles that may be of another kind, gone or made up. One in four has a module of
//! wasm-smith beside it, which runs when the instance is made.

use std::fmt::Write as _;

use arbitrary::Unstructured;
use wasm_smith::{Config, Module};

/// Statements of one script; enough for an answer and for something in its way.
const STATEMENTS_MAX: usize = 6;
/// An empty core module as a section of a component: what stands where wasm-smith's is to be.
const PLACE: &[u8] = b"\x01\x08\0asm\x01\0\0\0";

/// Reads bytes one by one; after the end come zeros.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    /// Mostly small, sometimes beyond everything.
    fn number(&mut self) -> u32 {
        match self.byte() {
            byte @ 0..=200 => u32::from(byte),
            byte @ 201..=240 => u32::from(byte) * 257,
            byte => u32::MAX - u32::from(byte),
        }
    }
}

/// A component, whatever the bytes are.
pub fn component(data: &[u8]) -> Vec<u8> {
    let mut script = Script(data);
    let beside = (script.below(4) == 0).then(|| smith(script.0)).flatten();
    let mut body = String::new();
    for _ in 0..=usize::from(script.byte()) % STATEMENTS_MAX {
        statement(&mut script, &mut body, 0);
    }
    let text = COMPONENT.replace("MAIN", &MAIN.replace("BODY", &body));
    let wasm = wat::parse_str(text).expect("every script is one component");
    let Some(module) = beside else { return wasm };
    let at = wasm.windows(PLACE.len()).position(|part| part == PLACE);
    let at = at.expect("the text has one empty module, before every other");
    let mut spliced = wasm[..=at].to_vec();
    spliced.extend(leb128(module.len()));
    spliced.extend(module);
    spliced.extend(&wasm[at + PLACE.len()..]);
    spliced
}

/// A length as WebAssembly writes it.
fn leb128(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = length.to_le_bytes()[0] & 0x7f;
        length >>= 7;
        if length == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A module that is instantiated beside the handler: its memories, tables and start function are the instance's too.
fn smith(data: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Unstructured::new(data);
    let config = Config {
        max_memory32_bytes: 1 << 20,
        max_imports: 0,
        min_imports: 0,
        ..Config::default()
    };
    Some(Module::new(config, &mut bytes).ok()?.to_bytes())
}

/// One statement: `$0` to `$7` are handles; the first two are the request and where its answer goes.
fn statement(script: &mut Script<'_>, out: &mut String, depth: usize) {
    let (to, from, other) = (script.below(8), script.below(8), script.below(8));
    let number = script.number();
    let line = match script.below(40) {
        0 => format!("(local.set ${to} (call $fields))"),
        1 => format!(
            "(call $append (local.get ${from}) (i32.const {number}) (i32.const {}) (i32.const 16) (i32.const {}) \
             (i32.const 8))",
            script.number(),
            script.number()
        ),
        2 => format!("(local.set ${to} (call $response (local.get ${from})))"),
        3 => format!(
            "(drop (call $status (local.get ${from}) (i32.const {})))",
            number.wrapping_mul(3)
        ),
        4 => format!(
            "(call $body (local.get ${from}) (i32.const 8)) (local.set ${to} (i32.load (i32.const 12)))"
        ),
        5 => format!(
            "(call $write (local.get ${from}) (i32.const 8)) (local.set ${to} (i32.load (i32.const 12)))"
        ),
        6 => format!(
            "(call $send (local.get ${from}) (i32.const {number}) (i32.const {}) (i32.const 8))",
            script.number()
        ),
        7 => format!(
            "(call $finish (local.get ${from}) (i32.const {}) (local.get ${other}) (i32.const 64))",
            script.below(2)
        ),
        8 => format!("(call $set (local.get ${from}) (i32.const 0) (local.get ${other}) {ZEROS})"),
        9 => format!(
            "(call $set (local.get ${from}) (i32.const 1) (i32.const {}) {ZEROS})",
            script.below(42)
        ),
        10 => format!("(call $path (local.get ${from}) (i32.const {number}))"),
        11 => format!("(call $random (i64.const {number}) (i32.const 8))"),
        12 => format!("(local.set ${to} (call $timer (i64.const {number})))"),
        13 => format!("(call $wait (local.get ${from}))"),
        14 => format!("(call $drop{} (local.get ${from}))", script.below(4)),
        15 => format!("(call $exit (i32.const {}))", script.below(3)),
        16 => format!("(drop (memory.grow (i32.const {number})))"),
        17 => format!("(i32.store (i32.const {number}) (i32.const {}))", script.number()),
        18 => format!("(local.set ${to} (i32.const {number}))"),
        19 => format!("(local.set ${to} (local.get ${from}))"),
        20 if depth < 3 => {
            let mut inner = String::new();
            for _ in 0..=script.below(3) {
                statement(script, &mut inner, depth + 1);
            }
            let times = number.min(5_000);
            format!(
                "(local.set $t{depth} (i32.const {times})) (loop {inner} (br_if 0 (local.tee $t{depth} (i32.sub \
                 (local.get $t{depth}) (i32.const 1)))))"
            )
        }
        21 => match script.below(8) {
            0 => "unreachable".to_owned(),
            1 => "(loop (br 0))".to_owned(),
            2 => "(call $deep (i32.const 0))".to_owned(),
            3 => "(loop (drop (memory.grow (i32.const 1))) (br 0))".to_owned(),
            _ => "nop".to_owned(),
        },
        // The rest: an answer as it should be, so that what follows happens behind one.
        _ => format!("(call $answer (local.get $1) (i32.const {}))", number.min(60_000)),
    };
    writeln!(out, "{line}").expect("text takes text");
}

/// What an answer or an error leaves away of the widest of them.
const ZEROS: &str = "(i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)";

const MAIN: &str = r#"(core module $main
    (import "" "memory" (memory 1))
    (import "" "fields" (func $fields (result i32)))
    (import "" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
    (import "" "response" (func $response (param i32) (result i32)))
    (import "" "status" (func $status (param i32 i32) (result i32)))
    (import "" "body" (func $body (param i32 i32)))
    (import "" "write" (func $write (param i32 i32)))
    (import "" "send" (func $send (param i32 i32 i32 i32)))
    (import "" "finish" (func $finish (param i32 i32 i32 i32)))
    (import "" "set" (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "" "path" (func $path (param i32 i32)))
    (import "" "random" (func $random (param i64 i32)))
    (import "" "timer" (func $timer (param i64) (result i32)))
    (import "" "wait" (func $wait (param i32)))
    (import "" "exit" (func $exit (param i32)))
    (import "" "drop0" (func $drop0 (param i32)))
    (import "" "drop1" (func $drop1 (param i32)))
    (import "" "drop2" (func $drop2 (param i32)))
    (import "" "drop3" (func $drop3 (param i32)))
    (func $deep (param i32) (call $deep (i32.add (local.get 0) (i32.const 1))) (call $deep (local.get 0)))
    (func $answer (param $out i32) (param $bytes i32) (local $response i32) (local $body i32) (local $stream i32)
        (local.set $response (call $response (call $fields)))
        (call $body (local.get $response) (i32.const 8))
        (local.set $body (i32.load (i32.const 12)))
        (call $set (local.get $out) (i32.const 0) (local.get $response)
            (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
        (call $write (local.get $body) (i32.const 8))
        (local.set $stream (i32.load (i32.const 12)))
        (call $send (local.get $stream) (i32.const 0) (i32.rem_u (local.get $bytes) (i32.const 4097)) (i32.const 8))
        (call $drop1 (local.get $stream))
        (call $finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 64)))
    (func (export "handle") (param $0 i32) (param $1 i32)
        (local $2 i32) (local $3 i32) (local $4 i32) (local $5 i32) (local $6 i32) (local $7 i32)
        (local $t0 i32) (local $t1 i32) (local $t2 i32)
        BODY))"#;

const COMPONENT: &str = r#"(component
    (core module)
    (core instance (instantiate 0))
    MAIN
    (import "wasi:io/error@0.2.6" (instance $io (export "error" (type (sub resource)))))
    (alias export $io "error" (type $error))
    (import "wasi:io/poll@0.2.6" (instance $poll
        (export "pollable" (type $p (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $p))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:io/streams@0.2.6" (instance $streams
        (alias outer 1 $error (type $outer))
        (export "error" (type $e (eq $outer)))
        (export "output-stream" (type $stream (sub resource)))
        (type $why (variant (case "last-operation-failed" (own $e)) (case "closed")))
        (export "stream-error" (type $refusal (eq $why)))
        (export "[method]output-stream.blocking-write-and-flush"
            (func (param "self" (borrow $stream)) (param "contents" (list u8)) (result (result (error $refusal)))))))
    (alias export $streams "output-stream" (type $output-stream))
    (import "wasi:random/random@0.2.6" (instance $random
        (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
    (import "wasi:clocks/monotonic-clock@0.2.6" (instance $clock
        (alias outer 1 $pollable (type $outer))
        (export "pollable" (type $p (eq $outer)))
        (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
    (import "wasi:cli/exit@0.2.6" (instance $cli (export "exit" (func (param "status" (result))))))
    (import "wasi:http/types@0.2.6" (instance $http
        (alias outer 1 $output-stream (type $outer))
        (export "output-stream" (type $stream (eq $outer)))
        (export "fields" (type $fields (sub resource)))
        (export "incoming-request" (type $request (sub resource)))
        (export "outgoing-response" (type $response (sub resource)))
        (export "outgoing-body" (type $body (sub resource)))
        (export "response-outparam" (type $out (sub resource)))
        (type $dns-shape (record (field "rcode" (option string)) (field "info-code" (option u16))))
        (export "DNS-error-payload" (type $dns (eq $dns-shape)))
        (type $tls-shape (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
        (export "TLS-alert-received-payload" (type $tls (eq $tls-shape)))
        (type $size-shape (record (field "field-name" (option string)) (field "field-size" (option u32))))
        (export "field-size-payload" (type $size (eq $size-shape)))
        (type $code-shape (variant
            (case "DNS-timeout") (case "DNS-error" $dns) (case "destination-not-found")
            (case "destination-unavailable") (case "destination-IP-prohibited") (case "destination-IP-unroutable")
            (case "connection-refused") (case "connection-terminated") (case "connection-timeout")
            (case "connection-read-timeout") (case "connection-write-timeout") (case "connection-limit-reached")
            (case "TLS-protocol-error") (case "TLS-certificate-error") (case "TLS-alert-received" $tls)
            (case "HTTP-request-denied") (case "HTTP-request-length-required")
            (case "HTTP-request-body-size" (option u64)) (case "HTTP-request-method-invalid")
            (case "HTTP-request-URI-invalid") (case "HTTP-request-URI-too-long")
            (case "HTTP-request-header-section-size" (option u32)) (case "HTTP-request-header-size" (option $size))
            (case "HTTP-request-trailer-section-size" (option u32)) (case "HTTP-request-trailer-size" $size)
            (case "HTTP-response-incomplete") (case "HTTP-response-header-section-size" (option u32))
            (case "HTTP-response-header-size" $size) (case "HTTP-response-body-size" (option u64))
            (case "HTTP-response-trailer-section-size" (option u32)) (case "HTTP-response-trailer-size" $size)
            (case "HTTP-response-transfer-coding" (option string))
            (case "HTTP-response-content-coding" (option string)) (case "HTTP-response-timeout")
            (case "HTTP-upgrade-failed") (case "HTTP-protocol-error") (case "loop-detected")
            (case "configuration-error") (case "internal-error" (option string))))
        (export "error-code" (type $code (eq $code-shape)))
        (type $header-shape (variant (case "invalid-syntax") (case "forbidden") (case "immutable")))
        (export "header-error" (type $header-error (eq $header-shape)))
        (export "[constructor]fields" (func (result (own $fields))))
        (export "[method]fields.append" (func (param "self" (borrow $fields)) (param "name" string)
            (param "value" (list u8)) (result (result (error $header-error)))))
        (export "[method]incoming-request.path-with-query"
            (func (param "self" (borrow $request)) (result (option string))))
        (export "[constructor]outgoing-response" (func (param "headers" (own $fields)) (result (own $response))))
        (export "[method]outgoing-response.set-status-code"
            (func (param "self" (borrow $response)) (param "status-code" u16) (result (result))))
        (export "[method]outgoing-response.body"
            (func (param "self" (borrow $response)) (result (result (own $body)))))
        (export "[method]outgoing-body.write" (func (param "self" (borrow $body)) (result (result (own $stream)))))
        (export "[static]outgoing-body.finish" (func (param "this" (own $body))
            (param "trailers" (option (own $fields))) (result (result (error $code)))))
        (export "[static]response-outparam.set"
            (func (param "param" (own $out)) (param "response" (result (own $response) (error $code)))))))
    (alias export $http "incoming-request" (type $request))
    (alias export $http "response-outparam" (type $out))
    (alias export $http "fields" (type $fields))
    (core module $libc
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768)))
    (core instance $libc (instantiate $libc))
    (alias core export $libc "memory" (core memory $memory))
    (alias core export $libc "realloc" (core func $realloc))
    (core func $fields (canon lower (func $http "[constructor]fields")))
    (core func $append (canon lower (func $http "[method]fields.append") (memory $memory)))
    (core func $response (canon lower (func $http "[constructor]outgoing-response")))
    (core func $status (canon lower (func $http "[method]outgoing-response.set-status-code")))
    (core func $body (canon lower (func $http "[method]outgoing-response.body") (memory $memory)))
    (core func $write (canon lower (func $http "[method]outgoing-body.write") (memory $memory)))
    (core func $finish (canon lower (func $http "[static]outgoing-body.finish") (memory $memory) (realloc $realloc)))
    (core func $set (canon lower (func $http "[static]response-outparam.set") (memory $memory)))
    (core func $path (canon lower (func $http "[method]incoming-request.path-with-query")
        (memory $memory) (realloc $realloc)))
    (core func $send (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))
    (core func $random (canon lower (func $random "get-random-bytes") (memory $memory) (realloc $realloc)))
    (core func $timer (canon lower (func $clock "subscribe-duration")))
    (core func $wait (canon lower (func $poll "[method]pollable.block")))
    (core func $exit (canon lower (func $cli "exit")))
    (core func $drop0 (canon resource.drop $fields))
    (core func $drop1 (canon resource.drop $output-stream))
    (core func $drop2 (canon resource.drop $request))
    (core func $drop3 (canon resource.drop $out))
    (core instance $host
        (export "memory" (memory $memory)) (export "fields" (func $fields)) (export "append" (func $append))
        (export "response" (func $response)) (export "status" (func $status)) (export "body" (func $body))
        (export "write" (func $write)) (export "send" (func $send)) (export "finish" (func $finish))
        (export "set" (func $set)) (export "path" (func $path)) (export "random" (func $random))
        (export "timer" (func $timer)) (export "wait" (func $wait)) (export "exit" (func $exit))
        (export "drop0" (func $drop0)) (export "drop1" (func $drop1)) (export "drop2" (func $drop2))
        (export "drop3" (func $drop3)))
    (core instance $main (instantiate $main (with "" (instance $host))))
    (type $own-request (own $request))
    (type $own-out (own $out))
    (func $handle (param "request" $own-request) (param "response-out" $own-out)
        (canon lift (core func $main "handle")))
    (instance $handler (export "handle" (func $handle)))
    (export "wasi:http/incoming-handler@0.2.6" (instance $handler)))"#;

//! Reads and writes key-value stores. `/STORE/OPERATION/...` uses the second draft of `wasi:keyvalue`,
//! `/STORE/draft/OPERATION/...` the first, which are alike but for lists, counters, batches and swaps. What a store
//! refuses is a 502 with the error's name.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({
    inline: r#"
        package fermion:guest;

        world storing {
            import wasi:keyvalue/store@0.2.0-draft2;
            import wasi:keyvalue/atomics@0.2.0-draft2;
            import wasi:keyvalue/batch@0.2.0-draft2;
            import wasi:keyvalue/store@0.2.0-draft;
            import wasi:keyvalue/atomics@0.2.0-draft;
            import wasi:keyvalue/batch@0.2.0-draft;
        }

        package wasi:keyvalue@0.2.0-draft2 {
            interface store {
                variant error { no-such-store, access-denied, other(string) }
                record key-response { keys: list<string>, cursor: option<string> }
                open: func(identifier: string) -> result<bucket, error>;
                resource bucket {
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    set: func(key: string, value: list<u8>) -> result<_, error>;
                    delete: func(key: string) -> result<_, error>;
                    exists: func(key: string) -> result<bool, error>;
                    list-keys: func(cursor: option<string>) -> result<key-response, error>;
                }
            }
            interface atomics {
                use store.{bucket, error};
                variant cas-error { store-error(error), cas-failed(tuple<cas, option<list<u8>>>) }
                resource cas {
                    new: static func(bucket: borrow<bucket>, key: string) -> result<cas, error>;
                    new-with-read: static func(bucket: borrow<bucket>, key: string)
                        -> result<tuple<cas, option<list<u8>>>, error>;
                }
                increment: func(bucket: borrow<bucket>, key: string, delta: s64) -> result<s64, error>;
                swap: func(cas: cas, value: list<u8>) -> result<_, cas-error>;
            }
            interface batch {
                use store.{bucket, error};
                get-many: func(bucket: borrow<bucket>, keys: list<string>)
                    -> result<list<tuple<string, option<list<u8>>>>, error>;
                set-many: func(bucket: borrow<bucket>, key-values: list<tuple<string, list<u8>>>) -> result<_, error>;
                delete-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<_, error>;
            }
        }

        package wasi:keyvalue@0.2.0-draft {
            interface store {
                variant error { no-such-store, access-denied, other(string) }
                record key-response { keys: list<string>, cursor: option<u64> }
                open: func(identifier: string) -> result<bucket, error>;
                resource bucket {
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    set: func(key: string, value: list<u8>) -> result<_, error>;
                    delete: func(key: string) -> result<_, error>;
                    exists: func(key: string) -> result<bool, error>;
                    list-keys: func(cursor: option<u64>) -> result<key-response, error>;
                }
            }
            interface atomics {
                use store.{bucket, error};
                increment: func(bucket: borrow<bucket>, key: string, delta: u64) -> result<u64, error>;
            }
            interface batch {
                use store.{bucket, error};
                get-many: func(bucket: borrow<bucket>, keys: list<string>)
                    -> result<list<option<tuple<string, list<u8>>>>, error>;
                set-many: func(bucket: borrow<bucket>, key-values: list<tuple<string, list<u8>>>) -> result<_, error>;
                delete-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<_, error>;
            }
        }
    "#,
    generate_all,
});

use wasi::keyvalue0_2_0_draft as first;
use wasi::keyvalue0_2_0_draft2 as second;

struct Storing;

type Answer = Result<String, String>;

fn text(bytes: Option<Vec<u8>>) -> String {
    bytes.map_or("none".to_owned(), |bytes| match bytes.len() {
        0..=100 => String::from_utf8_lossy(&bytes).into_owned(),
        long => format!("{long} bytes"),
    })
}

fn why(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

fn second_draft(name: &str, operation: &str, arguments: &[&str]) -> Answer {
    use second::{atomics, batch, store};
    let bucket = store::open(name).map_err(why)?;
    Ok(match (operation, arguments) {
        ("get", [key]) => text(bucket.get(key).map_err(why)?),
        ("set", [key, value]) => bucket.set(key, value.as_bytes()).map(|()| "set".to_owned()).map_err(why)?,
        // So many bytes under a key of so many bytes.
        ("size", [key, value]) => {
            let bytes = |text: &str| text.parse::<usize>().map_err(why);
            let (key, value) = ("k".repeat(bytes(key)?), vec![b'v'; bytes(value)?]);
            bucket.set(&key, &value).map(|()| "set".to_owned()).map_err(why)?
        }
        ("delete", [key]) => bucket.delete(key).map(|()| "deleted".to_owned()).map_err(why)?,
        ("exists", [key]) => bucket.exists(key).map_err(why)?.to_string(),
        ("list", cursor) => {
            let page = bucket.list_keys(cursor.first().copied()).map_err(why)?;
            format!("{} {:?} {:?}", page.keys.len(), page.keys.first(), page.cursor)
        }
        ("increment", [key, delta]) => {
            let delta = delta.parse().map_err(why)?;
            atomics::increment(&bucket, key, delta).map_err(why)?.to_string()
        }
        // Reads, lets another write come between if it is told to, and swaps; then once more with the new handle.
        ("swap", [key, value, between @ ..]) => {
            let (cas, old) = atomics::Cas::new_with_read(&bucket, key).map_err(why)?;
            if let [between] = between {
                bucket.set(key, between.as_bytes()).map_err(why)?;
            }
            let old = text(old);
            match atomics::swap(cas, value.as_bytes()) {
                Ok(()) => format!("swapped {old}"),
                Err(atomics::CasError::StoreError(error)) => return Err(why(error)),
                Err(atomics::CasError::CasFailed((cas, current))) => {
                    let again = atomics::swap(cas, value.as_bytes()).map_err(|_| "lost twice".to_owned());
                    again.map(|()| format!("lost {old} to {}, then swapped", text(current)))?
                }
            }
        }
        ("get-many", keys) => {
            let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
            let pairs = batch::get_many(&bucket, &keys).map_err(why)?;
            let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
            pairs.join(" ")
        }
        // N keys named PREFIX00000 on, each with the same value of so many bytes.
        ("set-many", [prefix, count, bytes]) => {
            let value = vec![b'v'; bytes.parse().map_err(why)?];
            let count: u32 = count.parse().map_err(why)?;
            let pairs: Vec<_> = (0..count).map(|index| (format!("{prefix}{index:05}"), value.clone())).collect();
            batch::set_many(&bucket, &pairs).map(|()| "set".to_owned()).map_err(why)?
        }
        ("delete-many", keys) => {
            let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
            batch::delete_many(&bucket, &keys).map(|()| "deleted".to_owned()).map_err(why)?
        }
        _ => return Err("no such operation".to_owned()),
    })
}

fn first_draft(name: &str, operation: &str, arguments: &[&str]) -> Answer {
    use first::{atomics, batch, store};
    let bucket = store::open(name).map_err(why)?;
    Ok(match (operation, arguments) {
        ("get", [key]) => text(bucket.get(key).map_err(why)?),
        ("set", [key, value]) => bucket.set(key, value.as_bytes()).map(|()| "set".to_owned()).map_err(why)?,
        ("list", cursor) => {
            let cursor = cursor.first().and_then(|cursor| cursor.parse().ok());
            let page = bucket.list_keys(cursor).map_err(why)?;
            format!("{} {:?} {:?}", page.keys.len(), page.keys.first(), page.cursor)
        }
        ("increment", [key, delta]) => {
            let delta = delta.parse().map_err(why)?;
            atomics::increment(&bucket, key, delta).map_err(why)?.to_string()
        }
        ("get-many", keys) => {
            let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
            let pairs = batch::get_many(&bucket, &keys).map_err(why)?;
            let pair = |(key, value)| format!("{key}={}", text(Some(value)));
            let pairs: Vec<_> = pairs.into_iter().map(|found| found.map_or("none".to_owned(), pair)).collect();
            pairs.join(" ")
        }
        _ => return Err("no such operation".to_owned()),
    })
}

impl wasip2::exports::http::incoming_handler::Guest for Storing {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let answer = match parts.as_slice() {
            [name, "draft", operation, arguments @ ..] => first_draft(name, operation, arguments),
            [name, operation, arguments @ ..] => second_draft(name, operation, arguments),
            _ => Err("no store".to_owned()),
        };
        let (status, body) = match answer {
            Ok(body) => (200, body),
            Err(body) => (502, body),
        };
        let response = OutgoingResponse::new(Fields::new());
        response.set_status_code(status).expect("the status is an acceptable one");
        let outgoing = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = outgoing.write().expect("the stream is taken once");
        for piece in format!("{body}\n").as_bytes().chunks(4096) {
            drop(stream.blocking_write_and_flush(piece));
        }
        drop(stream);
        drop(OutgoingBody::finish(outgoing, None));
    }
}

wasip2::http::proxy::export!(Storing);

//! Reads its configuration through `wasi:config/store`: `/KEY` answers the value of one key, `/` all of them as
//! `key=value` lines. A guest of its own, since a host without that interface must still be able to run the others.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({
    inline: r#"
        package fermion:guest;

        world configured {
            import wasi:config/store@0.2.0-rc.1;
        }

        package wasi:config@0.2.0-rc.1 {
            interface store {
                variant error { upstream(string), io(string) }
                get: func(key: string) -> result<option<string>, error>;
                get-all: func() -> result<list<tuple<string, string>>, error>;
            }
        }
    "#,
    generate_all,
});

use wasi::config::store;

struct Config;

impl wasip2::exports::http::incoming_handler::Guest for Config {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (status, body) = match path.trim_start_matches('/') {
            "" => all(),
            key => one(key),
        };
        let headers = Fields::new();
        headers
            .append("content-type", b"text/plain")
            .expect("the header is an acceptable one");
        let response = OutgoingResponse::new(headers);
        response
            .set_status_code(status)
            .expect("the status is an acceptable one");
        let outgoing = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = outgoing.write().expect("the stream is taken once");
        for piece in body.as_bytes().chunks(4096) {
            drop(stream.blocking_write_and_flush(piece));
        }
        drop(stream);
        drop(OutgoingBody::finish(outgoing, None));
    }
}

fn one(key: &str) -> (u16, String) {
    match store::get(key) {
        Ok(Some(value)) => (200, format!("{value}\n")),
        Ok(None) => (404, "no such key\n".to_owned()),
        Err(error) => (500, format!("{error:?}\n")),
    }
}

fn all() -> (u16, String) {
    match store::get_all() {
        Ok(mut pairs) => {
            pairs.sort();
            (
                200,
                pairs
                    .iter()
                    .map(|(key, value)| format!("{key}={value}\n"))
                    .collect(),
            )
        }
        Err(error) => (500, format!("{error:?}\n")),
    }
}

wasip2::http::proxy::export!(Config);

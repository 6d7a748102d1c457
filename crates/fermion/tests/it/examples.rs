//! The examples that a newcomer starts from: each one is served under the limits of its own manifest's kind and
//! answers as its README says.

use crate::support::{Ask, Serve};

#[test]
fn hello_in_three_languages() {
    for (component, path) in
        [("example-hello", "/"), ("example-hello-js", "/?name=world"), ("example-hello-py", "/?name=world")]
    {
        let serve = Serve::start(component, &["--memory", "256MiB", "--cpu-time", "10s"]);
        let answer = Ask::get(path).send(serve.address);
        answer.expect(200, "Hello, world!\n");
        serve.stop();
    }
}

#[test]
fn json_transform_prices_an_order_and_names_what_is_wrong_with_another() {
    let serve = Serve::start("example-json-transform", &["--memory", "32MiB"]);
    let post = |body: &str| Ask::post("/", body).header("content-type", "application/json").send(serve.address);
    let good = post(r#"{"currency":"EUR","items":[{"sku":"tea","quantity":3,"unit_cents":450,"tax_percent":19}]}"#);
    assert_eq!(good.status, 200, "{}", good.text());
    let invoice: serde_json::Value = serde_json::from_str(good.text()).expect("the invoice is JSON");
    assert_eq!((&invoice["net_cents"], &invoice["gross_cents"]), (&1350.into(), &1607.into()));
    let bad = post(r#"{"currency":"EUR","items":[{"sku":"tea","quantity":0,"unit_cents":450,"tax_percent":19}]}"#);
    assert_eq!(bad.status, 400);
    assert!(bad.text().contains("items[0].quantity"), "{}", bad.text());
    assert_eq!(post("{").status, 400);
    serve.stop();
}

#[test]
fn fetch_upstream_reports_what_the_upstream_said_and_that_it_is_down() {
    let hello = Serve::start("example-hello", &[]);
    let upstream = format!("upstream=http://{}/", hello.address);
    let grant = hello.address.to_string();
    let serve = Serve::start("example-fetch-upstream", &["--config", &upstream, "--allow-http", &grant]);
    let answer = Ask::get("/").send(serve.address);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("Hello, world!"), "{}", answer.text());
    hello.stop();
    assert_eq!(Ask::get("/").send(serve.address).status, 502);
    serve.stop();
    let denied = Serve::start("example-fetch-upstream", &["--config", &upstream]);
    assert_eq!(Ask::get("/").send(denied.address).status, 502);
    denied.stop();
}

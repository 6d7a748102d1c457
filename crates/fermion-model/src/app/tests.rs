//! `app.yaml` as data: what is accepted, and for each refusal where and with which words.

use super::*;
use crate::rollout::{RolloutSpec, Strategy};

const HEAD: &str = "apiVersion: fermion.dev/v1\nkind: App\nmetadata: {name: checkout-tax, namespace: shop}\n";

#[test]
fn reads_the_whole_format() {
    let text = format!(
        "{HEAD}spec:
  package: acme/checkout-tax:1.4.0
  routes: [{{host: shop.example.com, path: /tax/*, methods: [GET, POST]}}]
  config: {{currency: EUR, retries: 3, strict: true, country: NO}}
  bindings: {{rates: {{keyvalue: {{provider: embedded}}}}}}
  scale: {{min: 1}}
  objectives:
    - {{name: success, indicator: success, target: 99.9%, window: 30d}}
  rollout:
    strategy: canary           # rolling
"
    );
    let app = App::parse(&text, "app.yaml").unwrap();
    assert_eq!(
        (app.name.as_str(), app.namespace.as_str()),
        ("checkout-tax", "shop")
    );
    assert_eq!(app.package.unwrap().to_string(), "acme/checkout-tax:1.4.0");
    let route = Route {
        host: Some("shop.example.com".to_owned()),
        path: "/tax/*".to_owned(),
        methods: vec!["GET".to_owned(), "POST".to_owned()],
        strip_prefix: false,
    };
    assert_eq!(app.routes, [route]);
    let config: Vec<_> = app
        .config
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(config, ["country=NO", "currency=EUR", "retries=3", "strict=true"]);
    let notes: Vec<_> = app.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        ["spec.scale: known, not in effect in this version (app.yaml:9)"]
    );
    assert_eq!(app.objectives.map(|objectives| objectives.len()), Some(1));
    assert_eq!(app.rollout, Some(RolloutSpec::of(Strategy::Canary)));
    assert_eq!(app.keyvalue.into_iter().collect::<Vec<_>>(), ["rates"]);
}

/// A `spec` in flow style, and a part of its refusal.
const SPECS_REFUSED: &[(&str, &str)] = &[
    (
        "{rollouts: {}}",
        "a:4:8: unknown key \"rollouts\" in [spec]; did you mean \"rollout\"?",
    ),
    ("{routes: {}}", "a:4:16: spec.routes is a table, not a list"),
    ("{routes: [{host: A.example.com, path: /}]}", "is not a host"),
    ("{routes: [{host: 'a.com:80', path: /}]}", "is not a host"),
    ("{routes: [{path: tax}]}", "does not begin with /"),
    ("{routes: [{path: /a*}]}", "elsewhere than as its last segment"),
    ("{routes: [{path: /../x}]}", "clients resolve"),
    (
        "{routes: [{path: /x, methods: [get]}]}",
        "\"get\" is not a method",
    ),
    ("{routes: [{path: /x, strip_prefix: yes}]}", "write true or false"),
    ("{routes: [{path: /x, headers: []}]}", "unknown key \"headers\""),
    ("{routes: [{path: /x}, {path: /x}]}", "the same route twice"),
    ("{routes: [{host: a.com}]}", "spec.routes[0].path is missing"),
    ("{config: {a: [1]}}", "spec.config.a is a list"),
    ("{config: {'a b': 1}}", "is not a config key"),
    ("{bindings: [rates]}", "spec.bindings is a list, not a table"),
    ("{bindings: {'a b': {}}}", "is not the name of a binding"),
    (
        "{bindings: {rates: {keyvalue: {provider: redis}}}}",
        "\"redis\" is no provider of key-value stores here; there is embedded",
    ),
    ("{bindings: {rates: {keyvalu: {}}}}", "did you mean \"keyvalue\"?"),
    ("{package: acme/x}", "has no version"),
    ("{package: '../x:1.0.0'}", "NAME_INVALID"),
    ("{package: 'acme/x@sha256:00'}", "is not a digest"),
];

fn check_refused(text: &str, want: &str) {
    let error = App::parse(text, "a").unwrap_err().to_string();
    assert!(error.contains(want), "{text}\n{error}");
}

#[test]
fn refusals_say_where_what_and_what_next() {
    for (spec, want) in SPECS_REFUSED {
        check_refused(&format!("{HEAD}spec: {spec}"), want);
    }
    check_refused(
        &HEAD.replace("/v1", "/v2"),
        "a:1:13: apiVersion: \"fermion.dev/v2\" is not a version this build reads",
    );
    check_refused(
        &HEAD.replace("App", "Policy"),
        "this version does not have the kind Policy",
    );
    check_refused(&HEAD.replace("shop", "Shop"), "NAME_INVALID");
    check_refused(
        &HEAD.replace("name: checkout-tax, ", ""),
        "metadata.name is missing",
    );
    check_refused(&HEAD.replace("kind: App\n", ""), "kind is missing");
    check_refused("", "a:1:1: the file is nothing, not a table");
    check_refused("a: [", "not YAML");
}

#[test]
fn an_app_follows_from_its_manifest() {
    let text = "[package]\nname = \"acme/tax_v1.rs\"\nversion = \"1.0.0\"\ncomponent = \"a.wasm\"\n[capabilities]\nconfig = [\"a\", \"b\"]";
    let manifest = Manifest::parse(text, "f").unwrap();
    let mut app = App::derive(&manifest).unwrap();
    assert_eq!(app.name.as_str(), "tax-v1-rs");
    assert_eq!(app.routes[0].host.as_deref(), Some("tax-v1-rs.localhost"));
    assert_eq!(
        (app.routes[1].path.as_str(), app.routes[1].strip_prefix),
        ("/tax-v1-rs/*", true)
    );
    app.config = [("b", "1"), ("c", "2")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    app.keyvalue.insert("rates".to_owned());
    let gaps = app.config_gaps(&manifest.capabilities);
    assert_eq!(
        gaps,
        [
            ConfigGap::Unset("a".to_owned()),
            ConfigGap::Undeclared("c".to_owned()),
            ConfigGap::Unasked("rates".to_owned())
        ]
    );
    let same = App::parse(
        "apiVersion: fermion.dev/v1\nkind: App\nmetadata: {name: tax-v1-rs}\n",
        "a",
    )
    .unwrap();
    assert_eq!(same.routes, App::derive(&manifest).unwrap().routes);
}

#[test]
fn a_document_of_one_namespace_stays_in_it() {
    let within: Namespace = "shop".parse().unwrap();
    let text = "apiVersion: fermion.dev/v1\nkind: App\nmetadata: {name: a}\nspec: {wave: 2}\n";
    let app = App::parse_within(text, "f", &within).unwrap();
    assert_eq!((app.namespace, app.wave), (within.clone(), 2));
    let other = text.replace("{name: a}", "{name: a, namespace: other}");
    let refusal = App::parse_within(&other, "f", &within).unwrap_err().to_string();
    assert!(refusal.starts_with("f:3:32: metadata.namespace"), "{refusal}");
    let source = text.replace("kind: App", "kind: GitSource");
    let refusal = App::parse(&source, "f").unwrap_err().to_string();
    assert!(refusal.contains("`fermion git add`"), "{refusal}");
}

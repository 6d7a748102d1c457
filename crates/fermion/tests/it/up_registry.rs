//! The registry that a platform is: under `/v2/` of the admin address, with what was deployed in it, for whoever has a
//! token that says so.

use crate::platform::{Ran, Site, Up};
use crate::support::{Connection, Response};

/// A request for a path of the admin address; `fields` end in line feeds.
fn ask(up: &Up, path: &str, fields: &str) -> Response {
    let mut connection = Connection::open(up.admin);
    connection.send(format!("GET {path} HTTP/1.1\r\n{fields}\r\n"));
    connection.response("GET")
}

#[test]
fn what_was_deployed_can_be_pulled_by_whoever_may() {
    let site = Site::new();
    let up = Up::start(&site, &[site.simple("shop", "1.0.0", "p2-hello")]);
    let manifest = "/v2/acme/shop/manifests/1.0.0";
    let bearer = |token: &str| format!("host: localhost\r\nauthorization: Bearer {token}\r\n");

    let nobody = ask(&up, manifest, "host: localhost\r\n");
    assert_eq!(nobody.status, 401);
    assert!(nobody.header("www-authenticate").unwrap().starts_with("Basic "));
    // Whether there is such a repository is nobody's business.
    let elsewhere = ask(&up, "/v2/acme/nothing/manifests/1.0.0", "host: localhost\r\n");
    assert_eq!((elsewhere.status, elsewhere.body), (401, nobody.body));

    let admin = ask(&up, manifest, &bearer(&up.token()));
    assert_eq!(admin.status, 200);
    let digest = admin.header("docker-content-digest").unwrap().to_owned();
    let releases = up.run(&["releases", "shop"]).json();
    assert_eq!(releases[0]["digest"], digest.as_str());
    let referrers = ask(
        &up,
        &format!("/v2/acme/shop/referrers/{digest}"),
        &bearer(&up.token()),
    );
    assert!(
        referrers.text().contains("sigstore.bundle"),
        "{}",
        referrers.text()
    );

    // A token for other names opens nothing here; one for these does, until it is revoked.
    let data = site.data();
    let token = |words: &[&str]| {
        let place = ["--json", "registry", "token"];
        let data = ["--data", data.to_str().unwrap()];
        Ran::new(place.iter().chain(words).chain(&data)).json()
    };
    let other = token(&["new", "--repo", "other/*", "--pull"]);
    assert_eq!(
        ask(&up, manifest, &bearer(other["token"].as_str().unwrap())).status,
        403
    );
    let ours = token(&["new", "--repo", "acme/*", "--pull"]);
    let ours_field = bearer(ours["token"].as_str().unwrap());
    assert_eq!(ask(&up, manifest, &ours_field).status, 200);
    token(&["revoke", ours["id"].as_str().unwrap()]);
    assert_eq!(ask(&up, manifest, &ours_field).status, 401);

    // A page in a browser reaches the address under a name of its own, and nothing behind it.
    let rebound = format!("host: evil.example\r\nauthorization: Bearer {}\r\n", up.token());
    assert_eq!(ask(&up, manifest, &rebound).status, 421);
    up.get("/shop/").expect(200, "Hello, world!\n");
    up.stop();
}

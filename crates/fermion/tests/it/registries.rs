//! Packages between registries, through the real binary: pushed, pulled, verified, copied, deployed. Everything is done
//! with each kind of registry.

use std::fs;

use crate::platform::Up;
use crate::platform::remotes::{KINDS, Kind, Place, Remote};
use crate::support::base64;

const HELLO: &str = "Hello, world!\n";

#[test]
fn a_pushed_package_is_pulled_and_verified_elsewhere() {
    for kind in KINDS {
        let here = Place::new();
        let remote = Remote::start(kind, &here.site);
        let digest = here.push(&remote, "shop", "1.0.0", "p2-hello");
        let reference = remote.at("acme/shop:1.0.0");

        let friend = Place::trusting(&here);
        let pulled = friend.run(&["pull", &reference]).json();
        assert_eq!(
            (&pulled["digest"], &pulled["verified"]),
            (&digest.clone().into(), &true.into()),
            "{pulled}"
        );
        assert!(pulled["referrers"].as_u64().unwrap() >= 1, "{pulled}");
        let verified = friend.run(&["verify", "acme/shop:1.0.0"]).json();
        assert_eq!(verified["digest"], digest.as_str());
        // Every signature went along, in both forms.
        let inspect = |place: &Place| place.run(&["inspect", "acme/shop:1.0.0"]).json()["signatures"].clone();
        assert_eq!(
            inspect(&friend).as_array().unwrap().len(),
            inspect(&here).as_array().unwrap().len()
        );

        // Who does not trust the signer gets the bytes and no name for them.
        let stranger = Place::new();
        let words = stranger.run(&["pull", &reference]).refused("SIG_UNTRUSTED");
        assert!(words.contains("not kept under a name"), "{words}");
        stranger
            .run(&["verify", "acme/shop:1.0.0"])
            .refused("TAG_MISSING");
        let kept = stranger.run(&["pull", &reference, "--unverified"]).json();
        assert_eq!(kept["verified"], false);
        stranger
            .run(&["verify", "acme/shop:1.0.0"])
            .refused("TAG_MISSING");
        stranger
            .run(&["verify", &format!("acme/shop@{digest}")])
            .refused("SIG_UNTRUSTED");
    }
}

#[test]
fn what_is_pushed_twice_or_copied_stays_the_same() {
    for kind in KINDS {
        let here = Place::new();
        let remote = Remote::start(kind, &here.site);
        let digest = here.push(&remote, "shop", "1.0.0", "p2-hello");
        let first = here.run(&["pull", &remote.at("acme/shop:1.0.0")]).json();
        here.push(&remote, "shop", "1.0.0", "p2-hello");
        let again = here.run(&["pull", &remote.at("acme/shop:1.0.0")]).json();
        assert_eq!(first, again);

        let elsewhere = Place::trusting(&here);
        let other = Remote::start(Kind::Debian, &elsewhere.site);
        let copied = crate::platform::Ran::new([
            "--json",
            "copy",
            &remote.at("acme/shop:1.0.0"),
            &other.at("mirror/of/shop:stable"),
        ])
        .json();
        assert_eq!(
            (&copied["digest"], &copied["at"]),
            (&digest.clone().into(), &other.at("mirror/of/shop:stable").into())
        );
        let pulled = elsewhere
            .run(&["pull", &other.at("mirror/of/shop:stable")])
            .json();
        assert_eq!(
            (&pulled["digest"], &pulled["verified"]),
            (&digest.into(), &true.into())
        );
        for part in ["blobs", "bytes", "referrers"] {
            assert_eq!(pulled[part], first[part], "{part}");
        }
    }
}

#[test]
fn a_platform_deploys_what_lies_in_a_registry() {
    for kind in KINDS {
        let here = Place::new();
        let remote = Remote::start(kind, &here.site);
        let first = here.push(&remote, "shop", "1.0.0", "p2-hello");
        let there = Place::trusting(&here);
        let up = Up::start::<&str>(&there.site, &[]);
        let nowhere = there.site.path().join("nowhere");
        fs::create_dir(&nowhere).unwrap();
        let nowhere = nowhere.to_str().unwrap();
        let from = |reference: &str| up.run(&["deploy", nowhere, "--from", reference]);

        let deployed = from(&remote.at("acme/shop:1.0.0")).json();
        assert_eq!(deployed["release"]["digest"], first.as_str(), "{deployed}");
        up.get("/shop/state").expect(200, HELLO);
        assert_eq!(
            from(&remote.at(&format!("acme/shop@{first}"))).json()["created"],
            false
        );

        // A tag that is pointed elsewhere afterwards changes nothing here: only digests are kept.
        let second = here.push(&remote, "shop", "1.0.0", "p2-edge");
        assert_ne!(first, second);
        up.get("/shop/state").expect(200, HELLO);
        assert_eq!(up.app("shop")["active"]["digest"], first.as_str());
        from(&remote.at("acme/shop:1.0.0")).json();
        up.get("/shop/state").expect(200, "1\n");

        // What is refused leaves the last good release serving.
        from(&remote.at("acme/shop:9.9.9")).refused("REMOTE_MISSING");
        from(&remote.at("acme/../shop:1.0.0")).refused("NAME_INVALID");
        let stranger = Place::new();
        let digest = stranger.push(&remote, "odd", "1.0.0", "p2-hello");
        from(&remote.at(&format!("acme/odd@{digest}"))).refused("SIG_UNTRUSTED");
        up.get("/shop/state").expect(200, "1\n");

        // With the registry gone, what was deployed goes on, goes back, and starts again.
        let gone = remote.at("acme/shop:2.0.0");
        remote.kill();
        from(&gone).refused("REGISTRY_UNREACHABLE");
        assert_eq!(up.run(&["rollback", "shop"]).json()["serving"], 1);
        up.stop();
        let up = Up::start::<&str>(&there.site, &[]);
        up.get("/shop/state").expect(200, HELLO);
        up.stop();
    }
}

#[test]
fn an_app_names_its_package_in_a_registry() {
    let here = Place::new();
    let remote = Remote::start(Kind::Debian, &here.site);
    let digest = here.push(&remote, "shop", "1.0.0", "p2-hello");
    let there = Place::trusting(&here);
    let operations = there.site.path().join("operations");
    fs::create_dir(&operations).unwrap();
    let app = |package: &str| {
        let text = format!(
            "apiVersion: fermion.dev/v1\nkind: App\nmetadata: {{name: front}}\nspec:\n  package: {package}\n  \
             routes: [{{path: /front/*}}]\n"
        );
        fs::write(operations.join("app.yaml"), text).unwrap();
    };
    app(&remote.at("acme/shop:1.0.0"));
    let up = Up::start::<&str>(&there.site, &[]);
    assert_eq!(up.deploy(&operations)["release"]["digest"], digest.as_str());
    up.get("/front/state").expect(200, HELLO);
    app(&remote.at("acme/shop"));
    up.deploy_refused(&operations, "DOCUMENT_INVALID");
    app(&remote.at("acme/shop:2.0.0"));
    up.deploy_refused(&operations, "REMOTE_MISSING");
    up.get("/front/state").expect(200, HELLO);
    up.stop();
}

#[test]
fn a_password_is_found_and_never_told() {
    let here = Place::new();
    let remote = Remote::guarded(&here.site);
    here.pack("shop", "1.0.0", "p2-hello");
    let to = remote.address.to_string();
    let docker = here.site.path().join("docker");
    fs::create_dir(&docker).unwrap();
    let config = |text: &str| fs::write(docker.join("config.json"), text).unwrap();
    let folder = docker.to_str().unwrap();
    let push = || here.run(&["push", "acme/shop:1.0.0", "--to", &to, "--docker-config", folder]);

    let words = push().refused("REGISTRY_UNAUTHORIZED");
    assert!(words.contains("docker login"), "{words}");
    // "ann:wr0ng" and "ann:s3cret"
    config(&format!(r#"{{"auths":{{"{to}":{{"auth":"YW5uOndyMG5n"}}}}}}"#));
    let ran = push();
    ran.refused("REGISTRY_UNAUTHORIZED");
    assert!(
        !ran.stderr.contains("wr0ng") && !ran.stderr.contains("YW5uOndyMG5n"),
        "{}",
        ran.stderr
    );
    config(&format!(r#"{{"auths":{{"{to}":{{"auth":"#));
    push().refused("CREDENTIALS_UNUSABLE");
    config(&format!(
        r#"{{"auths":{{"{to}":{{"auth":"YW5uOnMzY3JldA=="}}}}}}"#
    ));
    push().json();
    let reference = remote.at("acme/shop:1.0.0");
    here.run(&["pull", &reference]).refused("REGISTRY_UNAUTHORIZED");
    here.run(&["pull", &reference, "--docker-config", folder]).json();
    // The platform's credentials are its own, not those of whoever asks it.
    let up = Up::start_with::<&str>(&here.site, &[], &["--docker-config", folder]);
    let nowhere = here.site.path().join("docker");
    up.run(&["deploy", nowhere.to_str().unwrap(), "--from", &reference])
        .json();
    up.get("/shop/state").expect(200, HELLO);
    let log = format!("{}{}", up.process.stdout.text(), up.process.stderr.text());
    assert!(
        !log.contains("s3cret") && !log.contains("YW5uOnMzY3JldA"),
        "{log}"
    );
    up.stop();
}

#[test]
fn people_see_how_it_goes_on() {
    let here = Place::new();
    let remote = Remote::start(Kind::Debian, &here.site);
    here.pack("shop", "1.0.0", "p2-hello");
    let data = here.site.data();
    let data = data.to_str().unwrap();
    let run = |words: &[&str]| crate::platform::Ran::new(words.iter().chain(&["--data", data]));
    let pushed = run(&["push", &remote.at("acme/shop:1.0.0")]);
    assert!(
        pushed.done().starts_with("pushed acme/shop:1.0.0 to "),
        "{}",
        pushed.stdout
    );
    assert!(
        pushed.stderr.starts_with("pushing ") && !pushed.stderr.contains('\r'),
        "{}",
        pushed.stderr
    );
    let again = run(&["push", &remote.at("acme/shop:1.0.0")]);
    assert!(again.stderr.contains(", was there"), "{}", again.stderr);
    let pulled = run(&["pull", &remote.at("acme/shop:1.0.0")]);
    assert!(
        pulled.done().contains("\n  signed by sha256:"),
        "{}",
        pulled.stdout
    );
    let json = here.run(&["pull", &remote.at("acme/shop:1.0.0")]);
    assert!(json.stderr.is_empty(), "{}", json.stderr);
    // Where to is not made up.
    let words = run(&["push", "acme/shop:1.0.0"]);
    assert!(
        words.status == Some(1) && words.stderr.contains("--to REGISTRY"),
        "{}",
        words.stderr
    );
    here.run(&["push", "acme/none:1.0.0", "--to", &remote.address.to_string()])
        .refused("TAG_MISSING");
    for bad in [
        "acme/shop:1.0.0",
        "https://r.example.com/a:1",
        "r.example.com/a:1@sha256:00",
        "r.example.com/A:1",
    ] {
        here.run(&["pull", bad]).refused("NAME_INVALID");
    }
    here.run(&["pull", &remote.at("acme/shop")])
        .refused("NAME_INVALID");
}

#[test]
fn a_platform_is_a_registry_too() {
    let here = Place::new();
    let there = Place::trusting(&here);
    let up = Up::start::<&str>(&there.site, &[]);
    let digest = here.pack("shop", "1.0.0", "p2-hello");
    let at = |rest: &str| format!("{}/{rest}", up.admin);
    let docker = here.site.path().join("docker");
    fs::create_dir(&docker).unwrap();
    let folder = docker.to_str().unwrap();
    let words = [
        "push",
        "acme/shop:1.0.0",
        "--to",
        &at("team/shop"),
        "--docker-config",
        folder,
    ];
    here.run(&words).refused("REGISTRY_UNAUTHORIZED");
    let auth = base64(format!("admin:{}", up.token()).as_bytes());
    let text = format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, up.admin);
    fs::write(docker.join("config.json"), text).unwrap();
    assert_eq!(here.run(&words).json()["digest"], digest.as_str());
    // And from there into another platform, and back out of it under the package's own name.
    let reference = at("team/shop:1.0.0");
    let friend = Place::trusting(&here);
    let pulled = friend
        .run(&["pull", &reference, "--docker-config", folder])
        .json();
    assert_eq!(
        (&pulled["digest"], &pulled["verified"]),
        (&digest.clone().into(), &true.into())
    );
    let other = Up::start_with::<&str>(&friend.site, &[], &["--docker-config", folder]);
    let nowhere = docker.to_str().unwrap();
    other.run(&["deploy", nowhere, "--from", &reference]).json();
    other.get("/shop/state").expect(200, HELLO);
    other.stop();
    up.stop();
}

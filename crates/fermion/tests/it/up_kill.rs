//! `kill -9` at every step of a deploy: what is left starts, serves the old or the new release, and takes the next
//! deploy.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use crate::platform::{Package, Ran, Site, Steps, Up, copy};
use crate::support::Response;

const NOTHING: [&str; 0] = [];
/// What `p2-hello` answers at `/shop/state`: r1, and the release after all.
const OLD: (u16, &str) = (200, "Hello, world!\n");
/// What `p2-config` answers there: r2.
const NEW: (u16, &str) = (404, "no such key\n");
/// Of all steps at which the files are looked at, one in so many is killed in earnest too.
const KILLED_ONE_IN: usize = 3;

/// A data directory in which r1 serves, a client's own with the same key, and the projects of what comes next.
struct Scene {
    site: Site,
    second: PathBuf,
    third: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let site = Site::new();
        let project = site.simple("shop", "1.0.0", "p2-hello");
        Up::start(&site, &[&project]).stop();
        copy(&site.data().join("keys"), &site.path().join("client/keys"));
        let second = site.ready("second", Package::new("shop", "2.0.0", "p2-config"));
        // It imports the config, so it has to ask for some.
        let manifest = fs::read_to_string(second.join("fermion.toml")).unwrap();
        let asking = format!("{manifest}[capabilities]\nconfig = [\"greeting\"]\n");
        fs::write(second.join("fermion.toml"), asking).unwrap();
        let app = "apiVersion: fermion.dev/v1\nkind: App\nmetadata: {name: shop}\n\
                   spec: {config: {greeting: hello}, routes: [{path: /shop/*}]}\n";
        fs::write(second.join("app.yaml"), app).unwrap();
        let third = site.ready("third", Package::new("shop", "3.0.0", "p2-hello"));
        Self { site, second, third }
    }

    /// The words of a deploy of r2 that keeps its own store, so that everything is uploaded.
    fn words(&self, data: &Path, client: &Path, admin: SocketAddr) -> [String; 6] {
        copy(&self.site.path().join("client"), client);
        [
            "--json".to_owned(),
            "deploy".to_owned(),
            self.second.display().to_string(),
            format!("--admin={admin}"),
            format!("--data={}", client.display()),
            format!("--token-file={}", data.join("admin.token").display()),
        ]
    }

    /// Such a deploy, under way. Its end is sent.
    fn deploy(&self, data: &Path, admin: SocketAddr) -> Receiver<Ran> {
        let words = self.words(data, &data.with_extension("client"), admin);
        let (sender, ended) = sync_channel(1);
        std::thread::spawn(move || drop(sender.send(Ran::new(words))));
        ended
    }

    /// Runs a deploy of r2 against a copy of the data directory. `at` is given each state of the files in turn, and
    /// false from it is `kill -9` there and then. True if the deploy came to its end.
    fn step(&self, data: &Path, mut at: impl FnMut(usize, &Path) -> bool) -> bool {
        copy(&self.site.data(), data);
        let folder = data.with_extension("trace");
        fs::create_dir_all(&folder).unwrap();
        let mut steps = Steps::start(&folder, Up::arguments(data.to_str().unwrap()));
        let admin = admin_address(steps.stdout.take().unwrap());
        let mut deploy = None;
        let mut last = String::new();
        let mut count = 0;
        loop {
            assert!(steps.next(), "it ends by itself: {}", steps.complaint());
            if deploy.is_none()
                && let Ok(admin) = admin.try_recv()
            {
                deploy = Some(self.deploy(data, admin));
                last = state(data);
            }
            if let Some(deploy) = &deploy {
                let now = state(data);
                if now != last {
                    last = now;
                    if !at(count, data) {
                        steps.kill();
                        return false;
                    }
                    count += 1;
                }
                match deploy.try_recv() {
                    Ok(ran) => {
                        assert_eq!(ran.json()["serving"], 2);
                        steps.kill();
                        return true;
                    }
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => panic!("the deploy is lost"),
                }
            }
            steps.go_on();
        }
    }

    /// What is left must start, serve one of the two, and take the next deploy. Gives whether it served the new one.
    fn recovers(&self, data: &Path) -> bool {
        let up = Up::on(data, &NOTHING, &[]);
        let answer = up.get("/shop/state");
        let is_new = is(&answer, NEW);
        assert!(is_new || is(&answer, OLD), "{}: {answer:?}", data.display());
        let app = up.app("shop");
        assert_eq!(app["problem"], serde_json::Value::Null, "{app}");
        let next = up.deploy(&self.third);
        assert_eq!(next["serving"], next["release"]["number"], "{next}");
        assert!(is(&up.get("/shop/state"), OLD));
        up.kill();
        is_new
    }
}

fn is(answer: &Response, (status, body): (u16, &str)) -> bool {
    answer.whole && answer.status == status && answer.text() == body
}

/// The admin address, when the ready line has come; the rest of the output is read and forgotten.
fn admin_address(stdout: std::process::ChildStdout) -> Receiver<SocketAddr> {
    let (sender, address) = sync_channel(1);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let line: serde_json::Value = serde_json::from_str(&line).expect("output is JSON");
            if line["event"] == "up" {
                sender.send(line["admin"].as_str().unwrap().parse().unwrap()).ok();
            }
        }
    });
    address
}

/// Every file with what changes when it does.
fn state(folder: &Path) -> String {
    let mut lines = BTreeSet::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                waiting.push(path.clone());
            }
            let (size, inode) = (metadata.len(), metadata.ino());
            lines.insert(format!(
                "{} {size} {inode} {} {}",
                path.display(),
                metadata.mtime(),
                metadata.mtime_nsec()
            ));
        }
    }
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

#[test]
fn a_kill_at_every_step_of_a_deploy_leaves_a_store_that_starts() {
    let scene = Scene::new();
    let shots = scene.site.path().join("shots");
    let shot = |number: usize| shots.join(number.to_string());
    let mut taken = 0;
    scene.step(&scene.site.path().join("stepped"), |number, data| {
        copy(data, &shot(number));
        taken = number + 1;
        true
    });
    assert!(taken >= 20, "a deploy has more than {taken} steps");

    let queue = Mutex::new((0..taken).collect::<Vec<_>>());
    let outcomes = Mutex::new(vec![false; taken]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(number) = { queue.lock().unwrap().pop() } {
                    let is_new = scene.recovers(&shot(number));
                    outcomes.lock().unwrap()[number] = is_new;
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    let first_new = outcomes.iter().position(|is_new| *is_new);
    let first_new = first_new.expect("the last steps serve the new release");
    assert!(first_new > 0, "the first steps serve the old release");
    assert!(
        outcomes[first_new..].iter().all(|is_new| *is_new),
        "what serves never goes back: {outcomes:?}"
    );
}

#[test]
fn a_real_kill_leaves_no_more_than_that() {
    let scene = Scene::new();
    let mut is_done = false;
    for round in 0.. {
        let data = scene.site.path().join(format!("killed-{round}"));
        is_done = scene.step(&data, |number, _| number < round * KILLED_ONE_IN);
        scene.recovers(&data);
        if is_done {
            break;
        }
    }
    assert!(is_done);
}

#[test]
fn a_client_that_dies_in_a_deploy_harms_nobody() {
    let scene = Scene::new();
    let up = Up::on(&scene.site.data(), &NOTHING, &[]);
    let mut is_done = false;
    let mut is_new = false;
    for round in 0.. {
        let client = scene.site.path().join(format!("client-{round}"));
        let words = scene.words(&scene.site.data(), &client, up.admin);
        let mut steps = Steps::start(scene.site.path(), &words);
        let mut passed = 0;
        is_done = loop {
            if !steps.next() {
                break true;
            }
            if passed == round * KILLED_ONE_IN {
                break false;
            }
            passed += 1;
            steps.go_on();
        };
        if is_done {
            assert!(steps.end().success());
        } else {
            steps.kill();
        }
        let answer = up.get("/shop/state");
        assert!(is(&answer, NEW) || !is_new && is(&answer, OLD), "{answer:?}");
        is_new = is(&answer, NEW);
        if is_done {
            break;
        }
        // What it left in its own store does not keep the next one from it.
        assert_eq!(Ran::new(words).json()["serving"], 2);
        is_new = true;
    }
    assert!(is_done && is_new);
    up.stop();
}

//! One app's flood or loops are nobody else's problem, and threads share what comes in.

use crate::platform::{Package, Site, Up};
use crate::support::{Ask, Connection, Serve};
use crate::up_telemetry::Metrics;

/// As many as an app may have at once.
const LOOPERS: usize = 128;
/// Long enough that no looper ends while the quiet app is asked, however slow the machine.
const LONG: &str = "[limits]\ncpu_time = \"1h\"\nwall_time = \"1h\"\n";
const QUIET_REQUESTS: usize = 100;

fn hello(up: &Up) {
    up.get("/quiet/hello").expect(200, "Hello, world!\n");
}

#[test]
fn an_app_that_loops_in_every_instance_is_not_noticed_by_another() {
    for guest in ["p2-edge", "p3-edge"] {
        let site = Site::new();
        let noisy = site.project(Package {
            more: LONG,
            ..Package::new("noisy", "1.0.0", guest)
        });
        let up = Up::start(&site, &[&noisy, &site.simple("quiet", "1.0.0", "p2-hello")]);
        let mut loopers: Vec<Connection> = (0..LOOPERS).map(|_| Connection::open(up.gateway)).collect();
        for looper in &mut loopers {
            looper.send(Ask::get("/noisy/loop").bytes());
        }
        // Both threads have come to some of them before the quiet app is asked.
        Metrics::when(&up, |metrics| metrics.sum("fermion_heavy_guests", &[]) > 1.0);
        for _ in 0..QUIET_REQUESTS {
            hello(&up);
        }
        let metrics = Metrics::of(&up);
        // A busy machine may come to some of them too late: those have not begun.
        let asked = metrics.sum("fermion_requests_total", &["app=\"noisy\""]);
        let ended = asked - metrics.sum("fermion_faults_total", &["app=\"noisy\"", "code=\"OVERLOADED\""]);
        assert!(
            ended < 1.0,
            "{guest}: {ended} loopers ended before the quiet app was served"
        );
        // Their callers leave, and they with them.
        drop(loopers);
        let gone = Metrics::when(&up, |metrics| metrics.sum("fermion_heavy_guests", &[]) < 0.5);
        assert!(gone.sum("fermion_moved_guests_total", &[]) >= 2.0, "{gone:?}");
        hello(&up);
        let faults = Metrics::of(&up).sum("fermion_faults_total", &["app=\"quiet\""]);
        assert!(faults < 0.5, "{guest}: {faults} faults of the quiet app");
        up.stop();
    }
}

#[test]
fn an_app_that_floods_does_not_cost_another_an_answer() {
    let site = Site::new();
    let projects = ["noisy", "quiet"].map(|name| site.simple(name, "1.0.0", "p2-hello"));
    let up = Up::start(&site, &[&projects[0], &projects[1]]);
    // Four hundred callers, each with many requests on their way: more than there are permits and places to wait.
    let many = Ask::get("/noisy/hello").bytes().repeat(20);
    let mut flood: Vec<Connection> = (0..400).map(|_| Connection::open(up.gateway)).collect();
    for round in 0..3 {
        hello(&up);
        for caller in &mut flood {
            caller.send(&many);
        }
        for _ in 0..20 {
            hello(&up);
        }
        for caller in &mut flood {
            for _ in 0..20 {
                let answer = caller.response("GET");
                assert!(
                    answer.status == 200 || answer.code() == "OVERLOADED",
                    "round {round}: {answer:?}"
                );
            }
        }
    }
    let metrics = Metrics::of(&up);
    assert!(
        metrics.sum("fermion_faults_total", &["app=\"quiet\""]) < 0.5,
        "{metrics:?}"
    );
    up.stop();
}

#[test]
fn no_thread_keeps_many_more_connections_than_another() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project]);
    let ask = Ask::get("/shop/hello");
    let mut open: Vec<Connection> = Vec::new();
    for _ in 0..60 {
        let mut connection = Connection::open(up.gateway);
        let answer = ask.send_on(&mut connection).expect("an answer");
        answer.expect(200, "Hello, world!\n");
        open.push(connection);
    }
    let metrics = Metrics::of(&up);
    let of = |thread: &str| metrics.sum("fermion_thread_connections", &[&format!("thread=\"{thread}\"")]);
    let (first, second) = (of("0"), of("1"));
    assert!(first + second >= 60.0, "{metrics:?}");
    assert!((first - second).abs() <= 6.0, "{first} and {second}");
    up.stop();
}

#[test]
fn a_drain_waits_for_what_a_guest_does_behind_its_answer() {
    let mut serve = Serve::start("p3-edge", &[]);
    Ask::get("/after/700")
        .send(serve.address)
        .expect(200, "answered\n");
    serve.process.signal(rustix::process::Signal::TERM);
    assert_eq!(serve.process.wait().code(), Some(0));
    let printed = serve.process.stderr.text();
    assert!(printed.contains("after 700: done"), "{printed}");
}

/// What is not a request steps back behind them: Linux keeps a priority for each thread.
#[cfg(target_os = "linux")]
#[test]
fn serving_threads_go_before_the_one_that_deploys() {
    let site = Site::new();
    let up = Up::start(&site, &[&site.simple("quiet", "1.0.0", "p2-hello")]);
    hello(&up);
    // Whoever answers this has started the serving threads before.
    up.app("quiet");
    let mut priorities = std::collections::BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{}/task", up.process.id())).unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        let (name, fields) = stat.split_once(") ").unwrap();
        let nice: i32 = fields.split(' ').nth(16).unwrap().parse().unwrap();
        priorities.insert(name.split_once('(').unwrap().1.to_owned(), nice);
    }
    // Whatever this test itself was started with; more than 19 there is not.
    let serving = priorities["gateway-0"];
    assert_eq!(priorities["gateway-1"], serving);
    assert_eq!(priorities["fermion"], (serving + 5).min(19), "{priorities:?}");
}

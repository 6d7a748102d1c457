//! What components write, and how it reaches people.

use crate::platform::{Site, Up};
use crate::support::{Ask, Process};

#[test]
fn logs_are_kept_and_followed() {
    let site = Site::new();
    let up = Up::start(&site, &[site.simple("talker", "1.0.0", "p2-edge")]);
    up.get("/talker/log/first");
    // `up` itself prints what comes; when it has, the line is kept.
    up.process
        .stdout
        .wait_for(|line| line.contains("stderr first"))
        .expect("up follows logs");
    let lines = up.run(&["logs", "talker"]);
    let lines: Vec<serde_json::Value> = lines
        .done()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for stream in ["stdout", "stderr"] {
        let line = lines.iter().find(|line| line["stream"] == stream).unwrap();
        assert_eq!(
            (&line["line"], &line["release"]),
            (&format!("{stream} first").into(), &1.into())
        );
        assert_eq!(line["request_id"].as_str().unwrap().len(), 32);
    }

    let admin = up.admin.to_string();
    let follower = Process::start([
        "logs",
        "talker",
        "-f",
        "-l",
        "1",
        "--admin",
        &admin,
        "--data",
        site.data().to_str().unwrap(),
    ]);
    follower
        .stdout
        .wait_for(|line| line.contains("first"))
        .expect("the past is shown");
    let answer = Ask::get("/talker/log/second").send(up.gateway);
    assert_eq!(answer.status, 200);
    let line = follower
        .stdout
        .wait_for(|line| line.contains("stdout second"))
        .expect("the present is followed");
    assert!(line.contains(" r1 stdout | stdout second"), "{line}");
    up.run(&["logs", "nobody"]).refused("NO_SUCH_APP");
    // A platform that stops ends those who follow.
    up.stop();
}

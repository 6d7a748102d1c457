//! kill -9: a child process (this test binary again) commits in a loop and says each revision it was given; it is
//! killed at different moments, and everything it was told is on disk must be there, whole.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fermion_bus::{Bus, Expect, Op};

const PATH_VARIABLE: &str = "FERMION_BUS_CRASH_TEST_FILE";

/// The child's part; without the variable, as in an ordinary run of the tests, there is nothing to do.
#[tokio::test]
async fn child_commits_until_it_is_killed() {
    let Some(path) = std::env::var_os(PATH_VARIABLE) else {
        return;
    };
    let bus = Bus::open(Path::new(&path)).unwrap();
    let begin = bus
        .get_json::<u64>("left")
        .await
        .unwrap()
        .map_or(0, |(_, count)| count);
    for count in begin + 1.. {
        let ops = vec![
            Op::put_json("left", &count, Expect::Any).unwrap(),
            Op::put_json("right", &count, Expect::Any).unwrap(),
            Op::put_json(format!("log/{count}"), &count, Expect::Absent).unwrap(),
        ];
        bus.commit(ops).await.unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "\nacknowledged {count}").unwrap();
        out.flush().unwrap();
    }
}

fn child(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::child_commits_until_it_is_killed",
            "--nocapture",
        ])
        .env(PATH_VARIABLE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the child once it has acknowledged `commits` more; gives the last acknowledged count, including those that
/// were still in the pipe.
fn kill_after(path: &Path, commits: u64) -> u64 {
    let mut child = child(path);
    let mut acknowledged = 0;
    let mut seen = 0;
    let mut killed = false;
    if commits == 0 {
        child.kill().unwrap();
        killed = true;
    }
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if let Some(count) = line.unwrap().strip_prefix("acknowledged ") {
            acknowledged = count.parse().unwrap();
            seen += 1;
        }
        if seen == commits && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the child ended by itself");
    acknowledged
}

#[tokio::test]
async fn every_acknowledged_commit_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bus.redb");
    let mut last = 0;
    for commits in [0, 1, 0, 2, 3, 7, 0, 20, 1, 5] {
        last = kill_after(&path, commits).max(last);
        let bus = Bus::open(&path).unwrap();
        let left = bus.get_json::<u64>("left").await.unwrap().unzip().1.unwrap_or(0);
        let right = bus.get_json::<u64>("right").await.unwrap().unzip().1.unwrap_or(0);
        assert_eq!(left, right, "a commit is whole or absent");
        assert!(left >= last, "acknowledged {last}, found {left}");
        for count in 1..=left {
            let key = format!("log/{count}");
            assert_eq!(
                bus.get_json::<u64>(&key).await.unwrap().unwrap().1,
                count,
                "{key}"
            );
        }
        assert_eq!(bus.list("log/").await.unwrap().len() as u64, left);
        last = left;
    }
}

//! What the platform grants: environment, files, clocks, randomness, output, sleep.

use std::fmt::Write as _;

use edge_cases::hostile;
use wasip3::clocks::{monotonic_clock, system_clock};
use wasip3::http::types::Fields;
use wasip3::spawn_local;

use crate::reply;
use crate::{Answer, Behaviour, Call};

pub(crate) fn find(name: &str) -> Option<Behaviour> {
    Some(match name {
        "env" => |_| Box::pin(async { environment() }),
        "args" => |_| Box::pin(async { arguments() }),
        "fs" => |_| Box::pin(async { preopens() }),
        "file" => |call| Box::pin(async move { file(&call) }),
        "random" => |_| Box::pin(async { random() }),
        "clock" => |_| Box::pin(async { clock() }),
        "log" => |call| Box::pin(async move { log(&call) }),
        "sleep" => |call| Box::pin(sleep(call)),
        "after" => |call| Box::pin(async { after(call) }),
        "handles" => |call| Box::pin(async move { handles(&call) }),
        "alloc" => |call| Box::pin(async move { allocate(&call) }),
        _ => return None,
    })
}

fn environment() -> Answer {
    let mut text = String::new();
    for (name, value) in wasip3::cli::environment::get_environment() {
        let _ = writeln!(text, "{name}={value}");
    }
    reply::text(200, text)
}

fn arguments() -> Answer {
    let mut text = String::new();
    for argument in wasip3::cli::environment::get_arguments() {
        let _ = writeln!(text, "{argument}");
    }
    reply::text(200, text)
}

fn preopens() -> Answer {
    let mut text = String::new();
    for (_, name) in wasip3::filesystem::preopens::get_directories() {
        let _ = writeln!(text, "{name}");
    }
    reply::text(200, text)
}

fn file(call: &Call) -> Answer {
    match std::fs::read(call.target.query("path").unwrap_or_default()) {
        Ok(bytes) => reply::text(200, bytes),
        Err(error) => reply::text(403, format!("{}\n", error.kind())),
    }
}

fn random() -> Answer {
    let mut text = String::new();
    for byte in wasip3::random::random::get_random_bytes(16) {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    reply::text(200, text)
}

fn clock() -> Answer {
    reply::text(
        200,
        format!(
            "monotonic {}\nwall {}\n",
            monotonic_clock::now(),
            system_clock::now().seconds
        ),
    )
}

fn log(call: &Call) -> Answer {
    let text = call.target.text(0);
    println!("stdout {text}");
    eprintln!("stderr {text}");
    reply::text(200, "logged\n")
}

async fn sleep(call: Call) -> Answer {
    let ms = call.target.number(0).unwrap_or(1);
    monotonic_clock::wait_for(ms as u64 * 1_000_000).await;
    reply::text(200, format!("slept {ms}\n"))
}

/// Goes on working when the answer is long out.
fn after(call: Call) -> Answer {
    let ms = call.target.number(0).unwrap_or(1);
    spawn_local(async move {
        monotonic_clock::wait_for(ms as u64 * 1_000_000).await;
        println!("after {ms}: done");
    });
    reply::text(200, "answered\n")
}

fn handles(call: &Call) -> Answer {
    let count = call.target.number(0).unwrap_or(1);
    let kept: Vec<Fields> = (0..count).map(|_| Fields::new()).collect();
    reply::text(200, format!("handles {}\n", kept.len()))
}

fn allocate(call: &Call) -> Answer {
    let Some(mib) = call.target.number(0) else {
        hostile::allocate_without_end()
    };
    let pages = hostile::allocate(mib);
    reply::text(200, format!("allocated {mib} MiB, {pages} pages\n"))
}

//! What the platform grants: environment, files, clocks, randomness, output, sleep.

use std::fmt::Write as _;

use edge_cases::hostile;
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::http::types::Fields;
use wasip2::io::poll;

use crate::reply;
use crate::{Behaviour, Call};

pub(crate) fn find(name: &str) -> Option<Behaviour> {
    Some(match name {
        "env" => environment,
        "args" => arguments,
        "fs" => preopens,
        "file" => file,
        "random" => random,
        "clock" => clock,
        "log" => log,
        "sleep" => sleep,
        "handles" => handles,
        "pollables" => pollables,
        "alloc" => allocate,
        _ => return None,
    })
}

fn environment(call: Call) {
    let mut text = String::new();
    for (name, value) in wasip2::cli::environment::get_environment() {
        let _ = writeln!(text, "{name}={value}");
    }
    reply::text(call.out, 200, text);
}

fn arguments(call: Call) {
    let mut text = String::new();
    for argument in wasip2::cli::environment::get_arguments() {
        let _ = writeln!(text, "{argument}");
    }
    reply::text(call.out, 200, text);
}

fn preopens(call: Call) {
    let mut text = String::new();
    for (_, name) in wasip2::filesystem::preopens::get_directories() {
        let _ = writeln!(text, "{name}");
    }
    reply::text(call.out, 200, text);
}

fn file(call: Call) {
    match std::fs::read(call.target.query("path").unwrap_or_default()) {
        Ok(bytes) => reply::text(call.out, 200, bytes),
        Err(error) => reply::text(call.out, 403, format!("{}\n", error.kind())),
    }
}

fn random(call: Call) {
    let mut text = String::new();
    for byte in wasip2::random::random::get_random_bytes(16) {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    reply::text(call.out, 200, text);
}

fn clock(call: Call) {
    let text = format!(
        "monotonic {}\nwall {}\n",
        monotonic_clock::now(),
        wall_clock::now().seconds
    );
    reply::text(call.out, 200, text);
}

fn log(call: Call) {
    let text = call.target.text(0);
    println!("stdout {text}");
    eprintln!("stderr {text}");
    reply::text(call.out, 200, "logged\n");
}

fn sleep(call: Call) {
    let ms = call.target.number(0).unwrap_or(1);
    monotonic_clock::subscribe_duration(ms as u64 * 1_000_000).block();
    reply::text(call.out, 200, format!("slept {ms}\n"));
}

fn handles(call: Call) {
    let count = call.target.number(0).unwrap_or(1);
    let kept: Vec<Fields> = (0..count).map(|_| Fields::new()).collect();
    reply::text(call.out, 200, format!("handles {}\n", kept.len()));
}

/// Waits on so many timers at once, of which the first is due.
fn pollables(call: Call) {
    const HOUR_NS: u64 = 3_600_000_000_000;
    let count = call.target.number(0).unwrap_or(1).max(1);
    let timers: Vec<_> = (0..count)
        .map(|index| monotonic_clock::subscribe_duration(if index == 0 { 0 } else { HOUR_NS }))
        .collect();
    let ready = poll::poll(&timers.iter().collect::<Vec<_>>());
    reply::text(
        call.out,
        200,
        format!("pollables {} ready {ready:?}\n", timers.len()),
    );
}

fn allocate(call: Call) {
    let Some(mib) = call.target.number(0) else {
        hostile::allocate_without_end()
    };
    let pages = hostile::allocate(mib);
    reply::text(call.out, 200, format!("allocated {mib} MiB, {pages} pages\n"));
}

//! The child's whole life: closes itself in, reads a component from standard input, writes native code, or a snapshot
//! of the component, to standard output. Refuses to do anything else.

use std::io::{Read, Write};

use super::{CompileLimits, jail, probe};
use crate::engine::{self, Generation};
use crate::limits;
use crate::snapshot::{self, Initialisation};

/// The exit status with which the child says that the component is at fault.
pub(super) const EXIT_COMPONENT_INVALID: i32 = 3;
/// That it used more than it may, where the child itself counts.
pub(super) const EXIT_LIMIT: i32 = 4;
const EXIT_FAILED: i32 = 1;

/// What the parent says on the child's command line; [`Orders::parse`] reads it.
pub(crate) fn arguments(what: &str, allowed: CompileLimits) -> [String; 5] {
    [
        "__compile".to_owned(),
        what.to_owned(),
        allowed.cpu_seconds.to_string(),
        allowed.memory_bytes.to_string(),
        std::process::id().to_string(),
    ]
}

struct Orders {
    what: String,
    allowed: CompileLimits,
    /// Whose child this is; none for one that was started by hand.
    parent: Option<u32>,
}

impl Orders {
    /// What is not said, or not a number, is the default: an order can only be stricter than it by intent.
    fn parse(arguments: &mut impl Iterator<Item = String>) -> Self {
        let what = arguments.next().unwrap_or_default();
        let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok());
        let default = CompileLimits::default();
        Self {
            what,
            allowed: CompileLimits {
                wall: default.wall,
                cpu_seconds: number().unwrap_or(default.cpu_seconds),
                memory_bytes: number().unwrap_or(default.memory_bytes),
            },
            parent: number().and_then(|pid| pid.try_into().ok()),
        }
    }
}

enum Failure {
    Component(String),
    Limit(String),
    Io(std::io::Error),
}

/// Runs the child with what follows `__compile` on the command line; gives the process's exit status. Nothing may
/// have started a thread before: a jail closes around the thread that builds it and those that come after.
pub fn compile_child(mut arguments: impl Iterator<Item = String>) -> i32 {
    let orders = Orders::parse(&mut arguments);
    let done = match &*orders.what {
        "p2" => compile(Generation::P2, &orders),
        "p3" => compile(Generation::P3, &orders),
        "snapshot-p2" => take_snapshot(Generation::P2, &orders, arguments),
        "snapshot-p3" => take_snapshot(Generation::P3, &orders, arguments),
        "probe" => probe::run(&orders.allowed).map_err(Failure::Io),
        other => Err(Failure::Io(std::io::Error::other(format!(
            "{other:?} is nothing to compile"
        )))),
    };
    match done {
        Ok(()) => 0,
        Err(Failure::Component(message)) => {
            complain(&message);
            EXIT_COMPONENT_INVALID
        }
        Err(Failure::Limit(message)) => {
            complain(&message);
            EXIT_LIMIT
        }
        Err(Failure::Io(error)) => {
            complain(&error.to_string());
            EXIT_FAILED
        }
    }
}

fn complain(message: &str) {
    // The parent may be gone; there is nobody else to tell.
    drop(std::io::stderr().write_all(message.as_bytes()));
}

fn compile(generation: Generation, orders: &Orders) -> Result<(), Failure> {
    // The engine looks at the machine, not at the component, so it is made while there is something to look at.
    let engine = engine::compiler(generation).map_err(|error| Failure::Component(error.to_string()))?;
    work(orders, jail::Layers::ALL, |wasm| {
        engine
            .precompile_component(wasm)
            .map_err(|error| Failure::Component(format!("{error:#}")))
    })
}

fn take_snapshot(
    generation: Generation,
    orders: &Orders,
    arguments: impl Iterator<Item = String>,
) -> Result<(), Failure> {
    let allowed = Initialisation::parse(arguments);
    let engine = snapshot::make_engine(generation).map_err(|error| Failure::Component(error.to_string()))?;
    work(orders, jail::Layers::ALL_BUT_RUNNING, |wasm| {
        snapshot::initialise(&engine, wasm, allowed).map_err(|failure| match failure {
            snapshot::Failure::Refused(message) => Failure::Component(message),
            snapshot::Failure::Limit(message) => Failure::Limit(message),
        })
    })
}

/// Closes itself in, reads a component, writes what `turn` makes of it.
fn work(
    orders: &Orders,
    layers: jail::Layers,
    turn: impl FnOnce(&[u8]) -> Result<Vec<u8>, Failure>,
) -> Result<(), Failure> {
    jail::follow_parent(orders.parent).map_err(Failure::Io)?;
    let lacking = jail::enter(&orders.allowed, layers).map_err(Failure::Io)?;
    let mut wasm = Vec::new();
    std::io::stdin()
        .lock()
        .take(limits::COMPONENT_BYTES_MAX)
        .read_to_end(&mut wasm)
        .map_err(Failure::Io)?;
    let made = turn(&wasm)?;
    std::io::stdout().lock().write_all(&made).map_err(Failure::Io)?;
    complain(&lacking.join(", "));
    Ok(())
}

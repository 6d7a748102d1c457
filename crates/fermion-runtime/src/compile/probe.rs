//! Tries from inside the jail what nothing in it may do, and says how each try ended: `fermion __compile probe`. For
//! tests, and for whoever wants to know what the jail is worth on a machine.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::Command;

use rustix::process::test_kill_process;

use super::{CompileLimits, jail};

/// Bytes of orders.
const ORDERS_BYTES_MAX: u64 = 4096;

/// Reads from standard input which walls to build (`all`, `landlock`, `seccomp`, or `snapshot`: all,
/// for a child that runs code) and, on the next line, a folder to
/// write into; builds them, tries, and writes a line for each try: its name and `refused` or `done`.
pub(super) fn run(allowed: &CompileLimits) -> io::Result<()> {
    let mut orders = String::new();
    io::stdin()
        .lock()
        .take(ORDERS_BYTES_MAX)
        .read_to_string(&mut orders)?;
    let (walls, folder) = orders.split_once('\n').unwrap_or((&orders, "/tmp"));
    let layers = jail::Layers {
        landlock: walls != "seccomp",
        seccomp: walls != "landlock",
        runs_code: walls == "snapshot",
    };
    let folder = PathBuf::from(folder.trim_end());
    // Inherited by mistake, as it were.
    let mut open = fs::File::open("/proc/self/status")?;
    let listening = TcpListener::bind("127.0.0.1:0")?;
    let address = listening.local_addr()?;
    let parent = rustix::process::getppid();
    let lacking = jail::enter(allowed, layers)?;
    let password = || fs::File::open("/etc/passwd").map(drop);
    let thread = std::thread::Builder::new().spawn(move || password().is_ok());
    let inside = thread.map(|thread| thread.join().unwrap_or(true));
    let memory = usize::try_from(allowed.memory_bytes).unwrap_or(usize::MAX);
    let tries = [
        ("make a thread", inside.is_ok()),
        ("open a file in a thread", inside.unwrap_or(true)),
        ("open a file", password().is_ok()),
        ("list a folder", fs::read_dir("/").is_ok()),
        ("make a file", fs::write(folder.join("made"), b"x").is_ok()),
        ("remove a file", fs::remove_file(folder.join("there")).is_ok()),
        ("read what was open", open.read(&mut [0; 8]).is_ok()),
        ("connect", TcpStream::connect(address).is_ok()),
        ("listen", TcpListener::bind("127.0.0.1:0").is_ok()),
        ("make a UDP socket", UdpSocket::bind("127.0.0.1:0").is_ok()),
        ("make a local socket", UnixDatagram::unbound().is_ok()),
        (
            "listen on a path",
            UnixListener::bind(folder.join("socket")).is_ok(),
        ),
        ("run a program", Command::new("/bin/true").status().is_ok()),
        (
            "signal the parent",
            parent.is_some_and(|pid| test_kill_process(pid).is_ok()),
        ),
        ("raise a limit", raise_limit(allowed)),
        (
            "take more memory",
            Vec::<u8>::new().try_reserve_exact(memory).is_ok(),
        ),
    ];
    let mut report = String::new();
    for (name, is_done) in tries {
        report.push_str(name);
        report.push_str(if is_done { ": done\n" } else { ": refused\n" });
    }
    report.push_str(&format!("lacking: {}\n", lacking.join(", ")));
    io::stdout().write_all(report.as_bytes())
}

fn raise_limit(allowed: &CompileLimits) -> bool {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let more = Some(allowed.cpu_seconds + 1);
    let limit = Rlimit {
        current: more,
        maximum: more,
    };
    setrlimit(Resource::Cpu, limit).is_ok()
}

//! Compiling: the jail around the child that does it, and a component made to explode it.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::platform::{Ran, Site, Up};

const HELLO: &str = "Hello, world!\n";

/// Everything that the child tries from inside, and whether it is done. Making a thread is what compiling needs.
#[test]
fn nothing_in_the_jail_reaches_outside_of_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("there"), b"x").unwrap();
    let probe = |walls: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fermion"));
        command
            .args(["__compile", "probe", "60", "4294967296"])
            .env_clear();
        let pipes = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let orders = format!("{walls}\n{}", folder.path().display());
        child.stdin.take().unwrap().write_all(orders.as_bytes()).unwrap();
        let ran = Ran::of(child.wait_with_output().unwrap());
        let report = ran.done().to_owned();
        assert!(folder.path().join("there").exists(), "{report}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{report}");
        report
    };
    let done = |report: &str| {
        let tries: Vec<_> = report.lines().filter_map(|line| line.split_once(": ")).collect();
        assert_eq!(tries.len(), 17, "{report}");
        let done = tries.into_iter().filter(|(_, word)| *word == "done");
        done.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    // Where the kernel has no Landlock, the filter must do alone; it is said what is lacking.
    let all = probe("all");
    assert_eq!(done(&all), ["make a thread"], "{all}");
    let seccomp = probe("seccomp");
    if !seccomp.contains("lacking: seccomp") {
        assert_eq!(done(&seccomp), ["make a thread"], "{seccomp}");
    }
    // A child that runs what it compiles is let no further.
    let snapshot = probe("snapshot");
    assert_eq!(done(&snapshot), ["make a thread"], "{snapshot}");
    // Each wall alone: Landlock knows paths and TCP, and neither local sockets nor what was open before.
    let landlock = probe("landlock");
    if landlock.contains("lacking: \n") {
        let left = [
            "make a thread",
            "read what was open",
            "make a UDP socket",
            "make a local socket",
        ];
        assert_eq!(done(&landlock), left, "{landlock}");
    }
}

#[test]
fn a_child_whose_parent_is_gone_compiles_nothing() {
    let ran = Ran::new(["__compile", "p2", "60", "1073741824", "4000000"]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.stderr.contains("is gone"), "{}", ran.stderr);
    let ran = Ran::new(["__compile", "elsewhere"]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
}

/// A handler that never runs: one function of many blocks, and so many locals alive in all of them that placing them
/// in registers takes minutes.
fn bomb() -> Vec<u8> {
    const LOCALS: u64 = 2000;
    const BLOCKS: u64 = 20_000;
    fn number(mut value: u64, into: &mut Vec<u8>) {
        while value > 0x7f {
            into.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        into.push(u8::try_from(value).unwrap());
    }
    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![id];
        number(content.len() as u64, &mut bytes);
        bytes.extend_from_slice(content);
        bytes
    }
    let mut body = vec![1];
    number(LOCALS, &mut body);
    body.extend([0x7f, 0x03, 0x40]);
    for block in 0..BLOCKS {
        body.extend([0x02, 0x40]);
        for (instruction, local) in [(0x20, block * 7919 + 1), (0x20, block * 104_729 + 3)] {
            body.push(instruction);
            number(local % LOCALS, &mut body);
        }
        body.extend([0x6a, 0x22]);
        number(block * 31 % LOCALS, &mut body);
        body.extend([0x0d, u8::try_from(block % 2).unwrap(), 0x0b]);
    }
    body.extend([0x0b, 0x0b]);
    let mut code = vec![1];
    number(body.len() as u64, &mut code);
    code.extend(body);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend(section(1, b"\x01\x60\0\0"));
    module.extend(section(3, b"\x01\0"));
    module.extend(section(10, &code));
    let text = r#"(component (instance $handler)
        (export "wasi:http/incoming-handler@0.2.3" (instance $handler)))"#;
    let mut component = wat::parse_str(text).unwrap();
    component.splice(8..8, section(1, &module));
    component
}

/// The processes that this one has started, by their arguments.
fn compilers(parent: u32) -> usize {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let compiles = |pid: &&str| {
        fs::read(Path::new("/proc").join(pid).join("cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == b"__compile"))
    };
    children.split_whitespace().filter(compiles).count()
}

#[test]
fn a_component_that_explodes_the_compiler_costs_only_its_own_deploy() {
    let site = Site::new();
    let good = site.simple("good", "1.0.0", "p2-hello");
    let up = Up::start_with(&site, &[&good], &["--compile-cpu", "2s"]);
    let project = site.simple("bad", "1.0.0", "p2-hello");
    fs::write(project.join("bomb.wasm"), bomb()).unwrap();
    fs::write(project.join("source.txt"), "bomb.wasm").unwrap();
    let is_over = AtomicBool::new(false);
    let (words, asked) = std::thread::scope(|scope| {
        let deploy = scope.spawn(|| {
            let words = up.deploy_refused(&project, "COMPILE_LIMIT");
            is_over.store(true, Ordering::Release);
            words
        });
        let mut asked = 0;
        while !is_over.load(Ordering::Acquire) && !deploy.is_finished() {
            up.get("/good/").expect(200, HELLO);
            asked += 1;
        }
        (deploy.join().unwrap(), asked)
    });
    assert!(words.contains("2 s of CPU"), "{words}");
    assert!(asked > 0, "the other app was asked meanwhile");
    assert_eq!(compilers(up.process.id()), 0, "no child is left");
    assert_eq!(up.get("/bad/").code(), "NO_ROUTE");
    // The same app with a sound component deploys.
    fs::write(
        project.join("source.txt"),
        crate::support::process::guest_file("p2-edge").to_str().unwrap(),
    )
    .unwrap();
    up.deploy(&project);
    up.get("/bad/state").expect(200, "1\n");
    up.stop();
}

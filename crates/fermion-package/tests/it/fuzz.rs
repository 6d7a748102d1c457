//! The short run of the fuzz targets: every seed, and a fixed number of mutations of them by a fixed rule, so that it is
//! the same everywhere and needs no tool. `scripts/fuzz.sh` searches further, guided by coverage.

#[path = "../../../../fuzz/src/targets.rs"]
#[expect(unreachable_pub, reason = "in the fuzz workspace it is the root of a crate")]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

/// Mutations tried for each target.
const RUNS: u32 = 10_000;
/// The longest input, in bytes: parsers refuse long ones by their length, which has tests of its own.
const INPUT_BYTES_MAX: usize = 16 * 1024;
/// Pieces that mean something to one of the parsers.
const WORDS: [&str; 20] = [
    "\0",
    "\n",
    "\"",
    "'",
    "..",
    "/",
    ":",
    "@",
    "[",
    "]",
    "{",
    "}",
    "&a",
    "*a",
    "999999999999999999999",
    "-1",
    "null",
    "sha256:",
    "\u{202e}",
    "\\u0000",
];

/// Marsaglia's xorshift: a fixed sequence is all that is wanted.
struct Sequence(u64);

impl Sequence {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % below.max(1)
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no seeds");
    let read = |file: &PathBuf| match file.extension() {
        Some(extension) if extension == "wat" => wat::parse_file(file).unwrap(),
        _ => fs::read(file).unwrap(),
    };
    files.iter().map(read).collect()
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], sequence: &mut Sequence) {
    for _ in 0..=sequence.next(4) {
        let at = sequence.next(input.len() + 1);
        let end = (at + 1 + sequence.next(16)).min(input.len());
        match sequence.next(7) {
            0 => input.truncate(at),
            1 if at < input.len() => input[at] ^= 1 << sequence.next(8),
            2 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xff][sequence.next(5)],
            3 => drop(input.drain(at.min(end)..end)),
            4 => drop(input.splice(at..at, WORDS[sequence.next(WORDS.len())].bytes())),
            5 => {
                let again: Vec<u8> = input[at.min(end)..end].repeat(1 + sequence.next(40));
                drop(input.splice(at..at, again));
            }
            _ => {
                let other = &seeds[sequence.next(seeds.len())];
                let from = sequence.next(other.len() + 1);
                let to = (from + sequence.next(64)).min(other.len());
                drop(input.splice(at..at, other[from..to].iter().copied()));
            }
        }
    }
    input.truncate(INPUT_BYTES_MAX);
}

#[test]
fn no_input_makes_a_parser_panic_or_break_its_word() {
    std::thread::scope(|scope| {
        for (at, (name, target)) in targets::TARGETS.into_iter().enumerate() {
            scope.spawn(move || {
                let seeds = seeds(name);
                let mut sequence = Sequence(0x9e37_79b9_7f4a_7c15 ^ at as u64);
                for seed in &seeds {
                    target(seed);
                }
                for run in 0..RUNS {
                    let mut input = seeds[sequence.next(seeds.len())].clone();
                    mutate(&mut input, &seeds, &mut sequence);
                    let copy = input.clone();
                    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| target(&input)));
                    assert!(
                        outcome.is_ok(),
                        "{name}, run {run}: {:?}",
                        String::from_utf8_lossy(&copy)
                    );
                }
            });
        }
    });
}

#[test]
fn every_target_is_one_of_cargo_fuzz_too() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in targets::TARGETS {
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
        assert!(folder.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name}");
    }
}

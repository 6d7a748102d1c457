//! Acts that a sandbox has to survive. Each is written so that no optimiser can see through it.

use std::hint::black_box;

const MIB: usize = 1 << 20;
const PAGE_BYTES: usize = 4096;

/// Computes for ever.
pub fn spin() -> ! {
    let mut turn = 0_u64;
    loop {
        turn = black_box(turn.wrapping_add(1));
    }
}

/// Allocates and touches memory for ever, a MiB at a time.
pub fn allocate_without_end() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(touched(MIB));
        black_box(&kept);
    }
}

/// Allocates and touches so many MiB, and gives them back; returns how many pages hold what was written.
pub fn allocate(mib: usize) -> usize {
    let memory = touched(mib * MIB);
    black_box(&memory)
        .iter()
        .step_by(PAGE_BYTES)
        .filter(|byte| **byte == 1)
        .count()
}

/// Calls itself until the stack ends. It keeps to values that live in registers and on the host's stack: with a frame
/// in linear memory, that would run out first.
pub fn overflow_stack() -> u64 {
    recurse(black_box(0))
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    if depth == u64::MAX {
        return 0;
    }
    // Two kinds of operation on the way back: one kind could be turned into a loop.
    recurse(depth + 1).wrapping_mul(3) ^ depth
}

/// Executes the instruction that always traps.
pub fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    unreachable!("guests are compiled to WebAssembly only");
}

fn touched(bytes: usize) -> Vec<u8> {
    let mut memory = vec![0_u8; bytes];
    for byte in memory.iter_mut().step_by(PAGE_BYTES) {
        *byte = 1;
    }
    memory
}

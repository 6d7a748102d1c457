//! The target `range` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fermion_fuzz::ranges(data));

//! The target `channel` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fermion_fuzz::channel(data));

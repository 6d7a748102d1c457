//! The target `trust_root` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fermion_fuzz::trust_root(data));

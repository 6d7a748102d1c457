//! The target `secrets` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fermion_fuzz::secret_scan(data));

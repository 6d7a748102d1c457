//! The target `sbom` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fermion_fuzz::bill_of_materials(data));

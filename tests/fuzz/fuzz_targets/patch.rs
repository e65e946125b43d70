//! Lets libFuzzer call the target `patch`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minik_fuzz::patch(data));

//! Lets libFuzzer call the target `definition`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minik_fuzz::definition(data));

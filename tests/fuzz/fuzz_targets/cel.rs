//! Lets libFuzzer call the target `cel`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minik_fuzz::cel(data));

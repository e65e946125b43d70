//! Lets libFuzzer call the target `selector`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minik_fuzz::selector(data));

//! Lets libFuzzer call the target `path`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minik_fuzz::path(data));

//! Lets libFuzzer call the target `store`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minik_fuzz::store(data));

//! Lets libFuzzer call the target `decode`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minik_fuzz::decode(data));

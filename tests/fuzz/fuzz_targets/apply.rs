//! Lets libFuzzer call the target `apply`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minik_fuzz::apply(data));

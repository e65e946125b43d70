//! Lets libFuzzer call the target `spdy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minik_fuzz::spdy(data));

//! Lets libFuzzer call the target `quantity`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minik_fuzz::quantity(data));

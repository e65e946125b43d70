//! Lets libFuzzer call the target `protobuf`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minik_fuzz::protobuf(data));

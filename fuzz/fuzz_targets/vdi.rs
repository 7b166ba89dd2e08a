#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| abbild_fuzz::vdi(data));

#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| onefold::backup::seen::entry::fuzz(data));

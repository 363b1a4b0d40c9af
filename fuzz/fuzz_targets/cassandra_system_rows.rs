#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| onefold::engine::cassandra::fuzzing::fuzz_system_rows(data));

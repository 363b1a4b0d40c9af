#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| onefold::engine::cassandra::read_schema::fuzzing::system_rows(data));

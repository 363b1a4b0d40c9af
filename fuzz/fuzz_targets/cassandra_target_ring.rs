#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| onefold::engine::cassandra::fuzzing::fuzz_target_ring(data));

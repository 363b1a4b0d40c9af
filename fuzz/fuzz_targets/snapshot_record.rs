#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| onefold::snapshot::fuzzing::snapshot_record(data));

#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| onefold::engine::posix::fuzzing::files_memory(data));

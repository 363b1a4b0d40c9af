#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    repo_format::fuzz::file_tree(data);
});

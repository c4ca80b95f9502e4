//! Any text as the output of `zpool list`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nanozfs::format::zpool;

fuzz_target!(|text: &str| {
    match zpool::parse_list(text) {
        Ok(pools) => assert_eq!(pools.len(), text.lines().count()),
        Err(error) => assert_eq!(error.to_string().lines().count(), 1),
    }
});

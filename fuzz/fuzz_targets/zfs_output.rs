//! Any text as the output of `zfs list` and of `zfs get`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nanozfs::format::zfs;

fuzz_target!(|text: &str| {
    let lines = text.lines().count();
    match zfs::parse_list(text) {
        Ok(datasets) => assert_eq!(datasets.len(), lines),
        Err(error) => assert_eq!(error.to_string().lines().count(), 1),
    }
    match zfs::parse_get(text) {
        Ok(properties) => assert_eq!(properties.len(), lines),
        Err(error) => assert_eq!(error.to_string().lines().count(), 1),
    }
});

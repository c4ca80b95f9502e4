//! Any text as nanozfs.conf.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nanozfs::format::conf;

fuzz_target!(|text: &str| {
    let conf = conf::parse(text);
    assert!(conf.assignments.len() + conf.problems.len() <= text.lines().count());
});

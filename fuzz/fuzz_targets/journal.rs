//! Any text as the journal of upgrades: what is understood is written and read back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nanozfs::upgrade::journal::Journal;

fuzz_target!(|text: &str| {
    match Journal::parse(text) {
        Ok(journal) => assert_eq!(Journal::parse(&journal.encode()), Ok(journal)),
        Err(error) => assert_eq!(error.to_string().lines().count(), 1),
    }
});

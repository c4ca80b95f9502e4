//! Any bytes as sector 0 of a drive.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nanozfs::format::boot0;

fuzz_target!(|bytes: &[u8]| {
    if let Some(found) = boot0::parse(bytes) {
        let again = [false, true].map(|serial| boot0::parse(&boot0::encode(&found, serial)));
        assert_eq!(again, [Some(found); 2]);
    }
});

//! Any bytes in the place of the record of the last boots.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nanozfs::format::boots::{self, Found};

fuzz_target!(|bytes: &[u8]| {
    match boots::parse(bytes) {
        // There is one way to write a record: what is read is written the same.
        Found::Boots(found) => {
            let record = boots::encode(&found).expect("it was read from one");
            assert_eq!(Some(&record[..]), bytes.get(..boots::SIZE));
        }
        Found::Nothing => assert!(bytes.iter().all(|byte| *byte == 0)),
        Found::Damaged | Found::Foreign => {}
    }
});

//! Any bytes as a UFS superblock.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nanozfs::format::ufs;

fuzz_target!(|bytes: &[u8]| {
    if let Some(name) = ufs::volume_name(bytes) {
        assert!(!name.is_empty() && name.len() <= 32 && !name.contains('\0'));
        if name.len() < 32 {
            assert_eq!(ufs::volume_name(&ufs::encode(&name)), Some(name));
        }
    }
});

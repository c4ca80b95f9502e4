//! Any bytes as the nvlist's area of a label: as they are, and with a right checksum, so that what
//! is behind it is reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nanozfs::format::zfs_label::{self, NVLIST_SIZE};

fuzz_target!(|bytes: &[u8]| {
    let _ = zfs_label::parse(bytes, 0);
    let mut phys = bytes.to_vec();
    phys.resize(NVLIST_SIZE, 0);
    zfs_label::seal(&mut phys, 0);
    let Ok(label) = zfs_label::parse(&phys, 0) else {
        return;
    };
    let label = label.expect("a sealed area is a label");
    if let Some(tree) = &label.tree {
        assert!(tree.leaves().all(|leaf| leaf.children.is_empty()));
    }
    // What was understood and is written again is understood in the same way, where a label of that
    // kind has a place for it.
    if label.is_member()
        && let Ok(again) = zfs_label::encode(&label, zfs_label::LABEL_SIZE)
    {
        assert_eq!(zfs_label::parse(&again, zfs_label::LABEL_SIZE), Ok(Some(label)));
    }
});

//! Any bytes as a tar: as they are, and with right checksums, so that what is behind them is
//! reached; and as a release.
#![no_main]

use std::io::{Cursor, Read};

use libfuzzer_sys::fuzz_target;
use nanozfs::format::tar::{BLOCK, Reader};
use nanozfs::upgrade::release::{Keys, Release};

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    let mut sealed = bytes.to_vec();
    for block in sealed.chunks_exact_mut(BLOCK) {
        if block.get(257..262) == Some(b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    read(&sealed);
    let mut input = Cursor::new(&sealed);
    if let Ok(mut release) = Release::open(&mut input, &Keys::default(), false) {
        let mut image = Vec::new();
        if release.image().read_to_end(&mut image).is_ok() {
            assert_eq!(release.packed, image.len() as u64);
        }
        let _ = release.finish();
    }
});

fn read(bytes: &[u8]) {
    let mut input = Cursor::new(bytes);
    let mut tar = Reader::new(&mut input);
    let mut entries = 0;
    while let Ok(Some(entry)) = tar.next_entry() {
        entries += 1;
        assert!(entries <= bytes.len() / BLOCK);
        // Some are read, some are passed over.
        let mut content = Vec::new();
        if entries % 2 == 1 && tar.read_to_end(&mut content).is_ok() {
            assert_eq!(content.len() as u64, entry.size);
        }
    }
    let _ = tar.tail();
    assert!(tar.position() <= bytes.len() as u64);
}

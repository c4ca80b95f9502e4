//! Any text as the manifest of a release, and as two versions to compare.
#![no_main]

use std::cmp::Ordering;

use libfuzzer_sys::fuzz_target;
use nanozfs::format::manifest::{self, MAX_SIZE, SECTOR};
use nanozfs::format::version::Version;

fuzz_target!(|text: &str| {
    if let Ok(manifest) = manifest::parse(text) {
        assert_eq!(manifest::format_of(text), Some(manifest::FORMAT));
        assert!(text.len() <= MAX_SIZE);
        assert!(manifest.size > 0 && manifest.size % SECTOR == 0);
        let again = manifest.encode();
        assert_eq!(manifest::parse(&again).as_ref(), Ok(&manifest));
        // Each line of the one is a line of the other.
        let (mut one, mut two): (Vec<_>, Vec<_>) = (text.lines().collect(), again.lines().collect());
        one.sort();
        two.sort();
        assert_eq!(one, two);
    }
    let mut versions = text.split('\n').filter_map(Version::parse);
    if let (Some(one), Some(two), Some(three)) = (versions.next(), versions.next(), versions.next()) {
        assert_eq!(one.order(&one), Ordering::Equal);
        assert_eq!(one.order(&two), two.order(&one).reverse());
        if one.order(&two) != Ordering::Greater && two.order(&three) != Ordering::Greater {
            assert_ne!(one.order(&three), Ordering::Greater);
        }
    }
});

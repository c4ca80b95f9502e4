//! What a slot holds, as bytes: where a UFS has its superblock there is one with the volume's name,
//! beside it the length and digest of an archive of all files, which follows. A byte that is not as
//! it was made is no file system any more.
//!
//! On an MBR drive the UFS is in partition `a` of a BSD label, behind boot1 and boot2.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::machine::{Node, Scheme};
use super::providers::BSD_OFFSET;
use crate::format::ufs;

/// Behind the superblock.
const SUMMARY: usize = 2048;
const MAGIC: &[u8; 8] = b"lab-ufs\n";
/// Where the archive begins in the file system.
const ARCHIVE: usize = 1 << 20;
/// Files begin at a multiple of this, so that a change of one leaves the others where they are.
const ALIGNED: usize = 512;
/// The image ends at a multiple of this.
const END: usize = 64 << 10;
/// At the end of boot1.
const BOOT: [u8; 2] = [0x55, 0xaa];
/// At the start of a BSD label, in the second sector.
const LABEL: [u8; 4] = 0x8256_4557_u32.to_le_bytes();

/// A file in an image. Directories and special files have no content, a link has its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) header: Header,
    pub(crate) content: Vec<u8>,
}

/// What is known about a file in an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) path: PathBuf,
    pub(crate) node: Node,
    pub(crate) kind: crate::host::FileKind,
    pub(crate) length: usize,
}

fn base(scheme: Scheme) -> usize {
    if scheme == Scheme::Gpt { 0 } else { BSD_OFFSET as usize }
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + what.len()) {
        place.copy_from_slice(what);
    }
}

/// The bytes of a slot whose UFS has this name and these files.
pub(crate) fn encode(scheme: Scheme, volume: &str, entries: &[Entry]) -> Vec<u8> {
    let base = base(scheme);
    let mut bytes = vec![0; base + ARCHIVE];
    if base != 0 {
        put(&mut bytes, 0, b"boot1");
        put(&mut bytes, 510, &BOOT);
        put(&mut bytes, 512, &LABEL);
    }
    for entry in entries {
        // Plain data with text for names: it cannot fail.
        let header = serde_json::to_vec(&entry.header).unwrap_or_default();
        bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&header);
        bytes.resize(bytes.len().next_multiple_of(ALIGNED), 0);
        bytes.extend_from_slice(&entry.content);
        bytes.resize(bytes.len().next_multiple_of(ALIGNED), 0);
    }
    bytes.extend_from_slice(&0_u64.to_le_bytes());
    let length = bytes.len() - base - ARCHIVE;
    let digest = Sha256::digest(bytes.get(base + ARCHIVE..).unwrap_or_default());
    let at = base + ufs::SUPERBLOCK_OFFSET as usize;
    put(&mut bytes, at, &ufs::encode(volume));
    let summary = [&MAGIC[..], &(length as u64).to_le_bytes(), &digest].concat();
    put(&mut bytes, at + SUMMARY, &summary);
    bytes.resize(bytes.len().next_multiple_of(END), 0);
    bytes
}

/// The name and files of the UFS in a slot; `None` when there is none, or it is damaged.
pub(crate) fn decode(scheme: Scheme, bytes: &[u8]) -> Option<(String, Vec<Entry>)> {
    let base = base(scheme);
    if base != 0 && (bytes.get(510..512)? != BOOT || bytes.get(512..516)? != LABEL) {
        return None;
    }
    let superblock = bytes.get(base + ufs::SUPERBLOCK_OFFSET as usize..)?;
    let (magic, rest) = superblock.get(SUMMARY..)?.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let archive = bytes.get(base + ARCHIVE..)?.get(..length)?;
    if magic != MAGIC || rest.get(..32)? != &Sha256::digest(archive)[..] {
        return None;
    }
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        let (length, rest) = archive.get(at..)?.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        if length == 0 {
            break;
        }
        let header: Header = serde_json::from_slice(rest.get(..length)?).ok()?;
        at = (at + 8 + length).next_multiple_of(ALIGNED);
        let content = archive.get(at..at + header.length)?.to_vec();
        at = (at + header.length).next_multiple_of(ALIGNED);
        entries.push(Entry { header, content });
    }
    let volume = ufs::volume_name(superblock).unwrap_or_default();
    Some((volume, entries))
}

#[cfg(test)]
mod tests {
    use super::super::tree::{fresh, plain};
    use super::*;
    use crate::host::FileKind;

    #[test]
    fn an_image_is_read_back_and_a_damaged_one_is_none() {
        let entry = |path: &str, kind, content: &[u8]| Entry {
            header: Header {
                path: PathBuf::from(path),
                node: fresh(plain(0o640)),
                kind,
                length: content.len(),
            },
            content: content.to_vec(),
        };
        let entries = [
            entry("etc", FileKind::Directory, b""),
            entry("etc/fstab", FileKind::File, &[7; 1000]),
            entry("link", FileKind::Link, b"etc"),
        ];
        for scheme in [Scheme::Gpt, Scheme::Mbr] {
            for entries in [&entries[..], &[]] {
                let image = encode(scheme, "nanos1a", entries);
                assert_eq!(image.len() % END, 0);
                let read = decode(scheme, &image).unwrap();
                assert_eq!(read, ("nanos1a".to_owned(), entries.to_vec()));
                for at in [base(scheme) + 65536 + SUMMARY, base(scheme) + ARCHIVE + 2] {
                    let mut image = image.clone();
                    image[at] ^= 1;
                    assert_eq!(decode(scheme, &image), None);
                }
                assert_eq!(decode(scheme, &image[..image.len() - END]), None);
                assert_eq!(decode(scheme, &[]), None);
            }
        }
        assert_eq!(decode(Scheme::Mbr, &encode(Scheme::Gpt, "a", &entries)), None);
    }
}

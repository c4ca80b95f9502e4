use std::io::{Cursor, Read};

use super::header::{Header, Type};
use super::*;

/// `tests/fixtures/release/tar/NAME.gz`: what GNU tar 1.34 and bsdtar 3.6.2 wrote.
fn written_by(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/release/tar/{name}.gz", env!("CARGO_MANIFEST_DIR"));
    let packed = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Every entry with its content; the tail is read, too.
fn entries(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut input = Cursor::new(bytes);
    let mut tar = Reader::new(&mut input);
    let mut found = Vec::new();
    while let Some(entry) = tar.next_entry()? {
        let mut content = Vec::new();
        tar.read_to_end(&mut content).map_err(Error::Read)?;
        assert_eq!(content.len() as u64, entry.size);
        found.push((entry.name, content));
    }
    tar.tail()?;
    Ok(found)
}

fn why(bytes: &[u8]) -> String {
    entries(bytes).unwrap_err().to_string()
}

/// A header of any type, with a right checksum.
fn header(name: &str, size: u64, kind: u8, change: impl FnOnce(&mut [u8; BLOCK])) -> Vec<u8> {
    let mut block = encode(name, size, 0).unwrap();
    block[156] = kind;
    change(&mut block);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.to_vec()
}

/// A header, its content, what fills the block.
fn with_content(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = header("x", content.len() as u64, kind, |_| {});
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn plain(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in files {
        bytes.extend(encode(name, content.len() as u64, 1_795_255_009).unwrap());
        bytes.extend(*content);
        bytes.resize(bytes.len() + usize::try_from(padding(content.len() as u64)).unwrap(), 0);
    }
    bytes.extend(END);
    bytes
}

#[test]
fn what_both_tars_write_is_read() {
    let long = "l".repeat(150);
    let deep = format!("{0}/{0}/f", "d".repeat(60));
    let all = ["manifest", "manifest.minisig", "image", &long];
    for (name, names) in [
        ("gnu", all.as_slice()),
        ("gnu-posix", &all),
        ("bsd", &all),
        ("bsd-pax", &all),
        ("bsd-gnutar", &["manifest", &long]),
        ("gnu-ustar", &["manifest", &deep]),
    ] {
        let found = entries(&written_by(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found_names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(found_names, names, "{name}");
        for (entry, content) in &found {
            let expected = match entry.as_str() {
                "manifest" => b"format=1\n".to_vec(),
                "manifest.minisig" => b"sig\n".to_vec(),
                _ => vec![b'x'; 1000],
            };
            assert_eq!(*content, expected, "{name}: {entry}");
        }
    }
}

#[test]
fn sizes_of_8_gib_and_more_are_read_as_both_tars_write_them() {
    for name in ["gnu-huge.head", "gnu-posix-huge.head", "bsd-huge.head"] {
        let bytes = written_by(name);
        let mut input = Cursor::new(&bytes);
        let mut tar = Reader::new(&mut input);
        assert_eq!(tar.next_entry().unwrap().unwrap().size, 9);
        let entry = tar.next_entry().unwrap().unwrap();
        assert_eq!((entry.name.as_str(), entry.size), ("huge", 9 << 30), "{name}");
        assert!(matches!(tar.next_entry(), Err(Error::Truncated(_))));
    }
}

#[test]
fn sparse_files_are_refused() {
    for name in ["gnu-sparse", "gnu-sparse-pax", "bsd-sparse"] {
        assert!(why(&written_by(name)).contains("a sparse file"), "{name}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    let files: &[(&str, &[u8])] =
        &[("manifest", b"a"), ("empty", b""), ("block", &[7; BLOCK]), ("more", &[8; BLOCK + 1])];
    let found = entries(&plain(files)).unwrap();
    assert_eq!(found.len(), files.len());
    for ((name, content), found) in files.iter().zip(found) {
        assert_eq!((*name, *content), (found.0.as_str(), found.1.as_slice()));
    }
}

#[test]
fn a_header_that_is_written_says_any_size() {
    for size in [0, 1, (1 << 33) - 1, 1 << 33, u64::MAX >> 1] {
        let header = Header::parse(&encode("image", size, 0).unwrap()).unwrap();
        assert_eq!(header, Header { kind: Type::File, name: "image".to_owned(), size });
    }
    assert_eq!(encode("image", u64::MAX, 0), None);
    assert_eq!(encode("image", 0, 1 << 33), None);
    assert_eq!(encode(&"x".repeat(101), 0, 0), None);
}

#[test]
fn what_is_written_reads_in_both_tars() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t");
    std::fs::write(&path, plain(&[("manifest", b"format=1\n"), ("image", &[b'x'; 600])])).unwrap();
    for program in ["tar", "bsdtar"] {
        let list = std::process::Command::new(program).arg("-tvf").arg(&path).output();
        let Ok(list) = list else {
            eprintln!("SKIPPED: {program} is not here");
            continue;
        };
        let text = String::from_utf8(list.stdout).unwrap();
        assert!(list.status.success() && list.stderr.is_empty(), "{program}: {text}");
        assert!(text.contains("manifest") && text.contains(" 600 "), "{program}: {text}");
        assert!(text.lines().all(|line| line.starts_with("-rw-r--r-- ")), "{program}: {text}");
    }
}

#[test]
fn a_tar_that_ends_anywhere_before_its_end_is_truncated() {
    let whole = plain(&[("manifest", b"some"), ("image", &[1; 700])]);
    for length in 0..whole.len() {
        match entries(&whole[..length]) {
            // The content's reader has to use io::Error.
            Err(Error::Read(error)) => {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length}");
            }
            Err(Error::Truncated(at)) => assert_eq!(at, length as u64),
            other => panic!("{length}: {other:?}"),
        }
    }
}

#[test]
fn no_bit_of_a_header_or_of_the_end_can_change_what_is_read() {
    let whole = plain(&[("image", &[1; 700])]);
    for at in (0..BLOCK).chain(whole.len() - 2 * BLOCK..whole.len()) {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            // A checksum may begin with a space as well as with a zero.
            let same = (148..156).contains(&at) && entries(&bytes).ok() == entries(&whole).ok();
            assert!(same || entries(&bytes).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn only_zeros_may_follow_the_end() {
    let mut bytes = plain(&[("a", b"b")]);
    bytes.resize(bytes.len() + 9000, 0);
    assert!(entries(&bytes).is_ok());
    bytes.push(1);
    assert!(why(&bytes).starts_with("something follows its end, at byte "));
    bytes.pop();
    bytes.resize(bytes.len() + (2 << 20), 0);
    assert!(why(&bytes).starts_with("something follows its end, at byte "));
}

#[test]
fn what_is_no_file_is_refused() {
    for (kind, what) in [
        (b'1', "a link"),
        (b'2', "a link"),
        (b'3', "an entry of a type that is not taken"),
        (b'5', "a directory"),
        (b'7', "an entry of a type that is not taken"),
        (b'K', "an entry of a type that is not taken"),
        (b'S', "a sparse file"),
        (b'g', "an entry of a type that is not taken"),
    ] {
        let error = why(&header("x", 0, kind, |_| {}));
        assert!(error.starts_with(&format!("tar: byte 0: {what}")), "{}: {error}", kind as char);
    }
}

#[test]
fn a_header_that_makes_no_sense_is_refused() {
    assert_eq!(why(&[b'x'; BLOCK]), "tar: byte 0: not a header of a tar");
    let mut wrong = encode("x", 0, 0).unwrap();
    wrong[0] = b'y';
    assert_eq!(why(&wrong), "tar: byte 0: the checksum of a header is wrong");
    for size in ["", "        ", "-1", "9", "1 1", "0x1"] {
        let bytes = header("x", 0, b'0', |block| {
            block[124..136].fill(0);
            block[124..124 + size.len()].copy_from_slice(size.as_bytes());
        });
        assert_eq!(why(&bytes), "tar: byte 0: the size of an entry is not a number", "{size}");
    }
    for first in [0xff, 0x81] {
        let bytes = header("x", 1 << 40, b'0', |block| block[124] = first);
        assert_eq!(why(&bytes), "tar: byte 0: the size of an entry is not a number");
    }
    let bytes = header("x", 0, b'0', |block| block[0] = 0xe9);
    assert_eq!(why(&bytes), "tar: byte 0: a name is not UTF-8");
    let mut one = vec![0; BLOCK];
    one.extend(encode("x", 0, 0).unwrap());
    assert_eq!(why(&one), "tar: byte 0: one block of zeros, where the end has two");
}

#[test]
fn extended_headers_say_what_follows() {
    let mut bytes =
        with_content(b'x', b"13 path=long\n9 size=3\n20 mtime=1795255009.5\n".as_slice());
    // 20 is one too few for the last of them.
    assert_eq!(why(&bytes), "tar: byte 0: a pax record is broken");
    bytes = with_content(b'x', b"13 path=long\n9 size=3\n".as_slice());
    bytes.extend(encode("short", 700, 0).unwrap());
    bytes.extend(b"abc");
    bytes.resize(bytes.len() + BLOCK - 3, 0);
    bytes.extend(END);
    assert_eq!(entries(&bytes).unwrap(), [("long".to_owned(), b"abc".to_vec())]);

    let mut bytes = with_content(b'L', b"very long\0");
    bytes.extend(plain(&[("short", b"a")]));
    assert_eq!(entries(&bytes).unwrap(), [("very long".to_owned(), b"a".to_vec())]);
}

#[test]
fn extended_headers_that_make_no_sense_are_refused() {
    for (records, what) in [
        ("x", "a pax record is broken"),
        ("5 a=b", "a pax record is broken"),
        ("0 a=b\n", "a pax record is broken"),
        ("2 a=b\n", "a pax record is broken"),
        ("99 a=b\n", "a pax record is broken"),
        ("-6 a=b\n", "a pax record is broken"),
        ("6 a.b\n", "a pax record is broken"),
        ("8 path=\n", "a name is empty or has a NUL byte inside"),
        ("11 path=\0x\n", "a name is empty or has a NUL byte inside"),
        ("11 size=-1\n", "the size of an entry is not a number"),
        ("28 size=9223372036854775808\n", "the size of an entry is not a number"),
        ("22 GNU.sparse.major=1\n", "a sparse file, where only whole ones are taken"),
        ("21 hdrcharset=BINARY\n", "a name that is not in UTF-8"),
    ] {
        let mut bytes = with_content(b'x', records.as_bytes());
        bytes.extend(plain(&[("x", b"")]));
        assert_eq!(why(&bytes), format!("tar: byte 0: {what}"), "{records}");
    }
    let two = [with_content(b'x', b""), with_content(b'x', b"")].concat();
    assert_eq!(why(&two), "tar: byte 512: two extended headers for one entry");
    let alone = [with_content(b'L', b"a"), END.to_vec()].concat();
    assert_eq!(why(&alone), "tar: byte 1024: an extended header without an entry");
    let large = header("x", 65 << 10, b'x', |_| {});
    assert_eq!(why(&large), "tar: byte 0: an extended header of more than 64 KiB");
}

#[test]
fn what_was_not_read_of_an_entry_is_passed_over() {
    let bytes = plain(&[("a", &[1; 40_000]), ("b", b"x")]);
    let mut input = Cursor::new(&bytes);
    let mut tar = Reader::new(&mut input);
    tar.next_entry().unwrap();
    tar.read_exact(&mut [0; 3]).unwrap();
    assert_eq!(tar.left(), 39_997);
    assert_eq!(tar.next_entry().unwrap().unwrap().name, "b");
    assert_eq!(tar.next_entry().unwrap(), None);
    assert_eq!(tar.next_entry().unwrap(), None);
    assert_eq!(tar.position(), bytes.len() as u64);
}

use std::io::Cursor;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::format::manifest::Digest;
use crate::host::RealFiles;

/// A file of `tests/fixtures/release`.
fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/release/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Keys by the names of fixtures.
fn keys(names: &[&str]) -> Keys {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::write(folder.path().join(name), fixture(name)).unwrap();
    }
    let keys = Keys::load(&RealFiles, folder.path());
    assert_eq!(keys.problems, [""; 0]);
    keys
}

/// A tar of these entries.
fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in entries {
        bytes.extend(tar::encode(name, content.len() as u64, 0).unwrap());
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(tar::BLOCK), 0);
    }
    bytes.extend(tar::END);
    bytes
}

/// The release of the fixtures with another signature, or with none.
fn release(signature: Option<&str>) -> Vec<u8> {
    let (manifest, image) = (fixture(MANIFEST), fixture("image"));
    match signature.map(fixture) {
        Some(signature) => {
            tar_of(&[(MANIFEST, &manifest), (SIGNATURE, &signature), ("image", &image)])
        }
        None => tar_of(&[(MANIFEST, &manifest), ("image", &image)]),
    }
}

/// A release of which everything was read: what it says, why it is believed, what the image holds.
#[derive(Debug, PartialEq)]
struct Whole {
    text: String,
    trust: Trust,
    image: Vec<u8>,
}

fn whole(bytes: &[u8], keys: &Keys, signed: bool) -> Result<Whole, Refusal> {
    let mut input = Cursor::new(bytes);
    let mut release = Release::open(&mut input, keys, signed)?;
    let mut image = Vec::new();
    let result = release.image().read_to_end(&mut image);
    release.finish()?;
    result.unwrap();
    assert_eq!(release.read(), release.packed);
    Ok(Whole { text: release.text, trust: release.trust, image })
}

fn why_not(bytes: &[u8], keys: &Keys, signed: bool) -> String {
    whole(bytes, keys, signed).unwrap_err().to_string()
}

fn signed_by_test() -> Trust {
    Trust::Signed { key: "test.pub".to_owned(), comment: "router 2.4".to_owned() }
}

#[test]
fn a_signed_release_is_believed_and_its_image_is_read() {
    let bytes = release(Some(SIGNATURE));
    for signed in [true, false] {
        for keys in [keys(&["test.pub"]), keys(&["other.pub", "test.pub"])] {
            let whole = whole(&bytes, &keys, signed).unwrap();
            assert_eq!(whole.trust, signed_by_test());
            assert_eq!(whole.text.as_bytes(), fixture(MANIFEST));
            assert_eq!(whole.image, fixture("image"));
        }
    }
}

#[test]
fn what_is_believed_depends_on_signature_keys_and_whether_one_is_required() {
    let (none, other, test) = (keys(&[]), keys(&["other.pub"]), keys(&["test.pub"]));
    let unsigned = "the release is not signed";
    let unknown = "the release is signed by a key that is not known";
    let wrong = "the signature is wrong: it was made for something else";
    let legacy = "the signature is wrong: it is of the legacy kind, which minisign makes with -l";
    for (signature, keys, required, not_required) in [
        (None, &none, Err(unsigned), Ok(Trust::Unsigned)),
        (None, &test, Err(unsigned), Ok(Trust::Unsigned)),
        (
            Some(SIGNATURE),
            &none,
            Err("there is no key to verify the signature with"),
            Ok(Trust::Unknown),
        ),
        (Some(SIGNATURE), &other, Err(unknown), Ok(Trust::Unknown)),
        (Some(SIGNATURE), &test, Ok(signed_by_test()), Ok(signed_by_test())),
        (Some("wrong.minisig"), &test, Err(wrong), Err(wrong)),
        (Some("wrong.minisig"), &other, Err(unknown), Ok(Trust::Unknown)),
        (Some("manifest.legacy.minisig"), &test, Err(legacy), Err(legacy)),
        (
            Some("image"),
            &test,
            Err("this is not a release: an entry is not text"),
            Err("this is not a release: an entry is not text"),
        ),
        (
            Some("test.pub"),
            &test,
            Err("the signature is wrong: it cannot be understood"),
            Err("the signature is wrong: it cannot be understood"),
        ),
    ] {
        let bytes = release(signature);
        for (signed, expected) in [(true, required), (false, not_required)] {
            let trust = whole(&bytes, keys, signed).map(|whole| whole.trust);
            let trust = trust.map_err(|error| error.to_string());
            assert_eq!(trust, expected.map_err(str::to_owned), "{signature:?} {signed}");
        }
    }
}

#[test]
fn what_is_no_release_or_a_broken_one_is_told_apart() {
    let (manifest, signature, image) = (fixture(MANIFEST), fixture(SIGNATURE), fixture("image"));
    let text = String::from_utf8(manifest.clone()).unwrap();
    let with = |old: &str, new: &str| text.replace(old, new).into_bytes();
    let large = vec![b'x'; manifest::MAX_SIZE + 1];
    let (m, s, i) = ((MANIFEST, &*manifest), (SIGNATURE, &*signature), ("image", &*image));
    for (entries, why) in [
        (vec![], "this is not a release: it is empty"),
        (vec![i, m, s], "this is not a release: it begins with \"image\""),
        (vec![s, m, i], "this is not a release: it begins with \"manifest.minisig\""),
        (vec![m, s], "the image image is missing"),
        (vec![m], "the image image is missing"),
        (vec![m, i, s], "something follows the image: \"manifest.minisig\""),
        (vec![m, s, i, i], "something follows the image: \"image\""),
        (vec![m, s, s, i], "\"manifest.minisig\" is in the place of the image image"),
        (vec![m, s, ("other", &image)], "\"other\" is in the place of the image image"),
        (vec![m, s, ("image", &image[1..])], "the image has 511 bytes, and the manifest says 512"),
        (vec![(MANIFEST, &*with("format=1", "format=2"))], "the release has format 2, this"),
        (vec![(MANIFEST, b"x"), i], "this is not a release: its manifest does not begin with"),
        (vec![(MANIFEST, &large)], "this is not a release: an entry of more than 16384 bytes"),
        (vec![m, (SIGNATURE, &large)], "this is not a release: an entry of more than 4096 bytes"),
        (vec![(MANIFEST, &*with("layout=gpt", "layout=x")), i], "manifest: line 5: layout=\"x\""),
    ] {
        let error = why_not(&tar_of(&entries), &keys(&["test.pub"]), false);
        assert!(error.starts_with(why), "{error}");
    }
    assert_eq!(why_not(b"", &keys(&[]), false), "the release is cut off after 0 bytes");
    let error = why_not(&vec![b'x'; 4096], &keys(&[]), false);
    assert_eq!(error, "this is not a release: tar: byte 0: not a header of a tar");
    let surplus = [release(None), b"x".to_vec()].concat();
    assert_eq!(why_not(&surplus, &keys(&[]), false), "something follows the image: byte 3072");
}

#[test]
fn a_release_whose_maker_named_the_directory_is_one_too() {
    let bytes = tar_of(&[
        ("./manifest", &fixture(MANIFEST)),
        ("./manifest.minisig", &fixture(SIGNATURE)),
        ("./image", &fixture("image")),
    ]);
    assert!(whole(&bytes, &keys(&["test.pub"]), true).is_ok());
}

#[test]
fn the_signature_is_looked_at_before_anything_that_the_manifest_says() {
    let text = String::from_utf8(fixture(MANIFEST)).unwrap().replace("size=512", "size=nonsense");
    let bytes = tar_of(&[
        (MANIFEST, text.as_bytes()),
        (SIGNATURE, &fixture(SIGNATURE)),
        ("image", &fixture("image")),
    ]);
    let error = why_not(&bytes, &keys(&["test.pub"]), true);
    assert_eq!(error, "the signature is wrong: it was made for something else");
}

#[test]
fn a_release_that_is_cut_off_anywhere_is_refused_as_cut_off() {
    let bytes = release(Some(SIGNATURE));
    let keys = keys(&["test.pub"]);
    for length in 0..bytes.len() {
        match whole(&bytes[..length], &keys, true) {
            Err(Refusal::Truncated(at)) => assert_eq!(at, length as u64),
            other => panic!("{length}: {other:?}"),
        }
    }
}

#[test]
fn no_single_bit_changes_what_is_taken() {
    let bytes = release(Some(SIGNATURE));
    let keys = keys(&["test.pub"]);
    let right = whole(&bytes, &keys, true).unwrap();
    let digest = manifest::parse(&right.text).unwrap().sha256;
    let (mut refused, mut harmless) = (0, 0);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            match whole(&bytes, &keys, true) {
                Err(_) => refused += 1,
                // Whoever writes the image compares its digest.
                Ok(found) if Digest(Sha256::digest(&found.image).into()) != digest => refused += 1,
                Ok(found) => {
                    assert_eq!(found, right, "byte {at}, bit {bit}");
                    harmless += 1;
                }
            }
        }
    }
    assert_eq!(refused + harmless, bytes.len() * 8);
    // Between the entries, and in the comment that is not signed.
    assert!(harmless < 6000, "{harmless}");
}

#[test]
fn what_is_no_key_is_a_problem_and_the_others_count() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("a.pub", fixture("other.pub")),
        ("b.pub", b"untrusted comment: x\nnonsense\n".to_vec()),
        ("c.pub", vec![0xff; 10]),
        ("d.pub", vec![b'x'; 5000]),
        ("e.pub", fixture("test.key")),
        ("f.pub", fixture("test.pub")),
        (".g.pub", b"left by an editor".to_vec()),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    std::fs::create_dir(folder.path().join("h")).unwrap();
    let keys = Keys::load(&RealFiles, folder.path());
    let names: Vec<_> = keys.keys.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a.pub", "f.pub"]);
    let problems: Vec<_> =
        keys.problems.iter().map(|line| line.rsplit_once('/').unwrap().1).collect();
    assert_eq!(problems[0], "b.pub: not a public key of minisign");
    assert_eq!(problems[1], "c.pub: not a public key of minisign");
    assert_eq!(problems[2], "d.pub: File too large");
    assert_eq!(problems[3], "e.pub: not a public key of minisign");
    assert!(problems[4].starts_with("h: ") && problems.len() == 5, "{problems:?}");
}

#[test]
fn a_directory_that_is_not_there_holds_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::load(&RealFiles, &folder.path().join("none"));
    assert!(keys.is_empty() && keys.problems.is_empty());
    std::fs::write(folder.path().join("file"), b"").unwrap();
    let keys = Keys::load(&RealFiles, &folder.path().join("file"));
    assert!(keys.is_empty() && keys.problems.len() == 1, "{:?}", keys.problems);
}

#[test]
fn a_release_fits_a_machine_or_every_reason_is_told() {
    let version = |text: &str| Version::parse(text).unwrap();
    let manifest = manifest::parse(&String::from_utf8(fixture(MANIFEST)).unwrap()).unwrap();
    let without = Manifest { min_from: None, ..manifest.clone() };
    let fine = Running {
        nanozfs: version("0.1.0"),
        system: Some(version("2.0")),
        compat: "amd64".to_owned(),
        layout: Layout::Gpt,
    };
    let other = || fine.clone();
    for (manifest, running, reasons) in [
        (&manifest, other(), vec![]),
        (&manifest, Running { system: Some(version("2.4")), ..other() }, vec![]),
        // The same again, or an older one, is for the operator to decide.
        (&manifest, Running { system: Some(version("9")), ..other() }, vec![]),
        (&without, Running { system: Some(version("1")), ..other() }, vec![]),
        (&without, Running { system: None, ..other() }, vec![]),
        (
            &manifest,
            Running { compat: "arm64".to_owned(), ..other() },
            vec!["the release is for amd64, this machine is arm64"],
        ),
        (
            &manifest,
            Running { layout: Layout::Mbr, ..other() },
            vec!["the release is for a drive with gpt, this one has mbr"],
        ),
        (
            &manifest,
            Running { nanozfs: version("0.1.0-rc1"), ..other() },
            vec!["the release needs nanozfs 0.1.0, this is 0.1.0-rc1"],
        ),
        (
            &manifest,
            Running { system: Some(version("2.0-rc1")), ..other() },
            vec!["the release can be installed from version 2.0 on, this is 2.0-rc1"],
        ),
        (
            &manifest,
            Running { system: None, compat: "x".to_owned(), ..other() },
            vec![
                "the release is for amd64, this machine is x",
                "the release can be installed from version 2.0 on, and the version that is \
                 running is not known",
            ],
        ),
    ] {
        let found: Vec<_> = unfit(manifest, &running).iter().map(Unfit::to_string).collect();
        assert_eq!(found, reasons, "{running:?}");
    }
}

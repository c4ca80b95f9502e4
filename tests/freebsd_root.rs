//! `make freebsd-root`, with releases that are local files.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/freebsd-root");
const RELEASE: &str = "99.7";

/// A tree with the script, so that it downloads into this one.
fn tree() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("tests/vm")).unwrap();
    fs::copy(SCRIPT, tree.path().join("tests/vm/freebsd-root")).unwrap();
    tree
}

/// The same with a mirror that has one release; `None`, and a word about it, where nothing can be
/// downloaded or unpacked.
fn mirrored() -> Option<TempDir> {
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !((there("fetch") || there("curl")) && there("xz")) {
        eprintln!("SKIPPED: freebsd-root needs curl, or fetch(1), and xz");
        return None;
    }
    let tree = tree();
    mirror(tree.path());
    Some(tree)
}

fn mirror(top: &Path) {
    let release = top.join(format!("mirror/amd64/{RELEASE}-RELEASE"));
    fs::create_dir_all(&release).unwrap();
    let mut manifest = String::new();
    for (set, file) in [("base", "bin/sh"), ("kernel", "boot/kernel/kernel")] {
        let tree = top.join(set);
        fs::create_dir_all(tree.join(file).parent().unwrap()).unwrap();
        fs::write(tree.join(file), set).unwrap();
        let archive = release.join(format!("{set}.txz"));
        let tar =
            Command::new("tar").arg("-cJf").arg(&archive).arg("-C").arg(&tree).arg(".").status();
        assert!(tar.unwrap().success());
        let sum = Command::new("sha256sum").arg(&archive).output();
        let sum = sum.ok().filter(|output| output.status.success());
        let sum = match sum {
            Some(output) => String::from_utf8(output.stdout).unwrap(),
            None => {
                let output = Command::new("sha256").arg("-q").arg(&archive).output().unwrap();
                String::from_utf8(output.stdout).unwrap()
            }
        };
        let sum = sum.split_whitespace().next().unwrap();
        manifest.push_str(&format!("{set}.txz\t{sum}\t1\t{set}\t\"{set}\"\ton\n"));
    }
    fs::write(release.join("MANIFEST"), manifest).unwrap();
}

fn run(top: &Path, release: &str) -> Output {
    run_to(top, release, None)
}

fn run_to(top: &Path, release: &str, destination: Option<&Path>) -> Output {
    // A file that was written a moment ago cannot always be executed: another test that starts a
    // program at that moment has it open for writing.
    Command::new("sh")
        .arg(top.join("tests/vm/freebsd-root"))
        .arg(release)
        .env("MIRROR", format!("file://{}/mirror", top.display()))
        .env("DESTDIR", destination.unwrap_or(Path::new("")))
        .output()
        .unwrap()
}

#[test]
fn a_release_is_unpacked_and_the_second_time_it_is_there() {
    let Some(tree) = mirrored() else { return };
    let top = tree.path();
    let root = top.join("target/freebsd-root").join(RELEASE);
    for _ in 0..2 {
        let output = run(top, RELEASE);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(fs::read(root.join("bin/sh")).unwrap(), b"base");
        assert_eq!(fs::read(root.join("boot/kernel/kernel")).unwrap(), b"kernel");
    }
}

#[test]
fn a_place_that_is_there_is_filled_when_it_is_empty_and_left_alone_when_it_is_not() {
    let Some(tree) = mirrored() else { return };
    let top = tree.path();
    let place = top.join("place");
    fs::create_dir(&place).unwrap();
    let output = run_to(top, RELEASE, Some(&place.join("")));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read(place.join("bin/sh")).unwrap(), b"base");

    let full = top.join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("letter"), "to somebody").unwrap();
    let output = run_to(top, RELEASE, Some(&full));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing was downloaded"));
    assert!(!output.status.success());
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
}

#[test]
fn a_set_that_is_not_what_the_manifest_says_is_not_unpacked() {
    let Some(tree) = mirrored() else { return };
    let top = tree.path();
    let base = top.join(format!("mirror/amd64/{RELEASE}-RELEASE/base.txz"));
    fs::write(base, "something else").unwrap();
    let output = run(top, RELEASE);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing was unpacked"));
    assert!(!top.join("target/freebsd-root").join(RELEASE).exists());
}

#[test]
fn a_release_that_is_none_is_a_mistake_of_usage() {
    let tree = tree();
    for release in ["", "current", "../14.3"] {
        assert_eq!(run(tree.path(), release).status.code(), Some(64), "{release:?}");
    }
}

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::host::RealFiles;

/// A source and a target tree, empty.
fn trees() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    std::fs::create_dir(&source).unwrap();
    std::fs::create_dir(&target).unwrap();
    (dir, source, target)
}

fn lay(source: &Path, target: &Path, existing: Existing) -> Comparison {
    let comparison = compare(&RealFiles, source, target, existing, &[]);
    let laid = super::lay(&RealFiles, source, target, comparison.changes.clone(), true);
    assert_eq!(laid.failed, []);
    comparison
}

#[test]
fn the_second_time_everything_is_the_same() {
    let (_dir, source, target) = trees();
    std::fs::create_dir_all(source.join("a/b")).unwrap();
    std::fs::write(source.join("a/b/new\nline and blank"), "x").unwrap();
    std::fs::set_permissions(source.join("a"), PermissionsExt::from_mode(0o750)).unwrap();
    std::os::unix::fs::symlink("a/b", source.join("link")).unwrap();
    assert_eq!(lay(&source, &target, Existing::Replace).changes.len(), 4);
    let again = lay(&source, &target, Existing::Replace);
    assert_eq!((again.changes, again.same), (vec![], 4));
    assert_eq!(std::fs::read_link(target.join("link")).unwrap(), Path::new("a/b"));
}

#[test]
fn equal_times_in_whole_seconds_prove_nothing() {
    let (_dir, source, target) = trees();
    for (tree, text) in [(&source, "one"), (&target, "two")] {
        std::fs::write(tree.join("f"), text).unwrap();
        let mut attributes = RealFiles.stat(&tree.join("f")).unwrap().attributes;
        attributes.modified = crate::host::Timestamp { seconds: 1_000, nanoseconds: 0 };
        RealFiles.set_attributes(&tree.join("f"), &attributes).unwrap();
    }
    assert_eq!(lay(&source, &target, Existing::Replace).changes.len(), 1);
    assert_eq!(std::fs::read(target.join("f")).unwrap(), b"one");
}

#[test]
fn what_is_there_is_kept_when_it_is_to_be_kept() {
    let (_dir, source, target) = trees();
    std::fs::write(source.join("f"), "source").unwrap();
    std::fs::write(source.join("g"), "source").unwrap();
    std::fs::write(target.join("f"), "target").unwrap();
    assert_eq!(lay(&source, &target, Existing::Keep).changes.len(), 1);
    assert_eq!(std::fs::read(target.join("f")).unwrap(), b"target");
    assert_eq!(std::fs::read(target.join("g")).unwrap(), b"source");
}

#[test]
fn a_fifo_is_refused_and_a_directory_is_never_replaced() {
    let (_dir, source, target) = trees();
    nix::unistd::mkfifo(&source.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::write(source.join("d"), "a file").unwrap();
    std::fs::create_dir(target.join("d")).unwrap();
    let comparison = lay(&source, &target, Existing::Replace);
    assert_eq!(comparison.refused, [(PathBuf::from("pipe"), FileKind::Fifo)]);
    assert_eq!(comparison.failed.len(), 1);
    assert!(target.join("d").is_dir());
}

#[test]
fn a_temporary_file_from_a_power_cut_is_in_nobodys_way() {
    let (_dir, source, target) = trees();
    std::fs::write(source.join("f"), "whole").unwrap();
    std::fs::write(target.join(".nanozfs.tmp"), "hal").unwrap();
    lay(&source, &target, Existing::Replace);
    assert_eq!(std::fs::read(target.join("f")).unwrap(), b"whole");
    assert!(!target.join(".nanozfs.tmp").exists());
}

#[test]
fn many_files_are_all_laid_and_no_temporary_stays() {
    let (_dir, source, target) = trees();
    for number in 0..500 {
        std::fs::write(source.join(format!("f{number}")), number.to_string()).unwrap();
        std::fs::write(target.join(format!("f{number}")), "old").unwrap();
    }
    let comparison = compare(&RealFiles, &source, &target, Existing::Replace, &[]);
    let laid = super::lay(&RealFiles, &source, &target, comparison.changes, false);
    assert_eq!((laid.made.len(), laid.failed), (500, vec![]));
    assert_eq!(std::fs::read(target.join("f499")).unwrap(), b"499");
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 500);
}

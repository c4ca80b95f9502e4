//! Putting the suite into an image: `make install`, `overlay/prepare-image`, and the configuration
//! that is installed. Unix only, no root needed.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use nanozfs::boot::Helper;
use nanozfs::config::KEYS;

const TOP: &str = env!("CARGO_MANIFEST_DIR");

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A world after NanoBSD's own set-up: /etc and /var hard-linked below /conf, and the command that
/// mounts the configuration slice.
fn nanobsd_world() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("a world.").tempdir().unwrap();
    let world = dir.path();
    let fstab = "/dev/ada0s1a / ufs ro 1 1\n/dev/ada0s3 /cfg ufs rw,noauto 2 2\n";
    write(&world.join("conf/base/etc/fstab"), fstab);
    write(&world.join("conf/base/etc/rc.conf"), "hostname=\"image\"\n");
    write(&world.join("conf/base/var/db/pkg/local.sqlite"), "packages");
    write(&world.join("conf/base/var/md_size"), "10240\n");
    write(&world.join("conf/default/etc/remount"), "mount -o ro /dev/ada0s3\n");
    fs::create_dir_all(world.join("usr/local")).unwrap();
    for (from, to) in
        [("conf/base/etc/fstab", "etc/fstab"), ("conf/base/etc/rc.conf", "etc/rc.conf")]
    {
        fs::create_dir_all(world.join(to).parent().unwrap()).unwrap();
        fs::hard_link(world.join(from), world.join(to)).unwrap();
    }
    fs::create_dir_all(world.join("var/db/pkg")).unwrap();
    let database = "db/pkg/local.sqlite";
    fs::hard_link(world.join("conf/base/var").join(database), world.join("var").join(database))
        .unwrap();
    dir
}

fn prepare(world: &Path) -> std::process::Output {
    Command::new(Path::new(TOP).join("overlay/prepare-image")).arg(world).output().unwrap()
}

/// Every path below `root` with its content.
fn listing(root: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            let content = match kind {
                kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
                kind if kind.is_dir() => {
                    open.push(path);
                    String::new()
                }
                _ => fs::read_to_string(&path).unwrap(),
            };
            all.push((name, content));
        }
    }
    all.sort();
    all
}

#[test]
fn a_prepared_image_leaves_var_and_cfg_to_nanozfs() {
    let dir = nanobsd_world();
    let world = dir.path();
    let output = prepare(world);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        fs::read_to_string(world.join("conf/nanozfs/var/db/pkg/local.sqlite")).unwrap(),
        "packages"
    );
    assert!(!world.join("conf/base/var").exists(), "rc.initdiskless would make /var");
    assert!(!world.join("conf/nanozfs/var/md_size").exists());
    assert!(!world.join("conf/default/etc/remount").exists(), "13.x would stop at a shell");
    assert_eq!(fs::read_dir(world.join("var")).unwrap().count(), 0);
    assert!(world.join("cfg").is_dir());
    for fstab in ["etc/fstab", "conf/base/etc/fstab"] {
        assert_eq!(fs::read_to_string(world.join(fstab)).unwrap(), "/dev/ada0s1a / ufs ro 1 1\n");
    }
    let inode = |name: &str| fs::metadata(world.join(name)).unwrap().ino();
    assert_eq!(inode("etc/fstab"), inode("conf/base/etc/fstab"), "the hard link is kept");
    let link = fs::read_link(world.join("usr/local/etc")).unwrap();
    assert_eq!(link, Path::new("../../etc/local"));
}

#[test]
fn preparing_twice_changes_nothing() {
    let dir = nanobsd_world();
    assert!(prepare(dir.path()).status.success());
    let once = listing(dir.path());
    assert!(prepare(dir.path()).status.success());
    assert_eq!(listing(dir.path()), once);
}

#[test]
fn what_is_no_image_is_refused_with_a_usage() {
    let dir = tempfile::tempdir().unwrap();
    let output = prepare(dir.path());
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("usage: prepare-image DIR"));
}

#[test]
fn the_installed_configuration_has_every_key_with_its_default_and_what_it_does() {
    let text = fs::read_to_string(Path::new(TOP).join("overlay/etc/nanozfs.conf")).unwrap();
    let mut rest = text.as_str();
    for key in KEYS {
        let entry = format!("# {}\n{}=\"{}\"\n", key.about, key.name, key.default);
        let at =
            rest.find(&entry).unwrap_or_else(|| panic!("not in order, or not there:\n{entry}"));
        rest = &rest[at + entry.len()..];
    }
    let keys = text.lines().filter(|line| !line.starts_with('#') && line.contains('=')).count();
    assert_eq!(keys, KEYS.len());
}

#[test]
fn installing_makes_a_link_for_each_helper_and_keeps_a_configuration() {
    let dir = nanobsd_world();
    let world = dir.path();
    let executable = world.join("executable");
    write(&executable, "an executable");
    write(&world.join("etc/nanozfs.conf"), "pools=\"tank\"\n");
    let status = Command::new("make")
        .current_dir(TOP)
        .args(["-s", "install"])
        .arg(format!("DESTDIR={}", world.display()))
        .arg(format!("EXECUTABLE={}", executable.display()))
        .status()
        .unwrap();
    assert!(status.success());
    let inode = fs::metadata(world.join("sbin/nanozfs")).unwrap().ino();
    for helper in Helper::ALL {
        let link = world.join("libexec/nanozfs").join(helper.name());
        assert_eq!(fs::metadata(link).unwrap().ino(), inode, "{}", helper.name());
    }
    let conf = |etc: &str| fs::read_to_string(world.join(etc).join("nanozfs.conf")).unwrap();
    assert_eq!(conf("etc"), "pools=\"tank\"\n");
    assert!(conf("conf/base/etc").contains("wait=\"30\""), "a machine sees this one");
    for etc in ["etc", "conf/base/etc"] {
        for name in ["nanozfs", "nanozfs_settle"] {
            let script = fs::metadata(world.join(etc).join("rc.d").join(name)).unwrap();
            assert_eq!(script.mode() & 0o777, 0o555);
        }
        assert!(world.join(etc).join("rc.conf.d/gptboot").is_file());
    }
    assert!(world.join("usr/share/man/man8/nanozfs.8").is_file());
}

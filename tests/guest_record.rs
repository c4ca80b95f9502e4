//! What FreeBSD printed when nanozfs asked: transcripts of guests of each release, recorded by
//! `make vmtest STORY=93-record`.

#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nanozfs::format::geom::Mesh;
use nanozfs::format::zfs::CanMount;
use nanozfs::format::zpool::Health;
use nanozfs::host::command::Replay;
use nanozfs::host::programs::{zfs, zpool};
use nanozfs::host::{Import, Kind};

/// The transcripts of every release that was recorded.
fn guests() -> Vec<PathBuf> {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let releases = fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path());
    let guests: Vec<_> =
        releases.map(|path| path.join("guest")).filter(|path| path.is_dir()).collect();
    assert!(!guests.is_empty());
    guests
}

#[test]
fn a_pool_is_listed_with_its_health() {
    for folder in guests() {
        let list = |name: &str| {
            let replay = Replay::new().transcript(&folder, name).unwrap();
            zpool::list(&replay).unwrap()
        };
        let healthy = list("zpool-list");
        assert_eq!(healthy.len(), 1, "{}", folder.display());
        assert_eq!((healthy[0].name.as_str(), &healthy[0].health), ("tank", &Health::Online));
        assert!(!healthy[0].readonly);
        let degraded = list("zpool-list-degraded");
        assert_eq!(degraded[0].health, Health::Degraded);
        assert_eq!(degraded[0].guid, healthy[0].guid);
        assert_eq!(list("zpool-list-empty"), []);
    }
}

#[test]
fn the_layout_is_read_with_what_is_mounted_of_it() {
    for folder in guests() {
        let replay = Replay::folder(&folder).unwrap();
        let datasets = zfs::list(&replay, "tank/nano").unwrap();
        let names: Vec<&str> = datasets.iter().map(|dataset| dataset.name.as_str()).collect();
        let expected =
            ["tank/nano", "tank/nano/cfg", "tank/nano/jails", "tank/nano/var", "tank/nano/var/log"];
        assert_eq!(names, expected, "{}", folder.display());
        assert_eq!(datasets[0].can_mount, CanMount::Off);
        assert_eq!(datasets[1].can_mount, CanMount::NoAuto);
        let mounted: Vec<bool> = datasets.iter().map(|dataset| dataset.mounted).collect();
        assert_eq!(mounted, [false, true, false, true, true]);
        assert!(datasets[0].disks.as_ref().unwrap().contains("WD-1002"));
        assert_eq!(zfs::list(&replay, "lone/nano").unwrap(), []);
    }
}

#[test]
fn what_is_not_there_is_refused_in_words() {
    for folder in guests() {
        let replay = Replay::folder(&folder).unwrap();
        let error = zfs::set(&replay, "tank/none", "org.nanozfs:disks", "none").unwrap_err();
        assert_eq!(error.kind, Kind::NotFound, "{error}");
        let import = Import {
            name: "none".to_owned(),
            guid: 1_234_567_890,
            devices: vec!["/dev/ada9".to_owned()],
            limit: Duration::from_secs(1),
        };
        let error = zpool::import(&replay, &import).unwrap_err();
        assert_eq!(error.kind, Kind::Refused);
        assert!(error.why.contains("1234567890"), "{error}");
    }
}

#[test]
fn the_mesh_of_a_running_machine_has_every_disk_once() {
    for folder in guests() {
        let mesh = Mesh::parse(&fs::read(folder.join("confxml.out")).unwrap()).unwrap();
        for (serial, disk) in [("OS-1", "ada0"), ("WD-1001", "ada1"), ("WD-1003", "ada3")] {
            let with = |id: &_| mesh.provider(*id).ident.as_deref() == Some(serial);
            let found: Vec<_> = mesh.disks().filter(with).collect();
            assert_eq!(found.len(), 1, "{}: {serial}", folder.display());
            assert_eq!(mesh.provider(found[0]).name, disk);
        }
        // / is mounted by this partition's label, which is gone from the mesh therefore.
        assert!(mesh.find("ada0s1a").is_some());
        assert!(mesh.find("ufs/nanos2a").is_some());
    }
}

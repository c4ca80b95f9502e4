//! The model behaves as the facts say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::format::geom::Mesh;
use crate::format::zfs_label;
use crate::host::{Files, Host, Import, Kind, MountRequest, Source};

/// The common appliance, switched on, and the directory it lives in.
fn machine() -> (tempfile::TempDir, Lab) {
    let scratch = tempfile::tempdir().unwrap();
    let lab = play::standard(&scratch.path().join("lab")).unwrap();
    lab.power_on().unwrap();
    (scratch, lab)
}

fn tank() -> Import {
    Import {
        name: "tank".to_owned(),
        guid: 7_301_950_118_427_365_042,
        devices: ["ada1", "ada2", "ada3"].iter().map(|disk| format!("/dev/{disk}")).collect(),
        limit: Duration::from_secs(20),
    }
}

fn import(lab: &Lab, import: Import) -> crate::host::Result<()> {
    Host::import(lab, &[import]).remove(0)
}

/// tank imported, /var mounted: a file system that outlives power cuts.
fn with_var() -> (tempfile::TempDir, Lab) {
    let (scratch, lab) = machine();
    import(&lab, tank()).unwrap();
    mount(&lab, "tank/nano/var", "/var").unwrap();
    (scratch, lab)
}

fn mount(lab: &Lab, dataset: &str, at: &str) -> crate::host::Result<()> {
    let source = Source::Dataset(dataset.to_owned());
    Host::mount(lab, &MountRequest { source, at: PathBuf::from(at), read_only: false })
}

/// Cuts the power and comes back as far as `/var`.
fn cut(lab: &Lab, how: Cut) {
    lab.power_cut(how).unwrap();
    lab.power_on().unwrap();
    import(lab, tank()).unwrap();
    mount(lab, "tank/nano/var", "/var").unwrap();
}

fn has(lab: &Lab, path: &str) -> Option<String> {
    let content = lab.read(Path::new(path), 1000).ok()?;
    Some(String::from_utf8(content).unwrap())
}

fn mesh(lab: &Lab) -> Mesh {
    Mesh::parse(&lab.geom().unwrap()).unwrap()
}

#[test]
fn a_disk_with_a_serial_number_is_there_twice_and_labels_only_once() {
    let (_scratch, lab) = machine();
    let mesh = mesh(&lab);
    let twice = (mesh.find("ada0s2a").unwrap(), mesh.find("diskid/DISK-OS-1s2a"));
    // / is mounted by its label: the tree below diskid is gone.
    assert_eq!(twice.1, None);
    assert!(mesh.find("ufs/nanos1a").is_some());
    assert!(mesh.find("diskid/DISK-WD-1001").is_some());
    let label = mesh.find("ufs/nanos2a").unwrap();
    assert!(mesh.same_sectors(label, twice.0));
    assert_eq!(mesh.provider(mesh.find("ada1").unwrap()).ident.as_deref(), Some("WD-1001"));
}

#[test]
fn labels_of_a_partition_that_is_mounted_by_its_own_name_are_hidden() {
    let (_scratch, lab) = machine();
    lab.shutdown().unwrap();
    lab.lock().machine.start.by_label = false;
    lab.power_on().unwrap();
    let mesh = mesh(&lab);
    assert!(mesh.find("ufs/nanos1a").is_none());
    assert!(mesh.find("ufs/nanos2a").is_some());
    assert!(mesh.find("diskid/DISK-OS-1s1a").is_some());
}

#[test]
fn opening_a_disk_for_a_pool_hides_its_other_names() {
    let (_scratch, lab) = machine();
    import(&lab, tank()).unwrap();
    assert!(mesh(&lab).find("diskid/DISK-WD-1001").is_none());
    assert!(mesh(&lab).find("ada1").is_some());
}

#[test]
fn four_labels_are_read_back_from_a_disk_and_zeroes_elsewhere() {
    let (_scratch, lab) = machine();
    for start in zfs_label::label_offsets(256 << 20) {
        let at = start + zfs_label::NVLIST_OFFSET;
        let area = lab.read_device("ada2", at, zfs_label::NVLIST_SIZE).unwrap();
        let label = zfs_label::parse(&area, start).unwrap().unwrap();
        assert_eq!(label.pool_guid, Some(tank().guid));
        assert_eq!(label.tree.unwrap().children.len(), 3);
    }
    assert_eq!(lab.read_device("ada2", 1 << 20, 16).unwrap(), [0; 16]);
    assert_eq!(lab.read_device("ada2", (256 << 20) - 4, 16).unwrap().len(), 4);
    let missing = lab.read_device("ada9", 0, 1).unwrap_err();
    assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
}

#[test]
fn a_raidz_comes_up_with_one_disk_missing_and_not_with_two() {
    let (_scratch, lab) = machine();
    let mut one = tank();
    one.devices.truncate(1);
    assert_eq!(import(&lab, one).unwrap_err().kind, Kind::Refused);
    let mut two = tank();
    two.devices.truncate(2);
    import(&lab, two).unwrap();
    let pools = Host::pools(&lab).unwrap();
    assert_eq!(pools[0].health.to_string(), "DEGRADED");
    let again = import(&lab, tank()).unwrap_err();
    assert!(again.why.contains("a pool with that name already exists"), "{again}");
}

#[test]
fn imports_side_by_side_take_as_long_as_the_longest() {
    let (_scratch, lab) = machine();
    let began = lab.uptime();
    let other = Import { name: "none".to_owned(), guid: 1, ..tank() };
    let answers = Host::import(&lab, &[tank(), other]);
    assert!(answers[0].is_ok() && answers[1].is_err());
    assert_eq!(lab.uptime() - began, Duration::from_millis(1200));
}

#[test]
fn what_was_not_synced_is_lost_kept_or_torn() {
    let path = Path::new("/var/new");
    for (how, wanted) in [
        (Cut::Lost, [None, None]),
        (Cut::Kept, [Some("content"); 2]),
        (Cut::Torn, [Some("con"), Some("con\0\0\0\0")]),
    ] {
        let (_scratch, lab) = with_var();
        lab.create(path, b"content").unwrap();
        cut(&lab, how);
        let found = has(&lab, "/var/new");
        assert!(wanted.contains(&found.as_deref()), "{how:?}: {found:?}");
    }
}

#[test]
fn a_file_replaced_in_the_right_order_is_the_old_or_the_new_one() {
    let (new, old) = (Path::new("/var/.new"), Path::new("/var/db/app/data"));
    for how in Cut::ALL {
        for steps in 0..=4 {
            let (_scratch, lab) = with_var();
            let done = [
                lab.create(new, b"fresh"),
                lab.sync(new),
                if steps > 2 { lab.rename(new, old) } else { Ok(()) },
                if steps > 3 { lab.sync(Path::new("/var/db/app")) } else { Ok(()) },
            ];
            assert!(done.iter().all(Result::is_ok));
            cut(&lab, how);
            let found = has(&lab, "/var/db/app/data").unwrap();
            let good = match (steps, how) {
                (4, _) | (3, Cut::Kept | Cut::Torn) => found == "fresh",
                _ => found == "a year of measurements\n",
            };
            assert!(good, "{how:?} after {steps}: {found:?}");
        }
    }
}

#[test]
fn a_rename_before_the_content_is_synced_can_leave_an_empty_file() {
    let (_scratch, lab) = with_var();
    let (new, old) = (Path::new("/var/.new"), Path::new("/var/db/app/data"));
    lab.create(new, b"fresh").unwrap();
    lab.rename(new, old).unwrap();
    lab.sync(Path::new("/var/db/app")).unwrap();
    cut(&lab, Cut::Lost);
    assert_eq!(has(&lab, "/var/db/app/data").as_deref(), Some(""));
}

#[test]
fn removed_files_come_back_and_attributes_are_as_before() {
    let (_scratch, lab) = with_var();
    let path = Path::new("/var/db/app/data");
    let mut attributes = lab.stat(path).unwrap().attributes;
    let before = attributes;
    attributes.mode = 0o600;
    lab.set_attributes(path, &attributes).unwrap();
    lab.remove_file(path).unwrap();
    cut(&lab, Cut::Lost);
    assert_eq!(lab.stat(path).unwrap().attributes, before);
    assert_eq!(has(&lab, "/var/db/app/data").as_deref(), Some("a year of measurements\n"));
}

#[test]
fn memory_vanishes_and_has_its_size() {
    let (_scratch, lab) = machine();
    lab.mount_memory(Path::new("/var"), 10).unwrap();
    lab.create(Path::new("/var/a"), b"0123456789").unwrap();
    let full = lab.create(Path::new("/var/b"), b"1").unwrap_err();
    assert_eq!(full.raw_os_error(), Some(libc::ENOSPC));
    lab.remove_file(Path::new("/var/a")).unwrap();
    lab.create(Path::new("/var/b"), b"1").unwrap();
    lab.power_cut(Cut::Kept).unwrap();
    lab.power_on().unwrap();
    assert_eq!(lab.list(Path::new("/var")).unwrap(), Vec::<std::ffi::OsString>::new());
}

#[test]
fn nothing_is_written_to_a_read_only_root_and_links_stay_inside() {
    let (_scratch, lab) = machine();
    let refused = lab.create(Path::new("/usr/x"), b"").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    // /usr/local/etc is a link to /etc/local, which is in memory.
    lab.create(Path::new("/usr/local/etc/new"), b"here").unwrap();
    assert_eq!(has(&lab, "/etc/local/new").as_deref(), Some("here"));
    lab.symlink(Path::new("loop"), Path::new("/etc/loop")).unwrap();
    let endless = lab.list(Path::new("/etc/loop/x")).unwrap_err();
    assert_eq!(endless.raw_os_error(), Some(libc::ELOOP));
}

#[test]
fn an_unmount_of_what_is_in_use_or_covered_is_busy() {
    let (_scratch, lab) = with_var();
    mount(&lab, "tank/nano/var/log", "/var/log").unwrap();
    let busy = |at: &str| Host::unmount(&lab, Path::new(at)).unwrap_err().kind == Kind::Busy;
    assert!(busy("/var"));
    lab.lock().machine.in_use.insert(PathBuf::from("/var/log/messages"));
    assert!(busy("/var/log"));
    assert_eq!(mount(&lab, "tank/nano/var", "/cfg").unwrap_err().kind, Kind::Busy);
    lab.lock().machine.in_use.clear();
    Host::unmount(&lab, Path::new("/var/log")).unwrap();
    Host::unmount(&lab, Path::new("/var")).unwrap();
}

#[test]
fn the_power_goes_at_the_planned_effect_and_stays_away() {
    let (_scratch, lab) = machine();
    lab.begin(Plan::CutAt(2));
    lab.create(Path::new("/etc/one"), b"1").unwrap();
    for _ in 0..2 {
        let cut = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            lab.create(Path::new("/etc/two"), b"2")
        }));
        assert!(cut.unwrap_err().is::<PowerCut>());
    }
    assert_eq!(lab.effects().len(), 1);
    assert!(lab.stat(Path::new("/etc/two")).is_err());
}

#[test]
fn a_machine_that_was_saved_goes_on_where_it_was() {
    let (scratch, lab) = with_var();
    lab.create(Path::new("/var/unsynced"), b"x").unwrap();
    lab.save().unwrap();
    let state = lab.state().unwrap();
    drop(lab);
    let lab = Lab::open(&scratch.path().join("lab")).unwrap();
    assert_eq!(lab.state().unwrap(), state);
    lab.power_cut(Cut::Lost).unwrap();
    lab.power_on().unwrap();
    assert!(lab.stat(Path::new("/var/unsynced")).is_err());
}

#[test]
fn only_one_nanozfs_at_a_time() {
    let (_scratch, lab) = machine();
    let held = Host::lock(&lab).unwrap();
    assert_eq!(Host::lock(&lab).err().map(|error| error.kind), Some(Kind::Busy));
    drop(held);
    assert!(Host::lock(&lab).is_ok());
}

#[test]
fn a_late_disk_is_waited_for_and_not_longer() {
    let (_scratch, lab) = machine();
    lab.shutdown().unwrap();
    lab.lock().machine.disks[3].after = Duration::from_secs(4);
    lab.power_on().unwrap();
    let began = lab.uptime();
    assert!(mesh(&lab).find("ada3").is_none());
    assert!(lab.wait_for_devices(began + Duration::from_secs(30)));
    assert!((lab.uptime() - began).as_secs() <= 4);
    assert!(mesh(&lab).find("ada3").is_some());
    assert!(!lab.wait_for_devices(began + Duration::from_secs(30)));
    assert_eq!((lab.uptime() - began).as_secs(), 30);
}

//! The model behaves as the facts say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::format::geom::Mesh;
use crate::format::zfs_label;
use crate::host::{Drives, Files, Flag, Host, Import, Kind, MountRequest, Source};

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

/// The common appliance on another kind of drive, on.
fn on_drive(options: &str) -> (tempfile::TempDir, Lab) {
    let scratch = tempfile::tempdir().unwrap();
    let lab = Lab::create(&scratch.path().join("lab")).unwrap();
    play::tell(&lab, &format!("use standard os-drive ada0 serial=OS-1 {options}")).unwrap();
    lab.power_on().unwrap();
    (scratch, lab)
}

fn expect(lab: &Lab, lines: &[&str]) {
    for line in lines {
        play::tell(lab, &format!("expect {line}")).unwrap();
    }
}

fn restart(lab: &Lab) {
    lab.shutdown().unwrap();
    lab.power_on().unwrap();
}

/// Zeroes the front of a slot.
fn zero(lab: &Lab, slot: &str) {
    let mut device = lab.drives().open(slot).unwrap();
    device.write_at(&[0; 256 << 10], 0).unwrap();
    device.flush().unwrap();
}

#[test]
fn gptboot_tries_the_armed_slot_once_and_goes_back() {
    let (_scratch, lab) = on_drive("layout=gpt");
    expect(&lab, &["running A", "slot A bootme", "slot B"]);
    lab.set_flag("ada0", 3, Flag::BootOnce).unwrap();
    expect(&lab, &["slot B bootme bootonce"]);
    restart(&lab);
    expect(&lab, &["running B", "slot A bootme", "slot B bootonce"]);
    let found = mesh(&lab);
    let slot = found.provider(found.find("ada0p3").unwrap()).partition.clone().unwrap();
    assert_eq!(slot.attributes, ["bootonce"]);
    restart(&lab);
    expect(&lab, &["running A", "slot A bootme", "slot B bootfailed"]);
}

#[test]
fn gptboot_passes_over_what_does_not_load_and_a_panic_comes_back() {
    let (_scratch, lab) = on_drive("layout=gpt");
    lab.set_flag("ada0", 3, Flag::BootOnce).unwrap();
    zero(&lab, "ada0p3");
    expect(&lab, &["slot B bootme bootonce invalid"]);
    restart(&lab);
    expect(&lab, &["running A", "slot B bootfailed invalid"]);
    // Only the first UFS partition is tried when nothing is marked, and nothing else.
    lab.clear_flag("ada0", 2, Flag::BootMe).unwrap();
    restart(&lab);
    expect(&lab, &["running A", "slot A"]);

    let (_scratch, lab) = on_drive("layout=gpt");
    play::tell(&lab, "file image /boot/kernel/kernel \"it panics\"").unwrap();
    lab.shutdown().unwrap();
    assert_eq!(lab.power_on().unwrap_err().to_string(), "every kernel panics");
}

#[test]
fn loader_efi_looks_at_no_mark() {
    let (_scratch, lab) = on_drive("layout=gpt loader=loader.efi");
    lab.set_flag("ada0", 3, Flag::BootOnce).unwrap();
    restart(&lab);
    expect(&lab, &["running A", "slot B bootme bootonce", "kenv efi-version 2.70"]);
    let (_scratch, lab) = on_drive("layout=gpt loader=gptboot.efi");
    lab.set_flag("ada0", 3, Flag::BootOnce).unwrap();
    restart(&lab);
    expect(&lab, &["running B", "slot B bootonce"]);
}

#[test]
fn the_active_slice_boots_and_boot0_needs_its_default() {
    let (_scratch, lab) = on_drive("layout=mbr");
    let default = |lab: &Lab| {
        crate::format::boot0::parse(&lab.read_device("ada0", 0, 512).unwrap()).unwrap().default
    };
    assert_eq!(default(&lab), 1);
    lab.set_flag("ada0", 2, Flag::Active).unwrap();
    expect(&lab, &["slot A", "slot B active"]);
    restart(&lab);
    expect(&lab, &["running B"]);
    lab.select_slice("ada0", 2).unwrap();
    assert_eq!(default(&lab), 2);
    lab.set_flag("ada0", 1, Flag::Active).unwrap();
    restart(&lab);
    expect(&lab, &["running A"]);
    zero(&lab, "ada0s2");
    lab.shutdown().unwrap();
    assert!(lab.power_on().unwrap_err().to_string().contains("boot0 waits for a key"));
}

#[test]
fn gpart_refuses_what_the_kernel_does() {
    let (_scratch, lab) = on_drive("layout=gpt");
    let why = |done: crate::host::Result<()>| done.unwrap_err().why;
    assert!(why(lab.set_flag("ada0", 2, Flag::Active)).contains("Invalid argument"));
    assert!(why(lab.set_flag("ada0", 9, Flag::BootMe)).contains("No such partition"));
    assert!(why(lab.set_flag("ada9", 2, Flag::BootMe)).contains("Invalid argument"));
    assert!(why(lab.select_slice("ada0", 2)).contains("incompatible boot code"));
    play::tell(&lab, "fault disk ada0 corrupt-table").unwrap();
    assert!(why(lab.clear_flag("ada0", 2, Flag::BootMe)).contains("is corrupt"));
    let table_ok = |lab: &Lab| {
        let mesh = mesh(lab);
        mesh.provider(mesh.find("ada0p2").unwrap()).partition.clone().unwrap().table_ok
    };
    assert!(!table_ok(&lab));
    lab.recover_table("ada0").unwrap();
    assert!(table_ok(&lab));
    let (_scratch, lab) = on_drive("layout=mbr loader=mbr");
    assert!(why(lab.set_flag("ada0", 2, Flag::BootOnce)).contains("Invalid argument"));
    assert!(why(lab.select_slice("ada0", 2)).contains("incompatible boot code"));
}

#[test]
fn a_table_that_was_cut_off_has_one_good_copy() {
    // Before which effect the power goes, and what is there then: the mark, and a whole table.
    for (number, cut, marked, whole) in [
        (1, Cut::Kept, false, true),
        (2, Cut::Lost, false, true),
        (2, Cut::Kept, true, false),
        (2, Cut::Torn, false, false),
        (3, Cut::Lost, false, true),
        (3, Cut::Torn, true, false),
        (3, Cut::Kept, true, true),
        (4, Cut::Lost, true, true),
    ] {
        let (_scratch, lab) = on_drive("layout=gpt");
        lab.begin(Plan::CutAt(number));
        let set = || lab.set_flag("ada0", 3, Flag::BootFailed);
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(set));
        assert_eq!(ended.is_err(), number < 4);
        lab.power_cut(cut).unwrap();
        lab.power_on().unwrap();
        let mesh = mesh(&lab);
        let slot = mesh.provider(mesh.find("ada0p3").unwrap()).partition.clone().unwrap();
        assert_eq!((slot.has("bootfailed"), slot.table_ok), (marked, whole), "{number} {cut:?}");
    }
}

#[test]
fn a_slot_is_bytes_while_it_is_open_and_files_when_they_mean_something() {
    let (_scratch, lab) = on_drive("layout=mbr");
    assert_eq!(lab.drives().open("ada0s1").err().unwrap().raw_os_error(), Some(libc::EPERM));
    let image = lab.read_device("ada0s2", 0, 1 << 21).unwrap();
    let open = || lab.drives().open("ada0s2");
    let mut device = open().unwrap();
    assert_eq!(open().err().unwrap().raw_os_error(), Some(libc::EBUSY));
    assert!(mesh(&lab).find("ada0s2a").is_none());
    assert!(mesh(&lab).find("ufs/nanos2a").is_none());
    assert!(mesh(&lab).find("ada0s2").is_some());
    let mut read = vec![0; image.len()];
    device.read_at(&mut read, 0).unwrap();
    assert!(read == image);
    assert_eq!(device.write_at(&[0; 100], 0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    assert!(device.write_at(&[0; 512], device.size()).is_err());
    // Half of it, not flushed: the power takes it back.
    device.write_at(&[1; 512], (1 << 20) + 8192).unwrap();
    drop(device);
    expect(&lab, &["slot B invalid"]);
    assert!(lab.check_volume("ada0s2a").is_err());
    let copy = lab.copy_to(&lab.root().with_file_name("copy")).unwrap();
    copy.power_cut(Cut::Kept).unwrap();
    expect(&copy, &["slot B invalid"]);
    lab.power_cut(Cut::Lost).unwrap();
    lab.power_on().unwrap();
    expect(&lab, &["slot B"]);
    assert!(lab.read_device("ada0s2", 0, 1 << 21).unwrap() == image);
    // The kernel looks at it again a little later; then it has its new name.
    lab.name_volume("ada0s2a", "other").unwrap();
    drop(lab.drives().open("ada0s2").unwrap());
    assert!(mesh(&lab).find("ada0s2a").is_none());
    assert!(lab.wait_for_devices(lab.uptime() + Duration::from_secs(10)));
    assert!(mesh(&lab).find("ufs/other").is_some());
    lab.check_volume("ada0s2a").unwrap();
}

#[test]
fn a_kernel_mounts_what_its_fstab_says() {
    let (_scratch, lab) = on_drive("layout=mbr");
    lab.set_flag("ada0", 2, Flag::Active).unwrap();
    restart(&lab);
    expect(&lab, &["running B"]);
    // As the image is before anybody corrects it.
    lab.set_flag("ada0", 1, Flag::Active).unwrap();
    restart(&lab);
    play::tell(&lab, "image raw").unwrap();
    let image = lab.image("raw").unwrap();
    lab.drives().open("ada0s2").unwrap().write_at(&image, 0).unwrap();
    lab.set_flag("ada0", 2, Flag::Active).unwrap();
    restart(&lab);
    expect(&lab, &["running A"]);
}

//! Writing slots of the lab machine: what is written, and what a power cut, an error and a lying
//! drive leave behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::*;
use crate::boot::osdrive::{self, OsDrive, Role};
use crate::format::geom::Mesh;
use crate::host::{Files, MountRequest, Source, mounted_at};
use crate::lab::{Cut, Lab, Plan, PowerCut, State, play};
use crate::upgrade::select::{self, SelectAction, Selection};

const MANIFEST: &[u8] = b"version=2\n";

/// The common appliance on this kind of drive, with two images: the same but for a few files, and
/// another one with two MiB more.
pub(crate) fn machine(layout: &str) -> (tempfile::TempDir, Lab) {
    let scratch = tempfile::Builder::new().tempdir_in(crate::lab::cuts::fast_directory()).unwrap();
    let lab = Lab::create(&scratch.path().join("lab")).unwrap();
    let drive = format!("use standard os-drive ada0 serial=OS-1 layout={layout} label=nano");
    play::tell(&lab, &drive).unwrap();
    play::tell(
        &lab,
        "file image /boot/kernel/kernel \"kernel 1\\n\"\n\
         image same\n\
         file @same /COPYRIGHT \"A new appliance.\\n\"\n\
         image new\n\
         file @new /boot/kernel/kernel \"kernel 2\\n\"\n\
         file @new /usr/large size=2m\n\
         file @new /etc/motd \"new\\n\"",
    )
    .unwrap();
    lab.power_on().unwrap();
    (scratch, lab)
}

pub(crate) fn mesh(lab: &Lab) -> Mesh {
    Mesh::parse(&lab.geom().unwrap()).unwrap()
}

pub(crate) fn drive(lab: &Lab) -> OsDrive {
    let mesh = mesh(lab);
    let mounts = Host::mounts(lab).unwrap();
    let root = mounted_at(&mounts, Path::new("/")).and_then(|mount| mesh.find(&mount.source));
    let name = |id| {
        let superblock = crate::format::ufs::SUPERBLOCK_OFFSET;
        let name: &str = &mesh.provider(id).name;
        crate::format::ufs::volume_name(&lab.read_device(name, superblock, 8192).ok()?)
    };
    osdrive::search(&mesh, root, "nano", &name).drive.unwrap()
}

fn target(lab: &Lab, role: Role) -> Result<Target, String> {
    Target::find(&mesh(lab), &Host::mounts(lab).unwrap(), &drive(lab), "nano", role)
}

fn install_bytes(lab: &Lab, bytes: &[u8]) -> Result<Counts, Failed> {
    let target = target(lab, Role::SlotB).map_err(|why| Failed::new(Left::Untouched, why))?;
    let mut stream = bytes;
    let sha256 = Sha256::digest(bytes).into();
    let mut image =
        Image { stream: &mut stream, size: bytes.len() as u64, sha256, release: MANIFEST };
    install(lab, &target, &mut image, &mut |_| {})
}

/// Arms slot B and starts it: what `/` is then.
fn start_b(lab: &Lab) -> Option<Role> {
    let mesh = mesh(lab);
    let drive = drive(lab);
    let now = Selection::read(lab, &mesh, &drive).unwrap();
    let actions = select::arm(&now, Role::SlotA);
    select::perform(lab, &drive, now, &actions).unwrap();
    lab.shutdown().unwrap();
    lab.power_on().ok()?;
    self::drive(lab).running
}

/// Everything that is not slot B: what must never change.
fn rest(state: &State) -> State {
    let mut state = state.clone();
    // That its file system was mounted when the power went says nothing of what is in it.
    let of_b = |name: &str| name.contains("/B ") || name.ends_with("/B");
    state.lines.retain(|name, _| !of_b(name) && !name.starts_with("slot "));
    state
}

/// What slot B is: the first word tells, the rest is what it differs in from the new image.
fn slot_b(lab: &Lab) -> State {
    let mut state = lab.disk_state().unwrap();
    state.lines.retain(|name, _| name.contains("/B "));
    state
}

#[test]
fn a_new_image_is_written_named_and_started() {
    for layout in ["mbr", "gpt"] {
        let (_scratch, lab) = machine(layout);
        let before = rest(&lab.disk_state().unwrap());
        let bytes = lab.image("new").unwrap();
        let counts = install_bytes(&lab, &bytes).unwrap();
        assert_eq!(counts.written + counts.spared, bytes.len() as u64);
        assert_eq!(rest(&lab.disk_state().unwrap()), before, "{layout}");
        // The drive's cache holds nothing of it.
        lab.power_cut(Cut::Lost).unwrap();
        lab.power_on().unwrap();
        assert_eq!(start_b(&lab), Some(Role::SlotB), "{layout}");
        let read =
            |path: &str| String::from_utf8(lab.read(Path::new(path), 1 << 20).unwrap()).unwrap();
        assert_eq!(read("/boot/kernel/kernel"), "kernel 2\n");
        assert_eq!(read("/conf/nanozfs/release"), "version=2\n");
        let root = if layout == "mbr" { "/dev/ufs/nanos2a" } else { "/dev/ufs/nanoB" };
        for fstab in ["/etc/fstab", "/conf/base/etc/fstab"] {
            assert_eq!(read(fstab), format!("{root} / ufs ro 1 1\n"));
        }
        let mounts = Host::mounts(&lab).unwrap();
        assert_eq!(mounts[0].source, if layout == "mbr" { root } else { "/dev/gpt/nanoB" });
    }
}

#[test]
fn what_the_slot_holds_already_is_spared() {
    for layout in ["mbr", "gpt"] {
        let (_scratch, lab) = machine(layout);
        let bytes = lab.image("new").unwrap();
        install_bytes(&lab, &bytes).unwrap();
        let again = install_bytes(&lab, &bytes).unwrap();
        // The head; the corrected fstab and the manifest moved what is behind them.
        assert!(again.written >= HEAD && again.spared > 0, "{again:?}");
        let same = Counts { written: HEAD, spared: bytes.len() as u64 - HEAD };
        let target = target(&lab, Role::SlotB).unwrap();
        let mut device = lab.drives().open(&target.whole).unwrap();
        device.write_at(&bytes, 0).unwrap();
        drop(device);
        lab.wait_for_devices(lab.uptime() + std::time::Duration::from_secs(1));
        assert_eq!(install_bytes(&lab, &bytes).unwrap(), same);
    }
}

#[test]
fn a_slot_in_use_is_refused_by_any_name() {
    for layout in ["mbr", "gpt"] {
        for by_label in ["by=label", "by=device"] {
            let (_scratch, lab) = machine(layout);
            lab.shutdown().unwrap();
            play::tell(&lab, &format!("start {by_label}")).unwrap();
            lab.power_on().unwrap();
            assert!(target(&lab, Role::SlotA).unwrap_err().contains("slot A is running"));
            // Whoever forgot which slot is running finds it mounted.
            let forgotten = OsDrive { running: None, ..drive(&lab) };
            let mounts = Host::mounts(&lab).unwrap();
            let refused = Target::find(&mesh(&lab), &mounts, &forgotten, "nano", Role::SlotA);
            assert!(refused.unwrap_err().contains("is mounted on /"));
            let b = target(&lab, Role::SlotB).unwrap();
            let name = if layout == "mbr" { "ufs/nanos2a" } else { "ufs/nanoB" };
            let source = Source::Ufs(name.to_owned());
            let at = Path::new("/cfg").to_path_buf();
            Host::mount(&lab, &MountRequest { source, at, read_only: true }).unwrap();
            assert!(target(&lab, Role::SlotB).unwrap_err().contains("is mounted on /cfg"));
            let mut stream = &[0; 512][..];
            let mut image =
                Image { stream: &mut stream, size: 512, sha256: [0; 32], release: MANIFEST };
            let failed = install(&lab, &b, &mut image, &mut |_| {}).unwrap_err();
            assert_eq!(failed.slot, Left::Untouched);
        }
    }
}

#[test]
fn what_cannot_be_right_is_refused_before_the_first_byte() {
    let (_scratch, lab) = machine("mbr");
    let before = lab.state().unwrap();
    let target = target(&lab, Role::SlotB).unwrap();
    for size in [0, 511, target.size + 512] {
        let mut never = std::io::repeat(0);
        let mut image = Image { stream: &mut never, size, sha256: [0; 32], release: MANIFEST };
        let failed = install(&lab, &target, &mut image, &mut |_| {}).unwrap_err();
        assert_eq!(failed.slot, Left::Untouched, "{failed}");
    }
    assert_eq!(lab.effects(), []);
    assert_eq!(lab.state().unwrap(), before);
}

#[test]
fn a_wrong_stream_leaves_nothing_that_starts() {
    for layout in ["mbr", "gpt"] {
        let (_scratch, lab) = machine(layout);
        let good = lab.image("new").unwrap();
        let size = good.len();
        let mut flipped = good.clone();
        flipped[size / 2] ^= 1;
        let longer = [&good[..], &[0]].concat();
        for (stream, why) in [
            (&good[..size / 2], "ends too early"),
            (&flipped, "not the one that its manifest describes"),
            (&longer, "longer than its manifest says"),
        ] {
            let target = target(&lab, Role::SlotB).unwrap();
            let (mut bytes, sha256) = (stream, Sha256::digest(&good).into());
            let mut image =
                Image { stream: &mut bytes, size: size as u64, sha256, release: MANIFEST };
            let failed = install(&lab, &target, &mut image, &mut |_| {}).unwrap_err();
            assert_eq!(failed.slot, Left::Invalid);
            assert!(failed.why.contains(why), "{failed}");
            lab.wait_for_devices(lab.uptime() + std::time::Duration::from_secs(1));
            assert_eq!(slot_b(&lab), State::default());
        }
        // It is written all the same the next time, although it has lost its labels.
        install_bytes(&lab, &good).unwrap();
        assert_eq!(start_b(&lab), Some(Role::SlotB));
    }
}

#[test]
fn an_image_of_something_else_leaves_nothing_that_starts() {
    for (layout, other) in [("mbr", "gpt"), ("gpt", "mbr")] {
        let (_scratch, lab) = machine(layout);
        let (_other, foreign) = machine(other);
        let failed = install_bytes(&lab, &foreign.image("new").unwrap()).unwrap_err();
        assert_eq!(failed.slot, Left::Invalid, "{failed}");
        play::tell(&lab, "image bare\nremove @bare /etc/fstab").unwrap();
        let failed = install_bytes(&lab, &lab.image("bare").unwrap()).unwrap_err();
        assert!(failed.why.contains("no fstab with a line for /"), "{failed}");
        assert_eq!((failed.slot, slot_b(&lab)), (Left::Invalid, State::default()));
    }
}

#[test]
fn progress_is_told_at_least_every_mebibyte() {
    let (_scratch, lab) = machine("gpt");
    let bytes = lab.image("new").unwrap();
    let size = bytes.len() as u64;
    let target = target(&lab, Role::SlotB).unwrap();
    let (mut stream, sha256) = (&bytes[..], Sha256::digest(&bytes).into());
    let mut image = Image { stream: &mut stream, size, sha256, release: MANIFEST };
    let mut told = Vec::new();
    install(&lab, &target, &mut image, &mut |progress| told.push(progress)).unwrap();
    for stage in [Stage::Writing, Stage::Verifying] {
        let done: Vec<u64> =
            told.iter().filter(|one| one.stage == stage).map(|one| one.done).collect();
        assert_eq!(done.last(), Some(&size));
        assert!(done.windows(2).all(|pair| pair[0] < pair[1] && pair[1] - pair[0] <= 1 << 20));
    }
    assert_eq!(told.last().unwrap().stage, Stage::Finishing);
}

/// What an installation without an accident leads to.
struct Usual {
    effects: usize,
    /// Everything but slot B.
    rest: State,
    /// Slot B as it was, as it is between the image and its correction, and in the end.
    old: State,
    new: State,
}

fn usual(layout: &str) -> (tempfile::TempDir, Lab, Vec<u8>, Usual) {
    let (scratch, lab) = machine(layout);
    let bytes = lab.image("new").unwrap();
    let copy = lab.copy_to(&scratch.path().join("usual")).unwrap();
    copy.begin(Plan::Nothing);
    let (rest, old) = (rest(&copy.disk_state().unwrap()), slot_b(&copy));
    install_bytes(&copy, &bytes).unwrap();
    let usual = Usual { effects: copy.effects().len(), rest, old, new: slot_b(&copy) };
    (scratch, lab, bytes, usual)
}

impl Usual {
    /// The other slot is not bootable, or the whole new image, or nothing was done to it; the rest
    /// is untouched.
    fn holds(&self, lab: &Lab, place: &str) {
        assert_eq!(self.rest.differences(&rest(&lab.disk_state().unwrap())), [""; 0], "{place}");
        let found = slot_b(lab);
        if found.lines.is_empty() || found == self.old {
            return;
        }
        // The corrections of a whole new image may be under way.
        for difference in self.new.differences(&found) {
            let corrected = ["fstab", "conf/nanozfs", ".nanozfs.tmp"];
            let corrected = corrected.iter().any(|name| difference.contains(name));
            assert!(corrected, "{place}: {difference}");
        }
    }
}

#[test]
fn a_power_cut_anywhere_leaves_the_running_slot_and_never_half_an_image() {
    let mut cuts = 0;
    for layout in ["mbr", "gpt"] {
        let (scratch, lab, bytes, usual) = usual(layout);
        for number in 1..=usual.effects as u64 + 1 {
            for (cut, seed) in Cut::OF_DRIVES
                .into_iter()
                .map(|cut| (cut, 0))
                .chain((1..4).map(|seed| (Cut::Reordered, seed)))
            {
                let place = format!("{layout}: {} before effect {number}, {seed}", cut.name());
                let copy = lab.copy_to(&scratch.path().join("cut")).unwrap();
                copy.lock().machine.seed = seed;
                copy.begin(Plan::CutAt(number));
                let end = catch_unwind(AssertUnwindSafe(|| install_bytes(&copy, &bytes)));
                match end {
                    Err(payload) => assert!(payload.is::<PowerCut>(), "{place}"),
                    Ok(done) => assert!(done.is_ok() && number > usual.effects as u64, "{place}"),
                }
                copy.power_cut(cut).unwrap();
                usual.holds(&copy, &place);
                // It starts what ran before, and the same again ends well.
                copy.power_on().unwrap();
                assert_eq!(drive(&copy).running, Some(Role::SlotA), "{place}");
                copy.begin(Plan::Nothing);
                if seed == 0 {
                    install_bytes(&copy, &bytes).unwrap_or_else(|why| panic!("{place}: {why}"));
                    assert_eq!(usual.new.differences(&slot_b(&copy)), [""; 0], "{place}");
                }
                drop(copy);
                std::fs::remove_dir_all(scratch.path().join("cut")).unwrap();
                cuts += 1;
            }
        }
    }
    println!("slot writing: {cuts} power cuts");
}

#[test]
fn an_error_anywhere_leaves_the_running_slot_and_is_said() {
    let mut errors = 0;
    for layout in ["mbr", "gpt"] {
        let (scratch, lab, bytes, usual) = usual(layout);
        for number in 1..=usual.effects as u64 {
            for errno in [libc::EIO, libc::ENOSPC, libc::EBUSY, libc::ENXIO] {
                let copy = lab.copy_to(&scratch.path().join("fail")).unwrap();
                copy.begin(Plan::FailAt(number, errno));
                let done = install_bytes(&copy, &bytes);
                let effect = copy.effects()[number as usize - 1].to_string();
                let place = format!("{layout}: {errno} at effect {number}, {effect}");
                match done {
                    Ok(_) => assert_eq!(slot_b(&copy), usual.new, "{place}"),
                    Err(failed) => {
                        let left = match failed.slot {
                            Left::Untouched => usual.old.clone(),
                            Left::Invalid => State::default(),
                            // Zeroing it failed, or it is still mounted.
                            Left::Unknown => slot_b(&copy),
                        };
                        assert_eq!(slot_b(&copy), left, "{place}: {failed}");
                    }
                }
                usual.holds(&copy, &place);
                copy.power_cut(Cut::Kept).unwrap();
                copy.power_on().unwrap();
                assert_eq!(drive(&copy).running, Some(Role::SlotA), "{place}");
                install_bytes(&copy, &bytes).unwrap_or_else(|why| panic!("{place}: {why}"));
                assert_eq!(usual.new.differences(&slot_b(&copy)), [""; 0], "{place}");
                drop(copy);
                std::fs::remove_dir_all(scratch.path().join("fail")).unwrap();
                errors += 1;
            }
        }
    }
    println!("slot writing: {errors} errors");
}

#[test]
fn flash_that_lies_or_cannot_be_read_is_noticed() {
    let (scratch, lab, bytes, usual) = usual("mbr");
    for word in ["drops-write", "fails-read"] {
        let mut survived = 0;
        for number in 0..12 {
            let copy = lab.copy_to(&scratch.path().join("lie")).unwrap();
            play::tell(&copy, &format!("fault disk ada0 {word} {number}")).unwrap();
            let place = format!("{word} {number}");
            match install_bytes(&copy, &bytes) {
                // Beyond the last one; or a read of what is written anew.
                Ok(_) => {
                    assert_eq!(usual.new.differences(&slot_b(&copy)), [""; 0], "{place}");
                    survived += 1;
                }
                Err(failed) if failed.slot == Left::Unknown => {
                    let told = ["read its head", "does not keep what is written"];
                    assert!(told.iter().any(|told| failed.why.contains(told)), "{place}: {failed}");
                }
                Err(failed) => {
                    assert_eq!((failed.slot, slot_b(&copy)), (Left::Invalid, State::default()));
                }
            }
            drop(copy);
            std::fs::remove_dir_all(scratch.path().join("lie")).unwrap();
        }
        assert!(survived > 0 && survived < 12, "{word}: {survived}");
    }
}

#[test]
fn a_change_that_did_not_take_is_an_error_that_names_it() {
    let (_scratch, lab) = machine("gpt");
    let drive = drive(&lab);
    let now = Selection::read(&lab, &mesh(&lab), &drive).unwrap();
    // Whoever took the drive for another one is told so.
    let other = Selection { table_ok: false, ..now };
    let action = [SelectAction::Set(Role::SlotB, crate::host::Flag::BootOnce)];
    let error = select::perform(&lab, &drive, other, &action).unwrap_err().to_string();
    assert!(error.starts_with("gpart set -a bootonce -i 3 ada0: then there was slot A"), "{error}");
}

//! The model's snapshots behave as OpenZFS's do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::host::{Attributes, Files, Host, Kind, MountRequest, Snapshots, Source};
use crate::lab::{Cut, Lab, Plan, play};

/// The common appliance with its pool imported.
fn machine() -> (tempfile::TempDir, Lab) {
    let scratch = tempfile::tempdir().unwrap();
    let lab = play::standard(&scratch.path().join("lab")).unwrap();
    play::with_pool(&lab);
    (scratch, lab)
}

fn mount(lab: &Lab) {
    let source = Source::Dataset("tank/nano/var".to_owned());
    Host::mount(lab, &MountRequest { source, at: "/var".into(), read_only: false }).unwrap();
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn noauto() -> [(String, String); 1] {
    [("canmount".to_owned(), "noauto".to_owned())]
}

fn local(lab: &Lab, dataset: &str) -> Vec<(String, String)> {
    let all = lab.properties("tank").unwrap().into_iter();
    let own =
        all.filter(|one| one.dataset == dataset && one.source != crate::format::zfs::Source::None);
    own.map(|one| (one.name, one.value.unwrap())).collect()
}

fn origin(lab: &Lab, dataset: &str) -> Option<String> {
    let all = lab.properties("tank").unwrap();
    all.into_iter().find(|one| one.dataset == dataset && one.name == "origin")?.value
}

#[test]
fn a_snapshot_keeps_the_content_and_brings_it_to_disk() {
    let (_scratch, lab) = machine();
    mount(&lab);
    lab.files().create(Path::new("/var/new"), b"unsynced").unwrap();
    lab.take(&names(&["tank/nano/var@x", "tank/nano/cfg@x"])).unwrap();
    let content = lab.content("tank/nano/var@x").unwrap();
    assert_eq!(content, lab.content("tank/nano/var").unwrap());
    lab.files().create(Path::new("/var/later"), b"").unwrap();
    assert_ne!(content, lab.content("tank/nano/var").unwrap());
    lab.power_cut(Cut::Lost).unwrap();
    play::with_pool(&lab);
    mount(&lab);
    assert_eq!(content, lab.content("tank/nano/var@x").unwrap());
    assert_eq!(lab.read(Path::new("/var/new"), 100).unwrap(), b"unsynced");
    assert!(lab.stat(Path::new("/var/later")).is_err());
}

#[test]
fn snapshots_are_taken_all_or_none() {
    let (_scratch, lab) = machine();
    lab.take(&names(&["tank/nano/var@x"])).unwrap();
    let error = lab.take(&names(&["tank/nano/cfg@x", "tank/nano/var@x"])).unwrap_err();
    assert_eq!(error.why, "cannot create snapshot 'tank/nano/var@x': dataset already exists");
    let list = lab.snapshots().list("tank").unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].full_name(), "tank/nano/var@x");
    let error = lab.take(&names(&["tank/nano/cfg@x", "tank/none@x"])).unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
}

#[test]
fn a_renamed_dataset_takes_along_what_is_below_it_and_stays_mounted() {
    let (_scratch, lab) = machine();
    mount(&lab);
    lab.take(&names(&["tank/nano/var/log@x"])).unwrap();
    lab.clone_to("tank/nano/var/log@x", "tank/copy", &noauto()).unwrap();
    Snapshots::rename(&lab, "tank/nano/var", "tank/nano/old").unwrap();
    assert_eq!(lab.snapshots().list("tank").unwrap()[0].full_name(), "tank/nano/old/log@x");
    assert_eq!(origin(&lab, "tank/copy").as_deref(), Some("tank/nano/old/log@x"));
    let mounts = lab.mounts().unwrap();
    assert_eq!(mounts.last().unwrap().source, "tank/nano/old");
    lab.files().create(Path::new("/var/file"), b"").unwrap();
    lab.unmount(Path::new("/var")).unwrap();
    lab.set_property("tank/nano/old/log", "jailed", "on").unwrap();
    let error = Snapshots::rename(&lab, "tank/nano/old", "tank/nano/other").unwrap_err();
    assert!(error.why.contains("is used in a non-global zone"), "{error}");
    lab.set_property("tank/nano/old/log", "jailed", "off").unwrap();
    for (from, to, why) in [
        ("tank/none", "tank/x", "dataset does not exist"),
        ("tank/nano/old", "tank/nano/cfg", "dataset already exists"),
        ("tank/nano/old", "tank/none/x", "parent does not exist"),
        ("tank/nano/old", "tank/nano/old/x", "cannot be a descendant"),
    ] {
        let error = Snapshots::rename(&lab, from, to).unwrap_err();
        assert!(error.why.contains(why), "{error}");
    }
}

#[test]
fn a_clone_inherits_nothing_from_its_origin_and_its_mount_point_from_its_parent() {
    let (_scratch, lab) = machine();
    lab.take(&names(&["tank/nano/var/log@x"])).unwrap();
    lab.clone_to("tank/nano/var/log@x", "tank/nano/var/log2", &[]).unwrap();
    assert_eq!(local(&lab, "tank/nano/var/log2"), []);
    let list = lab.datasets("tank/nano/var/log2").unwrap();
    assert_eq!(list[0].can_mount, crate::format::zfs::CanMount::On);
    let path = crate::format::zfs::Mountpoint::Path("/var/log2".to_owned());
    assert_eq!(list[0].mountpoint, path);
    assert_eq!(
        lab.content("tank/nano/var/log2").unwrap(),
        lab.content("tank/nano/var/log").unwrap()
    );
    let error = lab.clone_to("tank/nano/var@none", "tank/y", &[]).unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
}

#[test]
fn a_power_cut_between_the_two_transactions_of_a_clone_leaves_it_bare() {
    let (_scratch, lab) = machine();
    lab.take(&names(&["tank/nano/var@x"])).unwrap();
    lab.begin(Plan::CutAt(2));
    let clone = || lab.clone_to("tank/nano/var@x", "tank/copy", &noauto());
    assert!(catch_unwind(AssertUnwindSafe(clone)).is_err());
    lab.power_cut(Cut::Lost).unwrap();
    lab.begin(Plan::Nothing);
    play::with_pool(&lab);
    assert_eq!(local(&lab, "tank/copy"), []);
    lab.destroy("tank/copy").unwrap();
    // An error takes it back.
    lab.begin(Plan::FailAt(2, libc::ENOSPC));
    lab.clone_to("tank/nano/var@x", "tank/copy", &noauto()).unwrap_err();
    assert_eq!(origin(&lab, "tank/copy"), None);
    assert!(!lab.lock().machine.has("tank/copy"));
}

#[test]
fn promoting_exchanges_the_roles_and_moves_the_older_snapshots() {
    let (_scratch, lab) = machine();
    let all = ["tank/nano/var@a", "tank/nano/var@b", "tank/nano/var@c"];
    all.iter().for_each(|name| lab.take(&names(&[name])).unwrap());
    lab.clone_to("tank/nano/var@a", "tank/other", &[]).unwrap();
    lab.clone_to("tank/nano/var@b", "tank/copy", &[]).unwrap();
    lab.promote("tank/copy").unwrap();
    let list: Vec<String> =
        lab.snapshots().list("tank").unwrap().iter().map(|one| one.full_name()).collect();
    assert_eq!(list, ["tank/copy@a", "tank/copy@b", "tank/nano/var@c"]);
    assert_eq!(origin(&lab, "tank/copy"), None);
    assert_eq!(origin(&lab, "tank/nano/var").as_deref(), Some("tank/copy@b"));
    assert_eq!(origin(&lab, "tank/other").as_deref(), Some("tank/copy@a"));
    let error = lab.promote("tank/copy").unwrap_err();
    assert_eq!(error.why, "cannot promote 'tank/copy': not a cloned filesystem");
    lab.take(&names(&["tank/nano/var@a"])).unwrap();
    let error = lab.promote("tank/nano/var").unwrap_err();
    assert!(error.why.contains("conflicting snapshot 'a' from parent 'tank/copy@b'"), "{error}");
}

#[test]
fn what_clones_depend_on_is_not_destroyed() {
    let (_scratch, lab) = machine();
    mount(&lab);
    lab.take(&names(&["tank/nano/var@x", "tank/nano/cfg@x"])).unwrap();
    lab.clone_to("tank/nano/cfg@x", "tank/copy", &[]).unwrap();
    for name in ["tank/nano/cfg", "tank/nano/cfg@x", "tank/nano"] {
        let error = lab.destroy(name).unwrap_err();
        assert!(error.why.contains("has dependent clones"), "{error}");
    }
    lab.lock().machine.in_use.insert("/var".into());
    assert_eq!(lab.destroy("tank/nano/var").unwrap_err().kind, Kind::Busy);
    lab.lock().machine.in_use.clear();
    lab.destroy("tank/copy").unwrap();
    lab.destroy("tank/nano/cfg@x").unwrap();
    lab.destroy("tank/nano").unwrap();
    assert_eq!(lab.datasets("tank").unwrap().len(), 1);
    assert!(lab.destroy("tank/nano@x").is_err());
}

#[test]
fn in_a_full_pool_nothing_is_made_but_names_and_properties_change() {
    let (_scratch, lab) = machine();
    lab.take(&names(&["tank/nano/cfg@x"])).unwrap();
    lab.snapshots().create("tank/room", &[("refreservation".to_owned(), "9".to_owned())]).unwrap();
    let full = crate::lab::statement::Statement::Property {
        dataset: "tank".to_owned(),
        name: "available".to_owned(),
        value: "262150".to_owned(),
    };
    lab.lock().build(&full).unwrap();
    let error = lab.clone_to("tank/nano/cfg@x", "tank/copy", &[]).unwrap_err();
    assert_eq!(error.why, "cannot create 'tank/copy': out of space");
    Snapshots::rename(&lab, "tank/nano/cfg", "tank/cfg").unwrap();
    lab.set_property("tank/room", "refreservation", "none").unwrap();
    let much = [("reservation".to_owned(), "300000".to_owned())];
    let error = lab.clone_to("tank/cfg@x", "tank/copy", &much).unwrap_err();
    assert_eq!(error.why, "cannot create 'tank/copy': out of space");
    lab.clone_to("tank/cfg@x", "tank/copy", &[]).unwrap();
}

#[test]
fn stories_say_what_is_there_and_what_is_set() {
    let (_scratch, lab) = machine();
    let mut player = play::Player::new(&lab);
    for (text, good) in [
        ("dataset tank/nano/var/mail canmount=on mountpoint=inherit", true),
        ("property tank/nano/var/mail org.nanozfs:rollback off", true),
        ("snapshot tank/nano/var@daily tank/nano/var/mail@daily", true),
        ("expect dataset tank/nano/var/mail", true),
        ("expect dataset tank/nano/none", false),
        ("expect snapshot tank/nano/var/mail@daily", true),
        ("expect snapshot tank/nano/cfg@daily", false),
        ("expect no-dataset tank/nano/none", true),
        ("expect no-dataset tank/nano/cfg@daily", true),
        ("expect no-dataset tank/nano/var", false),
        ("expect property tank/nano/var/mail org.nanozfs:rollback off", true),
        ("expect property tank/nano/var/mail mountpoint /var/mail", false),
        ("expect property tank/nano/var mountpoint /var", true),
        ("property tank/nano/none a b", false),
    ] {
        let (_, statement) = crate::lab::story::parse(text).unwrap().remove(0);
        assert_eq!(player.perform(&statement).is_ok(), good, "{text}");
    }
}

#[test]
fn the_state_names_origins_and_the_content_of_snapshots() {
    let (_scratch, lab) = machine();
    mount(&lab);
    lab.take(&names(&["tank/nano/var@x"])).unwrap();
    let state = lab.state().unwrap();
    let line = &state.lines["snapshot tank tank/nano/var@x"];
    let attributes = lab.stat(Path::new("/var/db/app/data")).unwrap().attributes;
    let attributes = Attributes { uid: 80, ..attributes };
    lab.set_attributes(Path::new("/var/db/app/data"), &attributes).unwrap();
    lab.take(&names(&["tank/nano/var@y"])).unwrap();
    lab.clone_to("tank/nano/var@x", "tank/copy", &noauto()).unwrap();
    let later = lab.state().unwrap();
    assert_eq!(&later.lines["snapshot tank tank/nano/var@x"], line);
    assert_ne!(&later.lines["snapshot tank tank/nano/var@y"], line);
    assert_eq!(later.lines["dataset tank tank/copy"], "canmount=noauto origin=tank/nano/var@x");
    assert!(later.lines.contains_key("pools/tank/@copy db/app/data"));
}

#[test]
fn a_snapshot_goes_with_those_of_its_name_below_and_counts_what_only_it_has() {
    let (_scratch, lab) = machine();
    play::tell(&lab, "file tank/nano/var /log/x \"1234567\"").unwrap();
    lab.take(&names(&["tank/nano/var@x", "tank/nano/cfg@x"])).unwrap();
    let used = |lab: &Lab| -> Vec<(String, u64)> {
        let all = lab.snapshots().list("tank").unwrap();
        all.into_iter().map(|one| (one.full_name(), one.used)).collect()
    };
    assert!(used(&lab).iter().all(|(_, used)| *used == 0), "{:?}", used(&lab));
    play::tell(&lab, "remove tank/nano/var /log/x").unwrap();
    assert!(used(&lab).contains(&("tank/nano/var@x".to_owned(), 7)), "{:?}", used(&lab));
    lab.take(&names(&["tank/nano/var/log@x"])).unwrap();
    lab.destroy("tank/nano/var@x").unwrap();
    assert_eq!(used(&lab), [("tank/nano/cfg@x".to_owned(), 0)]);
}

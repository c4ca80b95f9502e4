//! The pure part: which transactions there are, and in which order.

mod kept;
mod recorded;

use super::state::parent;
use super::*;
use crate::format::zfs::{Property, Snapshot, Source};

const ROOT: &str = "tank/nano";

pub(super) fn snapshot(id: &str) -> Goal {
    Goal::Snapshot { id: id.to_owned() }
}

pub(super) fn restore(id: &str, aside: &str) -> Goal {
    Goal::Restore { id: id.to_owned(), aside: aside.to_owned() }
}

pub(super) fn put_back(id: &str, aside: &str) -> Goal {
    Goal::PutBack { id: id.to_owned(), aside: aside.to_owned() }
}

pub(super) fn prune(id: &str) -> Goal {
    Goal::Prune { id: id.to_owned(), needed: Vec::new() }
}

/// A state from lines `NAME PROPERTY=VALUE...`; a property with a `!` cannot be set.
fn state(lines: &[&str]) -> State {
    let mut all = Vec::new();
    for line in lines {
        let mut words = line.split(' ');
        let dataset = words.next().unwrap().to_owned();
        let mut add = |name: &str, value: &str, source| {
            let (dataset, name) = (dataset.clone(), name.to_owned());
            all.push(Property { dataset, name, value: Some(value.to_owned()), source });
        };
        add("type", "filesystem", Source::None);
        add("available", "1000000000", Source::None);
        for (name, value) in words.map(|word| word.split_once('=').unwrap()) {
            match name.strip_prefix('!') {
                Some(name) => add(name, value, Source::None),
                None => add(name, value, Source::Local),
            }
        }
    }
    State::of(ROOT, all, Vec::new())
}

fn layout() -> State {
    state(&[
        "tank/nano canmount=off",
        "tank/nano/cfg canmount=noauto mountpoint=/cfg",
        "tank/nano/jails canmount=noauto",
        "tank/nano/var canmount=noauto mountpoint=/var",
        "tank/nano/var/db/app quota=5 reservation=7",
        "tank/nano/var/db canmount=on",
        "tank/nano/var/log canmount=noauto mountpoint=/var/log",
        "tank/nano/var/mail org.nanozfs:rollback=off canmount=noauto",
        "tank/nano/var/mail/old canmount=noauto",
    ])
}

/// Goes on until the goal is reached; the steps as commands.
fn reach(state: &mut State, goal: &Goal) -> Vec<String> {
    assert_eq!(refusal(state, goal), None);
    let mut steps = Vec::new();
    while let Some(step) = next(state, goal) {
        steps.push(step.to_string());
        state.apply(&step);
        assert!(steps.len() < 200, "{steps:#?}");
    }
    steps
}

/// The same, and what was restored is promoted.
fn reach_and_promote(state: &mut State, goal: &Goal) -> Vec<String> {
    let mut steps = reach(state, goal);
    steps.extend(reach(state, &Goal::Promote));
    steps
}

fn names(state: &State) -> Vec<&str> {
    state.datasets.iter().map(|one| one.name.as_str()).collect()
}

#[test]
fn a_snapshot_set_leaves_out_what_keeps_its_data() {
    let mut state = layout();
    let steps = reach(&mut state, &snapshot("A"));
    assert_eq!(
        steps,
        [
            "zfs create -u -o 'canmount=off' -o 'mountpoint=none' -o 'refreservation=16777216' \
             tank/nano/kept",
            "zfs snapshot tank/nano/cfg@nanozfs-A tank/nano/var@nanozfs-A \
             tank/nano/var/db@nanozfs-A tank/nano/var/db/app@nanozfs-A tank/nano/var/log@nanozfs-A",
        ]
    );
    assert_eq!(reach(&mut state, &snapshot("A")), [""; 0]);
}

#[test]
fn snapshots_need_room_and_something_to_be_taken_of() {
    let mut full = layout();
    full.datasets[0].available = (64 << 20) - 1;
    let why = refusal(&full, &snapshot("A")).unwrap();
    assert_eq!(why, "tank/nano: 63 MB free: no room for snapshots");
    full.datasets[0].available = 100 << 20;
    assert_eq!(refusal(&full, &snapshot("A")), None);
    full.datasets[0].used = 10_000 << 20;
    assert!(refusal(&full, &snapshot("A")).is_some());
    let empty = state(&["tank/nano"]);
    assert_eq!(refusal(&empty, &snapshot("A")).unwrap(), "no data to be kept at tank/nano");
    let mut partly = layout();
    let (dataset, name) = ("tank/nano/cfg".to_owned(), "nanozfs-A".to_owned());
    partly.snapshots.push(Snapshot { dataset, name, taken: 0, used: 0 });
    assert_eq!(refusal(&partly, &snapshot("A")).unwrap(), "only 1 of 5 datasets have nanozfs-A");
}

#[test]
fn a_restore_is_renames_and_clones_and_then_promotions_parents_first() {
    let mut state = layout();
    reach(&mut state, &snapshot("A"));
    let steps = reach(&mut state, &restore("A", "B"));
    assert_eq!(stayed(&state, "B"), [""; 0]);
    let promotions = reach(&mut state, &Goal::Promote);
    let expected = [
        "zfs rename -u tank/nano/cfg tank/nano/kept/B-cfg",
        "zfs clone -o 'mountpoint=/cfg' -o 'canmount=noauto' tank/nano/kept/B-cfg@nanozfs-A \
         tank/nano/cfg",
        "zfs set 'org.nanozfs:was-canmount=on' tank/nano/var/db",
        "zfs set 'canmount=noauto' tank/nano/var/db",
        "zfs set 'org.nanozfs:was-canmount=on' tank/nano/var/db/app",
        "zfs set 'canmount=noauto' tank/nano/var/db/app",
        "zfs set 'org.nanozfs:was-reservation=7' tank/nano/var/db/app",
        "zfs set 'reservation=none' tank/nano/var/db/app",
        "zfs rename -u tank/nano/var tank/nano/kept/B-var",
        "zfs clone -o 'mountpoint=/var' -o 'canmount=noauto' tank/nano/kept/B-var@nanozfs-A \
         tank/nano/var",
        "zfs clone -o 'canmount=noauto' tank/nano/kept/B-var/db@nanozfs-A tank/nano/var/db",
        "zfs set 'canmount=on' tank/nano/var/db",
        "zfs clone -o 'quota=5' -o 'reservation=7' -o 'canmount=noauto' \
         tank/nano/kept/B-var/db/app@nanozfs-A tank/nano/var/db/app",
        "zfs set 'canmount=on' tank/nano/var/db/app",
        "zfs clone -o 'mountpoint=/var/log' -o 'canmount=noauto' \
         tank/nano/kept/B-var/log@nanozfs-A tank/nano/var/log",
        "zfs rename -u tank/nano/kept/B-var/mail tank/nano/var/mail",
    ];
    assert_eq!(steps, expected);
    let expected = ["cfg", "var", "var/db", "var/db/app", "var/log"];
    assert_eq!(promotions, expected.map(|name| format!("zfs promote tank/nano/{name}")));
    assert_eq!(stayed(&state, "B"), [""; 0]);
}

#[test]
fn whatever_can_be_mounted_is_never_among_what_is_kept() {
    let mut state = layout();
    reach(&mut state, &snapshot("A"));
    let promote = || Goal::Promote;
    for goal in [restore("A", "B"), promote(), put_back("B", "C"), promote(), restore("A", "D")] {
        while let Some(step) = next(&state, &goal) {
            state.apply(&step);
            let kept = state.below("tank/nano/kept").skip(1);
            let out = |name: &str| name.contains("/mail");
            for one in kept.filter(|one| !out(&one.name)) {
                assert_ne!(one.local("canmount").unwrap_or("on"), "on", "{} {step}", one.name);
                assert!(matches!(one.local("reservation"), None | Some("none")), "{step}");
            }
        }
    }
}

#[test]
fn a_put_back_leaves_things_as_before_the_restore_from_wherever_that_stopped() {
    let mut before = layout();
    reach(&mut before, &snapshot("A"));
    let plain = |state: &State| {
        let mut all: Vec<(String, Vec<(String, String)>)> = Vec::new();
        for one in state.datasets.iter().filter(|one| !one.name.contains("kept")) {
            let mut local = one.local.clone();
            // What was the default may be set now.
            local
                .retain(|(name, value)| !value.is_empty() && (name != "canmount" || value != "on"));
            local.sort();
            all.push((one.name.clone(), local));
        }
        all
    };
    let mut restoring = before.clone();
    let mut stops = 0;
    loop {
        let mut state = restoring.clone();
        if stops > 0 && refusal(&state, &put_back("B", "C")).is_none() {
            reach_and_promote(&mut state, &put_back("B", "C"));
            assert_eq!(plain(&state), plain(&before), "after {stops} steps");
            assert_eq!(
                state.below("tank/nano/var").filter_map(|one| one.origin.clone()).count(),
                0
            );
            assert!(state.has_snapshot("tank/nano/var/log", "nanozfs-A"), "after {stops} steps");
        }
        let step = next(&restoring, &restore("A", "B"));
        let Some(step) = step.or_else(|| next(&restoring, &Goal::Promote)) else { break };
        restoring.apply(&step);
        stops += 1;
    }
    assert_eq!(stops, 21);
}

#[test]
fn datasets_younger_than_the_snapshot_stay_and_those_that_keep_their_data_do_not() {
    let mut state = layout();
    reach(&mut state, &snapshot("A"));
    for (name, local) in [
        ("tank/nano/var/www", vec![("mountpoint", "/usr/www")]),
        ("tank/nano/var/www/box", vec![("org.nanozfs:rollback", "off")]),
        ("tank/nano/var/young", vec![]),
    ] {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let properties = local.into_iter().map(own).collect();
        state.apply(&Step::Create { dataset: name.to_owned(), properties });
    }
    reach(&mut state, &restore("A", "B"));
    assert_eq!(
        stayed(&state, "B"),
        ["tank/nano/kept/B-var/www", "tank/nano/kept/B-var/young"]
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    // Its parent is there for it, but has no files.
    let www = state.get("tank/nano/var/www").unwrap();
    assert_eq!((www.local("canmount"), www.local("mountpoint")), (Some("off"), Some("/usr/www")));
    assert!(state.has("tank/nano/var/www/box"));
    reach(&mut state, &put_back("B", "C"));
    assert!(state.has("tank/nano/var/www/box") && state.has("tank/nano/var/young"));
    let www = state.get("tank/nano/var/www").unwrap();
    assert_eq!(www.local("canmount"), Some("on"));
}

#[test]
fn volumes_and_parts_without_the_snapshot_are_none_of_its_business() {
    let mut state = state(&[
        "tank/nano",
        "tank/nano/cfg canmount=noauto org.nanozfs:rollback=off",
        "tank/nano/var canmount=noauto",
        "tank/nano/var/disk !type=volume",
    ]);
    assert_eq!(members(&state), ["tank/nano/var"]);
    reach(&mut state, &snapshot("A"));
    reach(&mut state, &restore("A", "B"));
    assert!(state.has("tank/nano/var/disk") && !state.has("tank/nano/kept/B-cfg"));
    let none = "tank/nano: no snapshots nanozfs-X";
    assert_eq!(refusal(&state, &restore("X", "Y")).unwrap(), none);
    assert_eq!(refusal(&state, &put_back("X", "Y")).unwrap(), "tank/nano: nothing is kept as X");
}

#[test]
fn a_clone_that_a_power_cut_left_bare_is_completed_before_it_is_promoted() {
    let mut state = layout();
    reach(&mut state, &snapshot("A"));
    while !state.has("tank/nano/kept/B-var") {
        let step = next(&state, &restore("A", "B")).unwrap();
        state.apply(&step);
    }
    let Some(Step::Clone { snapshot, dataset, .. }) = next(&state, &restore("A", "B")) else {
        panic!("no clone");
    };
    state.apply(&Step::Clone { snapshot, dataset, properties: Vec::new() });
    let steps = reach_and_promote(&mut state, &restore("A", "B"));
    let completed = [
        "zfs set 'canmount=noauto' tank/nano/var",
        "zfs set 'mountpoint=/var' tank/nano/var",
        "zfs clone ",
    ];
    assert!(steps.iter().zip(completed).all(|(step, began)| step.starts_with(began)), "{steps:?}");
    assert!(steps.contains(&"zfs promote tank/nano/var".to_owned()), "{steps:?}");
}

#[test]
fn in_a_full_pool_the_reserved_room_is_used_and_nothing_is_reserved() {
    let mut state = layout();
    reach(&mut state, &snapshot("A"));
    state.datasets[0].available = 20;
    let steps = reach(&mut state, &restore("A", "B"));
    assert_eq!(steps[1], "zfs set 'refreservation=none' tank/nano/kept");
    assert_eq!(state.get("tank/nano/var/db/app").unwrap().local("reservation"), None);
    // It is not lost.
    state.datasets[0].available = 1 << 30;
    let steps = reach(&mut state, &put_back("B", "C"));
    assert!(steps.contains(&"zfs set 'reservation=7' tank/nano/var/db/app".to_owned()));
    let steps = reach(&mut state, &snapshot("D"));
    assert_eq!(steps[0], "zfs set 'refreservation=16777216' tank/nano/kept");
}

#[test]
fn a_dataset_of_a_jail_is_refused_from_the_start() {
    let mut state = layout();
    reach(&mut state, &snapshot("A"));
    let (dataset, name) = ("tank/nano/var/log".to_owned(), "jailed".to_owned());
    state.apply(&Step::Set { dataset, name, value: "on".to_owned() });
    for goal in [snapshot("B"), restore("A", "B")] {
        let why = refusal(&state, &goal).unwrap();
        assert_eq!(why, "tank/nano/var/log has jailed=on: ZFS does not rename tank/nano/var");
    }
}

#[test]
fn a_restored_encrypted_dataset_is_not_put_back() {
    let mut state = state(&[
        "tank/nano",
        "tank/nano/cfg canmount=noauto",
        "tank/nano/var canmount=noauto keylocation=prompt !encryptionroot=tank/nano/var",
    ]);
    reach(&mut state, &snapshot("A"));
    let steps = reach(&mut state, &restore("A", "B"));
    assert!(steps.iter().all(|step| !step.contains("keylocation")), "{steps:?}");
    let kept = state.datasets.iter_mut().find(|one| one.name == "tank/nano/kept/B-var").unwrap();
    kept.encryption_root = Some("tank/nano/var".to_owned());
    let why = refusal(&state, &put_back("B", "C")).unwrap();
    assert!(why.starts_with("tank/nano/kept/B-var is encrypted with the key of"), "{why}");
}

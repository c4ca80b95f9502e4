//! What is foreseen, against what a real ZFS made of the same commands.

use super::*;

const UPGRADE: &str = "20261121T101500Z";
const ASIDE: &str = "20261122T080000Z";

/// What OpenZFS 2.1.9 told of the layout at some time of the recording.
fn recorded(get: &str, list: Option<&str>) -> State {
    use crate::format::zfs::{parse_get, parse_snapshots};
    let text = |name: &str| {
        let root = env!("CARGO_MANIFEST_DIR");
        std::fs::read_to_string(format!("{root}/tests/fixtures/freebsd-13.2/upgrade/{name}.out"))
            .unwrap()
    };
    let snapshots = list.map(|name| parse_snapshots(&text(name)).unwrap());
    State::of(ROOT, parse_get(&text(get)).unwrap(), snapshots.unwrap_or_default())
}

#[test]
fn what_is_foreseen_is_what_freebsd_13_2_has_done() {
    let mut foreseen = recorded("get-before", Some("list-before"));
    // The snapshots are there; room was not reserved.
    let steps = reach(&mut foreseen, &snapshot(UPGRADE));
    assert_eq!(steps, ["zfs set 'refreservation=16777216' tank/nano/kept"]);
    reach_and_promote(&mut foreseen, &restore(UPGRADE, ASIDE));
    let mut real = recorded("get-after", Some("list-after"));
    let plain = |state: &State| {
        let mut all = Vec::new();
        // By hand only var was restored, and one more dataset was made.
        for one in state.datasets.iter().filter(|one| one.name.contains("var")) {
            let mut local = one.local.clone();
            local.retain(|(name, value)| {
                !value.is_empty() && value != "0" && value != "none" && name != "reservation"
            });
            local.sort();
            all.push((one.name.clone(), one.origin.clone(), one.volume, local));
        }
        all.retain(|one| !one.0.ends_with("/young"));
        all
    };
    assert_eq!(plain(&foreseen), plain(&real));
    let names = |state: &State| {
        let all = state.snapshots.iter().filter(|one| one.dataset.contains("var"));
        let mut all: Vec<String> = all.map(|one| one.full_name()).collect();
        all.retain(|name| !name.ends_with("daily-2"));
        all.sort();
        all
    };
    assert_eq!(names(&foreseen), names(&real));

    // And nothing is left to do there.
    real.snapshots.retain(|one| one.dataset != "tank/nano/cfg");
    assert_eq!(refusal(&real, &restore(UPGRADE, ASIDE)), None);
    assert_eq!(next(&real, &restore(UPGRADE, ASIDE)), None);
    assert_eq!(stayed(&real, ASIDE), [format!("tank/nano/kept/{ASIDE}-var/young")]);
    let back = recorded("get-put-back", None);
    let left: Vec<String> = reach(&mut back.clone(), &put_back(ASIDE, "20261122T081500Z"));
    // This was not done by hand.
    assert_eq!(
        left,
        [
            "zfs set 'reservation=4194304' tank/nano/var/db/app",
            "zfs set 'org.nanozfs:was-reservation=' tank/nano/var/db/app",
            "zfs set 'canmount=on' tank/nano/var/young",
            "zfs set 'org.nanozfs:was-canmount=' tank/nano/var/young"
        ]
    );
}

#[test]
fn the_key_of_an_encrypted_dataset_is_seen_in_what_freebsd_13_2_tells() {
    let mut state = recorded("enc-get", None);
    state.root = "tank/enc".to_owned();
    let log = state.get("tank/enc/var/log").unwrap();
    assert_eq!(log.encryption_root.as_deref(), Some("tank/enc/var"));
    assert_eq!(state.get("tank/enc").unwrap().encryption_root, None);
    reach(&mut state, &snapshot("A"));
    let steps = reach(&mut state, &restore("A", "B"));
    assert!(steps.iter().all(|step| !step.contains("keylocation")), "{steps:?}");
}

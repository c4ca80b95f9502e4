//! What a boot says when a part of the way back fails that the data do not need.

use crate::lab::play::{self, End};
use crate::lab::{Cut, Lab, Plan};

/// A trial that a power cut ends, with data of its own.
const TRIAL: &str = r#"
use standard os-drive ada0 serial=OS-1 layout=gpt label=nano
config require_signature no
image new
release gate-2.1.nzr image=new version=2.1
boot
run nanozfs upgrade gate-2.1.nzr
shutdown
boot
expect running B
file tank/nano/var /db/app/data "converted by 2.1\n"
"#;

/// The data of before, mounted, by a boot that has nothing to go back from.
const NEXT: &str = r#"
expect mode normal
expect file /var/db/app/data "a year of measurements\n"
shutdown
boot
expect running A
expect silent "E74"
expect file /var/db/app/data "a year of measurements\n"
"#;

/// The boot after the cut, with this plan: what it said, and where its effects promote.
fn go_back(lab: &Lab, plan: Plan) -> (String, Vec<u64>) {
    lab.power_on().unwrap();
    let (end, said) = play::run(lab, &play::boot_command(), true, plan);
    assert!(matches!(end, End::Exit(0)), "{said}");
    let effects = lab.effects();
    let numbered = (1..).zip(&effects).filter(|(_, one)| one.to_string().contains("promote"));
    (said, numbered.map(|(number, _)| number).collect())
}

#[test]
fn what_cannot_be_promoted_is_a_note_and_the_way_back_is_at_its_end() {
    let scratch = tempfile::tempdir().unwrap();
    let before = Lab::create(&scratch.path().join("before")).unwrap();
    play::tell(&before, TRIAL).unwrap();
    before.power_cut(Cut::Kept).unwrap();

    let usual = before.copy_to(&scratch.path().join("usual")).unwrap();
    let (said, promotions) = go_back(&usual, Plan::Nothing);
    assert!(said.contains("E74") && !said.contains("E79"), "{said}");
    assert_eq!(promotions.len(), 3);

    for (number, again) in promotions.into_iter().zip([
        "zfs promote tank/nano/cfg; zfs promote tank/nano/var; zfs promote tank/nano/var/log",
        "zfs promote tank/nano/var; zfs promote tank/nano/var/log",
        "zfs promote tank/nano/var/log",
    ]) {
        let lab = before.copy_to(&scratch.path().join(format!("fails-{number}"))).unwrap();
        let (said, _) = go_back(&lab, Plan::FailAt(number, libc::EEXIST));
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains("E79 the data of before are in place, but still need"), "{said}");
        assert!(flat.contains(again), "{said}");
        play::tell(&lab, NEXT).unwrap();
    }
}

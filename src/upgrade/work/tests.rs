//! Ways back of which a part fails, or that meet something else on the way.

use super::{is_same, lost};
use crate::boot::layout::KnownPool;
use crate::format::zfs::parse_list;
use crate::lab::play::{self, End};
use crate::lab::{Cut, Lab, Plan};
use crate::upgrade::data;

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

    for (number, part) in promotions.into_iter().zip(["cfg", "var", "var/log"]) {
        let again = format!("next: zfs promote tank/nano/{part} nanozfs: boot:");
        let lab = before.copy_to(&scratch.path().join(format!("fails-{number}"))).unwrap();
        let (said, _) = go_back(&lab, Plan::FailAt(number, libc::EEXIST));
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains("E79 the data of before are in place, but need"), "{said}");
        assert!(flat.contains(&again), "{said}");
        play::tell(&lab, NEXT).unwrap();
    }
}

/// A rollback that is not kept, with a change of the configuration that nobody confirmed, and whose
/// state of before is in a snapshot that the rollback had taken along.
const UNCONFIRMED: &str = r#"
use standard os-drive ada0 serial=OS-1 layout=gpt label=nano
config require_signature no
image new
release gate-2.1.nzr image=new version=2.1
boot
file here /etc/rc.conf "hostname=\"first\"\n"
run nanozfs cfg save
file here /etc/rc.conf "hostname=\"second\"\n"
run nanozfs cfg save
run nanozfs upgrade gate-2.1.nzr
shutdown
boot
run nanozfs settle
expect exit 0
run nanozfs upgrade rollback
expect exit 0
file here /cfg/rc.conf "hostname=\"lost\"\n"
run nanozfs cfg apply --confirm 5m @1
expect says "taken back, to @"
cut kept
boot
expect running A
expect file /etc/rc.conf "hostname=\"second\"\n"
cut kept
boot
expect running B
expect says "E74"
expect says "E87"
expect silent "E88"
expect file /etc/rc.conf "hostname=\"gate\"\nsshd_enable=\"YES\"\n"
"#;

#[test]
fn an_unconfirmed_change_is_taken_back_from_a_snapshot_that_a_rollback_had() {
    let scratch = tempfile::tempdir().unwrap();
    let lab = Lab::create(&scratch.path().join("lab")).unwrap();
    play::tell(&lab, UNCONFIRMED).unwrap();
}

/// A rollback that is not kept leaves its snapshots with what it made; it can be typed again.
#[test]
fn a_rollback_can_be_repeated_after_promotions_that_failed() {
    let scratch = tempfile::tempdir().unwrap();
    let lab = Lab::create(&scratch.path().join("lab")).unwrap();
    let (kept, _) = UNCONFIRMED.split_once("file here /cfg").unwrap();
    play::tell(&lab, kept).unwrap();
    play::tell(&lab, "shutdown\nboot\nexpect running A").unwrap();
    lab.power_cut(Cut::Kept).unwrap();
    let usual = lab.copy_to(&scratch.path().join("usual")).unwrap();
    let (_, promotions) = go_back(&usual, Plan::Nothing);
    let (said, _) = go_back(&lab, Plan::FailAt(promotions[0], libc::EBUSY));
    assert!(said.contains("E79"), "{said}");
    play::tell(
        &lab,
        r#"
        run nanozfs upgrade rollback -n
        expect exit 0
        expect says "would zfs promote tank/nano/cfg"
        run nanozfs upgrade rollback
        expect exit 0
        shutdown
        boot
        expect running A
        expect silent "E73"
        expect file /etc/rc.conf "hostname=\"second\"\n"
        run nanozfs settle
        expect exit 0
        "#,
    )
    .unwrap();
}

#[test]
fn what_zfs_only_said_it_made_is_missed() {
    let dataset = |name: &str| data::Dataset { name: name.to_owned(), ..data::Dataset::default() };
    let volume = data::Dataset { volume: true, ..dataset("tank/nano/var/disk") };
    let all = ["tank/nano", "tank/nano/cfg", "tank/nano/kept/A-var", "tank/nano/var"];
    let datasets = all.into_iter().map(dataset).chain([volume]).collect();
    let state = data::State { root: "tank/nano".to_owned(), datasets, ..data::State::default() };
    let list = |name: &str| format!("{name}\tnoauto\tnone\tno\toff\t-\t-\t-\n");
    let pool = |names: &[&str], readable| KnownPool {
        name: "tank".to_owned(),
        guid: 1,
        datasets: names.iter().flat_map(|name| parse_list(&list(name)).unwrap()).collect(),
        readable,
    };
    let young = ["tank/nano", "tank/nano/cfg", "tank/nano/var", "tank/nano/var/young"];
    let var = Some("tank/nano/var".to_owned());
    let mut locked = pool(&["tank/nano", "tank/nano/cfg", "tank/nano/var"], true);
    locked.datasets[1].encrypted = true;
    let table = [
        (pool(&["tank/nano", "tank/nano/cfg", "tank/nano/var"], true), None, true),
        (pool(&["tank/nano", "tank/nano/cfg"], true), var, false),
        (pool(&young, true), None, false),
        (locked, None, false),
        // What is not known is not lost.
        (pool(&[], false), None, false),
    ];
    for (pool, expected, same) in table {
        let pools = std::slice::from_ref(&pool);
        assert_eq!((lost(&state, pools), is_same(&state, pools)), (expected, same), "{pool:?}");
    }
    assert_eq!((lost(&state, &[]), is_same(&state, &[])), (None, false));
}

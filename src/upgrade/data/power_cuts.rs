//! On a machine that behaves: the power goes at every effect, every effect fails once, and the same
//! goal is run again. It ends in the same place, and at no time anything that was kept is lost.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::tests::{prune, put_back, restore, snapshot};
use super::{Goal, State, Step, list, members, stayed};
use crate::host::{Host, Kind, Result};
use crate::lab::play;
use crate::lab::{Cut, Lab, Plan, State as Disk, cuts};

const ROOT: &str = "tank/nano";

/// More of a layout than the common appliance has.
const LAYOUT: &str = r#"
dataset tank/nano/var/mail canmount=on mountpoint=inherit set=org.nanozfs:rollback=off
dataset tank/nano/var/mail/lists canmount=on mountpoint=inherit
dataset tank/nano/var/db canmount=on mountpoint=inherit
dataset tank/nano/var/db/app canmount=on mountpoint=inherit set=quota=9 set=reservation=5 set=org.nanozfs:note=two
file tank/nano/var/mail /box "old mail"
file tank/nano/var/db/app /table "old rows"
snapshot tank/nano/var@daily-1 tank/nano/var/log@daily-1
"#;

/// What a week does to it.
const WEEK: &str = r#"
file tank/nano/cfg /rc.conf "hostname=\"changed\"\n"
file tank/nano/cfg /new.conf "x"
remove tank/nano/var /db/app/data
file tank/nano/var/log /messages "today\n"
file tank/nano/var/mail /box "new mail"
file tank/nano/var/db/app /table "new rows"
dataset tank/nano/var/young canmount=on mountpoint=inherit
file tank/nano/var/young /file "young"
dataset tank/nano/var/young/queue canmount=on mountpoint=inherit set=org.nanozfs:rollback=off
file tank/nano/var/young/queue /1 "queued"
snapshot tank/nano/var@daily-2 tank/nano/var/mail@daily-2 tank/nano/cfg@daily-2
"#;

/// What happens after a restore.
const TRIAL: &str = r#"
file tank/nano/cfg /rc.conf "hostname=\"on-trial\"\n"
file tank/nano/var /db/app/data "of the trial"
file tank/nano/var/mail /box "newest mail"
snapshot tank/nano/var@daily-3
"#;

/// Reaches the goal as a boot does: once the data are in place, it promotes them.
fn run(host: &dyn Host, root: &str, goal: &Goal) -> Result<()> {
    super::run(host, root, goal)?;
    match goal {
        Goal::Restore { .. } | Goal::PutBack { .. } => super::run(host, root, &Goal::Promote),
        _ => Ok(()),
    }
}

/// What that would do.
fn dry_run(host: &dyn Host, root: &str, goal: &Goal) -> Vec<Step> {
    let plan = super::Plan::make(host, root, goal.clone()).unwrap();
    let mut steps = plan.steps().to_vec();
    if matches!(goal, Goal::Restore { .. } | Goal::PutBack { .. }) {
        steps.extend_from_slice(super::Plan::from(plan.then(), Goal::Promote).unwrap().steps());
    }
    steps
}

fn tell(lab: &Lab, text: &str) {
    play::tell(lab, text).unwrap();
}

/// A place for machines.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        let builder = tempfile::Builder::new().prefix("nanozfs-data.").to_owned();
        Scratch(builder.tempdir_in(cuts::fast_directory()).unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The appliance, switched on, with its pool.
    fn machine(&self) -> Lab {
        let lab = play::standard(&self.at("lab")).unwrap();
        tell(&lab, LAYOUT);
        play::with_pool(&lab);
        lab
    }

    fn copy(&self, lab: &Lab, name: &str) -> Lab {
        let root = self.at(name);
        if root.exists() {
            std::fs::remove_dir_all(&root).unwrap();
        }
        lab.copy_to(&root).unwrap()
    }
}

/// How often each content is there, in datasets and snapshots.
fn contents(lab: &Lab, doomed: &dyn Fn(&str) -> bool) -> BTreeMap<String, usize> {
    let state = State::read(lab, "tank").unwrap();
    let datasets = state.datasets.iter().map(|one| one.name.clone());
    let all = datasets.chain(state.snapshots.iter().map(|one| one.full_name()));
    let mut found = BTreeMap::new();
    for name in all.filter(|name| !doomed(name)) {
        *found.entry(lab.content(&name).unwrap().unwrap()).or_default() += 1;
    }
    found
}

fn content(lab: &Lab, name: &str) -> String {
    lab.content(name).unwrap().unwrap_or_else(|| panic!("there is no {name}"))
}

/// Everything on the disks but where they were last seen.
fn disks(lab: &Lab) -> Disk {
    let mut state = lab.disk_state().unwrap();
    state.lines.retain(|name, _| !name.contains(" disk "));
    state
}

/// Counts of what was tried.
#[derive(Default)]
struct Tried {
    cuts: usize,
    twice: usize,
    errors: usize,
}

/// One goal on one machine.
struct Scene<'a> {
    scratch: &'a Scratch,
    before: &'a Lab,
    goal: Goal,
    /// Names that the goal may take away.
    doomed: &'a dyn Fn(&str) -> bool,
    /// Cut the power in the recovery, too.
    twice: bool,
}

impl Scene<'_> {
    /// Tries everything; what it does when nothing goes wrong is left in the machine that comes back.
    fn explore(&self, tried: &mut Tried) -> Lab {
        let usual = self.scratch.copy(self.before, "usual");
        usual.begin(Plan::Nothing);
        let planned = dry_run(&usual, ROOT, &self.goal);
        assert!(usual.effects().is_empty(), "a dry run changed something");
        run(&usual, ROOT, &self.goal).unwrap();
        let effects = usual.effects().len() as u64;
        assert!(planned.len() as u64 <= effects);
        let settled = disks(&usual);
        self.nothing_lost(&usual, "at the end");
        for at in 1..=effects {
            for cut in Cut::ALL {
                tried.cuts += 1;
                let lab = self.scratch.copy(self.before, "cut");
                self.cut(&lab, at, cut);
                run(&lab, ROOT, &self.goal).unwrap();
                let what = format!("{:?}, cut before {at}, {}", self.goal, cut.name());
                assert_eq!(settled.differences(&disks(&lab)), [""; 0], "{what}");
            }
            let once = self.scratch.copy(self.before, "once");
            self.cut(&once, at, Cut::Lost);
            for second in (1..).take_while(|_| self.twice) {
                let lab = self.scratch.copy(&once, "twice");
                if !self.cut(&lab, second, Cut::Kept) {
                    break;
                }
                tried.twice += 1;
                run(&lab, ROOT, &self.goal).unwrap();
                let what = format!("{:?}, cuts before {at} and {second}", self.goal);
                assert_eq!(settled.differences(&disks(&lab)), [""; 0], "{what}");
            }
            for errno in [libc::EIO, libc::ENOSPC, libc::EBUSY] {
                tried.errors += 1;
                let lab = self.scratch.copy(self.before, "fail");
                lab.begin(Plan::FailAt(at, errno));
                let error = run(&lab, ROOT, &self.goal).unwrap_err();
                assert_ne!(error.kind, Kind::Nonsense, "{error}");
                self.nothing_lost(&lab, "after an error");
                lab.begin(Plan::Nothing);
                run(&lab, ROOT, &self.goal).unwrap();
                let what = format!("{:?}, effect {at} fails with {errno}", self.goal);
                assert_eq!(settled.differences(&disks(&lab)), [""; 0], "{what}");
            }
        }
        usual
    }

    /// The power goes before effect `at`, and comes back; false when there was no such effect.
    fn cut(&self, lab: &Lab, at: u64, cut: Cut) -> bool {
        lab.begin(Plan::CutAt(at));
        let done = catch_unwind(AssertUnwindSafe(|| run(lab, ROOT, &self.goal)));
        lab.begin(Plan::Nothing);
        if let Ok(done) = done {
            done.unwrap();
            return false;
        }
        lab.power_cut(cut).unwrap();
        play::with_pool(lab);
        self.nothing_lost(lab, "after a cut");
        true
    }

    /// Every content that was there is there.
    fn nothing_lost(&self, lab: &Lab, when: &str) {
        let now = contents(lab, &|_| false);
        for (content, count) in contents(self.before, self.doomed) {
            let found = now.get(&content).copied().unwrap_or_default();
            assert!(found >= count, "{when}: {content} is there {found} times, not {count}");
        }
    }
}

/// A machine a week after snapshots `A` were taken.
fn a_week_later(scratch: &Scratch) -> Lab {
    let lab = scratch.machine();
    run(&lab, ROOT, &snapshot("A")).unwrap();
    tell(&lab, WEEK);
    lab
}

fn nothing(_: &str) -> bool {
    false
}

#[test]
fn snapshots_are_taken_whatever_happens() {
    let scratch = Scratch::new();
    let lab = scratch.machine();
    let mut tried = Tried::default();
    let scene = Scene {
        scratch: &scratch,
        before: &lab,
        goal: snapshot("A"),
        doomed: &nothing,
        twice: true,
    };
    let after = scene.explore(&mut tried);
    let state = State::read(&after, ROOT).unwrap();
    assert_eq!(
        members(&state),
        ["cfg", "var", "var/db", "var/db/app", "var/log"].map(|one| format!("{ROOT}/{one}"))
    );
    for member in members(&state) {
        assert_eq!(content(&after, member), content(&after, &format!("{member}@nanozfs-A")));
    }
    println!("data, snapshot: {} cuts, {} errors", tried.cuts + tried.twice, tried.errors);
}

#[test]
fn a_restore_ends_in_the_same_place_whatever_happens() {
    let scratch = Scratch::new();
    let before = a_week_later(&scratch);
    let mut tried = Tried::default();
    let goal = restore("A", "B");
    let scene = Scene {
        scratch: &scratch,
        before: &before,
        goal: goal.clone(),
        doomed: &nothing,
        twice: true,
    };
    let after = scene.explore(&mut tried);
    let mut restored = State::read(&after, ROOT).unwrap();
    for member in ["cfg", "var", "var/db", "var/db/app", "var/log"] {
        let (live, kept) = (format!("{ROOT}/{member}"), format!("{ROOT}/kept/B-{member}"));
        let was = content(&before, &format!("{live}@nanozfs-A"));
        assert_eq!(content(&after, &live), was, "{member}");
        assert_eq!(content(&after, &format!("{live}@nanozfs-A")), was, "{member}");
        assert_eq!(content(&after, &kept), content(&before, &live), "{member}");
        // The same properties as before, mount points and all.
        let (old, new) = (before.datasets(&live).unwrap(), after.datasets(&live).unwrap());
        assert_eq!(old[0], new[0]);
        assert_eq!(restored.get(&live).unwrap().origin, None);
    }
    let app = restored.get("tank/nano/var/db/app").unwrap();
    assert_eq!((app.local("quota"), app.local("reservation")), (Some("9"), Some("5")));
    assert_eq!(app.local("org.nanozfs:note"), Some("two"));
    // What keeps its data has it, where it was.
    for off in ["var/mail", "var/mail/lists", "var/young/queue"] {
        let name = format!("{ROOT}/{off}");
        assert_eq!(content(&after, &name), content(&before, &name), "{off}");
    }
    assert_eq!(
        content(&after, "tank/nano/kept/B-var/young"),
        content(&before, "tank/nano/var/young")
    );
    assert_eq!(stayed(&restored, "B"), ["tank/nano/kept/B-var/young"]);
    // Older snapshots stay with the live data, younger ones with what is kept.
    assert!(restored.has_snapshot("tank/nano/var", "daily-1"));
    assert!(restored.has_snapshot("tank/nano/kept/B-var", "daily-2"));
    assert!(restored.has_snapshot("tank/nano/var/mail", "daily-2"));
    assert!(list(&restored).iter().any(|one| one.id == "B" && one.names.len() == 6));

    // What is foreseen is what happens.
    let mut foreseen = State::read(&before, ROOT).unwrap();
    dry_run(&before, ROOT, &goal).iter().for_each(|step| foreseen.apply(step));
    for state in [&mut foreseen, &mut restored] {
        for one in &mut state.datasets {
            (one.used, one.referenced, one.available) = (0, 0, 0);
            one.local.sort();
        }
        state.snapshots.iter_mut().for_each(|one| (one.taken, one.used) = (0, 0));
        state.snapshots.sort_by_key(|one| one.full_name());
    }
    assert_eq!(foreseen, restored);
    let cuts = tried.cuts + tried.twice;
    println!("data, restore: {cuts} cuts, {} of them twice; {} errors", tried.twice, tried.errors);
}

#[test]
fn a_restore_in_a_full_pool_ends_in_the_same_place_whatever_happens() {
    let scratch = Scratch::new();
    let before = a_week_later(&scratch);
    tell(&before, "property tank/nano available 16900000");
    let mut tried = Tried::default();
    let goal = restore("A", "B");
    let scene = Scene { scratch: &scratch, before: &before, goal, doomed: &nothing, twice: false };
    let after = scene.explore(&mut tried);
    for member in ["cfg", "var", "var/db", "var/db/app", "var/log"] {
        let live = format!("{ROOT}/{member}");
        let was = content(&before, &format!("{live}@nanozfs-A"));
        assert_eq!(content(&after, &live), was, "{member}");
    }
    let state = State::read(&after, ROOT).unwrap();
    let kept = state.get("tank/nano/kept").unwrap();
    assert_eq!(kept.local("refreservation"), Some("none"));
    let cuts = tried.cuts + tried.twice;
    println!(
        "data, full pool: {cuts} cuts, {} of them twice; {} errors",
        tried.twice, tried.errors
    );
}

#[test]
fn a_put_back_ends_in_the_same_place_whatever_happens() {
    let scratch = Scratch::new();
    let lab = a_week_later(&scratch);
    let before = scratch.copy(&lab, "before");
    run(&lab, ROOT, &restore("A", "B")).unwrap();
    tell(&lab, TRIAL);
    let mut tried = Tried::default();
    let goal = put_back("B", "C");
    let scene = Scene { scratch: &scratch, before: &lab, goal, doomed: &nothing, twice: true };
    let after = scene.explore(&mut tried);
    for member in ["cfg", "var", "var/db", "var/db/app", "var/log", "var/young"] {
        let name = format!("{ROOT}/{member}");
        assert_eq!(content(&after, &name), content(&before, &name), "{member}");
        let (old, new) = (before.datasets(&name).unwrap(), after.datasets(&name).unwrap());
        assert_eq!(old[0], new[0]);
        let state = State::read(&after, ROOT).unwrap();
        assert_eq!(state.get(&name).unwrap().origin, None);
    }
    for off in ["var/mail", "var/mail/lists", "var/young/queue"] {
        let name = format!("{ROOT}/{off}");
        assert_eq!(content(&after, &name), content(&lab, &name), "{off}");
    }
    assert_eq!(content(&after, "tank/nano/kept/C-cfg"), content(&lab, "tank/nano/cfg"));
    let state = State::read(&after, ROOT).unwrap();
    assert!(!state.has("tank/nano/kept/B-var") && !state.has("tank/nano/kept/B-cfg"));
    assert!(state.has_snapshot("tank/nano/var", "nanozfs-A"));
    assert!(state.has_snapshot("tank/nano/var", "daily-2"));
    assert!(state.has_snapshot("tank/nano/kept/C-var", "daily-3"));
    let cuts = tried.cuts + tried.twice;
    println!("data, put back: {cuts} cuts, {} of them twice; {} errors", tried.twice, tried.errors);
}

#[test]
fn a_restore_that_stopped_anywhere_is_put_back() {
    let scratch = Scratch::new();
    let before = a_week_later(&scratch);
    let plain = |lab: &Lab| {
        let mut state = disks(lab);
        // canmount=on may be set where it was the default; what was remembered is empty.
        let empty = |line: &str| {
            let words = line.split(' ').filter(|word| !word.starts_with("org.nanozfs:was-"));
            words.collect::<Vec<_>>().join(" ")
        };
        state.lines.retain(|name, _| !name.contains("kept"));
        state.lines.values_mut().for_each(|line| *line = empty(line));
        state
    };
    let (restoring, back) = (restore("A", "B"), put_back("B", "C"));
    let goal = || restoring.clone();
    let scene =
        Scene { scratch: &scratch, before: &before, goal: goal(), doomed: &nothing, twice: true };
    let (mut stops, mut undone) = (0, 0);
    for at in 1.. {
        let lab = scratch.copy(&before, "stop");
        if !scene.cut(&lab, at, Cut::Lost) {
            break;
        }
        stops += 1;
        // Until something was renamed there is nothing to be put back.
        if lab.lock().machine.has("tank/nano/kept/B-cfg") {
            undone += 1;
            run(&lab, ROOT, &back).unwrap();
            assert_eq!(plain(&before).differences(&plain(&lab)), [""; 0], "before {at}");
        }
    }
    println!("data, undone: {stops} cuts, {undone} of them undone");
    assert!(undone > 15);
}

#[test]
fn pruning_takes_what_was_asked_for_and_nothing_else_whatever_happens() {
    let scratch = Scratch::new();
    let lab = a_week_later(&scratch);
    run(&lab, ROOT, &restore("A", "B")).unwrap();
    tell(&lab, TRIAL);
    // Something depends on a snapshot in what is kept.
    run(&lab, ROOT, &put_back("B", "C")).unwrap();
    run(&lab, ROOT, &restore("A", "D")).unwrap();
    tell(&lab, "snapshot tank/nano/kept/D-var@mine");
    let clone = ("canmount".to_owned(), "noauto".to_owned());
    lab.snapshots().clone_to("tank/nano/kept/D-var@mine", "tank/mine", &[clone]).unwrap();
    let doomed = |name: &str| name.contains("kept/D-") && !name.ends_with("@mine");
    let mut tried = Tried::default();
    let scene =
        Scene { scratch: &scratch, before: &lab, goal: prune("D"), doomed: &doomed, twice: true };
    // A dataset outside the layout is not seen, and ZFS refuses.
    let copy = scratch.copy(&lab, "outside");
    let error = run(&copy, ROOT, &prune("D")).unwrap_err();
    assert!(error.why.contains("has dependent clones"), "{error}");
    scene.nothing_lost(&copy, "after a refusal");
    lab.snapshots().rename("tank/mine", "tank/nano/mine").unwrap();
    let scene =
        Scene { scratch: &scratch, before: &lab, goal: prune("D"), doomed: &doomed, twice: true };
    let after = scene.explore(&mut tried);
    let state = State::read(&after, ROOT).unwrap();
    assert!(!list(&state).iter().any(|one| one.id == "D"));
    assert!(state.has_snapshot("tank/nano/mine", "mine"));
    println!("data, prune: {} cuts, {} errors", tried.cuts + tried.twice, tried.errors);
}

#[test]
fn what_is_mounted_stays_mounted_and_goes_on_writing_to_what_is_kept() {
    use crate::host::{Files, MountRequest, Source};
    let scratch = Scratch::new();
    let lab = a_week_later(&scratch);
    let source = Source::Dataset("tank/nano/var".to_owned());
    lab.mount(&MountRequest { source, at: PathBuf::from("/var"), read_only: false }).unwrap();
    run(&lab, ROOT, &restore("A", "B")).unwrap();
    let mounts = lab.mounts().unwrap();
    assert_eq!(mounts.last().unwrap().source, "tank/nano/kept/B-var");
    let kept = content(&lab, "tank/nano/kept/B-var");
    Files::create(&lab, Path::new("/var/written"), b"late").unwrap();
    assert_ne!(content(&lab, "tank/nano/kept/B-var"), kept);
    assert_eq!(content(&lab, "tank/nano/var"), content(&lab, "tank/nano/var@nanozfs-A"));
    let error = run(&lab, ROOT, &prune("B")).unwrap_err();
    assert_eq!(error.why, "tank/nano/kept/B-var is mounted");
}

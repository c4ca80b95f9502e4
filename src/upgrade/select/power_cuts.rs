//! The sequences on a lab machine: the power goes before every effect, and every effect fails.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::boot::osdrive::Role::{SlotA, SlotB};
use crate::lab::{Cut, Lab, Plan, PowerCut, play};
use crate::upgrade::slot::tests::{drive, machine, mesh};

fn now(lab: &Lab) -> Selection {
    Selection::read(lab, &mesh(lab), &drive(lab)).unwrap()
}

type Sequence = fn(&Selection, Role) -> Vec<SelectAction>;

fn run(lab: &Lab, sequence: Sequence, running: Role) -> Result<Selection> {
    let before = now(lab);
    perform(lab, &drive(lab), before.clone(), &sequence(&before, running))
}

/// What `nanozfs` does at the very start of a boot.
fn boot(lab: &Lab) -> Role {
    lab.power_on().unwrap();
    let running = drive(lab).running.unwrap();
    if is_trial(&now(lab), running) {
        run(lab, begin_trial, running).unwrap();
    }
    running
}

fn restart(lab: &Lab) -> Role {
    lab.shutdown().unwrap();
    boot(lab)
}

/// A drive whose table is damaged, or not, at one point of an upgrade; what is done there, and
/// which slots may boot when it is interrupted.
fn scenes(layout: &str) -> Vec<(tempfile::TempDir, Lab, Sequence, Role, Vec<Role>)> {
    let mut all = Vec::new();
    let damages = if layout == "gpt" { &[false, true][..] } else { &[false] };
    for damaged in damages {
        for (step, sequence, running, may) in [
            (0, settle as Sequence, SlotA, vec![SlotA]),
            (0, arm, SlotA, vec![SlotA, SlotB]),
            (1, settle, SlotA, vec![SlotA, SlotB]),
            (2, begin_trial, SlotB, vec![SlotA]),
            (3, settle, SlotB, vec![SlotA, SlotB]),
        ] {
            let (scratch, lab) = machine(layout);
            if step >= 1 {
                run(&lab, arm, SlotA).unwrap();
            }
            if step >= 2 {
                lab.shutdown().unwrap();
                lab.power_on().unwrap();
                assert!(is_trial(&now(&lab), SlotB));
            }
            if step >= 3 {
                run(&lab, begin_trial, SlotB).unwrap();
            }
            if *damaged {
                play::tell(&lab, "fault disk ada0 corrupt-table").unwrap();
            }
            // The mark of a trial is still there on MBR when the power goes before it begins.
            let may = if step == 2 { vec![SlotA, SlotB] } else { may };
            all.push((scratch, lab, sequence, running, may));
        }
    }
    all
}

#[test]
fn a_cut_or_an_error_in_a_sequence_leaves_a_slot_that_boots_and_can_be_settled() {
    let (mut cuts, mut errors) = (0, 0);
    for layout in ["mbr", "gpt"] {
        for (scratch, lab, sequence, running, may) in scenes(layout) {
            let copy = || lab.copy_to(&scratch.path().join("copy")).unwrap();
            let usual = copy();
            usual.begin(Plan::Nothing);
            run(&usual, sequence, running).unwrap();
            let effects = usual.effects().len() as u64;
            let end = restart(&usual);
            std::fs::remove_dir_all(usual.root()).unwrap();
            let plans = (1..=effects + 1)
                .flat_map(|at| Cut::OF_DRIVES.map(|cut| (Plan::CutAt(at), Some(cut))));
            let errnos = [libc::EIO, libc::ENXIO, libc::EBUSY];
            let fails = (1..=effects).flat_map(|at| errnos.map(|e| (Plan::FailAt(at, e), None)));
            for (plan, cut) in plans.chain(fails) {
                let place = format!("{layout}: {running:?}: {plan:?} {cut:?}");
                let lab = copy();
                lab.begin(plan);
                let done = catch_unwind(AssertUnwindSafe(|| run(&lab, sequence, running)));
                match (done, cut) {
                    (Err(payload), Some(_)) => assert!(payload.is::<PowerCut>(), "{place}"),
                    (Ok(Err(_)), None) => errors += 1,
                    (Ok(Ok(_)), Some(_)) => {}
                    _ => panic!("{place}"),
                }
                cuts += usize::from(cut.is_some());
                lab.begin(Plan::Nothing);
                lab.power_cut(cut.unwrap_or(Cut::Kept)).unwrap();
                let booted = boot(&lab);
                assert!(may.contains(&booted) || booted == end, "{place}: {booted:?}");
                // A trial that nobody commits goes back, whatever was interrupted.
                let trial = now(&lab);
                if next_boot(&trial) != Some(booted) {
                    assert_eq!(next_boot(&trial), Some(opposite(booted)), "{place}");
                    assert_eq!(restart(&lab), opposite(booted), "{place}");
                }
                let last = drive(&lab).running.unwrap();
                let settled = run(&lab, settle, last).unwrap_or_else(|e| panic!("{place}: {e}"));
                assert!(settled.table_ok && settle(&settled, last).is_empty(), "{place}");
                assert_eq!([restart(&lab), restart(&lab)], [last, last], "{place}");
                std::fs::remove_dir_all(lab.root()).unwrap();
            }
        }
    }
    println!("slot selection: {cuts} power cuts, {errors} errors");
}

#[test]
fn a_drive_whose_loader_ignores_the_marks_is_recognised() {
    for (options, kenv, why) in [
        ("layout=mbr", "", None),
        ("layout=mbr loader=mbr", "", Some("is not boot0")),
        ("layout=mbr", "kenv efi-version 2.70", Some("UEFI started this machine")),
        ("layout=gpt", "", None),
        ("layout=gpt", "kenv efi-version 2.70", Some("gptboot.efi is in no efi partition")),
        ("layout=gpt loader=gptboot.efi", "", None),
        ("layout=gpt loader=loader.efi", "", Some("loader.efi alone ignores")),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let lab = Lab::create(scratch.path()).unwrap();
        let text = format!("use standard os-drive ada0 serial=OS-1 {options} label=nano\n{kenv}");
        play::tell(&lab, &text).unwrap();
        lab.power_on().unwrap();
        let found = unfit(&lab, &mesh(&lab), &drive(&lab), &now(&lab));
        match why {
            None => assert_eq!(found, None, "{options}"),
            Some(why) => assert!(found.as_ref().is_some_and(|f| f.contains(why)), "{found:?}"),
        }
    }
}

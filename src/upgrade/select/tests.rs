//! Every state a drive can be in, every sequence, every power cut between two of its writes.

use super::*;
use crate::boot::osdrive::Role::{SlotA, SlotB};

fn flags(bits: u8) -> Flags {
    let all = [Flag::BootMe, Flag::BootOnce, Flag::BootFailed];
    let set = all.into_iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
    set.fold(Flags::default(), |flags, (_, flag)| flags.with(flag))
}

/// All 64 markings, with whatever partition gptboot falls back to, with a good and a bad table.
fn gpt() -> Vec<Selection> {
    let mut all = Vec::new();
    for (bits, table_ok) in (0..64).flat_map(|bits| [(bits, true), (bits, false)]) {
        for first in [Some(SlotA), Some(SlotB), None] {
            all.push(Selection {
                disk: "ada0".to_owned(),
                scheme: Scheme::Gpt,
                table_ok,
                a: Slot { index: 2, flags: flags(bits & 7) },
                b: Slot { index: 3, flags: flags(bits >> 3) },
                first,
                boot0: None,
            });
        }
    }
    all
}

/// No slice active, one, both; every default of boot0, and another boot code.
fn mbr() -> Vec<Selection> {
    let mut all = Vec::new();
    for active in 0..4 {
        let flags = |bit| if active & bit == 0 { Flags(0) } else { Flags(0).with(Flag::Active) };
        for default in 0..=6 {
            let boot0 = Boot0 { default, offered: 3, updates: true };
            all.push(Selection {
                disk: "ada0".to_owned(),
                scheme: Scheme::Mbr,
                table_ok: true,
                a: Slot { index: 1, flags: flags(1) },
                b: Slot { index: 2, flags: flags(2) },
                first: Some(SlotA),
                boot0: (default != 0).then_some(boot0),
            });
        }
    }
    all
}

fn everything() -> Vec<(Selection, Role)> {
    let all = gpt().into_iter().chain(mbr());
    all.flat_map(|state| SLOTS.map(|running| (state.clone(), running))).collect()
}

/// gptboot(8) and boot0, told a second time: what starts, and what they write before it does.
fn start(state: &Selection) -> (Option<Role>, Selection) {
    let mut after = state.clone();
    if state.scheme == Scheme::Mbr {
        let boot0 = state.boot0.is_none_or(|boot0| matches!(boot0.default, 1 | 2));
        let active = SLOTS.into_iter().find(|role| state.has(*role, Flag::Active));
        return (active.or(state.first).filter(|_| boot0), after);
    }
    let word = |state: &Selection, role| {
        let flags = state.slot(role).flags;
        [Flag::BootMe, Flag::BootOnce, Flag::BootFailed].map(|flag| flags.has(flag))
    };
    for role in SLOTS {
        if word(&after, role) == [false, true, false] {
            after.flags(role, |flags| flags.without(Flag::BootOnce).with(Flag::BootFailed));
        }
    }
    for role in SLOTS {
        if let [true, true, _] = word(&after, role) {
            after.flags(role, |flags| flags.without(Flag::BootMe));
            return (Some(role), after);
        }
    }
    let marked = SLOTS.into_iter().find(|role| matches!(word(&after, *role), [true, false, _]));
    (marked.or(state.first), after)
}

/// The states that a power cut can leave: before the first action, before the second, and so on.
fn prefixes(state: &Selection, actions: &[SelectAction]) -> Vec<Selection> {
    let mut all = vec![state.clone()];
    for action in actions {
        let next = all.last().unwrap().after(*action);
        all.push(next);
    }
    all
}

/// Once the promised slot boots, it boots until the end; and at the end it does.
fn steadily(wanted: Role, state: &Selection, actions: &[SelectAction]) -> Selection {
    let states = prefixes(state, actions);
    let boots: Vec<_> = states.iter().map(next_boot).collect();
    let first = boots.iter().position(|boot| *boot == Some(wanted));
    let from = first.unwrap_or_else(|| panic!("{state}: {actions:?}: {boots:?}"));
    assert!(boots[from..].iter().all(|boot| *boot == Some(wanted)), "{state}: {boots:?}");
    states.into_iter().next_back().unwrap()
}

#[test]
fn what_boots_next_is_what_the_loaders_start() {
    for (state, _) in everything() {
        assert_eq!(next_boot(&state), start(&state).0, "{state}");
    }
}

#[test]
fn settling_ends_in_one_state_and_never_wavers() {
    for (state, running) in everything() {
        let end = steadily(running, &state, &settle(&state, running));
        assert!(end.table_ok);
        assert_eq!(settle(&end, running), []);
        let [mine, other] = [running, opposite(running)].map(|role| end.slot(role).flags);
        let mark = if end.scheme == Scheme::Gpt { Flag::BootMe } else { Flag::Active };
        assert_eq!((mine, other), (Flags(0).with(mark), Flags(0)), "{state}");
        // It stays so, boot after boot, and no boot of it is a trial.
        assert_eq!(start(&end), (Some(running), end.clone()));
        assert!(!is_trial(&end, running) && !is_trial(&end, opposite(running)));
    }
}

#[test]
fn an_armed_slot_boots_once_and_what_is_settled_needs_one_write() {
    for (state, running) in everything() {
        let other = opposite(running);
        let actions = arm(&state, running);
        let (last, before) = actions.split_last().unwrap();
        let settled = steadily(running, &state, before);
        assert_eq!(arm(&settled, running), [*last]);
        let armed = settled.after(*last);
        let (boot, found) = start(&armed);
        assert_eq!(boot, Some(other), "{state}");
        assert!(!is_trial(&found, running), "{state}");
        if state.boot0.is_some() || state.scheme == Scheme::Gpt {
            assert!(is_trial(&found, other), "{state}: {found}");
        }
        if state.scheme == Scheme::Gpt {
            // Nobody did anything: the way back is gptboot's.
            let (back, failed) = start(&found);
            assert_eq!(back, Some(running), "{state}");
            assert!(failed.has(other, Flag::BootFailed) && !is_trial(&failed, running));
        }
        let disarmed = settle(&armed, running);
        let states = prefixes(&armed, &disarmed);
        assert!(disarmed.len() <= 2);
        assert!(states[1..].iter().all(|state| next_boot(state) == Some(running)));
    }
}

#[test]
fn a_trial_that_began_goes_back_and_one_that_is_committed_does_not() {
    for (state, running) in everything()
        .into_iter()
        .filter(|(state, _)| state.scheme == Scheme::Gpt || state.boot0.is_some())
    {
        let (old, new) = (running, opposite(running));
        let armed = prefixes(&state, &arm(&state, old)).pop().unwrap();
        // gptboot may have been unable to write.
        for found in [start(&armed).1, armed] {
            assert!(is_trial(&found, new));
            let began = steadily(old, &found, &begin_trial(&found, new));
            assert_eq!(begin_trial(&began, new), []);
            assert_eq!(next_boot(&began), Some(old));
            let commit = settle(&began, new);
            for (at, between) in prefixes(&began, &commit).iter().enumerate() {
                assert_eq!(next_boot(between), Some(if at == 0 { old } else { new }), "{between}");
                // The old system never takes itself for a trial, and the new one is one until the
                // last write, so that whoever finds it half done begins and commits again.
                assert!(!is_trial(between, old), "{between}");
                let (boot, found) = start(between);
                if boot == Some(new) && is_trial(&found, new) {
                    let again = steadily(old, &found, &begin_trial(&found, new));
                    steadily(new, &again, &settle(&again, new));
                }
            }
            // The trial failed: the old system cleans up.
            let (boot, failed) = start(&began);
            assert_eq!(boot, Some(old));
            let end = prefixes(&failed, &settle(&failed, old));
            assert!(end.iter().all(|state| next_boot(state) == Some(old)));
        }
    }
}

#[test]
fn a_damaged_table_is_repaired_before_anything_else() {
    for (state, running) in everything().into_iter().filter(|(state, _)| !state.table_ok) {
        for actions in [settle(&state, running), arm(&state, running), begin_trial(&state, running)]
        {
            assert_eq!(actions[0], SelectAction::Recover);
            assert_eq!(actions.iter().filter(|a| **a == SelectAction::Recover).count(), 1);
        }
    }
}

#[test]
fn boot0_that_cannot_start_its_default_starts_nothing() {
    let mut state = mbr().into_iter().find(|s| s.boot0.is_some_and(|b| b.default == 2)).unwrap();
    state.boot0 = state.boot0.map(|boot0| Boot0 { offered: 1, ..boot0 });
    assert_eq!(next_boot(&state), None);
}

#[test]
fn a_change_is_shown_as_the_command_for_it() {
    let state = gpt().remove(0);
    let mbr = mbr().remove(1);
    for (state, action, command) in [
        (&state, SelectAction::Recover, "gpart recover ada0"),
        (&state, SelectAction::Set(SlotB, Flag::BootOnce), "gpart set -a bootonce -i 3 ada0"),
        (&state, SelectAction::Clear(SlotA, Flag::BootMe), "gpart unset -a bootme -i 2 ada0"),
        (&mbr, SelectAction::Default(SlotB), "boot0cfg -s 2 ada0"),
    ] {
        assert_eq!(state.command(action), command);
    }
    assert_eq!(mbr.to_string(), "slot A [], slot B [], boot0 F1");
}

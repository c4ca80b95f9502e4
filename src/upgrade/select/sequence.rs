//! The sequences of changes, and what the loader makes of a state.

use super::{SLOTS, Scheme, SelectAction, Selection, opposite};
use crate::boot::osdrive::Role;
use crate::host::Flag;

use SelectAction::{Clear, Default, Recover, Set};

/// Makes `running` the slot of every boot from now on, and leaves nothing else marked. This is what
/// commits a trial, what disarms, and what cleans up after a failed trial.
pub fn settle(now: &Selection, running: Role) -> Vec<SelectAction> {
    let other = opposite(running);
    match now.scheme {
        // The order matters: an armed slot whose bootonce went first would be left with a bootme.
        Scheme::Gpt => needed(
            now,
            &[
                Set(running, Flag::BootMe),
                Clear(other, Flag::BootMe),
                Clear(running, Flag::BootOnce),
                Clear(other, Flag::BootOnce),
                Clear(running, Flag::BootFailed),
                Clear(other, Flag::BootFailed),
            ],
        ),
        // The other order would pass through what an armed trial of the other slot looks like.
        Scheme::Mbr => needed(now, &[Set(running, Flag::Active), Default(running)]),
    }
}

/// Makes the slot that is not `running` the slot of the next boot, and of that one only: on GPT by
/// itself, on MBR because that boot begins with [`begin_trial`]. Settled first, it is one write.
pub fn arm(now: &Selection, running: Role) -> Vec<SelectAction> {
    let mut actions = settle(now, running);
    actions.push(match now.scheme {
        Scheme::Gpt => Set(opposite(running), Flag::BootOnce),
        Scheme::Mbr => Set(opposite(running), Flag::Active),
    });
    actions
}

/// The first thing in a trial: makes every other boot go to the slot that is not `running`, and
/// leaves the mark that this boot is a trial where the loader left it.
pub fn begin_trial(now: &Selection, running: Role) -> Vec<SelectAction> {
    let other = opposite(running);
    match now.scheme {
        Scheme::Gpt => needed(now, &[Set(other, Flag::BootMe), Clear(running, Flag::BootMe)]),
        Scheme::Mbr => needed(now, &[Set(other, Flag::Active), Default(other)]),
    }
}

/// Those of `actions` that change anything; a damaged table is repaired before.
fn needed(now: &Selection, actions: &[SelectAction]) -> Vec<SelectAction> {
    let mut found = Vec::new();
    if !now.table_ok {
        found.push(Recover);
    }
    found.extend(actions.iter().copied().filter(|action| now.after(*action) != *now));
    found
}

/// True when this boot of `running` is a trial that nobody settled and that did not begin yet on
/// MBR; on GPT also after it began.
pub fn is_trial(now: &Selection, running: Role) -> bool {
    match now.scheme {
        Scheme::Gpt => now.has(running, Flag::BootOnce),
        Scheme::Mbr => now.has(running, Flag::Active) && now.default() == Some(opposite(running)),
    }
}

/// The slot that the loader tries first at the next boot. `None` when that is no slot, or nothing
/// at all. Should nothing load from it, gptboot goes on with the next one, boot1 does not.
pub fn next_boot(now: &Selection) -> Option<Role> {
    let mut order = SLOTS;
    order.sort_by_key(|role| now.slot(*role).index);
    let first = |good: &dyn Fn(Role) -> bool| order.into_iter().find(|role| good(*role));
    match now.scheme {
        Scheme::Gpt => {
            let marked = |role| now.has(role, Flag::BootMe);
            let once = |role| now.has(role, Flag::BootOnce);
            first(&|role| marked(role) && once(role))
                .or_else(|| first(&|role| marked(role) && !once(role)))
                .or(now.first)
        }
        Scheme::Mbr => {
            // boot0 waits for a key for ever when it cannot start its default.
            if now.boot0.is_some_and(|boot0| !boot0.offers(boot0.default)) {
                return None;
            }
            first(&|role| now.has(role, Flag::Active)).or(now.first)
        }
    }
}

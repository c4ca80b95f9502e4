//! `nanozfs cfg save`: what differs between `/etc` and the image goes to `/cfg`, and a snapshot says
//! who did it, when and why.
//!
//! ```text
//! 1  @cfg-ID   when /cfg holds what no snapshot has: somebody worked in it directly
//! 2  /cfg      directories, links and files, each in one step; the lists; what is removed
//! 3  @cfg-ID   the record of this save
//! ```
//!
//! Running it again after a cut finishes the work: what is in `/cfg` already is not written again,
//! and what no snapshot has gets one.

use std::path::Path;

use super::command::Order;
use super::history::{self, Home};
use super::look::{Fact, Look};
use super::names::{Named, shown};
use super::plan::{Answer, Known, Plan};
use super::walk::Walk;
use super::{act, lists};
use crate::boot::Boot;
use crate::boot::cfg::CFG;
use crate::boot::laid::Laid;
use crate::report::{Code, Exit, Finding};

/// A question is asked again as many times.
const TRIES: usize = 3;

/// What is typed to take what was left out.
const HOW: &str = "nanozfs cfg save NAME; or a line in /cfg/.nanozfs/ignore";

/// Saves.
pub(super) fn run(boot: &mut Boot<'_, '_>, order: &Order) -> Exit {
    let named = match history::named(&order.operands) {
        Ok((None, named)) => named,
        Ok((Some(word), _)) => {
            boot.console.say(&format!("cfg save: what is {word}?"));
            return Exit::Usage;
        }
        Err(why) => {
            boot.console.say(&format!("cfg save: {why}"));
            return Exit::Usage;
        }
    };
    let mut home = match history::find(boot) {
        Ok(home) => home,
        Err(exit) => return exit,
    };
    let ask = boot.act && order.option("yes").is_none() && boot.host.people().is_there();
    let files = boot.host.files();
    let walk = Walk::new(files, &named, home.snapshots.last(), None);
    if is_unknown(boot, &walk, &named) {
        return Exit::Failed;
    }
    let look = walk.unsaved(boot.host.files());
    let Some((plan, complete)) = plan(boot, &home, &named, &look, ask) else { return Exit::Failed };
    show(boot, &plan);
    let complete = complete && plan.refused.is_empty();
    act::tell(boot, Code::E91, "not saved", &plan.refused);
    // Whoever answered took his time, and others work in /cfg without a lock.
    let ahead = match plan.asked {
        true => walk.is_ahead_by_now(boot.host.files()),
        false => walk.is_ahead(boot.host.files()),
    };
    if plan.is_empty() && !ahead {
        if !complete {
            boot.console.say("nothing else is to be saved");
            return Exit::Failed;
        }
        boot.console.say("/cfg has everything already: nothing to save");
        return Exit::Nothing;
    }
    if !boot.act {
        boot.console.say(&format!("would save {}, and take a snapshot", count(plan.files())));
        return Exit::Done;
    }
    if !act::has_room(boot, plan.bytes) {
        return Exit::Failed;
    }
    let message = order.option("message").unwrap_or_default();
    let done = keep(boot, &mut home, &plan, ahead, message);
    // From now on, what is gone from /etc was deleted after this.
    if done && complete && plan.left().next().is_none() {
        step(boot, &home, &named);
    }
    match done {
        true if complete => Exit::Done,
        _ => Exit::Failed,
    }
}

/// Does what is planned, with a snapshot before it where one is due, and one after it. True when all
/// of it was done.
pub(super) fn keep(
    boot: &mut Boot<'_, '_>,
    home: &mut Home,
    plan: &Plan,
    ahead: bool,
    why: &str,
) -> bool {
    if ahead && !plan.is_empty() {
        let why = match home.snapshots.is_empty() {
            true => "as it was before the first save",
            false => "as somebody left it in /cfg",
        };
        if home.record(boot, why).is_none() {
            return false;
        }
    }
    let done = act::save(boot, plan);
    let Some(snapshot) = home.record(boot, why) else { return false };
    let files = count(plan.files());
    match done {
        true => boot.console.say(&format!("saved {files}: @{}", snapshot.name)),
        false => {
            let rest = "saved but for what is named above; the same command goes on with it";
            boot.console.say(&format!("{rest}: @{}", snapshot.name));
        }
    }
    if boot.host.services().is_guarded() {
        boot.console
            .say("this system is on trial: when it is not kept, /cfg is as before the trial again");
    }
    done
}

/// Remembers that `/etc` and `/cfg` are in step, where all of both was meant. When something of
/// `/cfg` was never laid, or nobody knows, that is still so: only laying it puts it right.
pub(super) fn step(boot: &mut Boot<'_, '_>, home: &Home, named: &Named) {
    let whole = Laid::read(boot.host).is_some_and(|laid| laid.failed == 0);
    if !whole || !named.means(Path::new("")) {
        return;
    }
    if let Err(error) = Laid::now(boot.host, &home.dataset, 0).write(boot.host) {
        boot.console.detail(&error.to_string());
    }
}

/// Something was named that there is not: a finding.
pub(super) fn is_unknown(boot: &mut Boot<'_, '_>, walk: &Walk, named: &Named) -> bool {
    let Some(path) = walk.missing(named) else { return false };
    let what = format!("{}: not in /etc, /cfg or the image", shown(path));
    boot.find(Finding::new(Code::E93, what).next("ls /etc"));
    true
}

/// Decides about everything that is meant and was looked at. False beside the plan when something
/// could not be looked at.
pub(super) fn plan(
    boot: &mut Boot<'_, '_>,
    home: &Home,
    named: &Named,
    look: &Look,
    ask: bool,
) -> Option<(Plan, bool)> {
    let laid = history::laid(boot, home)?;
    let (files, cfg) = (boot.host.files(), Path::new(CFG));
    if look.trees.image.is_empty() && !named.any() {
        boot.console.say("the image has no copy of its /etc: only what /cfg has is compared");
    }
    let (deleted, wrong) = lists::deleted(files, cfg);
    let (ignore, also) = lists::ignore(files, cfg);
    for why in wrong.into_iter().chain(also) {
        boot.find(Finding::new(Code::E94, why));
    }
    act::tell(boot, Code::E91, "not looked at", &look.failed);
    let known = Known {
        facts: &look.facts,
        deleted: &deleted,
        ignore: &ignore,
        laid,
        named,
        image: !look.trees.image.is_empty(),
    };
    let console = &mut *boot.console;
    let people = boot.host.people();
    let mut asked = false;
    let mut answer = |fact: &Fact, what: &str, question: &str| {
        asked |= ask;
        for _ in 0..if ask { TRIES } else { 0 } {
            let path = shown(&fact.path);
            console.say(&format!("{path} ({what}): {question}? [y, n, never]"));
            let Some(line) = people.answer() else { return Answer::Nobody };
            match line.to_ascii_lowercase().as_str() {
                "y" | "yes" => return Answer::Yes,
                "n" | "no" => return Answer::No,
                "never" => return Answer::Never,
                _ => {}
            }
        }
        Answer::Nobody
    };
    match Plan::make(files, &look.trees.etc, &known, &mut answer) {
        Ok(plan) => Some((Plan { asked, ..plan }, look.failed.is_empty())),
        Err(error) => {
            let what = format!("/etc: {}", crate::host::why(&error));
            boot.find(Finding::new(Code::E91, what));
            None
        }
    }
}

/// Shows what is planned, and how to have what is left out.
pub(super) fn show(boot: &mut Boot<'_, '_>, plan: &Plan) {
    for line in &plan.lines {
        boot.console.entry(line.sign, &line.text());
    }
    if plan.left().next().is_some() {
        boot.console.say(&format!("to save what is left out (?): {HOW}"));
    }
}

/// So many changes.
pub(super) fn count(changes: usize) -> String {
    match changes {
        0 => "what is in /cfg".to_owned(),
        1 => "1 change".to_owned(),
        changes => format!("{changes} changes"),
    }
}

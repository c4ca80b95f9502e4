//! The state machine of a switch: what a boot makes of the journal and of the drive's flags.
//!
//! Two things are known at different times. The flags on the OS drive are there before any pool is,
//! and say whether this boot is a trial; the first thing a trial does is to have every further boot
//! go to the old slot. The journal is on the pool: what it says decides about the data, before
//! anything is mounted.
//!
//! Rules from which the table follows. A trial touches data only after the journal says `trial`; so
//! a switch that is still `armed` left the data alone. Going back ends with the journal, after data
//! and flags are as they were; so a power cut on the way back finds the same decision again.

use super::journal::{Data, End, Phase, Switch};
use crate::boot::osdrive::Role;

/// What the OS drive says about starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Marks {
    /// By the flags alone, this boot is a trial.
    pub on_trial: bool,
    /// The slot that the next boot goes to, where the flags say so.
    pub next: Option<Role>,
    /// The loader noted that the other slot did not start.
    pub failed: bool,
}

/// What a boot knows when the pools are imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The slot that `/` is mounted from.
    pub running: Role,
    /// What the drive says.
    pub marks: Marks,
    /// The drive that is running: its serial number, else its device name.
    pub drive: &'a str,
    /// The switch in the journal.
    pub switch: Option<&'a Switch>,
}

/// What a boot is, as far as switches go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No switch is under way, or it ends here.
    Steady,
    /// A switch is armed: the next boot is its trial.
    Armed,
    /// This boot is a trial.
    Trial,
    /// By its flags this boot is a trial, but no journal knows of it: its data are left alone.
    UnknownTrial,
    /// The trial failed: this boot takes the machine back.
    Back,
    /// The trial was kept, and the last writes of that are made now.
    Kept,
}

/// One step, done completely before the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Every further boot goes to this slot, and this one stays a trial.
    Return(Role),
    /// Every further boot goes to this slot, and nothing is on trial any more.
    Settle(Role),
    /// The journal's switch gets to this phase.
    Phase(Phase),
    /// The data of these snapshots take the place of what is there, which is kept under the name of
    /// this switch.
    Restore {
        /// Whose snapshots.
        snapshots: String,
        /// Whose name the replaced data get.
        keep_as: String,
    },
    /// The data that a [`Step::Restore`] kept under this name take their place again.
    PutBack(String),
    /// What is live hangs on nothing that is kept any more.
    Promote,
    /// The journal's switch ends.
    End(End, &'static str),
}

/// What a boot decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What this boot is.
    pub verdict: Verdict,
    /// What it does about that, in order.
    pub steps: Vec<Step>,
}

impl Decision {
    /// The steps before anything is mounted, and those that can wait until all is: whoever needs the
    /// data of before has them sooner.
    pub fn around_mounting(&self) -> (&[Step], &[Step]) {
        match self.steps.iter().rposition(Step::exchanges) {
            Some(last) => self.steps.split_at(last + 1),
            None => (&self.steps, &[]),
        }
    }

    /// It exchanges the data.
    pub fn exchanges(&self) -> bool {
        self.steps.iter().any(Step::exchanges)
    }
}

impl Step {
    fn exchanges(&self) -> bool {
        matches!(self, Step::Restore { .. } | Step::PutBack(_))
    }
}

/// Decides. The steps can be taken again from the start after a power cut between or in any of
/// them.
pub fn decide(facts: &Facts<'_>) -> Decision {
    let of = |verdict, steps| Decision { verdict, steps };
    let Some(switch) = facts.switch else {
        // A loader's note that nobody needs any more.
        let stale = facts.marks.failed && facts.marks.next == Some(facts.running);
        return match facts.marks.on_trial {
            true => of(Verdict::UnknownTrial, Vec::new()),
            false if stale => of(Verdict::Steady, vec![Step::Settle(facts.running)]),
            false => of(Verdict::Steady, Vec::new()),
        };
    };
    if switch.drive != facts.drive {
        let why = "the OS drive was replaced";
        return of(Verdict::Steady, vec![Step::End(End::Cancelled, why)]);
    }
    if facts.running == switch.to {
        return match switch.phase {
            Phase::Armed | Phase::Trial => of(Verdict::Trial, trial(facts, switch)),
            Phase::Committing => of(Verdict::Kept, kept(switch)),
        };
    }
    match switch.phase {
        Phase::Armed if facts.marks.next == Some(switch.to) => of(Verdict::Armed, Vec::new()),
        Phase::Armed if facts.marks.failed => {
            let why = "the new system did not start";
            // The journal first: it takes the loader's note to know that it failed.
            of(Verdict::Back, vec![Step::End(End::Failed, why), Step::Settle(switch.from)])
        }
        Phase::Armed => {
            let why = "the power went while it was armed";
            of(Verdict::Steady, vec![Step::Settle(switch.from), Step::End(End::Cancelled, why)])
        }
        Phase::Trial | Phase::Committing => {
            let why = "the trial was not kept";
            let settle = Step::Settle(switch.from);
            // First what the data want; a drive that takes no more marks is no reason to leave it.
            let steps = vec![back(switch), Step::Promote, settle, Step::End(End::Failed, why)];
            of(Verdict::Back, steps)
        }
    }
}

/// The beginning of a trial, or of going on with it.
fn trial(facts: &Facts<'_>, switch: &Switch) -> Vec<Step> {
    let mut steps = Vec::new();
    if facts.marks.next != Some(switch.from) {
        steps.push(Step::Return(switch.from));
    }
    if switch.phase == Phase::Armed {
        steps.push(Step::Phase(Phase::Trial));
    }
    if let Data::Restore(snapshots) = &switch.data {
        let (snapshots, keep_as) = (snapshots.clone(), switch.id.clone());
        steps.push(Step::Restore { snapshots, keep_as });
        steps.push(Step::Promote);
    }
    steps
}

/// The data as they were before the trial.
fn back(switch: &Switch) -> Step {
    match switch.data {
        Data::Keep => Step::Restore { snapshots: switch.id.clone(), keep_as: tried(&switch.id) },
        Data::Restore(_) => Step::PutBack(switch.id.clone()),
    }
}

/// The name under which what a trial made of the data is kept, when the machine goes back.
pub fn tried(id: &str) -> String {
    format!("{id}-trial")
}

/// What keeps the slot that is running, once its health is decided.
pub fn keep(switch: &Switch) -> Vec<Step> {
    let mut steps = vec![Step::Phase(Phase::Committing)];
    steps.extend(kept(switch));
    steps
}

fn kept(switch: &Switch) -> Vec<Step> {
    vec![Step::Settle(switch.to), Step::End(End::Committed, "")]
}

/// What calls off a switch that was armed and not tried.
pub fn cancel(switch: &Switch) -> Vec<Step> {
    vec![Step::Settle(switch.from), Step::End(End::Cancelled, "called off")]
}

#[cfg(test)]
mod tests {
    use super::super::journal::Image;
    use super::*;

    const A: Role = Role::SlotA;
    const B: Role = Role::SlotB;

    fn switch(phase: Phase, data: Data) -> Switch {
        let image = Image::default();
        let drive = "OS-1".to_owned();
        let (id, why) = ("new".to_owned(), String::new());
        Switch { id, phase, from: A, to: B, data, image, drive, why }
    }

    fn facts<'a>(running: Role, marks: Marks, switch: Option<&'a Switch>) -> Facts<'a> {
        Facts { running, marks, drive: "OS-1", switch }
    }

    fn next(role: Role) -> Marks {
        Marks { next: Some(role), ..Marks::default() }
    }

    #[test]
    fn the_table() {
        use Verdict::{Armed, Back, Kept, Steady, Trial, UnknownTrial};
        let keep = |phase| Some(switch(phase, Data::Keep));
        let restore = |phase| Some(switch(phase, Data::Restore("old".to_owned())));
        let on_trial = Marks { on_trial: true, ..next(A) };
        let failed = Marks { failed: true, ..next(A) };
        let (settle_a, settle_b) = (Step::Settle(A), Step::Settle(B));
        let swap = || Step::Restore { snapshots: "old".to_owned(), keep_as: "new".to_owned() };
        let undo =
            || Step::Restore { snapshots: "new".to_owned(), keep_as: "new-trial".to_owned() };
        let put_back = || Step::PutBack("new".to_owned());
        let promote = || Step::Promote;
        let begin = || Step::Phase(Phase::Trial);
        let end = |end, why| Step::End(end, why);
        let not_kept = || end(End::Failed, "the trial was not kept");
        type Row = (Role, Marks, Option<Switch>, Verdict, Vec<Step>);
        let table: Vec<Row> = vec![
            (A, next(A), None, Steady, vec![]),
            (B, on_trial, None, UnknownTrial, vec![]),
            (A, failed, None, Steady, vec![settle_a.clone()]),
            // The new slot runs.
            (B, on_trial, keep(Phase::Armed), Trial, vec![begin()]),
            (B, next(B), keep(Phase::Armed), Trial, vec![Step::Return(A), begin()]),
            (B, on_trial, keep(Phase::Trial), Trial, vec![]),
            (B, on_trial, restore(Phase::Armed), Trial, vec![begin(), swap(), promote()]),
            (B, on_trial, restore(Phase::Trial), Trial, vec![swap(), promote()]),
            (
                B,
                next(B),
                keep(Phase::Committing),
                Kept,
                vec![settle_b.clone(), end(End::Committed, "")],
            ),
            // The old slot runs.
            (A, next(B), keep(Phase::Armed), Armed, vec![]),
            (
                A,
                failed,
                keep(Phase::Armed),
                Back,
                vec![end(End::Failed, "the new system did not start"), settle_a.clone()],
            ),
            (
                A,
                next(A),
                keep(Phase::Armed),
                Steady,
                vec![settle_a.clone(), end(End::Cancelled, "the power went while it was armed")],
            ),
            (
                A,
                next(A),
                keep(Phase::Trial),
                Back,
                vec![undo(), promote(), settle_a.clone(), not_kept()],
            ),
            (
                A,
                failed,
                restore(Phase::Trial),
                Back,
                vec![put_back(), promote(), settle_a.clone(), not_kept()],
            ),
            (
                A,
                failed,
                keep(Phase::Committing),
                Back,
                vec![undo(), promote(), settle_a.clone(), not_kept()],
            ),
        ];
        for (running, marks, switch, verdict, steps) in table {
            let decision = decide(&facts(running, marks, switch.as_ref()));
            assert_eq!(decision, Decision { verdict, steps }, "{running:?} {marks:?} {switch:?}");
        }
    }

    #[test]
    fn what_exchanges_the_data_is_done_before_they_are_mounted_and_the_rest_can_wait() {
        let restore = Data::Restore("old".to_owned());
        let table = [
            (A, switch(Phase::Trial, Data::Keep), 1, 3),
            (A, switch(Phase::Trial, restore.clone()), 1, 3),
            (B, switch(Phase::Armed, restore.clone()), 3, 1),
            (B, switch(Phase::Trial, restore), 2, 1),
            (B, switch(Phase::Committing, Data::Keep), 2, 0),
        ];
        for (running, switch, before, after) in table {
            let decision = decide(&facts(running, next(running), Some(&switch)));
            let found = decision.around_mounting();
            assert_eq!((found.0.len(), found.1.len()), (before, after), "{decision:?}");
        }
    }

    #[test]
    fn on_another_drive_the_data_are_left_alone() {
        for phase in [Phase::Armed, Phase::Trial, Phase::Committing] {
            let switch = switch(phase, Data::Keep);
            for running in [A, B] {
                let facts = Facts { drive: "OS-2", ..facts(running, next(A), Some(&switch)) };
                let steps = decide(&facts).steps;
                assert_eq!(steps, [Step::End(End::Cancelled, "the OS drive was replaced")]);
            }
        }
    }

    /// Flags, journal and data, as coarsely as the rules speak of them.
    #[derive(Clone, Debug, PartialEq)]
    struct World {
        marks: Marks,
        switch: Option<Switch>,
        ended: Option<End>,
        /// Whose data are live: those of before the switch, what a trial made of them, restored.
        live: &'static str,
        kept: Vec<&'static str>,
    }

    impl World {
        fn take(&mut self, step: &Step) {
            match step {
                Step::Return(role) => self.marks = Marks { on_trial: true, ..next(*role) },
                Step::Settle(role) => self.marks = next(*role),
                Step::Phase(phase) => {
                    if let Some(switch) = &mut self.switch {
                        switch.phase = *phase;
                    }
                }
                Step::Restore { snapshots, .. } => {
                    let live = if snapshots == "new" { "before" } else { "restored" };
                    if self.live != live {
                        self.kept.push(self.live);
                        self.live = live;
                    }
                }
                Step::PutBack(_) => {
                    if self.live != "before" {
                        self.kept.push(self.live);
                        self.live = "before";
                    }
                }
                Step::Promote => {}
                Step::End(end, _) => {
                    if self.switch.take().is_some() {
                        self.ended = Some(*end);
                    }
                }
            }
        }
    }

    /// Boots into `running`, the power going before step `cut`. True when it went.
    fn boot(world: &mut World, running: Role, cut: usize) -> (Verdict, bool) {
        let switch = world.switch.clone();
        let facts = facts(running, world.marks, switch.as_ref());
        let decision = decide(&facts);
        for (number, step) in decision.steps.iter().enumerate() {
            if number == cut {
                return (decision.verdict, true);
            }
            world.take(step);
        }
        (decision.verdict, false)
    }

    #[test]
    fn two_power_cuts_at_any_step_of_going_back_end_in_the_same_place() {
        for data in [Data::Keep, Data::Restore("old".to_owned())] {
            for first in 0..4 {
                for second in 0..4 {
                    let mut world = World {
                        marks: Marks { on_trial: true, ..next(A) },
                        switch: Some(switch(Phase::Armed, data.clone())),
                        ended: None,
                        live: "before",
                        kept: Vec::new(),
                    };
                    let (verdict, cut) = boot(&mut world, B, first);
                    assert_eq!(verdict, Verdict::Trial);
                    if !cut {
                        // It runs and writes, and is not healthy.
                        world.live = if world.live == "before" { "tried" } else { "tried on" };
                    }
                    let touched = world.live != "before";
                    // gptboot notes the failure when the trial is not kept.
                    world.marks = Marks { failed: true, ..next(A) };
                    while boot(&mut world, A, second).1 {
                        let (_, cut) = boot(&mut world, A, usize::MAX);
                        assert!(!cut);
                    }
                    assert_eq!(world.live, "before");
                    assert_eq!(world.kept.is_empty(), !touched, "what it wrote is kept");
                    assert_eq!(world.ended, Some(End::Failed));
                    assert_eq!(world.marks, next(A));
                }
            }
        }
    }

    #[test]
    fn a_commit_that_is_cut_is_finished_by_the_next_boot() {
        let switch = switch(Phase::Trial, Data::Keep);
        let steps = keep(&switch);
        for cut in 1..=steps.len() {
            let mut world = World {
                marks: Marks { on_trial: true, ..next(A) },
                switch: Some(switch.clone()),
                ended: None,
                live: "tried",
                kept: Vec::new(),
            };
            steps.iter().take(cut).for_each(|step| world.take(step));
            // Settling is several writes: before them the next boot is the old slot's, after the
            // first one the new slot's (see `select`).
            let running = if world.marks.next == Some(B) { B } else { A };
            boot(&mut world, running, usize::MAX);
            let (end, live) = match running {
                B => (End::Committed, "tried"),
                _ => (End::Failed, "before"),
            };
            assert_eq!((world.ended, world.live), (Some(end), live), "cut after {cut}");
            assert_eq!(world.marks, next(running));
        }
    }
}

//! The data that are kept: `upgrade kept`, `compare`, `prune`.

use super::command::Order;
use super::data::{self, Doomed, Group, PARTS, State, Step};
use super::journal::{Data, Journal};
use super::machine;
use super::switch;
use super::trial::{self, Started};
use crate::boot::Boot;
use crate::host::Error;
use crate::report::{Code, Exit, Finding};

/// Columns of the list, as of a screen that is read aloud.
const WIDTH: usize = 72;
/// What a failed exchange of data leaves is called so, after the id of its switch.
const UNDONE: &str = "-undone";

/// What there is, and what is known about it.
struct Known {
    started: Started,
    journal: Journal,
    root: String,
    state: State,
}

impl Known {
    /// Looks. What cannot be known is a finding.
    fn look(boot: &mut Boot<'_, '_>) -> Option<Known> {
        let (started, pool, journal) = trial::machine_now(boot)?;
        let root = format!("{}/{}", pool.name, boot.config.dataset);
        match State::read(boot.host, &root) {
            Ok(state) => Some(Known { started, journal, root, state }),
            Err(error) => {
                boot.find(Finding::failed(Code::E79, "what is kept could not be listed", &error));
                None
            }
        }
    }

    /// The switch that is under way may need these.
    fn needed(&self) -> Vec<String> {
        let Some(switch) = &self.journal.switch else { return Vec::new() };
        let tried = machine::tried(&switch.id);
        let mut needed = vec![switch.id.clone(), tried.clone(), format!("{tried}{UNDONE}")];
        needed.push(format!("{}{UNDONE}", switch.id));
        if let Data::Restore(id) = &switch.data {
            needed.push(id.clone());
        }
        needed
    }

    /// `upgrade rollback` would go back to these.
    fn way_back(&self) -> Option<&str> {
        let past = switch::last_upgrade(&self.started, &self.journal);
        past.ok().map(|past| past.id.as_str())
    }

    /// What is kept as `id`, in words.
    fn about(&self, group: &Group) -> String {
        let id = group.id.as_str();
        let undone = id.strip_suffix(UNDONE);
        let base = undone.unwrap_or(id);
        let tried = machine::tried("");
        let base = base.strip_suffix(tried.as_str()).unwrap_or(base);
        let switch = self.journal.switch.as_ref().filter(|switch| switch.id == base);
        let past = self.journal.past.iter().find(|past| past.id == base);
        let (to, image, data) = match (switch, past) {
            (Some(one), _) => (one.to, &one.image, &one.data),
            (_, Some(one)) => (one.to, &one.image, &one.data),
            _ => return "of a switch that is forgotten".to_owned(),
        };
        let system = match image.name.is_empty() {
            true => to.name().to_owned(),
            false => format!("{} {} in {}", image.name, image.version, to.name()),
        };
        match (undone.is_some(), id == base, data) {
            (true, ..) => format!("what an exchange for {system} left"),
            (_, false, _) => format!("what the trial of {system} wrote"),
            (.., Data::Restore(_)) => format!("the data before going back to {system}"),
            (.., Data::Keep) => format!("the data before {system}"),
        }
    }
}

/// `upgrade kept`: lists all that is kept, the oldest first.
pub fn list(boot: &mut Boot<'_, '_>) -> Exit {
    let Some(known) = Known::look(boot) else { return Exit::Failed };
    let groups = data::groups(&known.state);
    if groups.is_empty() {
        boot.console.say("nothing is kept");
        return Exit::Nothing;
    }
    let (needed, back) = (known.needed(), known.way_back());
    for (number, group) in groups.iter().enumerate() {
        let mut line = format!("{}: {}; {}", group.id, known.about(group), measure(group));
        if needed.contains(&group.id) {
            line.push_str("; needed by the switch that is under way");
        } else if back == Some(group.id.as_str()) {
            line.push_str("; rollback goes back to it");
        }
        line.push('.');
        boot.console.item(number + 1, &line, WIDTH);
    }
    boot.console.item_named(
        "Next",
        "nanozfs upgrade compare ID, or: nanozfs upgrade prune ID",
        WIDTH,
    );
    Exit::Done
}

/// How much it is, and what would be free without it.
fn measure(group: &Group) -> String {
    let mut parts = Vec::new();
    parts.extend(counted(group.datasets.len(), "dataset"));
    parts.extend(counted(group.snapshots.len(), "snapshot"));
    format!("{}; frees {}", parts.join(", "), size(group.frees))
}

fn counted(number: usize, what: &str) -> Option<String> {
    match number {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{number} {what}s")),
    }
}

/// `12 MB`; little is `less than 1 MB`.
fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 if bytes > 0 => "less than 1 MB".to_owned(),
        megabytes => format!("{megabytes} MB"),
    }
}

/// `upgrade compare ID`: how what is kept differs from what is live, dataset by dataset.
pub fn compare(boot: &mut Boot<'_, '_>, id: &str) -> Exit {
    let Some(known) = Known::look(boot) else { return Exit::Failed };
    let state = &known.state;
    let Some(group) = data::groups(state).into_iter().find(|group| group.id == id) else {
        boot.find(Finding::new(Code::E79, format!("nothing is kept as {id}")));
        return Exit::Failed;
    };
    boot.console.say(&format!("{id}: {}", known.about(&group)));
    let mut lines = Vec::new();
    for one in data::compare(state, id) {
        lines.push(match (one.kept, one.live) {
            (Some(kept), Some(live)) => {
                format!("{}: {} kept, {} live", one.dataset, size(kept), size(live))
            }
            (Some(kept), None) => format!("{}: {} kept, not live", one.dataset, size(kept)),
            (None, live) => format!("{}: not kept, {} live", one.dataset, size(live.unwrap_or(0))),
        });
    }
    // Snapshots of what is kept itself say nothing about what is live.
    let live =
        |of: &str| PARTS.iter().any(|part| data::is_at(of, &format!("{}/{part}", known.root)));
    for (dataset, bytes) in data::changed(state, id).into_iter().filter(|(of, _)| live(of)) {
        let now = state.get(dataset).map_or(0, |one| one.referenced);
        lines.push(match bytes {
            0 => format!("{dataset}: nothing of then is missing; {} live", size(now)),
            _ => {
                format!("{dataset}: {} of then are gone or other; {} live", size(bytes), size(now))
            }
        });
    }
    for (number, line) in lines.iter().enumerate() {
        boot.console.item(number + 1, line, WIDTH);
    }
    let look = match group.datasets.first() {
        Some(dataset) => format!("mount -t zfs -o ro {dataset} /mnt"),
        None => format!("ls /var/.zfs/snapshot/nanozfs-{id}"),
    };
    boot.console.item_named("Next", &look, WIDTH);
    Exit::Done
}

/// `upgrade prune ID...`: destroys what is kept under these ids, after a question. All of it is
/// shown first, and nothing is destroyed when one of them is needed still.
pub fn prune(boot: &mut Boot<'_, '_>, order: &Order) -> Exit {
    let Some((known, doomed)) = plan(boot, order) else { return Exit::Failed };
    for one in &doomed {
        let (about, what) = (known.about(&one.group), measure(&one.group));
        boot.console.say(&format!("{}: {about}; {what}", one.group.id));
        for step in &one.steps {
            match boot.act {
                true => boot.console.say(&format!("to do: {step}")),
                false => boot.console.say(&format!("would {step}")),
            }
        }
    }
    if !boot.act {
        return Exit::Done;
    }
    if !order.yes && !agreed(boot) {
        return Exit::Nothing;
    }
    let lock = match boot.lock() {
        Ok(lock) => lock,
        Err(exit) => return exit,
    };
    let exit = destroy(boot, order, &doomed);
    drop(lock);
    exit
}

/// Asks whoever typed it. False, and said, when nothing is to be destroyed.
fn agreed(boot: &mut Boot<'_, '_>) -> bool {
    let question = "nanozfs: prune: this cannot be undone. Destroy it? [y/N] ";
    let answer = boot.ask(question);
    let why = match answer.as_deref().map(str::trim) {
        Some("y" | "Y" | "yes") => return true,
        Some(_) => "prune: nothing was destroyed",
        None => "prune: nobody is there to be asked: with -y it is done; nothing was destroyed",
    };
    boot.console.say(why);
    false
}

/// What is to be destroyed; a finding when something of it must stay.
fn plan(boot: &mut Boot<'_, '_>, order: &Order) -> Option<(Known, Vec<Doomed>)> {
    let known = Known::look(boot)?;
    if let Some(id) =
        known.way_back().filter(|id| !order.force && order.ids.iter().any(|o| o == id))
    {
        let what = format!("{id}: upgrade rollback would go back to it");
        let again = format!("nanozfs upgrade prune --force {}", order.ids.join(" "));
        boot.find(Finding::new(Code::E79, what).next(again));
        return None;
    }
    match data::prune(&known.state, &order.ids, &known.needed()) {
        Ok(doomed) => Some((known, doomed)),
        Err((id, why)) => {
            boot.find(Finding::new(Code::E79, format!("{id}: {why}")));
            None
        }
    }
}

/// Does what was shown, if it is still what there is to do.
fn destroy(boot: &mut Boot<'_, '_>, order: &Order, shown: &[Doomed]) -> Exit {
    let Some((known, doomed)) = plan(boot, order) else { return Exit::Failed };
    let steps = |all: &[Doomed]| -> Vec<Step> {
        all.iter().flat_map(|one| one.steps.iter().cloned()).collect()
    };
    if steps(&doomed) != steps(shown) {
        let what = "something else is kept than before the question: nothing was destroyed";
        boot.find(Finding::new(Code::E79, what));
        return Exit::Failed;
    }
    for one in &doomed {
        let goal = data::Goal::Prune { id: one.group.id.clone(), needed: known.needed() };
        if let Err(error) = data::run(boot.host, &known.root, &goal) {
            boot.find(failed(&one.group.id, &error));
            return Exit::Failed;
        }
        boot.changed(one.steps.len());
        boot.console.say(&format!("{} is destroyed", one.group.id));
    }
    Exit::Done
}

fn failed(id: &str, error: &Error) -> Finding {
    let what = format!("{id} could not be destroyed to its end");
    Finding::failed(Code::E79, &what, error).next(format!("nanozfs upgrade prune {id}"))
}

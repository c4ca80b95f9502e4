//! `nanozfs upgrade`: what an administrator types.

use super::journal::Phase;
use super::machine::Verdict;
use super::summary::{capital, ended, summary};
use super::{install, kept, select, settle, switch, trial};
use crate::boot::Boot;
use crate::cli::CommandVerb;
use crate::report::{Code, Exit, Finding};

/// What an administrator can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Shows what a release is, and whether this machine takes it.
    Info,
    /// Writes a release into the other slot.
    Install,
    /// Has the next boot try the other slot.
    Arm,
    /// Says what runs, what boots next, what can be gone back to.
    Status,
    /// Keeps the system on trial now.
    Commit,
    /// Goes back to the system and the data of before the last upgrade.
    Rollback,
    /// Calls off what is armed.
    Cancel,
    /// Shows how earlier switches ended.
    Log,
    /// Lists the data that are kept.
    Kept,
    /// Compares what is kept with the live data.
    Compare,
    /// Destroys what is kept.
    Prune,
}

impl Verb {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Verb; 11] = [
        Verb::Info,
        Verb::Install,
        Verb::Arm,
        Verb::Status,
        Verb::Commit,
        Verb::Rollback,
        Verb::Cancel,
        Verb::Log,
        Verb::Kept,
        Verb::Compare,
        Verb::Prune,
    ];

    /// How it is typed, and what it does in one line.
    pub fn line(self) -> CommandVerb {
        match self {
            Verb::Info => {
                CommandVerb::new("info", "FILE|-", "Show what a release is, and whether it fits.")
            }
            Verb::Install => {
                CommandVerb::new("install", "FILE|-", "Write a release into the other slot.")
            }
            Verb::Arm => {
                CommandVerb::new("arm", "", "Take snapshots; the next boot tries the other slot.")
            }
            Verb::Status => {
                CommandVerb::new("status", "", "Say what runs, what boots next, what is kept.")
            }
            Verb::Commit => CommandVerb::new("commit", "", "Keep the system on trial now."),
            Verb::Rollback => {
                CommandVerb::new("rollback", "", "Go back to the system and data of before.")
            }
            Verb::Cancel => CommandVerb::new("cancel", "", "Call off what is armed."),
            Verb::Log => CommandVerb::new("log", "", "Show how earlier switches ended."),
            Verb::Kept => CommandVerb::new("kept", "", "List the data that are kept."),
            Verb::Compare => CommandVerb::new(
                "compare",
                "ID",
                "Show how what is kept differs from what is live.",
            ),
            Verb::Prune => {
                CommandVerb::new("prune", "ID ...", "Destroy what is kept, after a question.")
            }
        }
    }
}

/// A command line, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// What to do; without one, a file is installed and armed.
    pub verb: Option<Verb>,
    /// The release: a path, or `-` for standard input.
    pub file: Option<String>,
    /// What is kept, by its ids.
    pub ids: Vec<String>,
    /// Nobody is asked.
    pub yes: bool,
    /// Try an image again that failed a trial; prune what a rollback would go back to.
    pub force: bool,
    /// Restart the machine when that leads on.
    pub reboot: bool,
    /// Where progress goes as lines of JSON.
    pub progress_fd: Option<i32>,
}

impl Order {
    /// From the operands of the command line; the options are the caller's to fill in.
    ///
    /// # Errors
    ///
    /// What is missing or too much, in words.
    pub fn parse(operands: &[String]) -> Result<Order, String> {
        let (first, rest) = operands.split_first().ok_or("upgrade: what is to be done?")?;
        let known = Verb::ALL.into_iter().find(|verb| verb.line().name == first);
        let (verb, name, file) = match known.map(|verb| (verb, verb.line())) {
            Some((verb, line)) if line.operands.is_empty() => (Some(verb), line.name, rest),
            Some((verb @ (Verb::Compare | Verb::Prune), line)) => {
                let name = line.name;
                let ids = rest.to_vec();
                if ids.is_empty() {
                    return Err(format!("upgrade {name}: which id? nanozfs upgrade kept"));
                }
                let more = ids.get(1).filter(|_| verb == Verb::Compare).cloned();
                return one_more(
                    name,
                    more.as_ref(),
                    Order { verb: Some(verb), ids, ..Order::default() },
                );
            }
            Some((verb, line)) => {
                let name = line.name;
                let file = rest.first().ok_or_else(|| format!("upgrade {name}: which file?"))?;
                let order =
                    Order { verb: Some(verb), file: Some(file.clone()), ..Order::default() };
                return one_more(name, rest.get(1), order);
            }
            None if first.contains(['/', '.']) || first == "-" => {
                let order = Order { file: Some(first.clone()), ..Order::default() };
                return one_more("", rest.first(), order);
            }
            None => return Err(format!("upgrade: no such command: {first}")),
        };
        one_more(name, file.first(), Order { verb, ..Order::default() })
    }

    /// It changes something, so that nobody else may at the same time.
    pub fn acts(&self) -> bool {
        let looks = [Verb::Info, Verb::Status, Verb::Log, Verb::Kept, Verb::Compare];
        !self.verb.is_some_and(|verb| looks.contains(&verb))
    }
}

fn one_more(name: &str, word: Option<&String>, order: Order) -> Result<Order, String> {
    match word {
        Some(word) => Err(format!("upgrade {name}: what is {word}?")),
        None => Ok(order),
    }
}

/// Does it.
pub fn run(boot: &mut Boot<'_, '_>, order: &Order) -> Exit {
    let file = order.file.as_deref().unwrap_or("-");
    let exit = match order.verb {
        None => match install::run(boot, file, order) {
            Ok(image) => switch::arm(boot, order.force, Some(image)),
            Err(exit) => exit,
        },
        Some(Verb::Info) => install::info(boot, file),
        Some(Verb::Install) => match install::run(boot, file, order) {
            Ok(_) => Exit::Done,
            Err(exit) => exit,
        },
        Some(Verb::Arm) => switch::arm(boot, order.force, None),
        Some(Verb::Status) => return status(boot),
        Some(Verb::Commit) => settle::keep(boot),
        Some(Verb::Rollback) => switch::rollback(boot),
        Some(Verb::Cancel) => switch::cancel(boot),
        Some(Verb::Log) => return log(boot),
        Some(Verb::Kept) => return kept::list(boot),
        Some(Verb::Compare) => {
            return kept::compare(boot, order.ids.first().map_or("", String::as_str));
        }
        Some(Verb::Prune) => return kept::prune(boot, order),
    };
    if exit == Exit::Done && boot.act {
        restart(boot, order);
    }
    exit
}

/// Restarts, where that was asked for and leads on; otherwise says what does.
fn restart(boot: &mut Boot<'_, '_>, order: &Order) {
    if !matches!(order.verb, None | Some(Verb::Arm | Verb::Rollback)) {
        return;
    }
    if !order.reboot {
        return boot.console.say("next: reboot");
    }
    boot.console.say("restarting");
    if let Err(error) = boot.host.services().reboot(true) {
        let what = "the machine could not be restarted";
        boot.find(Finding::failed(Code::E71, what, &error).next("reboot"));
    }
}

/// Says what runs, what boots next, what is under way and what can be gone back to.
fn status(boot: &mut Boot<'_, '_>) -> Exit {
    let Some((started, pool, journal)) = trial::machine_now(boot) else { return Exit::Failed };
    let summary = summary(&started, &journal);
    let (running, other) = (summary.running, select::opposite(summary.running));
    let next_name = summary.next_name();
    let mut lines = vec![
        summary.state.clone(),
        format!("Running: {} of {}.", running.name(), started.drive.name()),
        format!("{} holds {}.", capital(other.name()), summary.other_holds),
        format!("The next boot goes to {next_name}."),
        format!("The journal is on pool {}.", pool.name),
    ];
    if let Some(past) = journal.past.last() {
        lines.push(format!("Last switch: {}.", ended(past)));
    }
    if let Some(key) = summary.key_back {
        lines.push(format!(
            "When that kernel does not start at all, boot0 needs a person: press F{key}."
        ));
    }
    for (number, line) in lines.iter().enumerate() {
        boot.console.item(number + 1, line, 72);
    }
    boot.console.item_named("Next", summary.next, 72);
    if summary.leads_astray(&journal) {
        let what = format!("{} runs, and the next boot goes to {next_name}", running.name());
        boot.find(Finding::new(Code::E77, what));
    }
    match summary.verdict {
        Verdict::Steady => Exit::Done,
        _ => Exit::Trial,
    }
}

/// Shows how earlier switches ended, the newest last.
fn log(boot: &mut Boot<'_, '_>) -> Exit {
    let Some((_, _, journal)) = trial::machine_now(boot) else { return Exit::Failed };
    for past in &journal.past {
        boot.console.plain(&ended(past));
    }
    if let Some(switch) = &journal.switch {
        let phase = match switch.phase {
            Phase::Armed => "armed",
            Phase::Trial => "on trial",
            Phase::Committing => "being kept",
        };
        let image = trial::image_name(switch);
        boot.console.plain(&format!("{} {}{image} {phase}", switch.id, switch.to.name()));
    }
    match journal.past.is_empty() && journal.switch.is_none() {
        true => {
            boot.console.say("no switch is remembered");
            Exit::Nothing
        }
        false => Exit::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(words: &str) -> Result<Order, String> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        Order::parse(&words)
    }

    #[test]
    fn what_is_typed_is_understood_or_refused_with_its_word() {
        let file =
            |verb, name: &str| Order { verb, file: Some(name.to_owned()), ..Order::default() };
        assert_eq!(order("install -"), Ok(file(Some(Verb::Install), "-")));
        assert_eq!(order("info /tmp/x.nzr"), Ok(file(Some(Verb::Info), "/tmp/x.nzr")));
        assert_eq!(order("gate-2.1.nzr"), Ok(file(None, "gate-2.1.nzr")));
        assert_eq!(order("arm"), Ok(Order { verb: Some(Verb::Arm), ..Order::default() }));
        assert_eq!(order("instal x"), Err("upgrade: no such command: instal".to_owned()));
        assert_eq!(order("install"), Err("upgrade install: which file?".to_owned()));
        assert_eq!(order("arm now"), Err("upgrade arm: what is now?".to_owned()));
        assert!(order("").is_err());
        let ids = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let two = Order { verb: Some(Verb::Prune), ids: ids("A B"), ..Order::default() };
        assert_eq!(order("prune A B"), Ok(two));
        assert_eq!(order("compare A B"), Err("upgrade compare: what is B?".to_owned()));
        let why = "upgrade prune: which id? nanozfs upgrade kept";
        assert_eq!(order("prune"), Err(why.to_owned()));
    }
}

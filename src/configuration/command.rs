//! `nanozfs cfg WORD`: what an administrator types.

use std::ffi::OsString;

use super::{confirm, diff, log, recovery, revert, save};
use crate::boot::Boot;
use crate::cli::CommandVerb;
use crate::report::Exit;

/// What an administrator can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Brings what differs between `/etc` and the image to `/cfg`.
    Save,
    /// Shows what a save would do, or what has changed since a snapshot.
    Diff,
    /// Shows who saved what, when and why.
    Log,
    /// Goes back to a snapshot, or brings single files back.
    Revert,
    /// Lays it over `/etc` now.
    Apply,
    /// Keeps what was applied to be confirmed.
    Confirm,
    /// Takes back what nobody confirmed.
    Watch,
    /// Refreshes and shows the copy of it on the OS drive.
    Recovery,
}

impl Verb {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Verb; 8] = [
        Verb::Save,
        Verb::Diff,
        Verb::Log,
        Verb::Revert,
        Verb::Apply,
        Verb::Confirm,
        Verb::Watch,
        Verb::Recovery,
    ];

    /// How it is typed, and what it does in one line.
    pub fn line(self) -> CommandVerb {
        match self {
            Verb::Save => CommandVerb::new("save", "[path ...]", "Save what was changed in /etc."),
            Verb::Diff => {
                CommandVerb::new("diff", "[@snapshot] [path ...]", "Show what save would do.")
            }
            Verb::Revert => {
                CommandVerb::new("revert", "@snapshot|path ...", "Bring back what was saved.")
            }
            Verb::Log => CommandVerb::new("log", "", "Show who saved, when and why."),
            Verb::Apply => CommandVerb::new(
                "apply",
                "[@snapshot]",
                "Have what was changed in /cfg take effect.",
            ),
            Verb::Confirm => {
                CommandVerb::new("confirm", "", "Keep what was applied with --confirm.")
            }
            Verb::Watch => CommandVerb::new(
                "watch",
                "id seconds",
                "Take back what nobody confirms; apply starts this.",
            ),
            Verb::Recovery => CommandVerb::new(
                "recovery",
                "word",
                "Its copy on the OS drive: save, diff or show.",
            ),
        }
    }

    /// The options of the command that this verb takes.
    fn options(self) -> &'static [&'static str] {
        match self {
            Verb::Save => &["message", "yes"],
            Verb::Revert => &["message"],
            Verb::Apply => &["confirm"],
            Verb::Diff | Verb::Log | Verb::Confirm | Verb::Watch | Verb::Recovery => &[],
        }
    }

    /// How many operands it takes.
    fn operands(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Verb::Save | Verb::Diff => 0..=usize::MAX,
            Verb::Revert => 1..=usize::MAX,
            Verb::Log => 0..=0,
            Verb::Apply => 0..=1,
            Verb::Confirm => 0..=0,
            Verb::Watch => 2..=2,
            Verb::Recovery => 1..=1,
        }
    }

    /// It changes something, so that nobody else may at the same time.
    fn acts(self) -> bool {
        match self {
            Verb::Save | Verb::Revert => true,
            Verb::Diff | Verb::Log => false,
            // It waits for minutes, and takes the lock by itself.
            Verb::Watch => false,
            // To look at the copy, it is mounted.
            Verb::Apply | Verb::Confirm | Verb::Recovery => true,
        }
    }
}

/// A command line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What to do.
    pub verb: Verb,
    /// What follows the verb, with any byte that a name can have.
    pub operands: Vec<OsString>,
    /// The options that were given, and their values.
    options: Vec<(&'static str, String)>,
}

impl Order {
    /// From the operands of the command line and its own options.
    ///
    /// # Errors
    ///
    /// What is missing or too much, in words.
    pub fn parse(
        operands: &[OsString],
        options: &[(&'static str, String)],
    ) -> Result<Order, String> {
        let (first, rest) = operands.split_first().ok_or("cfg: what is to be done?")?;
        let known = Verb::ALL.into_iter().find(|verb| *first == *verb.line().name);
        let verb =
            known.ok_or_else(|| format!("cfg: no such command: {}", first.to_string_lossy()))?;
        let name = verb.line().name;
        if rest.len() < *verb.operands().start() {
            return Err(format!("cfg {name}: {} is missing", verb.line().operands));
        }
        if let Some(word) = rest.get(*verb.operands().end()) {
            return Err(format!("cfg {name}: what is {}?", word.to_string_lossy()));
        }
        if let Some((option, _)) = options.iter().find(|(one, _)| !verb.options().contains(one)) {
            return Err(format!("cfg {name}: does not take --{option}"));
        }
        Ok(Order { verb, operands: rest.to_vec(), options: options.to_vec() })
    }

    /// It changes something, so that nobody else may at the same time.
    pub fn acts(&self) -> bool {
        self.verb.acts()
    }

    /// The value of an option; the last one, when it was given more than once.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rfind(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }
}

/// Does it.
pub fn run(boot: &mut Boot<'_, '_>, order: &Order) -> Exit {
    match order.verb {
        Verb::Save => save::run(boot, order),
        Verb::Diff => diff::run(boot, order),
        Verb::Log => log::run(boot),
        Verb::Revert => revert::run(boot, order),
        Verb::Apply => {
            let operand = order.operands.first().map(|word| word.to_string_lossy());
            match confirm::Request::parse(order.option("confirm"), operand.as_deref()) {
                Ok(request) => confirm::apply(boot, &request),
                Err(why) => {
                    boot.console.say(&why);
                    Exit::Usage
                }
            }
        }
        Verb::Confirm => confirm::confirm(boot),
        Verb::Watch => confirm::watch(boot, &order.operands),
        Verb::Recovery => match order.operands.first() {
            Some(word) => recovery::run(boot, word),
            None => Exit::Usage,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(words: &str) -> Result<Order, String> {
        let words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        Order::parse(&words, &[])
    }

    #[test]
    fn what_is_typed_is_understood_or_refused_with_its_word() {
        assert_eq!(order("log").unwrap().verb, Verb::Log);
        assert_eq!(order("lag"), Err("cfg: no such command: lag".to_owned()));
        assert_eq!(order("log now"), Err("cfg log: what is now?".to_owned()));
        assert!(order("").is_err());
    }
}

//! What a save does about one place: a pure function of what is there.

use super::look::{Differ, Fact};
use crate::host::{FileKind, Stat, Timestamp};

/// What is to be done about a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is as it should be.
    Nothing,
    /// `/cfg` has it, and `/etc` another one: that of `/etc` goes to `/cfg`.
    Update,
    /// The image has it, and `/etc` another one: that of `/etc` goes to `/cfg`.
    Take,
    /// Only `/etc` has it: somebody has to say whether it goes to `/cfg`.
    New,
    /// It is gone from `/etc`: out of `/cfg`. The image has one, too, which must stay away.
    Drop {
        /// The image has one.
        image: bool,
    },
    /// It is gone from `/etc`, and only the image has it: it must stay away.
    Hide,
    /// It was deleted once, and is there again.
    Unhide,
    /// It was changed in `/cfg` after `/cfg` was laid over `/etc`, or was never laid there: which of
    /// the two is wanted, somebody has to say.
    Newer {
        /// What a save does when it is told to.
        otherwise: Box<Decision>,
    },
    /// It cannot be saved, and why.
    Refuse(String),
}

/// When `/cfg` and `/etc` were last known to be in step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Laid {
    /// What changed in `/cfg` after this was not laid over `/etc`. None: it is not known.
    pub(super) at: Option<Timestamp>,
    /// All of `/cfg` got there.
    pub(super) whole: bool,
}

/// Decides. `hidden`: it is on the list of what stays deleted.
pub(super) fn decide(fact: &Fact, hidden: bool, laid: &Laid) -> Decision {
    let image = fact.image.map(|(stat, _)| stat);
    match (&fact.etc, &fact.cfg, image) {
        (Some(etc), _, _) if is_special(etc) => {
            Decision::Refuse(format!("is a {}", etc.kind.name()))
        }
        (Some(etc), Some(cfg), _) => match clash(etc, cfg) {
            Some(why) => Decision::Refuse(format!("{why} in /cfg")),
            None if fact.differ == Differ::Nothing && hidden => Decision::Unhide,
            None if fact.differ == Differ::Nothing => Decision::Nothing,
            None if is_newer(cfg, laid) && cfg.changed > etc.changed => newer(Decision::Update),
            None => Decision::Update,
        },
        (Some(etc), None, Some(image)) => match clash(etc, &image) {
            // The next boot could not lay it.
            Some(why) => Decision::Refuse(format!("{why} in the image")),
            None if fact.differ != Differ::Nothing => Decision::Take,
            None if hidden => Decision::Unhide,
            None => Decision::Nothing,
        },
        (Some(_), None, None) => Decision::New,
        // What is in its place at the next boot says so itself.
        (None, Some(cfg), _) if is_special(cfg) => Decision::Nothing,
        (None, Some(cfg), image) => {
            let gone = Decision::Drop { image: image.is_some() };
            match !laid.whole || is_newer(cfg, laid) {
                true => newer(gone),
                false => gone,
            }
        }
        (None, None, Some(_)) if !hidden => Decision::Hide,
        (None, None, _) => Decision::Nothing,
    }
}

fn newer(otherwise: Decision) -> Decision {
    Decision::Newer { otherwise: Box::new(otherwise) }
}

/// It changed in `/cfg` after it could have been laid over `/etc`.
fn is_newer(cfg: &Stat, laid: &Laid) -> bool {
    laid.at.is_none_or(|at| cfg.changed > at)
}

fn is_special(stat: &Stat) -> bool {
    stat.kind.is_special()
}

/// Why one cannot take the place of the other: a directory is never replaced, and what somebody
/// put there that is no file is not thrown away.
fn clash(etc: &Stat, other: &Stat) -> Option<String> {
    let directories = [etc, other].map(|stat| stat.kind == FileKind::Directory);
    let clash = is_special(other) || directories == [true, false] || directories == [false, true];
    clash.then(|| format!("is a {}, and a {}", etc.kind.name(), other.kind.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::look::letters::stat;

    const LAID: Laid = Laid { at: Some(Timestamp { seconds: 100, nanoseconds: 0 }), whole: true };

    /// The decision about `etc cfg image`, `!` behind it when `/etc` differs, `h` when it is hidden.
    fn decided(line: &str, laid: &Laid) -> String {
        let letters: Vec<char> = line.chars().collect();
        let differ = if line.contains('!') { Differ::Content } else { Differ::Nothing };
        let fact = Fact {
            path: "x".into(),
            etc: stat(letters[0]),
            cfg: stat(letters[1]),
            image: stat(letters[2]).map(|stat| (stat, 0)),
            differ,
        };
        name(&decide(&fact, line.contains('h'), laid))
    }

    fn name(decision: &Decision) -> String {
        match decision {
            Decision::Newer { otherwise } => format!("newer, else {}", name(otherwise)),
            Decision::Drop { image: true } => "drop and hide".to_owned(),
            Decision::Drop { image: false } => "drop".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    #[test]
    fn the_table_of_decisions() {
        for (line, wanted) in [
            // In /etc and in /cfg.
            ("fff", "nothing"),
            ("ff-", "nothing"),
            ("ff-h", "unhide"),
            ("Nf-!", "update"),
            ("Nn-!", "update"),
            ("fn-!", "newer, else update"),
            ("fn-", "nothing"),
            ("dd-!", "update"),
            ("fd-!", "refuse(\"is a file, and a directory in /cfg\")"),
            ("fp-!", "refuse(\"is a file, and a fifo in /cfg\")"),
            // In /etc and in the image.
            ("f-f", "nothing"),
            ("f-f!", "take"),
            ("f-fh", "unhide"),
            ("f-fh!", "take"),
            ("d-d!", "take"),
            ("f-d!", "refuse(\"is a file, and a directory in the image\")"),
            // Only in /etc.
            ("f--", "new"),
            ("d--", "new"),
            ("p--", "refuse(\"is a fifo\")"),
            // Gone from /etc.
            ("-f-", "drop"),
            ("-ff", "drop and hide"),
            ("-n-", "newer, else drop"),
            ("-d-", "drop"),
            ("-p-", "nothing"),
            ("--f", "hide"),
            ("--fh", "nothing"),
        ] {
            assert_eq!(decided(line, &LAID), wanted, "{line}");
        }
    }

    #[test]
    fn nothing_is_dropped_unless_all_of_cfg_was_laid_and_it_is_known_when() {
        for laid in [Laid::default(), Laid { whole: false, ..LAID }] {
            assert_eq!(decided("-f-", &laid), "newer, else drop");
            assert_eq!(decided("-d-", &laid), "newer, else drop");
            assert_eq!(decided("Nf-!", &laid), "update", "/etc is the younger one");
        }
        assert_eq!(decided("fn-!", &Laid::default()), "newer, else update");
    }
}

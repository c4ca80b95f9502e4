//! The layout to be made on a pool: a pure function of what the pool holds.
//!
//! Each part is made under another name and renamed when it is whole, which is one transaction: a
//! boot after a power cut finds a part or no part, and the same command goes on where it stopped.
//! `cfg` is the last, because a pool that holds it is taken for the machine's own.

use std::fmt;

use crate::boot::layout::aside;
use crate::format::zfs::{CanMount, Dataset, Mountpoint};
use crate::upgrade::journal::Journal;

/// What a part is called until it is whole.
const NEW: &str = ".nanozfs-new";

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes a dataset with these properties.
    Create {
        /// Its name.
        dataset: String,
        /// Its properties.
        properties: Vec<(&'static str, &'static str)>,
    },
    /// Sets a property.
    Set {
        /// Of this dataset.
        dataset: String,
        /// Its name.
        name: &'static str,
        /// Its value.
        value: &'static str,
    },
    /// Puts the first files into `/cfg`.
    Fill(String),
    /// Gives a part that is whole its name.
    Rename {
        /// The name until now.
        from: String,
        /// Its name.
        to: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Create { dataset, properties } => {
                write!(f, "make the dataset {dataset}")?;
                properties.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
            }
            Step::Set { dataset, name, value } => write!(f, "set {name}={value} on {dataset}"),
            Step::Fill(dataset) => write!(f, "fill {dataset}"),
            Step::Rename { from, to } => write!(f, "rename {from} to {to}"),
        }
    }
}

/// Why this is no time for a new layout: a switch between slots is under way, or data that it put
/// aside are not back. An empty part in their place would be taken for them.
pub fn under_way(root: &str, datasets: &[Dataset]) -> Option<String> {
    let parent = datasets.iter().find(|dataset| dataset.name == root)?;
    let journal = parent.upgrade.as_deref().map(Journal::parse);
    match journal {
        Some(Err(error)) => return Some(format!("{root}: its record of upgrades: {error}")),
        Some(Ok(journal)) if journal.switch.is_some() => {
            return Some(format!("{root}: an upgrade is under way"));
        }
        _ => {}
    }
    let aside = ["cfg", "var"].iter().find_map(|part| aside(datasets, root, part))?;
    Some(format!("{} was put aside, and is not back", aside.name))
}

/// A part of the layout.
struct Part {
    /// Below the parent; empty for the parent itself.
    name: &'static str,
    can_mount: &'static str,
    mountpoint: Option<&'static str>,
    /// A dataset in it.
    inside: Option<&'static str>,
    /// It gets the first files.
    filled: bool,
}

const PARTS: [Part; 4] = [
    Part { name: "", can_mount: "off", mountpoint: Some("none"), inside: None, filled: false },
    Part {
        name: "var",
        can_mount: "noauto",
        mountpoint: Some("/var"),
        inside: Some("log"),
        filled: false,
    },
    Part { name: "jails", can_mount: "off", mountpoint: None, inside: None, filled: false },
    Part { name: "cfg", can_mount: "noauto", mountpoint: Some("/cfg"), inside: None, filled: true },
];

/// What is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The datasets that are missing, as they will be.
    pub missing: Vec<String>,
    /// How they are made.
    pub steps: Vec<Step>,
}

/// What makes `root`, the layout's parent, a whole layout; `datasets` is everything in the pool.
/// What is there stays as it is.
///
/// # Errors
///
/// What is there under the name of the parent is somebody else's.
pub fn plan(root: &str, datasets: &[Dataset]) -> Result<Plan, String> {
    let find = |name: &str| datasets.iter().find(|dataset| dataset.name == name);
    if let Some(parent) = find(root) {
        foreign(parent, find(&format!("{root}/cfg")))?;
    }
    let mut plan = Plan::default();
    for part in &PARTS {
        let name = match part.name {
            "" => root.to_owned(),
            below => format!("{root}/{below}"),
        };
        if find(&name).is_some() {
            continue;
        }
        let new = format!("{name}{NEW}");
        let mut make = |dataset: &str, properties: Vec<(&'static str, &'static str)>| {
            let dataset = dataset.to_owned();
            match find(&dataset) {
                None => plan.steps.push(Step::Create { dataset, properties }),
                Some(_) => {
                    plan.steps.extend(properties.into_iter().map(|(name, value)| Step::Set {
                        dataset: dataset.clone(),
                        name,
                        value,
                    }))
                }
            }
        };
        let can_mount = ("canmount", part.can_mount);
        let mountpoint = part.mountpoint.map(|value| ("mountpoint", value));
        match part.inside {
            None => make(&new, [can_mount].into_iter().chain(mountpoint).collect()),
            Some(inside) => {
                // The mount point comes last: a dataset that was just made and has no properties
                // yet would be mounted below it by the next boot.
                make(&new, vec![can_mount]);
                make(&format!("{new}/{inside}"), vec![("canmount", "noauto")]);
                plan.steps.extend(mountpoint.map(|(name, value)| Step::Set {
                    dataset: new.clone(),
                    name,
                    value,
                }));
            }
        }
        if part.filled {
            plan.steps.push(Step::Fill(new.clone()));
        }
        let mut line = format!("{name} canmount={}", part.can_mount);
        if let Some(mountpoint) = part.mountpoint {
            line.push_str(&format!(" mountpoint={mountpoint}"));
        }
        plan.missing.push(line);
        plan.missing.extend(part.inside.map(|inside| format!("{name}/{inside} canmount=noauto")));
        plan.steps.push(Step::Rename { from: new, to: name });
    }
    Ok(plan)
}

/// Says why a dataset with the parent's name is somebody else's. The parent of a layout is never
/// mounted; one that was made by hand in another way is known by its `cfg`.
fn foreign(parent: &Dataset, cfg: Option<&Dataset>) -> Result<(), String> {
    let place = match &parent.mountpoint {
        Mountpoint::None => "none",
        Mountpoint::Legacy => "legacy",
        Mountpoint::Path(path) => path,
    };
    let is_cfg =
        |cfg: &Dataset| matches!(&cfg.mountpoint, Mountpoint::Path(path) if path == "/cfg");
    let ours = !parent.mounted
        && (parent.can_mount == CanMount::Off || place == "none" || cfg.is_some_and(is_cfg));
    match ours {
        true => Ok(()),
        false => Err(format!(
            "{} is there and is no layout: it is for files, mountpoint={place}",
            parent.name
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(name: &str, can_mount: CanMount, mountpoint: &str) -> Dataset {
        Dataset {
            name: name.to_owned(),
            can_mount,
            mountpoint: match mountpoint {
                "none" => Mountpoint::None,
                path => Mountpoint::Path(path.to_owned()),
            },
            mounted: false,
            encrypted: false,
            key_available: true,
            upgrade: None,
            disks: None,
        }
    }

    fn steps(datasets: &[Dataset]) -> Vec<String> {
        let plan = plan("tank/nano", datasets).unwrap();
        plan.steps.iter().map(ToString::to_string).collect()
    }

    const ALL: [&str; 11] = [
        "make the dataset tank/nano.nanozfs-new canmount=off mountpoint=none",
        "rename tank/nano.nanozfs-new to tank/nano",
        "make the dataset tank/nano/var.nanozfs-new canmount=noauto",
        "make the dataset tank/nano/var.nanozfs-new/log canmount=noauto",
        "set mountpoint=/var on tank/nano/var.nanozfs-new",
        "rename tank/nano/var.nanozfs-new to tank/nano/var",
        "make the dataset tank/nano/jails.nanozfs-new canmount=off",
        "rename tank/nano/jails.nanozfs-new to tank/nano/jails",
        "make the dataset tank/nano/cfg.nanozfs-new canmount=noauto mountpoint=/cfg",
        "fill tank/nano/cfg.nanozfs-new",
        "rename tank/nano/cfg.nanozfs-new to tank/nano/cfg",
    ];

    #[test]
    fn cfg_is_made_last_and_everything_gets_its_name_when_it_is_whole() {
        assert_eq!(steps(&[dataset("tank", CanMount::Off, "none")]), ALL);
    }

    #[test]
    fn what_is_there_stays_and_what_was_begun_is_finished() {
        let mut there = vec![
            dataset("tank/nano", CanMount::Off, "none"),
            dataset("tank/nano/var", CanMount::NoAuto, "/var"),
            dataset("tank/nano/cfg.nanozfs-new", CanMount::On, "none"),
        ];
        let wanted = [
            ALL[6],
            ALL[7],
            "set canmount=noauto on tank/nano/cfg.nanozfs-new",
            "set mountpoint=/cfg on tank/nano/cfg.nanozfs-new",
            ALL[9],
            ALL[10],
        ];
        assert_eq!(steps(&there), wanted);
        there.push(dataset("tank/nano/jails", CanMount::Off, "none"));
        there.push(dataset("tank/nano/cfg", CanMount::NoAuto, "/cfg"));
        assert_eq!(plan("tank/nano", &there).unwrap(), Plan::default());
    }

    #[test]
    fn a_dataset_for_files_is_somebody_elses() {
        let foreign = dataset("tank/nano", CanMount::On, "/home/nano");
        assert!(plan("tank/nano", std::slice::from_ref(&foreign)).is_err());
        let cfg = dataset("tank/nano/cfg", CanMount::NoAuto, "/cfg");
        assert!(plan("tank/nano", &[foreign.clone(), cfg.clone()]).is_ok());
        let mounted = Dataset { mounted: true, ..foreign };
        assert!(plan("tank/nano", &[mounted, cfg]).is_err());
    }
}

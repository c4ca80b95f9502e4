//! What there is, and the transactions that change it.

use std::fmt;

use crate::format::zfs::{Property, Snapshot, Source};
use crate::host::{Host, Result};

/// The datasets and snapshots at and below the layout's parent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The layout's parent, `POOL/nano`.
    pub root: String,
    /// File systems and volumes, parents first.
    pub datasets: Vec<Dataset>,
    /// Their snapshots, oldest first within a dataset.
    pub snapshots: Vec<Snapshot>,
}

/// A file system or volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataset {
    /// Its full name.
    pub name: String,
    /// It is a volume.
    pub volume: bool,
    /// It is mounted now.
    pub mounted: bool,
    /// The snapshot that it is a clone of, in full.
    pub origin: Option<String>,
    /// The dataset that has its key, if it is encrypted.
    pub encryption_root: Option<String>,
    /// Bytes that it and everything below it take, snapshots included.
    pub used: u64,
    /// Bytes that its own files take.
    pub referenced: u64,
    /// Bytes that could still be written.
    pub available: u64,
    /// The properties that are set on it.
    pub local: Vec<(String, String)>,
}

impl Dataset {
    /// The value of a property that is set on it; not an empty one.
    pub fn local(&self, name: &str) -> Option<&str> {
        let found = self.local.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn set(&mut self, name: &str, value: &str) {
        self.local.retain(|(other, _)| other != name);
        self.local.push((name.to_owned(), value.to_owned()));
    }
}

/// One transaction on the pool ([`Step::Clone`] and [`Step::Create`]: two).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Takes these snapshots, `DATASET@NAME`.
    Snapshot(Vec<String>),
    /// Renames a dataset with everything below it.
    Rename {
        /// Its name until now.
        from: String,
        /// Its name from now on.
        to: String,
    },
    /// Makes a dataset of a snapshot.
    Clone {
        /// `DATASET@NAME`.
        snapshot: String,
        /// The new dataset.
        dataset: String,
        /// Its properties.
        properties: Vec<(String, String)>,
    },
    /// Makes an empty dataset.
    Create {
        /// The new dataset.
        dataset: String,
        /// Its properties.
        properties: Vec<(String, String)>,
    },
    /// Sets a property.
    Set {
        /// Of this dataset.
        dataset: String,
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// Lets a clone and its origin change places.
    Promote(String),
    /// Destroys a dataset with everything below it, or a snapshot with those of its name below it.
    Destroy(String),
}

/// The command that does it, as zfs(8) takes it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("zfs ")?;
        let options = |f: &mut fmt::Formatter<'_>, all: &[(String, String)]| {
            all.iter().try_for_each(|(name, value)| write!(f, "-o '{name}={value}' "))
        };
        match self {
            Step::Snapshot(names) => write!(f, "snapshot {}", names.join(" ")),
            Step::Rename { from, to } => write!(f, "rename -u {from} {to}"),
            Step::Clone { snapshot, dataset, properties } => {
                f.write_str("clone ")?;
                options(f, properties)?;
                write!(f, "{snapshot} {dataset}")
            }
            Step::Create { dataset, properties } => {
                f.write_str("create -u ")?;
                options(f, properties)?;
                f.write_str(dataset)
            }
            Step::Set { dataset, name, value } => write!(f, "set '{name}={value}' {dataset}"),
            Step::Promote(dataset) => write!(f, "promote {dataset}"),
            Step::Destroy(name) => write!(f, "destroy -r {name}"),
        }
    }
}

/// `name` with `from` at its front, or as all of it, replaced by `to`.
pub(super) fn renamed(name: &str, from: &str, to: &str) -> Option<String> {
    let rest = name.strip_prefix(from)?;
    (rest.is_empty() || rest.starts_with(['/', '@'])).then(|| format!("{to}{rest}"))
}

/// True for `top` itself and for what is below it, snapshots included.
pub fn within(name: &str, top: &str) -> bool {
    name.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '@']))
}

/// The name of the dataset above.
pub(super) fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl State {
    /// Looks at what is at and below `root`; empty when it does not exist.
    ///
    /// # Errors
    ///
    /// When zfs(8) cannot tell.
    pub fn read(host: &dyn Host, root: &str) -> Result<State> {
        let properties = host.snapshots().properties(root)?;
        let snapshots = host.snapshots().list(root)?;
        Ok(State::of(root, properties, snapshots))
    }

    /// The same from what zfs(8) has told.
    pub fn of(root: &str, properties: Vec<Property>, snapshots: Vec<Snapshot>) -> State {
        let mut state = State { root: root.to_owned(), datasets: Vec::new(), snapshots };
        for property in properties {
            if state.datasets.last().is_none_or(|last| last.name != property.dataset) {
                let name = property.dataset;
                state.datasets.push(Dataset { name, ..Dataset::default() });
            }
            let Some(dataset) = state.datasets.last_mut() else { continue };
            let value = property.value.unwrap_or_default();
            let number = || value.parse().unwrap_or_default();
            match (property.source, property.name.as_str()) {
                (Source::Local | Source::Received, _) => dataset.local.push((property.name, value)),
                (Source::None, "type") => dataset.volume = value == "volume",
                (Source::None, "mounted") => dataset.mounted = value == "yes",
                (Source::None, "used") => dataset.used = number(),
                (Source::None, "referenced") => dataset.referenced = number(),
                (Source::None, "available") => dataset.available = number(),
                (Source::None, "origin") => dataset.origin = Some(value),
                (Source::None, "encryptionroot") => {
                    dataset.encryption_root = Some(value).filter(|root| root != "-");
                }
                _ => {}
            }
        }
        state.sort();
        state
    }

    /// Parents first.
    fn sort(&mut self) {
        self.datasets.sort_by(|a, b| a.name.split('/').cmp(b.name.split('/')));
    }

    /// The dataset with this name.
    pub fn get(&self, name: &str) -> Option<&Dataset> {
        self.datasets.iter().find(|dataset| dataset.name == name)
    }

    /// True when there is such a dataset.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// True when the dataset has this snapshot.
    pub fn has_snapshot(&self, dataset: &str, name: &str) -> bool {
        self.snapshots.iter().any(|one| one.dataset == dataset && one.name == name)
    }

    /// The dataset `top` and everything below it, parents first.
    pub fn below<'a>(&'a self, top: &'a str) -> impl Iterator<Item = &'a Dataset> {
        self.datasets.iter().filter(move |dataset| within(&dataset.name, top))
    }

    /// What there will be after `step`, if it succeeds.
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Snapshot(names) => {
                for (dataset, name) in names.iter().filter_map(|name| name.split_once('@')) {
                    let (dataset, name) = (dataset.to_owned(), name.to_owned());
                    self.snapshots.push(Snapshot { dataset, name, taken: 0, used: 0 });
                }
            }
            Step::Rename { from, to } => {
                let origins = self.datasets.iter_mut().filter_map(|one| one.origin.as_mut());
                let roots = |one: &'_ str| renamed(one, from, to);
                for name in origins {
                    *name = roots(name).unwrap_or_else(|| std::mem::take(name));
                }
                let snapshots = self.snapshots.iter_mut().map(|one| &mut one.dataset);
                for name in self.datasets.iter_mut().map(|one| &mut one.name).chain(snapshots) {
                    *name = roots(name).unwrap_or_else(|| std::mem::take(name));
                }
                self.sort();
            }
            Step::Clone { snapshot, dataset, properties } => {
                self.made(dataset, Some(snapshot), properties);
            }
            Step::Create { dataset, properties } => self.made(dataset, None, properties),
            Step::Set { dataset, name, value } => {
                if let Some(found) = self.datasets.iter_mut().find(|one| one.name == *dataset) {
                    found.set(name, value);
                }
            }
            Step::Promote(name) => self.promoted(name),
            Step::Destroy(name) => {
                self.datasets.retain(|one| !within(&one.name, name));
                self.snapshots.retain(|one| match name.split_once('@') {
                    Some((top, own)) => one.name != own || !within(&one.dataset, top),
                    None => !within(&one.dataset, name),
                });
            }
        }
    }

    fn made(&mut self, name: &str, origin: Option<&String>, properties: &[(String, String)]) {
        let (name, origin, local) = (name.to_owned(), origin.cloned(), properties.to_vec());
        self.datasets.push(Dataset { name, origin, local, ..Dataset::default() });
        self.sort();
    }

    fn promoted(&mut self, name: &str) {
        let Some(clone) = self.datasets.iter_mut().find(|one| one.name == name) else { return };
        let Some(origin) = clone.origin.take() else { return };
        let Some((from, last)) = origin.split_once('@') else { return };
        let mut above = None;
        let mut moved = Vec::new();
        // Those that are older than the origin go along, in front of the clone's own.
        let mut passed = false;
        for snapshot in self.snapshots.iter_mut().filter(|one| one.dataset == from) {
            if !passed {
                name.clone_into(&mut snapshot.dataset);
                moved.push(snapshot.name.clone());
            }
            passed |= snapshot.name == last;
        }
        for other in &mut self.datasets {
            if other.name == from {
                above = other.origin.replace(format!("{name}@{last}"));
            } else if let Some((of, own)) = other.origin.as_deref().and_then(|o| o.split_once('@'))
                && of == from
                && moved.iter().any(|one| one == own)
            {
                other.origin = Some(format!("{name}@{own}"));
            }
        }
        if let Some(clone) = self.datasets.iter_mut().find(|one| one.name == name) {
            clone.origin = above;
        }
    }
}

//! What to do about each known pool: a pure function of the configuration and the labels.

use super::survey::{Assessment, FoundPool, Verdict};
use super::{memory, missing_disks};
use crate::config::KnownPool;
use crate::format::zpool::Pool;
use crate::report::{Code, Finding};

/// What one known pool comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is imported already.
    Imported,
    /// It is there: [`Round::found`] at this index. More of it may still appear.
    Ready {
        /// Index of the pool in [`Round::found`].
        at: usize,
        /// What is there of it.
        assessment: Assessment,
    },
    /// It cannot be imported now.
    Absent {
        /// The pool's name, or the configuration's word when nothing was found.
        name: String,
        /// What to wait for; `None` when waiting cannot help.
        waiting: Option<String>,
        /// What to say if it stays so.
        finding: Finding,
    },
}

impl Wanted {
    /// The name of a pool that is not there.
    pub fn absent_name(&self) -> Option<String> {
        match self {
            Wanted::Absent { name, .. } if !name.is_empty() => Some(name.clone()),
            _ => None,
        }
    }
}

/// One look at the disks, and what follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// The pools found, known or not.
    pub found: Vec<FoundPool>,
    /// What each known pool comes to, in the order of the configuration.
    pub wanted: Vec<Wanted>,
    /// Spare and cache devices, which belong to no pool by their labels.
    pub spares: Vec<String>,
    /// What to tell, apart from what the imports come to.
    pub findings: Vec<Finding>,
}

impl Round {
    /// The pools to import.
    pub fn imports(&self) -> Vec<&FoundPool> {
        self.wanted
            .iter()
            .filter_map(|wanted| match wanted {
                Wanted::Ready { at, .. } => self.found.get(*at),
                _ => None,
            })
            .collect()
    }

    /// What is worth waiting for, in words.
    pub fn waiting(&self) -> Vec<String> {
        self.wanted
            .iter()
            .filter_map(|wanted| match wanted {
                Wanted::Imported => None,
                Wanted::Ready { at, assessment } => {
                    let pool = self.found.get(*at).filter(|_| assessment.may_improve())?;
                    Some(format!("pool {}: {}", pool.name, missing_disks(&assessment.missing)))
                }
                Wanted::Absent { waiting, .. } => waiting.clone(),
            })
            .collect()
    }

    /// Completes the findings, once there is no more waiting.
    pub fn with_notes(mut self, damaged: &[(String, String)], twins: &[(String, String)]) -> Self {
        for (disk, why) in damaged {
            self.findings.push(Finding::new(Code::E28, format!("disk {disk}: {why}")));
        }
        for (one, other) in twins {
            let what = format!("{one} and {other} carry the same ZFS label: {one} is used");
            self.findings.push(Finding::new(Code::E28, what));
        }
        for wanted in &self.wanted {
            if let Wanted::Absent { finding, .. } = wanted {
                self.findings.push(finding.clone());
            }
        }
        self
    }
}

/// Decides about every known pool.
pub fn decide(known: &[KnownPool], found: Vec<FoundPool>, imported: &[Pool]) -> Round {
    let mut round = Round::default();
    if known.is_empty() {
        let seen: Vec<_> =
            found.iter().map(|pool| format!("{} ({})", pool.name, pool.guid)).collect();
        let mut finding = Finding::new(Code::E20, "no pool is named in /etc/nanozfs.conf");
        if !seen.is_empty() {
            finding = finding.detail("found", seen.join(", "));
        }
        round.findings.push(finding);
    }
    for word in known {
        for wanted in decide_one(word, known, &found, imported) {
            let again = matches!(&wanted, Wanted::Ready { at, .. }
                if round.wanted.iter().any(|other| matches!(other, Wanted::Ready { at: before, .. } if before == at)));
            if !again {
                round.wanted.push(wanted);
            }
        }
    }
    round.found = found;
    round
}

/// What one word of the configuration comes to: one pool, or for a pattern any number.
fn decide_one(
    word: &KnownPool,
    known: &[KnownPool],
    found: &[FoundPool],
    imported: &[Pool],
) -> Vec<Wanted> {
    let here: Vec<_> = imported.iter().filter(|pool| word.matches(&pool.name, pool.guid)).collect();
    let candidates: Vec<_> = found
        .iter()
        .enumerate()
        .filter(|(_, pool)| word.matches(&pool.name, pool.guid))
        .filter(|(_, pool)| !imported.iter().any(|other| other.guid == pool.guid))
        .filter(|(_, pool)| {
            !(word.is_one_name() && here.iter().any(|other| other.name == pool.name))
        })
        .filter(|(_, pool)| !is_other_of_its_name(pool, known, found))
        .collect();
    let mut all: Vec<_> = here.iter().map(|_| Wanted::Imported).collect();
    let mut told = Vec::<&str>::new();
    for (at, pool) in &candidates {
        let alike: Vec<_> =
            candidates.iter().map(|(_, other)| *other).filter(|o| o.name == pool.name).collect();
        if alike.len() > 1 {
            if !told.contains(&pool.name.as_str()) {
                told.push(&pool.name);
                all.push(two_of_a_name(&pool.name, &alike));
            }
            continue;
        }
        all.push(match pool.assess() {
            assessment if assessment.verdict == Verdict::Short => short(pool, &assessment),
            assessment => Wanted::Ready { at: *at, assessment },
        });
    }
    if all.is_empty() {
        let what = match word {
            KnownPool::Guid(guid) => {
                format!("pool with the GUID {guid}: none of its disks was found")
            }
            KnownPool::Name(_) if word.is_one_name() => {
                format!("pool {word}: none of its disks was found")
            }
            KnownPool::Name(_) => format!("no pool named {word} was found"),
        };
        all.push(Wanted::Absent {
            name: word.to_string(),
            waiting: Some(format!("pool {word}: all its disks")),
            finding: Finding::new(Code::E23, what),
        });
    }
    all
}

/// True for a pool whose name is shared by one that the configuration names by GUID: that one is
/// meant, this one is not.
fn is_other_of_its_name(pool: &FoundPool, known: &[KnownPool], found: &[FoundPool]) -> bool {
    let by_guid = |pool: &FoundPool| {
        known.iter().any(|word| matches!(word, KnownPool::Guid(guid) if *guid == pool.guid))
    };
    let named = |other: &FoundPool| other.name == pool.name && by_guid(other);
    !by_guid(pool) && found.iter().any(named)
}

/// Two pools of one name: nothing is guessed.
fn two_of_a_name(name: &str, pools: &[&FoundPool]) -> Wanted {
    let what = format!("pool {name}: {} pools have this name: none is imported", pools.len());
    let mut finding = Finding::new(Code::E27, what);
    for pool in pools {
        let host = match (pool.hostname.as_deref(), pool.hostid) {
            (Some(name), _) if !name.is_empty() => name.to_owned(),
            // A pool that is imported at boot learns the ID only: there is no name yet.
            (_, Some(id)) if id != 0 => format!("the host with ID {id:08x}"),
            _ => "an unknown host".to_owned(),
        };
        let mut disks: Vec<_> = pool.devices.values().map(|device| device.disk.as_str()).collect();
        disks.sort_unstable();
        let text = format!("{}, last used by {host}, on {}", pool.guid, disks.join(" "));
        finding = finding.detail("pool", text);
    }
    Wanted::Absent { name: name.to_owned(), waiting: None, finding }
}

/// A pool of which too little is there.
fn short(pool: &FoundPool, assessment: &Assessment) -> Wanted {
    let what = format!("pool {}: {}: not imported", pool.name, assessment.text);
    let mut finding = Finding::new(Code::E22, what);
    for disk in &assessment.missing {
        finding = finding.detail("missing", memory::describe(disk, None));
    }
    let disks = match assessment.missing.is_empty() {
        true => "more disks".to_owned(),
        false => missing_disks(&assessment.missing),
    };
    let waiting = assessment.may_improve().then(|| format!("pool {}: {disks}", pool.name));
    Wanted::Absent { name: pool.name.clone(), waiting, finding }
}

//! `nanozfs init`: the layout on a pool that is there, or on one that is made first.
//!
//! Looked at, planned ([`layout`], [`disks`]), shown, asked, done. What is on the pool stays; no
//! disk is used that may hold anything. After a power cut the same command goes on.

pub mod disks;
mod fill;
pub mod layout;

use std::path::Path;

use crate::boot::cfg::CFG;
use crate::boot::osdrive::{self, OsDrive};
use crate::boot::{Action, Boot};
use crate::format::zpool::Health;
use crate::host::{Error, NewPool, mounted_at};
use crate::report::{Code, Exit, Finding, Mode};

use disks::{Disk, Survey};
use fill::Origin;
use layout::{Plan, Step};

/// What the command line orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The pool.
    pub pool: String,
    /// The pool is to be made: the kind of its vdev, and its disks.
    pub create: Option<(String, Vec<String>)>,
    /// Nobody is asked.
    pub yes: bool,
}

impl Order {
    /// Understands the operands of a command line: a pool, and disks when it is to be made.
    ///
    /// # Errors
    ///
    /// What is wrong with them, in words.
    pub fn parse(operands: &[String], kind: Option<&str>, yes: bool) -> Result<Order, String> {
        let Some((pool, disks)) = operands.split_first() else {
            return Err("init: which pool?".to_owned());
        };
        if !disks::is_name(pool) {
            return Err(format!("init: {pool}: not the name of a pool"));
        }
        let create = match kind {
            None if disks.is_empty() => None,
            None => return Err("init: disks are for a new pool: --create KIND".to_owned()),
            Some(kind) => {
                let fewest = disks::fewest(kind).ok_or_else(|| {
                    format!("init: --create {kind}: disk, mirror, raidz1, raidz2 or raidz3")
                })?;
                if disks.len() < fewest || kind == "disk" && disks.len() > 1 {
                    return Err(format!("init: --create {kind}: not with {} disks", disks.len()));
                }
                Some((kind.to_owned(), disks.to_vec()))
            }
        };
        Ok(Order { pool: pool.clone(), create, yes })
    }
}

/// The pool as it is to be.
struct Wanted {
    /// To be made, and of which disks.
    new: Option<(NewPool, Vec<Disk>)>,
    plan: Plan,
    origin: Origin,
}

/// Does it.
pub fn run(boot: &mut Boot<'_, '_>, order: &Order, found: Vec<Finding>) -> Exit {
    for finding in found {
        boot.find(finding);
    }
    let drive = osdrive::look(boot);
    let Some(wanted) = look(boot, order, drive.as_ref()) else {
        boot.console.say("init: nothing was changed");
        return Exit::Failed;
    };
    if wanted.new.is_none() && wanted.plan.steps.is_empty() {
        boot.console.say(&format!("init: {} has the layout already", order.pool));
        return Exit::Done;
    }
    show(boot, order, &wanted);
    if !boot.act {
        return done(act(boot, &wanted));
    }
    if !order.yes && !asked(boot) {
        return Exit::Nothing;
    }
    // Nobody waits for an answer with the lock: others may have to take something back meanwhile.
    let lock = match boot.lock() {
        Ok(lock) => lock,
        Err(exit) => return exit,
    };
    let wanted = if order.yes { Some(wanted) } else { look(boot, order, drive.as_ref()) };
    let made = wanted.is_some_and(|wanted| act(boot, &wanted));
    if made {
        close(boot, order);
    }
    drop(lock);
    done(made)
}

fn done(made: bool) -> Exit {
    if made { Exit::Done } else { Exit::Failed }
}

/// What is there, and what is missing. What is in the way is a finding.
fn look(boot: &mut Boot<'_, '_>, order: &Order, drive: Option<&OsDrive>) -> Option<Wanted> {
    let pools = match boot.host.pools() {
        Ok(pools) => pools,
        Err(error) => {
            boot.find(Finding::failed(Code::E84, "imported pools", &error));
            return None;
        }
    };
    let root = format!("{}/{}", order.pool, boot.config.dataset);
    let imported = pools.into_iter().find(|pool| pool.name == order.pool);
    let new = match (&order.create, &imported) {
        (None, None) => {
            let what = format!("pool {}: not imported", order.pool);
            let advice = format!("zpool import -N -o cachefile=none {}", order.pool);
            let advice = format!("{advice}; nanozfs init {}", order.pool);
            boot.find(Finding::new(Code::E84, what).next(advice));
            return None;
        }
        // A pool of these very disks: an earlier run made it, and was cut off.
        (Some((_, names)), Some(pool)) if !is_of(boot, pool.guid, names, drive) => {
            let what = format!("pool {}: there already", order.pool);
            let advice = format!("nanozfs init {}", order.pool);
            boot.find(Finding::new(Code::E84, what).next(advice));
            return None;
        }
        (_, Some(pool)) => {
            let works = matches!(pool.health, Health::Online | Health::Degraded);
            if pool.readonly || !works {
                let how = if works { "read-only".to_owned() } else { pool.health.to_string() };
                let what = format!("pool {}: it is {how}", order.pool);
                let advice = format!("zpool status {}", order.pool);
                boot.find(Finding::new(Code::E84, what).next(advice));
                return None;
            }
            if order.create.is_some() {
                boot.console.say(&format!("init: pool {} is there, of these disks", order.pool));
            }
            None
        }
        (Some((kind, names)), None) => Some(new_pool(boot, &order.pool, kind, names, drive)?),
    };
    let datasets = match &new {
        Some(_) => Ok(Vec::new()),
        None => boot.host.datasets(&order.pool),
    };
    let plan = match datasets {
        Ok(datasets) => {
            if let Some(what) = layout::under_way(&root, &datasets) {
                boot.find(Finding::new(Code::E84, what).next("nanozfs upgrade status; reboot"));
                return None;
            }
            layout::plan(&root, &datasets)
        }
        Err(error) => {
            boot.find(Finding::failed(Code::E84, &format!("pool {}", order.pool), &error));
            return None;
        }
    };
    match plan {
        Ok(plan) => Some(Wanted { new, plan, origin: Origin::look(boot, drive) }),
        Err(why) => {
            let advice = format!("zfs list -r {}", order.pool);
            boot.find(Finding::new(Code::E84, why).next(advice));
            None
        }
    }
}

/// The imported pool is made of these disks, and of no other.
fn is_of(boot: &mut Boot<'_, '_>, guid: u64, names: &[String], drive: Option<&OsDrive>) -> bool {
    osdrive::mesh(boot).is_some_and(|mesh| Survey::new(boot.host, &mesh, drive).is_of(guid, names))
}

/// A pool that can be made of these disks; why not, as findings.
fn new_pool(
    boot: &mut Boot<'_, '_>,
    name: &str,
    kind: &str,
    names: &[String],
    drive: Option<&OsDrive>,
) -> Option<(NewPool, Vec<Disk>)> {
    let mesh = osdrive::mesh(boot)?;
    let survey = Survey::new(boot.host, &mesh, drive);
    let others = survey.disks_of(name);
    match survey.examine(names) {
        Ok(_) if !others.is_empty() => {
            let what = format!("there is a pool {name} already, on {}", others.join(" "));
            boot.find(Finding::new(Code::E84, what).next("another name for the new pool"));
            None
        }
        Ok(disks) => {
            let devices = disks.iter().map(|disk| format!("/dev/{}", disk.provider)).collect();
            let kind = if kind == "disk" { String::new() } else { kind.to_owned() };
            Some((NewPool { name: name.to_owned(), kind, devices }, disks))
        }
        Err(refused) => {
            for one in refused {
                let finding = Finding::new(Code::E85, one.what);
                boot.find(match one.next {
                    Some(next) => finding.next(format!("to lose what it holds: {next}")),
                    None => finding,
                });
            }
            None
        }
    }
}

/// Shows what will be made.
fn show(boot: &mut Boot<'_, '_>, order: &Order, wanted: &Wanted) {
    let list =
        |boot: &mut Boot<'_, '_>, text: &str| boot.console.plain(&format!("         {text}"));
    if let Some((pool, disks)) = &wanted.new {
        let kind = if pool.kind.is_empty() { "one disk" } else { &pool.kind };
        boot.console.say(&format!("init: a new pool {}, {kind}, of:", pool.name));
        for disk in disks {
            list(boot, &format!("{}, {}", disk.provider, disk.about));
        }
        let what = "init: it gets the features of this system: an older one may not import it";
        boot.console.say(what);
    }
    boot.console.say(&format!("init: new on {}:", order.pool));
    for line in &wanted.plan.missing {
        list(boot, line);
    }
    if wanted.plan.steps.iter().any(|step| matches!(step, Step::Fill(_))) {
        boot.console.say(&format!("init: cfg gets {}", wanted.origin));
    }
    let var = format!("{}/{}/var ", order.pool, boot.config.dataset);
    if wanted.plan.missing.iter().any(|line| line.starts_with(&var)) {
        boot.console.say("init: var is filled from the image when it is first mounted");
    }
}

/// Asks whoever typed it. False, and said, when nothing is to be done.
fn asked(boot: &mut Boot<'_, '_>) -> bool {
    let answer = boot.ask("nanozfs: init: do this? [y/N] ");
    let why = match answer.as_deref().map(str::trim) {
        Some("y" | "Y" | "yes") => return true,
        Some(_) => "init: nothing was changed",
        None => "init: nobody is there to be asked: with -y it is done; nothing was changed",
    };
    boot.console.say(why);
    false
}

/// Takes the steps; the first that fails is a finding.
fn act(boot: &mut Boot<'_, '_>, wanted: &Wanted) -> bool {
    if let Some((pool, _)) = &wanted.new {
        let text = format!("make the pool {} {} {}", pool.name, pool.kind, pool.devices.join(" "));
        let done = perform(boot, &text, |boot| boot.host.create_pool(pool));
        if let Err(error) = done {
            boot.find(failed(&format!("pool {}", pool.name), &error, "zpool status; zpool import"));
            return false;
        }
    }
    for step in &wanted.plan.steps {
        let done = match step {
            Step::Fill(dataset) => match fill::fill(boot, dataset, &wanted.origin) {
                Ok(()) => continue,
                Err(why) => {
                    let what = format!("{dataset}: {why}");
                    boot.find(Finding::new(Code::E84, what).next("the same command again"));
                    return false;
                }
            },
            Step::Set { dataset, name, value } => {
                let (dataset, value) = (dataset.clone(), (*value).to_owned());
                boot.perform(&Action::SetProperty { dataset, name, value })
            }
            Step::Create { dataset, properties } => {
                let owned: Vec<_> = properties
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect();
                let create = |boot: &Boot<'_, '_>| boot.host.snapshots().create(dataset, &owned);
                perform(boot, &step.to_string(), create)
            }
            Step::Rename { from, to } => {
                let rename = |boot: &Boot<'_, '_>| boot.host.snapshots().rename(from, to);
                perform(boot, &step.to_string(), rename)
            }
        };
        if let Err(error) = done {
            boot.find(failed(&step.to_string(), &error, "the same command again"));
            return false;
        }
    }
    true
}

fn failed(what: &str, error: &Error, next: &str) -> Finding {
    Finding::failed(Code::E84, what, error).next(next)
}

/// Does it, or, for `-n`, shows it.
fn perform(
    boot: &mut Boot<'_, '_>,
    text: &str,
    does: impl Fn(&Boot<'_, '_>) -> crate::host::Result<()>,
) -> crate::host::Result<()> {
    if !boot.act {
        boot.console.say(&format!("would {text}"));
        return Ok(());
    }
    boot.console.detail(text);
    does(boot)?;
    boot.changed(1);
    Ok(())
}

/// What is there now, and what to do next.
fn close(boot: &mut Boot<'_, '_>, order: &Order) {
    let pool = &order.pool;
    boot.console.say(&format!("init: {pool} has the layout now"));
    let guid = boot.host.pools().unwrap_or_default();
    let guid = guid.iter().find(|one| one.name == *pool).map_or(0, |one| one.guid);
    let known = boot.config.pools.iter().any(|word| word.matches(pool, guid));
    let mounts = boot.host.mounts().unwrap_or_default();
    let configured = mounted_at(&mounts, Path::new(CFG)).is_some_and(|mount| mount.fstype == "zfs");
    let normal = boot.host.kenv(crate::boot::record::STATE).as_deref() == Some(Mode::Normal.name());
    if !known {
        let next = format!("init: next: pools=\"{pool}\" in the nanozfs.conf of the image");
        boot.console.say(&next);
    }
    if configured && normal {
        return;
    }
    let next = match known {
        true => "nanozfs resume".to_owned(),
        false => format!("kenv nanozfs.pools={pool}; nanozfs resume"),
    };
    boot.console.say(&format!("init: next: {next}"));
}

//! The lab as a [`Host`].

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Lab;
use super::disks::number_of;
use super::effects::{Effect, Target};
use super::paths::Place;
use super::pools::LIST_LIMIT;
use super::tree::{fresh, plain};
use super::unsynced::Change;
use crate::format::manifest::Packing;
use crate::format::zfs::Dataset;
use crate::format::zpool::{Pool, Space};
use crate::host::command::{self, Consume};
use crate::host::{
    Database, Drives, Error, Files, HeldDirectory, Host, Import, Inventory, Kind, Lock, Mount,
    MountRequest, NewPool, People, Result, Services, Snapshots,
};

/// Rebuilding a database takes this long.
const REBUILD: Duration = Duration::from_millis(120);
/// Reading `kern.geom.confxml` takes this long.
const GEOM: Duration = Duration::from_millis(2);

/// Where the releases of a story are, in the lab's directory.
pub(crate) const RELEASES: &str = "releases";

/// Held while a nanozfs acts on the lab machine.
struct LabLock(Arc<AtomicBool>);

impl Lock for LabLock {}

impl Drop for LabLock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// A directory of the lab machine that somebody has open.
struct Held<'a> {
    lab: &'a Lab,
    tree: String,
    below: PathBuf,
}

impl HeldDirectory for Held<'_> {
    fn show(&self, part: &Path, at: &Path, read_only: bool) -> Result<()> {
        let source = match part.as_os_str().is_empty() {
            true => ".".to_owned(),
            false => part.display().to_string(),
        };
        let below = self.below.join(part);
        Lab::lock(self.lab).show_held(&source, (&self.tree, below), at, read_only)
    }
}

impl Host for Lab {
    fn files(&self) -> &dyn Files {
        self
    }

    fn drives(&self) -> &dyn Drives {
        self
    }

    fn snapshots(&self) -> &dyn Snapshots {
        self
    }

    fn services(&self) -> &dyn Services {
        self
    }

    fn inventory(&self) -> &dyn Inventory {
        self
    }

    fn people(&self) -> &dyn People {
        self
    }

    fn geom(&self) -> Result<Vec<u8>> {
        let mut inner = self.lock();
        inner.machine.uptime += GEOM;
        let faults = &inner.machine.faults;
        if let Some(fault) = faults.iter().find(|fault| fault.at == Target::Geom).cloned() {
            return Err(inner.failed(&fault.how, "sysctl kern.geom.confxml", Duration::ZERO));
        }
        Ok(inner.confxml().into_bytes())
    }

    fn read_device(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.lock().read_device(name, offset, length)
    }

    fn mounts(&self) -> Result<Vec<Mount>> {
        Ok(self.lock().machine.mounts.iter().map(|mounted| mounted.mount.clone()).collect())
    }

    fn pools(&self) -> Result<Vec<Pool>> {
        self.lock().zpool_list()
    }

    fn datasets(&self, root: &str) -> Result<Vec<Dataset>> {
        self.lock().zfs_list(root, LIST_LIMIT)
    }

    fn kenv(&self, name: &str) -> Option<String> {
        self.lock().machine.kenv.get(name).cloned()
    }

    fn uptime(&self) -> Duration {
        self.lock().machine.uptime
    }

    fn wait_for_devices(&self, until: Duration) -> bool {
        let mut inner = self.lock();
        let now = inner.machine.uptime;
        let attached = inner.machine.disks.iter().filter(|disk| disk.attached);
        let slots = inner.machine.disks.iter().flat_map(|disk| &disk.parts);
        let times = attached.map(|disk| disk.appears).chain(slots.map(|part| part.tasted));
        let next = times.filter(|at| *at > now && *at <= until).min();
        let then = next.unwrap_or(until.max(now));
        inner.machine.uptime = then;
        inner.run.waited += then - now;
        next.is_some()
    }

    /// A release of a story, by its name; there is no standard input.
    fn input(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        let file = Path::new(name).file_name().unwrap_or_default();
        let path = Lab::lock(self).root.join(RELEASES).join(file);
        Ok(Box::new(crate::host::Input::open(&path.to_string_lossy())?))
    }

    fn unpack(
        &self,
        packing: Packing,
        input: &mut (dyn Read + Send),
        consume: &mut Consume<'_>,
    ) -> Result<()> {
        command::unpack(packing, input, consume)
    }

    fn lock(&self) -> Result<Box<dyn Lock>> {
        let inner = Lab::lock(self);
        if let Some(holder) = &inner.machine.at_work {
            let who = holder.words(inner.machine.uptime);
            return Err(Error::new(Kind::Busy, "lock", who));
        }
        let held = inner.run.lock.clone();
        if held.swap(true, Ordering::SeqCst) {
            return Err(Error::new(Kind::Busy, "lock", "it has not said which"));
        }
        Ok(Box::new(LabLock(held)))
    }

    fn import(&self, imports: &[Import]) -> Vec<Result<()>> {
        self.lock().import(imports)
    }

    fn mount(&self, request: &MountRequest) -> Result<()> {
        self.lock().mount(request)
    }

    fn mount_memory(&self, at: &Path, bytes: u64) -> Result<()> {
        self.lock().mount_memory(at, bytes)
    }

    fn unmount(&self, at: &Path) -> Result<()> {
        self.lock().unmount(at)
    }

    fn hold(&self, directory: &Path) -> Result<Box<dyn HeldDirectory + '_>> {
        let inner = self.lock();
        let place = inner.follow(directory);
        let place =
            place.map_err(|error| Error::io(format!("open {}", directory.display()), &error))?;
        Ok(Box::new(Held { lab: self, tree: place.tree, below: place.below }))
    }

    fn create_pool(&self, pool: &NewPool) -> Result<()> {
        self.lock().create_pool(pool)
    }

    fn set_property(&self, dataset: &str, name: &str, value: &str) -> Result<()> {
        self.lock().set_property(dataset, name, value)
    }

    fn set_kenv(&self, name: &str, value: &str) -> Result<()> {
        let mut inner = self.lock();
        inner.gate_host(Effect::new("kenv", format!("{name}={value}")), Duration::ZERO)?;
        inner.machine.kenv.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    fn rebuild(&self, database: Database) -> Result<()> {
        self.lock().rebuild(database)
    }

    fn reread_rc_conf(&self) -> Result<bool> {
        let mut inner = self.lock();
        if !inner.machine.under_rc {
            return Ok(false);
        }
        inner.gate_host(Effect::new("signal", "rc"), Duration::ZERO)?;
        Ok(true)
    }
}

impl Inventory for Lab {
    fn pools_within(&self, limit: Duration) -> Result<Vec<(Pool, Space)>> {
        self.lock().zpool_spaces(limit)
    }

    fn datasets_within(&self, root: &str, limit: Duration) -> Result<Vec<Dataset>> {
        self.lock().zfs_list(root, limit)
    }
}

impl super::Inner {
    /// pwd_mkdb(8) and cap_mkdb(1): each file is written beside the old one, brought to disk, and
    /// takes its place; the power may go between any two.
    fn rebuild(&mut self, database: Database) -> Result<()> {
        let program = match database {
            Database::Passwords => "pwd_mkdb",
            Database::LoginClasses => "cap_mkdb",
        };
        let doing = format!("{program} /etc/{}", database.text());
        let limit = Duration::from_secs(60);
        if let Some(how) = self.program(program) {
            return Err(self.failed(&how, &doing, limit));
        }
        self.machine.uptime += REBUILD;
        let etc = Path::new("/etc");
        let told = |error: io::Error| {
            let why = error.to_string();
            Error::new(Kind::Refused, doing.clone(), why)
        };
        let text = self.place(&etc.join(database.text())).map_err(told)?;
        let text = std::fs::read(text.real).map_err(told)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut files: Vec<(&str, String, u32)> = Vec::new();
        for name in database.files() {
            let mode = if *name == "spwd.db" { 0o600 } else { 0o644 };
            files.push((name, format!("{name} {:016x}\n", number_of(&text)), mode));
        }
        if database == Database::Passwords {
            files.push(("passwd", passwd(&text), 0o644));
        }
        for (name, content, mode) in files {
            let place = self.place(&etc.join(name)).map_err(told)?;
            self.gate_io(Effect::on("rebuild", &etc.join(name))).map_err(told)?;
            if place.read_only {
                return Err(told(io::Error::from_raw_os_error(libc::EROFS)));
            }
            self.replace(&place, content.as_bytes(), mode).map_err(told)?;
        }
        Ok(())
    }

    /// A new file in the place of what is there, its content on disk already.
    fn replace(&mut self, place: &Place, content: &[u8], mode: u32) -> io::Result<()> {
        let below = &place.below;
        let now = self.machine.now();
        let replaced = match std::fs::symlink_metadata(&place.real) {
            Ok(_) => {
                let node = self.node(&place.tree, below)?;
                Some(self.save(&place.tree, below, node)?)
            }
            Err(_) => None,
        };
        std::fs::write(&place.real, content)?;
        let mut attributes = plain(mode);
        attributes.modified = now;
        if let Some(tree) = self.machine.trees.get_mut(&place.tree) {
            tree.nodes.insert(below.clone(), fresh(attributes));
        }
        let change = match replaced {
            Some(saved) => Change::Replaced(below.clone(), saved),
            None => Change::Created(below.clone()),
        };
        self.note(&place.tree, change);
        Ok(())
    }
}

/// `passwd` from `master.passwd`: without the password, class and the two times.
fn passwd(master: &str) -> String {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [name, _, uid, gid, _, _, _, gecos, home, shell] => {
                format!("{name}:*:{uid}:{gid}:{gecos}:{home}:{shell}\n")
            }
            _ => format!("{line}\n"),
        }
    };
    master.lines().map(line).collect()
}

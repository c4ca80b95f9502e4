//! The real machine: FreeBSD.

mod devices;
mod drives;
mod held;
mod inventory;
mod services;
mod snapshots;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::command::{self, Consume, Runner, System};
use super::programs::{databases, zfs, zpool};
use super::{
    Database, Drives, Error, Files, HeldDirectory, Holder, Host, Import, Inventory, Kind, Lock,
    Mount, MountRequest, NewPool, People, ReadAt, RealFiles, Result, Services, Snapshots, Source,
    Terminal, imported,
};
use crate::format::manifest::Packing;
use crate::format::zfs::Dataset;
use crate::format::zpool::Pool;
use crate::sys;

/// What the lock is taken on: there in every mode of the system, and read-only is enough.
const EXECUTABLE: &str = "/sbin/nanozfs";
/// The kernel environment variable that says who holds the lock: it can be written to when every
/// file system is read-only.
const HOLDER: &str = "nanozfs.lock";

/// FreeBSD, by system calls and the programs of the base system.
pub struct FreeBsd {
    files: RealFiles,
    runner: Box<dyn Runner>,
    devices: devices::Devices,
    /// Name and GUID of every pool that this process has imported.
    imported: Mutex<Vec<(String, u64)>>,
}

impl FreeBsd {
    /// The machine this program runs on.
    pub fn new() -> Self {
        if let Err(error) = sys::siginfo::install() {
            log::debug!("SIGINFO: {error}");
        }
        FreeBsd {
            files: RealFiles,
            runner: Box::new(System),
            devices: devices::Devices::default(),
            imported: Mutex::default(),
        }
    }
}

impl Default for FreeBsd {
    fn default() -> Self {
        Self::new()
    }
}

/// The process of rc(8), when it started us: set by our rc.d scripts at boot. RC_PID itself is
/// inherited by daemons, long after rc.
fn rc_pid() -> Option<u32> {
    std::env::var(super::RC_PID).ok()?.parse().ok()
}

/// An error of the `sys` layer, whose text says what was tried already.
fn failed(error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::ResourceBusy => Kind::Busy,
        io::ErrorKind::NotFound => Kind::NotFound,
        _ => Kind::Refused,
    };
    let text = error.to_string();
    match text.rsplit_once(": ") {
        Some((doing, why)) => Error::new(kind, doing, why),
        None => Error::new(kind, "system call", text),
    }
}

/// Reads as much as there is, up to `length` bytes.
fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

struct Held(#[allow(dead_code, reason = "held for its drop")] sys::lock::Lock);

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        // The lock itself goes after this.
        if let Err(error) = sys::kenv::unset(HOLDER) {
            log::debug!("{error}");
        }
    }
}

impl FreeBsd {
    /// Leaves a note for whoever wants the lock next.
    fn note_holder(&self) {
        let words: Vec<String> =
            std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        let words = words.iter().map(String::as_str);
        let holder = Holder::new(std::process::id(), self.uptime(), words);
        if let Err(error) = sys::kenv::set(HOLDER, &holder.encode()) {
            log::debug!("{error}");
        }
    }

    /// Who holds the lock, in words.
    fn holder(&self) -> String {
        let holder = self.kenv(HOLDER).and_then(|text| Holder::parse(&text));
        // One that has ended has left its note, and the one at work none yet.
        let holder = holder.filter(|holder| sys::process::is_alive(holder.process));
        holder.map_or_else(
            || "it has not said which".to_owned(),
            |holder| holder.words(self.uptime()),
        )
    }
}

impl Host for FreeBsd {
    fn files(&self) -> &dyn Files {
        &self.files
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
        &Terminal
    }

    fn geom(&self) -> Result<Vec<u8>> {
        self.devices.look();
        sys::sysctl::long("kern.geom.confxml").map_err(|error| failed(&error))
    }

    fn read_device(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.device(name)?(offset, length)
    }

    fn device(&self, name: &str) -> io::Result<Box<ReadAt<'_>>> {
        let file = File::open(format!("/dev/{name}"))?;
        Ok(Box::new(move |offset, length| read_at(&file, offset, length)))
    }

    fn mounts(&self) -> Result<Vec<Mount>> {
        let mounts = sys::mount::list().map_err(|error| failed(&error))?;
        Ok(mounts
            .into_iter()
            .map(|entry| Mount {
                fstype: entry.fstype,
                source: entry.from,
                at: entry.on,
                read_only: entry.read_only,
            })
            .collect())
    }

    fn pools(&self) -> Result<Vec<Pool>> {
        // Most boots know without running a program.
        let ours = self.imported.lock().unwrap_or_else(PoisonError::into_inner);
        let names = sys::sysctl::children(imported::POOLS).ok();
        let state = |name: &str| sys::sysctl::string(&imported::state_of(name)).ok();
        match names.and_then(|names| imported::pools(&names, &ours, state)) {
            Some(pools) => Ok(pools),
            None => zpool::list(&*self.runner),
        }
    }

    fn datasets(&self, root: &str) -> Result<Vec<Dataset>> {
        zfs::list(&*self.runner, root)
    }

    fn kenv(&self, name: &str) -> Option<String> {
        sys::kenv::get(name).unwrap_or_else(|error| {
            log::debug!("{error}");
            None
        })
    }

    fn uptime(&self) -> Duration {
        sys::time::uptime().unwrap_or_default()
    }

    fn wait_for_devices(&self, until: Duration) -> bool {
        self.devices.wait(until)
    }

    fn input(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(super::Input::open(name)?))
    }

    fn unpack(
        &self,
        packing: Packing,
        input: &mut (dyn Read + Send),
        consume: &mut Consume<'_>,
    ) -> Result<()> {
        command::unpack(packing, input, consume)
    }

    fn progress_asked(&self) -> bool {
        sys::siginfo::take()
    }

    fn lock(&self) -> Result<Box<dyn Lock>> {
        match sys::lock::Lock::acquire(Path::new(EXECUTABLE)) {
            Ok(lock) => {
                self.note_holder();
                Ok(Box::new(Held(lock)))
            }
            Err(sys::lock::LockError::Busy { .. }) => {
                Err(Error::new(Kind::Busy, "lock", self.holder()))
            }
            Err(error) => Err(Error::new(Kind::Refused, "lock", error.to_string())),
        }
    }

    fn import(&self, imports: &[Import]) -> Vec<Result<()>> {
        let runner = &*self.runner;
        std::thread::scope(|scope| {
            let running: Vec<_> = imports
                .iter()
                .map(|import| scope.spawn(move || zpool::import(runner, import)))
                .collect();
            let lost = || Err(Error::new(Kind::Refused, "zpool import", "its thread was lost"));
            let join = |import: std::thread::ScopedJoinHandle<'_, Result<()>>| {
                import.join().unwrap_or_else(|_| lost())
            };
            let results: Vec<_> = running.into_iter().map(join).collect();
            let mut ours = self.imported.lock().unwrap_or_else(PoisonError::into_inner);
            for (import, _) in imports.iter().zip(&results).filter(|(_, result)| result.is_ok()) {
                ours.push((import.name.clone(), import.guid));
            }
            results
        })
    }

    fn mount(&self, request: &MountRequest) -> Result<()> {
        let (fstype, from) = match &request.source {
            Source::Dataset(name) => ("zfs", name.clone()),
            Source::Ufs(provider) => ("ufs", format!("/dev/{provider}")),
            Source::Directory(path) => ("nullfs", path.display().to_string()),
        };
        sys::mount::nmount(fstype, &from, &request.at, request.read_only, &[])
            .map_err(|error| failed(&error))
    }

    fn mount_memory(&self, at: &Path, bytes: u64) -> Result<()> {
        super::memory::mount(&*self.runner, at, bytes).map_err(|error| {
            Error::new(
                Kind::Refused,
                format!("memory file system on {}", at.display()),
                format!("{error:#}"),
            )
        })
    }

    fn unmount(&self, at: &Path) -> Result<()> {
        sys::mount::unmount(at, false).map_err(|error| failed(&error))
    }

    fn hold(&self, directory: &Path) -> Result<Box<dyn HeldDirectory + '_>> {
        held::OpenDirectory::open(directory).map(|held| Box::new(held) as _)
    }

    fn create_pool(&self, pool: &NewPool) -> Result<()> {
        zpool::create(&*self.runner, pool)
    }

    fn set_property(&self, dataset: &str, name: &str, value: &str) -> Result<()> {
        zfs::set(&*self.runner, dataset, name, value)
    }

    fn set_kenv(&self, name: &str, value: &str) -> Result<()> {
        sys::kenv::set(name, value).map_err(|error| failed(&error))
    }

    fn rebuild(&self, database: Database) -> Result<()> {
        databases::rebuild(&*self.runner, database)
    }

    fn reread_rc_conf(&self) -> Result<bool> {
        let Some(pid) = rc_pid() else { return Ok(false) };
        sys::process::signal(pid, sys::process::Signal::SIGALRM).map_err(|error| failed(&error))?;
        Ok(true)
    }
}

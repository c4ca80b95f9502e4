//! Making an image fit for its slot: its name, its fstab, its manifest.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fstab::{self, Names};
use super::{RELEASE, Target};
use crate::boot::replace;
use crate::format::geom::Mesh;
use crate::host::{FileKind, Files, Host, MountRequest, Source, mounted_at, why};

/// The partition in a slice is there when the kernel has looked at it again.
const APPEARS_WITHIN: Duration = Duration::from_secs(10);
/// How long a look at the devices is waited with.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Empty directories that images have; they are mounted over on a read-only root as well.
const SCRATCH: [&str; 2] = ["/mnt", "/media"];
/// Made, and removed again, where none of those is free.
const MADE: &str = "nanozfs.slot";
/// Both places of fstab in an image whose `/etc` is put into memory.
const FSTABS: [&str; 2] = ["etc/fstab", "conf/base/etc/fstab"];
/// More than any fstab.
const LONGEST: u64 = 1 << 20;

/// Does it, and brings it to the medium. An error is one line that says what could not be done.
pub(super) fn slot(host: &dyn Host, target: &Target, release: &[u8]) -> Result<(), String> {
    let drives = host.drives();
    let volume = target.volume.as_str();
    wait(host, volume)?;
    drives.name_volume(volume, &target.volume_name).map_err(|error| error.to_string())?;
    let (at, made) = scratch(host)?;
    let mounted = mounted(host, target, &at, release);
    if made && let Err(error) = host.files().remove_directory(&at) {
        log::info!("remove {}: {error}", at.display());
    }
    mounted?;
    // No file system asks the drive to write its cache when it is unmounted.
    let flushed = target.open(host)?.flush();
    flushed.map_err(|error| format!("flush {}: {}", target.whole, why(&error)))?;
    wait(host, volume)?;
    drives.check_volume(volume).map_err(|error| error.to_string())
}

/// Waits until the provider is there.
fn wait(host: &dyn Host, provider: &str) -> Result<(), String> {
    let until = host.uptime() + APPEARS_WITHIN;
    loop {
        let mesh = host.geom().map_err(|error| error.to_string())?;
        let mesh = Mesh::parse(&mesh).map_err(|error| error.to_string())?;
        if mesh.find(provider).is_some() {
            return Ok(());
        }
        if host.uptime() >= until {
            return Err(format!("{provider} did not appear: the image is none for this slot"));
        }
        host.wait_for_devices(until.min(host.uptime() + LOOK_AGAIN));
    }
}

/// An empty directory to mount on, and whether it was made for that.
pub(crate) fn scratch(host: &dyn Host) -> Result<(PathBuf, bool), String> {
    let files = host.files();
    let mounts = host.mounts().map_err(|error| error.to_string())?;
    let free = |path: &Path| {
        let directory = files.stat(path).is_ok_and(|stat| stat.kind == FileKind::Directory);
        let empty = || files.list(path).is_ok_and(|names| names.is_empty());
        directory && mounted_at(&mounts, path).is_none() && empty()
    };
    if let Some(path) = SCRATCH.iter().map(Path::new).find(|path| free(path)) {
        return Ok((path.to_path_buf(), false));
    }
    // In memory first, where nothing is left of it when the power goes.
    let memory = mounts.iter().filter(|mount| mount.in_memory() && !mount.read_only);
    let private = |path: &&Path| files.stat(path).is_ok_and(|stat| stat.attributes.mode & 2 == 0);
    let places = memory.map(|mount| mount.at.as_path()).filter(private);
    let mut told = "every directory is in use".to_owned();
    for place in places.chain([Path::new("/var/run")]) {
        let path = place.join(MADE);
        match files.make_directory(&path) {
            Ok(()) => return Ok((path, true)),
            // Somebody lost power while using it.
            Err(_) if free(&path) => return Ok((path, true)),
            Err(error) => told = format!("{}: {}", path.display(), why(&error)),
        }
    }
    Err(format!("no place to mount it on: {told}"))
}

/// Everything that is done while the slot is mounted.
fn mounted(host: &dyn Host, target: &Target, at: &Path, release: &[u8]) -> Result<(), String> {
    let source = Source::Ufs(target.volume.clone());
    let request = MountRequest { source, at: at.to_path_buf(), read_only: false };
    host.mount(&request).map_err(|error| error.to_string())?;
    let done = edit(host.files(), target, at, release);
    let unmounted = host.unmount(at).map_err(|error| error.to_string());
    done.and(unmounted)
}

fn edit(files: &dyn Files, target: &Target, at: &Path, release: &[u8]) -> Result<(), String> {
    let names = Names {
        ufs: &target.volume_name,
        gpt: target.gpt_name.as_deref(),
        partition: &target.volume,
    };
    let mut known = false;
    for name in FSTABS {
        let path = at.join(name);
        let told = |error: io::Error| format!("/{name} in {}: {}", target.role.name(), why(&error));
        known |= correct(files, &path, &names).map_err(told)?;
    }
    if !known {
        return Err("the image has no fstab with a line for /".to_owned());
    }
    let path = at.join(RELEASE);
    let written = directories(files, at, &path);
    let written = written.and_then(|()| replace::write(files, &path, release, true));
    written.map_err(|error| format!("/{RELEASE} in {}: {}", target.role.name(), why(&error)))
}

/// Corrects one fstab; false when it is not there, or says nothing about `/`.
fn correct(files: &dyn Files, path: &Path, names: &Names<'_>) -> io::Result<bool> {
    let text = match files.read(path, LONGEST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        text => text?,
    };
    let Some(new) = fstab::correct(&text, names) else { return Ok(false) };
    if new != text {
        let attributes = files.stat(path)?.attributes;
        replace::with(files, path, true, 0, |temporary| {
            files.create(temporary, &new)?;
            files.set_attributes(temporary, &attributes)
        })?;
    }
    Ok(true)
}

/// Makes the directories between `top` and `path`.
fn directories(files: &dyn Files, top: &Path, path: &Path) -> io::Result<()> {
    let above: Vec<&Path> = path.ancestors().skip(1).take_while(|one| *one != top).collect();
    for directory in above.into_iter().rev() {
        match files.make_directory(directory) {
            Err(error) if error.raw_os_error() != Some(libc::EEXIST) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

//! From a FreeBSD root to the file systems of an appliance and of the maker: a trimmed copy, set
//! up as NanoBSD does it, with the suite put in by `make install`.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nanozfs::lab::Thing;
use nanozfs::lab::play::STANDARD;
use nanozfs::lab::statement::{Statement, Where};
use nanozfs::lab::story;

use super::disk::MIB;
use super::maker::{self, Script};
use super::owners::{Attributes, move_attributes, owners, specification};
use super::qemu;

/// Not needed to boot, to mount and to run stories.
const LEFT_OUT: &[&str] = &[
    "METALOG",
    "boot/kernel.old",
    "rescue",
    "tests",
    "usr/include",
    "usr/lib/clang",
    "usr/lib/debug",
    "usr/lib/dtrace",
    "usr/lib32",
    "usr/libdata/lint",
    "usr/obj",
    "usr/ports",
    "usr/share/atf",
    "usr/share/bhyve",
    "usr/share/calendar",
    "usr/share/dict",
    "usr/share/doc",
    "usr/share/dtrace",
    "usr/share/examples",
    "usr/share/games",
    "usr/share/i18n",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/misc",
    "usr/share/mk",
    "usr/share/nls",
    "usr/share/openssl",
    "usr/share/security",
    "usr/share/sendmail",
    "usr/share/snmp",
    "usr/share/syscons",
    "usr/share/vi",
    "usr/share/vt",
    "usr/share/zoneinfo",
    "usr/src",
    "usr/tests",
];

/// Big programs of the compiler, wherever they are there.
const LEFT_OUT_PROGRAMS: &[&str] = &[
    "c++",
    "c++filt",
    "c89",
    "c99",
    "cc",
    "clang",
    "clang++",
    "clang-cpp",
    "cpp",
    "gdb",
    "ld",
    "ld.lld",
    "lldb",
    "lldb-server",
    "llvm-ar",
    "llvm-cov",
    "llvm-cxxfilt",
    "llvm-nm",
    "llvm-objcopy",
    "llvm-objdump",
    "llvm-profdata",
    "llvm-ranlib",
    "llvm-size",
    "llvm-strip",
    "llvm-symbolizer",
    "ztest",
];

/// What a story's stand-ins must not replace on a real system.
const REAL: &[&str] = &[
    "/etc/master.passwd",
    "/etc/passwd",
    "/etc/pwd.db",
    "/etc/spwd.db",
    "/etc/login.conf",
    "/etc/login.conf.db",
    "/etc/fstab",
    "/dev",
];

/// A shell of root's on the second serial line. For each line that comes it does what is on a disk
/// that the harness writes to: what is typed into a serial line may get lost in a busy guest.
const SHELL: &str = "\
#!/bin/sh
exec </dev/$1 >/dev/$1 2>&1
stty raw -echo 115200
PATH=/sbin:/bin:/usr/sbin:/usr/bin
export PATH
# No disk here has a cache of its own that needs five seconds before the power goes.
sysctl -q kern.shutdown.poweroff_delay=0 >/dev/null
# What nanozfs could change, without its own record.
state()
{
	mount -p | grep -v /.zfs/snapshot/
	kenv | grep nanozfs
	zpool list -H -o name,health
	zfs get -H -s local -o name,property,value all
	find -x /etc /cfg /usr/local/etc /var/db /var/cron /var/empty \\
	    -path /var/db/nanozfs -prune -o -path '/var/db/entropy*' -prune -o \\
	    -exec stat -f '%N %Sp %u:%g %z %Fm' {} +
}
echo '@@ready@@'
while read -r line; do
	eval \"$(dd if=/dev/diskid/DISK-script bs=64k count=1 2>/dev/null)\"
done
";

/// The maker's rc: it does what is on the disk with this serial, and says so.
const MAKER_RC: &str = "\
#!/bin/sh
PATH=/sbin:/bin:/usr/sbin:/usr/bin
export PATH
for at in /var /m /s; do mount -t tmpfs tmpfs $at; done
mkdir /var/tmp
dd if=/dev/diskid/DISK-script of=/tmp/script bs=64k 2>/dev/null
sh /tmp/script
echo \"@@maker@@ failed $?\"
sleep 100000
";

/// Size of a slot.
const SLOT: u64 = 256 * MIB;
/// Size of a recovery copy.
const RECOVERY: u64 = 4 * MIB;
/// Images of so many systems are kept. With the disks that all stories need, each takes some 10 GB.
const KEPT: usize = 2;
/// The list of the appliance's files, on the CD-ROM.
const LIST: &str = "vm.mtree";

/// Fills the slots. The first one is written file by file, the others are copies of it with a
/// label and a root of their own.
const INSTALL: &str = r#"
fs() { newfs -U -L "$1" "$(disk "$1")" >/dev/null && mkdir "/s/$2" && mount "$(disk "$1")" "/s/$2" || die "$1"; }
same() { dd if="$(disk "$1")" of="$(disk "$2")" bs=1m conv=sparse 2>/dev/null && tunefs -L "$2" "$(disk "$2")" 2>/dev/null || die "$2"; }
root() {
	mkdir "/s/$1" && mount "$(disk "$1")" "/s/$1" || die "$1"
	for etc in etc conf/base/etc; do echo "$2 / ufs ro 1 1" > "/s/$1/$etc/fstab"; done
	umount "/s/$1"
}
fs nanos1a first
(cd / && tar -cf - @vm.mtree) | tar -xpf - -C /s/first || die tar
umount /s/first || die umount
for slot in nanos2a nanoA nanoB; do same nanos1a $slot; done
root nanos1a /dev/ufs/nanos1a
root nanos2a /dev/ufs/nanos2a
root nanoA /dev/gpt/nanoA
root nanoB /dev/gpt/nanoB
fs nanos3 recovery
"#;

/// For an image that nobody logs in to, and that is not told by /cfg what it is; without what only
/// takes time.
const RC_CONF_LOCAL: &str = "\
zfs_enable=\"YES\"
root_rw_mount=\"NO\"
sshd_enable=\"NO\"
sendmail_enable=\"NONE\"
cron_enable=\"NO\"
devd_enable=\"NO\"
devmatch_enable=\"NO\"
kldxref_enable=\"NO\"
virecover_enable=\"NO\"
ip6addrctl_enable=\"NO\"
background_fsck=\"NO\"
clear_tmp_X=\"NO\"
update_motd=\"NO\"
syslogd_enable=\"NO\"
dumpdev=\"NO\"
newsyslog_enable=\"NO\"
savecore_enable=\"NO\"
entropy_file=\"NO\"
entropy_boot_file=\"NO\"
";

/// The images that every story starts from.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// Boot blocks.
    pub(crate) boot: PathBuf,
    /// File systems of slots: `mbr 1`, `mbr 2`, `gpt 1`, `gpt 2`.
    pub(crate) slots: [PathBuf; 4],
    /// File systems of the recovery copy: `mbr`, `gpt`.
    pub(crate) recoveries: [PathBuf; 2],
    /// The maker's CD-ROM, which also holds what goes into the slots.
    pub(crate) maker: PathBuf,
    /// Disks as the maker has prepared them, for the next time.
    pub(crate) prepared: PathBuf,
    /// The release, `13.2`.
    pub(crate) release: String,
    /// Changes when any of these do.
    pub(crate) id: String,
}

/// Makes the CD-ROM below `work` from the FreeBSD in `root`, or finds it there.
pub(crate) fn prepare(root: &Path, executable: &Path, work: &Path) -> Result<World> {
    for needed in ["boot/kernel/kernel", "boot/kernel/zfs.ko", "boot/loader", "sbin/zpool"] {
        if !root.join(needed).exists() {
            bail!(
                "{}: no FreeBSD root with kernel and loader: {needed} is missing",
                root.display()
            );
        }
    }
    let id = identity(root, executable)?;
    let images = work.join(format!("images-{id}"));
    let world = World {
        boot: images.join("boot"),
        slots: ["nanos1a", "nanos2a", "nanoA", "nanoB"].map(|name| images.join(name)),
        recoveries: ["nanos3", "nanocfg"].map(|name| images.join(name)),
        maker: images.join("maker.iso"),
        prepared: images.join("prepared"),
        release: release(root)?,
        id,
    };
    if world.maker.exists() {
        return Ok(world);
    }
    make_room(work)?;
    let _ = fs::remove_dir_all(&images);
    fs::create_dir_all(&world.boot)?;
    for name in ["boot0", "boot", "gptboot", "pmbr", "cdboot"] {
        fs::copy(root.join("boot").join(name), world.boot.join(name)).context(name.to_owned())?;
    }
    let mut attributes = owners(root)?;
    let stage = images.join("stage");
    copy_trimmed(root, &stage)?;
    write(&stage.join("boot/loader.conf"), &loader_conf())?;
    appliance(&stage, executable, &mut attributes)?;
    cdrom(&stage, &attributes, &world)?;
    fs::remove_dir_all(&stage)?;
    Ok(world)
}

/// Removes the images of all but the last systems, with the disks that were prepared for them.
fn make_room(work: &Path) -> Result<()> {
    let mut systems = Vec::new();
    for entry in fs::read_dir(work)? {
        let path = entry?.path();
        let maker = path.join("maker.iso");
        if let Ok(about) = fs::metadata(&maker) {
            systems.push((about.modified()?, path));
        }
    }
    systems.sort_unstable();
    for (_, path) in systems.iter().rev().skip(KEPT - 1) {
        fs::remove_dir_all(path).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The CD-ROM: the appliance's own system, but for its rc; and the list by which the maker puts
/// that system into the slots.
fn cdrom(stage: &Path, attributes: &Attributes, world: &World) -> Result<()> {
    let list = specification(stage, attributes)?;
    let rc = stage.join("etc/rc");
    fs::rename(&rc, stage.join("etc/rc.real"))?;
    write(&rc, MAKER_RC)?;
    write(&stage.join("etc/fstab"), "/dev/iso9660/MAKER / cd9660 ro 0 0\n")?;
    write(&stage.join(LIST), &list)?;
    fs::create_dir(stage.join("m"))?;
    fs::create_dir(stage.join("s"))?;
    let boot = world.boot.join("cdboot");
    let options = format!("rockridge,label=MAKER,bootimage=i386;{},no-emul-boot", boot.display());
    let new = world.maker.with_extension("new");
    let mut makefs = Command::new("makefs");
    makefs.args(["-t", "cd9660", "-o", &options]).arg(&new).arg(stage);
    let path = std::env::var("PATH").unwrap_or_default();
    run(makefs.env("PATH", format!("{path}:/usr/sbin:/sbin")))?;
    Ok(fs::rename(new, &world.maker)?)
}

/// Makes the file systems of the slots and of the recovery copies: by the maker, with newfs(8).
pub(crate) fn install(world: &World, kvm: bool, work: &Path) -> Result<()> {
    let all = world.slots.iter().chain(&world.recoveries);
    if all.clone().all(|image| image.exists()) {
        return Ok(());
    }
    let mut drives = Vec::new();
    for (number, image) in all.enumerate() {
        let new = image.with_extension("new");
        super::disk::blank(&new, if number < 4 { SLOT } else { RECOVERY })?;
        drives.push(qemu::Drive {
            device: format!("vtbd{}", number + 1),
            serial: image.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            file: new,
            first: false,
            unreadable: false,
            socket: None,
        });
    }
    let (run, logs) = (work.join("run/install"), work.join("logs/install"));
    fs::create_dir_all(&run)?;
    fs::create_dir_all(&logs)?;
    let mut script = Script::default();
    script.line(INSTALL);
    for (_, statement) in story::parse(STANDARD).map_err(anyhow::Error::msg)? {
        if let Statement::Put { place: Where::Recovery, path, thing, mode, owner } = statement {
            script.line(&maker::put("/s/recovery", &path, &thing, mode, owner));
        }
    }
    script.line("umount /s/recovery; same nanos3 nanocfg");
    script.perform(world, &drives, kvm, &run, &logs.join("install"))?;
    for drive in drives {
        fs::rename(&drive.file, drive.file.with_extension(""))?;
    }
    Ok(())
}

/// What tells one set of images from another.
fn identity(root: &Path, executable: &Path) -> Result<String> {
    let mut text = format!("{} {STANDARD}", root.display());
    text.push_str(include_str!("world.rs"));
    text.push_str(include_str!("owners.rs"));
    text.push_str(&qemu::wiring());
    let kernel = root.join("boot/kernel/kernel");
    let about = fs::metadata(&kernel).with_context(|| kernel.display().to_string())?;
    let _ = write!(text, "{} {} {}", about.len(), about.mtime(), about.mtime_nsec());
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = [
        executable,
        &top.join("Makefile"),
        &top.join("rc.d/nanozfs"),
        &top.join("rc.d/nanozfs_settle"),
        &top.join("overlay/prepare-image"),
        &top.join("overlay/etc/nanozfs.conf"),
        &top.join("overlay/etc/rc.conf.d/gptboot"),
    ];
    for file in files {
        // By what is in them: building again makes the same executable with another time.
        let bytes = fs::read(file).with_context(|| file.display().to_string())?;
        let _ = write!(text, " {:x}", super::hash_bytes(&bytes));
    }
    Ok(format!("{:016x}", super::hash(&text)))
}

/// The release of a FreeBSD root, from its headers or its freebsd-version(1).
fn release(root: &Path) -> Result<String> {
    let text = fs::read_to_string(root.join("bin/freebsd-version")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("USERLAND_VERSION=\""));
    let word = line.unwrap_or("unknown").trim_end_matches('"');
    Ok(word.split('-').next().unwrap_or(word).to_owned())
}

/// Copies what an appliance needs.
fn copy_trimmed(root: &Path, stage: &Path) -> Result<()> {
    let mut open = vec![PathBuf::new()];
    while let Some(directory) = open.pop() {
        let (from, to) = (root.join(&directory), stage.join(&directory));
        fs::create_dir_all(&to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(&from).with_context(|| from.display().to_string())? {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            let name = entry.file_name().to_string_lossy().into_owned();
            let archive = path.starts_with("usr/lib") && name.ends_with(".a");
            let compiler = path.starts_with("usr/bin") && LEFT_OUT_PROGRAMS.contains(&&*name);
            let symbols = name.ends_with(".symbols") || name.ends_with(".debug");
            if LEFT_OUT.iter().any(|left| path == Path::new(left)) || archive || compiler || symbols
            {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_symlink() {
                symlink(fs::read_link(entry.path())?, stage.join(&path))?;
            } else if kind.is_file() {
                fs::copy(entry.path(), stage.join(&path))
                    .with_context(|| path.display().to_string())?;
            } else if !kind.is_socket() && !kind.is_fifo() {
                bail!("{}: neither file, directory nor link", entry.path().display());
            }
        }
    }
    Ok(())
}

/// With FreeBSD's own remedy for the serial port of QEMU, which waits for no interrupt after it has
/// sent something. One guest of many hundreds stood still after the kernel's last line and before
/// rc(8)'s first, as if that interrupt had been lost; it did not happen again.
fn loader_conf() -> String {
    let mut text = String::from(
        "hw.broken_txfifo=\"1\"\nconsole=\"comconsole\"\nautoboot_delay=\"1\"\nbeastie_disable=\"YES\"\n\
         loader_color=\"NO\"\nzfs_load=\"YES\"\nkern.geom.debugflags=\"0\"\n",
    );
    text.push_str(&qemu::wiring());
    text
}

/// NanoBSD's set-up, the suite, and what the stories' common appliance has.
fn appliance(stage: &Path, executable: &Path, attributes: &mut Attributes) -> Result<()> {
    write(&stage.join("etc/rc.conf.local"), RC_CONF_LOCAL)?;
    write(&stage.join("etc/ttys"), "ttyu1 \"/bin/sh /etc/vm-shell\" vt100 on secure\n")?;
    write(&stage.join("etc/vm-shell"), SHELL)?;
    write(&stage.join("etc/diskless"), "")?;
    fs::create_dir_all(stage.join("cfg"))?;
    fs::create_dir_all(stage.join("conf/default/etc"))?;
    fs::create_dir_all(stage.join("usr/local"))?;
    fs::create_dir_all(stage.join("etc/local"))?;
    for directory in ["etc", "var"] {
        let base = Path::new("conf/base").join(directory);
        copy_all(&stage.join(directory), &stage.join(&base))?;
        move_attributes(attributes, Path::new(directory), &base);
    }
    write(&stage.join("conf/base/etc/md_size"), "10240\n")?;
    let _ = fs::remove_dir_all(stage.join("tmp"));
    symlink("var/tmp", stage.join("tmp"))?;
    let _ = fs::remove_dir_all(stage.join("usr/local/etc"));
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut make = Command::new("make");
    make.current_dir(top).arg("install").arg(format!("DESTDIR={}", stage.display()));
    make.arg(format!("EXECUTABLE={}", executable.display()));
    run(&mut make)?;
    run(Command::new(top.join("overlay/prepare-image")).arg(stage))?;
    move_attributes(attributes, Path::new("conf/base/var"), Path::new("conf/nanozfs/var"));
    attributes.retain(|path, _| !path.starts_with("conf/base/var"));
    attributes.retain(|path, _| path == Path::new("var") || !path.starts_with("var"));
    attributes.insert("usr/share/man".into(), (0, 0, 0o755));
    let statements = story::parse(STANDARD).map_err(anyhow::Error::msg)?;
    for (_, statement) in statements {
        let path = match &statement {
            Statement::Put { path, .. } => path.as_path(),
            _ => Path::new("/"),
        };
        if REAL.iter().any(|real| path == Path::new(real)) {
            continue;
        }
        match statement {
            Statement::Put { place: Where::Image, path, thing, mode, owner } => {
                for path in image_places(&path) {
                    put(stage, attributes, &path, &thing, mode, owner)?;
                }
            }
            Statement::Config(key, value) => {
                for etc in ["etc", "conf/base/etc"] {
                    let path = stage.join(etc).join("nanozfs.conf");
                    let start = format!("{key}=");
                    let old = fs::read_to_string(&path)?;
                    let kept = old.lines().filter(|line| !line.starts_with(&start));
                    let mut text: String = kept.map(|line| format!("{line}\n")).collect();
                    text.push_str(&format!("{key}=\"{value}\"\n"));
                    write(&path, &text)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// True when a story's stand-in for a part of a real system is left out.
pub(crate) fn is_real(path: &Path) -> bool {
    REAL.iter().any(|real| path == Path::new(real))
}

/// The places in an image that a path means: `/etc` is there twice.
pub(crate) fn image_places(path: &Path) -> Vec<PathBuf> {
    let below = path.strip_prefix("/").unwrap_or(path);
    let mut all = vec![below.to_path_buf()];
    if below.starts_with("etc") {
        all.push(Path::new("conf/base").join(below));
    }
    all
}

fn put(
    stage: &Path,
    attributes: &mut Attributes,
    path: &Path,
    thing: &Thing,
    mode: u32,
    owner: (u32, u32),
) -> Result<()> {
    let real = stage.join(path);
    if let Some(parent) = real.parent() {
        fs::create_dir_all(parent)?;
    }
    match thing {
        Thing::File(content) => {
            let _ = fs::remove_file(&real);
            fs::write(&real, content)?;
        }
        Thing::Directory => fs::create_dir_all(&real)?,
        Thing::Link(target) => {
            let _ = fs::remove_file(&real);
            symlink(target, &real)?;
        }
        Thing::Name(_) | Thing::Special(_) => {
            bail!("{}: not in the common appliance", path.display())
        }
    }
    attributes.insert(path.to_path_buf(), (owner.0, owner.1, mode));
    Ok(())
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let _ = fs::remove_file(path);
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// Runs a program that must succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{command:?}: {}: {}", output.status, said.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn with_a_new_system_there_is_one_of_the_old_ones() {
        let work = tempfile::tempdir().unwrap();
        for (name, age) in [("images-1", 30), ("images-2", 10), ("images-3", 20)] {
            let images = work.path().join(name);
            fs::create_dir_all(images.join("prepared")).unwrap();
            let maker = fs::File::create(images.join("maker.iso")).unwrap();
            maker.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        fs::create_dir(work.path().join("logs")).unwrap();
        make_room(work.path()).unwrap();
        let left = fs::read_dir(work.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["images-2", "logs"]);
    }
}

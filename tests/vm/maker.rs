//! The maker: a guest of its own that does to a machine's disks what only FreeBSD can do: making
//! pools, datasets and files on them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nanozfs::lab::Thing;
use nanozfs::lab::statement::TopWords;

use super::qemu::{Drive, Guest};
use super::world::World;

/// How long the maker may take, KVM or not.
const LIMIT: Duration = Duration::from_secs(600);

/// What every script begins with.
const PROLOGUE: &str = r#"
die() { echo "@@maker@@ failed: $*"; sleep 100000; }
own_host() {
	id=$(printf %s 2f1c9a4e-7d31-4b6e-9c55-0123456789ab | /sbin/md5)
	sysctl -q kern.hostid="0x${id%????????????????????????}" >/dev/null
	hostname ''
}
other_host() { sysctl -q kern.hostid="$1" >/dev/null; hostname "$2"; }
# A disk by its serial number.
disk() { echo "/dev/diskid/DISK-$1"; }
# Imports the pool NAME, known by GUID, as CORE.
use_pool() {
	zpool list -H "$3" >/dev/null 2>&1 && return
	if [ "$1" = "$3" ]; then set -- "$1" "$2" ""; fi
	zpool import -f -N -R /m -o cachefile=none ${3:+-t} "$2" $3 || die import "$1"
}
# Datasets are mounted side by side, so that none hides another one's directory.
dataset() {
	at=/m/$(echo "$1" | tr / +)
	[ -d "$at" ] || { mkdir "$at" && mount -t zfs "$1" "$at" || die mount "$1"; }
}
# Nothing of DATASET, and of what is below it, stays mounted.
unmount() {
	for at in $(mount -p | awk -v one="$1" '$1 == one || index($1, one "/") == 1 { print $2 }'); do
		umount "$at" && rmdir "$at" || die "umount $at"
	done
}
slot() {
	[ -d "/s/$1" ] || { mkdir -p "/s/$1" && mount "/dev/$1" "/s/$1" || die mount "$1"; }
}
# set_key FILE KEY VALUE, as sysrc(8) does it.
set_key() {
	[ -f "$1" ] || return
	grep -v "^$2=" "$1" > /tmp/key
	echo "$2=\"$3\"" >> /tmp/key
	cat /tmp/key > "$1"
}
# Sectors that a directory takes in memory, with what tmpfs(5) itself takes for it.
need() {
	mkdir /var/need && mount -t tmpfs tmpfs /var/need && cp -Rp "$1/" /var/need || die need
	df -k /var/need | awk 'NR == 2 { print $3 * 2 }'
	umount /var/need && rmdir /var/need
}
# how SLOT-MOUNT DEVICE ro|rw memory|root SECTORS
how() {
	for etc in etc conf/base/etc; do
		echo "$2 / ufs $3 1 1" > "$1/$etc/fstab"
		case $3 in
		rw) set_key "$1/$etc/rc.conf.local" root_rw_mount YES ;;
		*) set_key "$1/$etc/rc.conf.local" root_rw_mount NO ;;
		esac
	done
	case $4 in
	memory)
		: > "$1/etc/diskless"
		sectors=$5
		# The /etc of a real system does not fit into so little: so much room is left beside it.
		[ "$sectors" -ge 4096 ] || sectors=$((sectors + $(need "$1/conf/base/etc")))
		echo $sectors > "$1/conf/base/etc/md_size" ;;
	*) rm -f "$1/etc/diskless" ;;
	esac
}
own_host
"#;

/// What comes last: everything is on the disks, nothing is exported.
const EPILOGUE: &str = r#"
sync
for at in $(mount -p | awk '$2 ~ "^/[ms]/" { print $2 }' | sort -r); do umount "$at" || die "umount $at"; done
for pool in $(zpool list -H -o name); do zpool sync "$pool" || die sync; done
sync
echo '@@maker@@ done'
sleep 100000
"#;

/// What the maker starts from.
pub(crate) fn drive(image: &Path) -> Drive {
    Drive {
        device: "cd0".to_owned(),
        serial: "maker".to_owned(),
        file: image.to_path_buf(),
        first: true,
        unreadable: false,
        socket: None,
    }
}

/// A pool as the maker knows it.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    /// On disk.
    pub(crate) name: String,
    /// While the maker has it imported.
    pub(crate) core: String,
    /// The disks it is on, by file.
    pub(crate) files: Vec<PathBuf>,
    /// The number that the story gives it.
    pub(crate) number: Option<u64>,
}

/// A script that grows, statement by statement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    text: String,
    /// Every pool of the story, the newest last.
    pub(crate) pools: Vec<Pool>,
    /// GUIDs by the name in core, as ZFS chose them.
    pub(crate) guids: BTreeMap<String, String>,
}

/// A word for sh(1), whatever is in it.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"'\\".contains(byte) || *byte == b' ';
    if bytes.iter().all(plain) {
        return format!("'{}'", String::from_utf8_lossy(bytes));
    }
    let mut word = String::from("$'");
    for byte in bytes {
        if plain(byte) {
            word.push(char::from(*byte));
        } else {
            let _ = write!(word, "\\{byte:03o}");
        }
    }
    word.push('\'');
    word
}

/// The commands that put `thing` at `path` of the directory `below`.
pub(crate) fn put(below: &str, path: &Path, thing: &Thing, mode: u32, owner: (u32, u32)) -> String {
    use std::os::unix::ffi::OsStrExt;
    let name = [below.as_bytes(), path.as_os_str().as_bytes()].concat();
    let at = quote(&name);
    let parent = quote(parent_of(&name));
    let mut text = format!("mkdir -p {parent}; ");
    let made = match thing {
        Thing::File(content) => match content.first() {
            Some(first) if content.len() > 4096 && content.iter().all(|byte| byte == first) => {
                let (count, first) = (content.len(), char::from(*first));
                format!("dd if=/dev/zero bs={count} count=1 2>/dev/null | tr '\\0' {first} > {at}")
            }
            _ => format!("printf %s {} > {at}", quote(content)),
        },
        Thing::Directory => format!("mkdir -p {at}"),
        Thing::Link(target) => {
            format!("rm -f {at}; ln -s {} {at}", quote(target.as_os_str().as_bytes()))
        }
        Thing::Name(other) => {
            let other = [parent_of(&name), other.as_os_str().as_bytes()].join(&b'/');
            format!("ln -f {} {at}", quote(&other))
        }
        Thing::Special(nanozfs::host::FileKind::Fifo) => format!("mkfifo {at}"),
        Thing::Special(_) => format!("mknod {at} c 10 200"),
    };
    text.push_str(&made);
    if !matches!(thing, Thing::Link(_)) {
        let _ = write!(text, "; chown {}:{} {at}; chmod {mode:04o} {at}", owner.0, owner.1);
    }
    text
}

fn parent_of(name: &[u8]) -> &[u8] {
    name.rsplitn(2, |byte| *byte == b'/').last().unwrap_or(b"/")
}

impl Script {
    /// True when nothing is to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// What is to be done, which is the same whenever the story is.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// It was done before: the disks are as it says.
    pub(crate) fn forget(&mut self) {
        self.text.clear();
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// The newest pool with this name, imported.
    fn with_pool(&mut self, name: &str) -> Result<String> {
        let pool = self.pools.iter().rfind(|pool| pool.name == name);
        let pool = pool.with_context(|| format!("there is no pool {name}"))?;
        let (name, core) = (pool.name.clone(), pool.core.clone());
        self.line(&format!("use_pool {name} \"$guid_{core}\" {core}"));
        Ok(core)
    }

    pub(crate) fn make_pool(&mut self, pool: &Pool, tops: &[TopWords], host: Option<&str>) {
        let mut words = String::new();
        for top in tops {
            let kind = if top.kind == "disk" { String::new() } else { format!(" {}", top.kind) };
            let _ = write!(words, "{kind} {}", top.devices.join(" "));
        }
        if let Some(host) = host {
            self.other_host(host);
        }
        let (name, core) = (&pool.name, &pool.core);
        let temporary = if name == core { String::new() } else { format!(" -t {core}") };
        self.line(&format!(
            "zpool create -f -R /m -o cachefile=none{temporary} -O mountpoint=none -O canmount=on \
             {name}{words} || die create {name}"
        ));
        self.line(&format!("guid_{core}=$(zpool get -H -o value guid {core})"));
        self.line(&format!("echo \"@@guid@@ {core} $guid_{core} @@\""));
        if host.is_some() {
            self.line("own_host");
        }
        self.pools.push(pool.clone());
    }

    fn other_host(&mut self, host: &str) {
        let number = super::hash(host) & 0xffff_ffff;
        self.line(&format!("other_host {number} {host}"));
    }

    pub(crate) fn add(&mut self, name: &str, top: &TopWords) -> Result<()> {
        let core = self.with_pool(name)?;
        let kind = if top.kind == "disk" { "" } else { top.kind.as_str() };
        self.line(&format!("zpool add -f {core} {kind} {} || die add", top.devices.join(" ")));
        Ok(())
    }

    pub(crate) fn last_used(
        &mut self,
        name: &str,
        host: Option<&str>,
        exported: bool,
        by_diskid: bool,
    ) -> Result<()> {
        let core = self.with_pool(name)?;
        if host.is_some() || by_diskid {
            self.line(&format!("unmount {core}; zpool export {core} || die export"));
            if let Some(host) = host {
                self.other_host(host);
            }
            let place = if by_diskid { "-d /dev/diskid" } else { "" };
            let temporary = if name == core { String::new() } else { format!(" -t {core}") };
            self.line(&format!(
                "zpool import -f -N -R /m -o cachefile=none {place}{temporary} \"$guid_{core}\" || die import"
            ));
            self.line(&format!("zpool sync {core}"));
            if host.is_some() && !exported {
                // Whatever comes later would be written under this machine's own hostid.
                self.line("sync; own_host");
            }
        }
        if exported {
            self.line(&format!("unmount {core}; zpool export {core} || die export; own_host"));
        }
        Ok(())
    }

    pub(crate) fn dataset(
        &mut self,
        name: &str,
        settings: &[(String, String)],
        encrypted: bool,
    ) -> Result<()> {
        let core = self.in_core(name)?;
        let mut options = String::new();
        for (key, value) in settings.iter().filter(|(_, value)| value != "inherit") {
            let _ = write!(options, " -o {}", quote(format!("{key}={value}").as_bytes()));
        }
        if !settings.iter().any(|(key, _)| key == "canmount") {
            options.push_str(" -o canmount=noauto");
        }
        if !settings.iter().any(|(key, _)| key == "mountpoint") {
            options.push_str(" -o mountpoint=none");
        }
        let create = match encrypted {
            false => format!("zfs create -u -p{options} {core} || die create {core}"),
            true => format!(
                "echo passphrase | zfs create -u -p{options} -o encryption=on \
                 -o keyformat=passphrase {core} || die create {core}"
            ),
        };
        self.line(&create);
        Ok(())
    }

    /// zfs(8) with these datasets or snapshots behind its arguments.
    pub(crate) fn zfs(&mut self, arguments: &str, names: &[String]) -> Result<()> {
        let names = names.iter().map(|name| self.in_core(name)).collect::<Result<Vec<_>>>()?;
        self.line(&format!("zfs {arguments} {} || die zfs {arguments}", names.join(" ")));
        Ok(())
    }

    pub(crate) fn destroy(&mut self, name: &str) -> Result<()> {
        let core = self.in_core(name)?;
        self.line(&format!("unmount {core}; zfs destroy -r {core} || die destroy {core}"));
        Ok(())
    }

    /// The dataset's name while the maker has its pool imported.
    fn in_core(&mut self, name: &str) -> Result<String> {
        let (pool, rest) = name.split_at(name.find('/').unwrap_or(name.len()));
        Ok(format!("{}{rest}", self.with_pool(pool)?))
    }

    /// The directory where the dataset is mounted.
    pub(crate) fn mounted(&mut self, name: &str) -> Result<String> {
        let core = self.in_core(name)?;
        self.line(&format!("dataset {core}"));
        Ok(format!("/m/{}", core.replace('/', "+")))
    }

    /// A text in which the story's own GUIDs are replaced by the real ones, in double quotes.
    pub(crate) fn with_guids(&self, text: &str) -> String {
        let mut word = text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
        for pool in &self.pools {
            if let Some(number) = pool.number {
                word = word.replace(&number.to_string(), &format!("${{guid_{}}}", pool.core));
            }
        }
        format!("\"{word}\"")
    }

    /// Starts the maker with these disks, lets it do the script, and forgets the script.
    pub(crate) fn perform(
        &mut self,
        world: &World,
        drives: &[Drive],
        kvm: bool,
        directory: &Path,
        log: &Path,
    ) -> Result<()> {
        let mut text = String::from(PROLOGUE);
        for (core, guid) in &self.guids {
            let _ = writeln!(text, "guid_{core}={guid}");
        }
        text.push_str(&self.text);
        text.push_str(EPILOGUE);
        text.push('\n');
        while text.len() % 65536 != 0 {
            text.push('\n');
        }
        fs::write(log.with_extension("sh"), text.trim_end())?;
        let script = directory.join("script");
        fs::write(&script, text)?;
        let mut all = vec![drive(&world.maker)];
        all.extend(drives.iter().map(|drive| Drive {
            first: false,
            unreadable: false,
            ..drive.clone()
        }));
        // Last: disks on the same bus are numbered in this order.
        all.push(Drive {
            device: "vtbd99".to_owned(),
            serial: "script".to_owned(),
            file: script.clone(),
            first: false,
            unreadable: false,
            socket: None,
        });
        let guest = Guest::start(&all, kvm, directory, log)?;
        let words = ["@@maker@@ done", "@@maker@@ failed", "mountroot>", "panic:"];
        let found = guest.console.wait(&words, 0, LIMIT);
        let said = guest.console.text(0);
        guest.cut();
        let _ = fs::remove_file(script);
        let (found, _) = found.with_context(|| "the maker")?;
        if found != 0 {
            let from = said.find("Trying to mount root").unwrap_or(0);
            bail!("the maker: {}", said.get(from..).unwrap_or_default().trim());
        }
        for line in said.lines().filter_map(|line| line.split_once("@@guid@@ ")) {
            let mut words = line.1.split(' ');
            if let (Some(core), Some(guid)) = (words.next(), words.next()) {
                self.guids.insert(core.to_owned(), guid.to_owned());
            }
        }
        self.text.clear();
        Ok(())
    }
}

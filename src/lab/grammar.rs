//! The grammar of the story language: from the words of a line to a statement.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use super::disks::OsDrive;
use super::effects::{Cut, Failure, Fault, Target};
use super::machine::{Damage, Flaw, Loader, Scheme, Trouble};
use super::statement::{DiskTrouble, Expect, Start, Statement, TopWords, Where};
use super::tree::Thing;
use crate::host::{FileKind, Interface};

/// The words of one statement, taken from the front, and its `name=value` options.
pub(crate) struct Words {
    plain: VecDeque<String>,
    options: Vec<(String, String)>,
}

/// Options that any statement may have; other words with `=` are plain.
const OPTIONS: &[&str] = &[
    "serial",
    "layout",
    "label",
    "root",
    "by",
    "slot",
    "etc",
    "etc-size",
    "size",
    "after",
    "guid",
    "host",
    "canmount",
    "mountpoint",
    "mode",
    "owner",
    "as",
    "set",
    "from",
    "loader",
    "image",
    "version",
    "pack",
    "compat",
    "name",
    "min-from",
];

impl Words {
    pub(crate) fn of(words: Vec<String>) -> Self {
        let mut all = Words { plain: VecDeque::new(), options: Vec::new() };
        for word in words {
            match word.split_once('=').filter(|(name, _)| OPTIONS.contains(name)) {
                Some((name, value)) => all.options.push((name.to_owned(), value.to_owned())),
                None => all.plain.push_back(word),
            }
        }
        all
    }

    fn next(&mut self, what: &str) -> Result<String, String> {
        self.plain.pop_front().ok_or_else(|| format!("{what} is missing"))
    }

    fn path(&mut self) -> Result<PathBuf, String> {
        let word = self.next("a path")?;
        if !word.starts_with('/') {
            return Err(format!("{word}: not an absolute path"));
        }
        Ok(PathBuf::from(word))
    }

    fn option(&mut self, name: &str) -> Option<String> {
        let at = self.options.iter().position(|(other, _)| other == name)?;
        Some(self.options.remove(at).1)
    }

    fn flag(&mut self, name: &str) -> bool {
        let at = self.plain.iter().position(|word| word == name);
        at.is_some_and(|at| self.plain.remove(at).is_some())
    }

    fn size(&mut self, name: &str, default: u64) -> Result<u64, String> {
        self.option(name).map_or(Ok(default), |word| size(&word))
    }

    fn after(&mut self) -> Result<Duration, String> {
        self.option("after").map_or(Ok(Duration::ZERO), |word| time(&word))
    }

    fn number(&mut self) -> Result<u64, String> {
        let word = self.next("a number")?;
        word.parse().map_err(|_| format!("{word}: not a number"))
    }

    fn mode(&mut self) -> Result<Option<u32>, String> {
        let parse = |word: String| {
            u32::from_str_radix(&word, 8).map_err(|_| format!("{word}: not an octal mode"))
        };
        self.option("mode").map(parse).transpose()
    }

    fn owner(&mut self) -> Result<Option<(u32, u32)>, String> {
        let parse = |word: String| {
            let (uid, gid) = word.split_once(':').ok_or("owner=UID:GID")?;
            let number = |word: &str| word.parse().map_err(|_| format!("{word}: not a number"));
            Ok::<_, String>((number(uid)?, number(gid)?))
        };
        self.option("owner").map(parse).transpose()
    }

    fn place(&mut self) -> Result<Where, String> {
        Ok(match self.next("image, recovery, here, @NAME or a dataset")?.as_str() {
            "image" => Where::Image,
            "recovery" => Where::Recovery,
            "here" => Where::Here,
            word => match word.strip_prefix('@') {
                Some(name) => Where::Made(name.to_owned()),
                None => Where::Dataset(word.to_owned()),
            },
        })
    }

    /// The statement, of which every word must have been used.
    pub(crate) fn statement(mut self) -> Result<Statement, String> {
        let verb = self.next("a statement")?;
        let statement = self.of_verb(&verb)?;
        if let Some(word) = self.plain.front() {
            return Err(format!("{verb}: what is {word:?}?"));
        }
        if let Some((name, _)) = self.options.first() {
            return Err(format!("{verb}: has no option {name}"));
        }
        Ok(statement)
    }

    fn of_verb(&mut self, verb: &str) -> Result<Statement, String> {
        Ok(match verb {
            "title" => Statement::Title(self.next("the title")?),
            "tell" => Statement::Tell(self.next("the text")?),
            "use" => match self.next("standard")?.as_str() {
                "standard" if self.flag("os-drive") => {
                    Statement::UseStandard(Some(self.os_drive()?))
                }
                "standard" => Statement::UseStandard(None),
                other => return Err(format!("use {other}: only standard")),
            },
            "os-drive" => Statement::OsDrive(self.os_drive()?),
            "start" => Statement::Start(self.start()?),
            "disk" => Statement::Disk {
                device: self.next("a device")?,
                serial: self.option("serial").unwrap_or_default(),
                size: self.size("size", 256 << 20)?,
                after: self.after()?,
            },
            "partition" => Statement::Partition {
                device: self.next("a device")?,
                name: self.next("a name")?,
                size: self.size("size", 200 << 20)?,
            },
            "pool" => self.pool()?,
            "add" => Statement::Add {
                pool: self.next("a pool")?,
                top: TopWords {
                    kind: self.next("spare, cache, log, mirror or disk")?,
                    devices: std::mem::take(&mut self.plain).into(),
                },
            },
            "last-used" => Statement::LastUsed {
                exported: self.flag("exported"),
                host: self.option("host"),
                by_diskid: self.option("by").is_some_and(|by| by == "diskid"),
                pool: self.next("a pool")?,
            },
            "dataset" => self.dataset()?,
            "property" => Statement::Property {
                dataset: self.next("a dataset")?,
                name: self.next("a property")?,
                value: self.next("a value")?,
            },
            "snapshot" => Statement::Snapshot(std::mem::take(&mut self.plain).into()),
            "destroy" => Statement::Destroy(self.next("a dataset")?),
            "file" | "dir" | "link" | "name" | "fifo" | "device" => self.put(verb)?,
            "remove" => Statement::Remove { place: self.place()?, path: self.path()? },
            "config" => Statement::Config(self.next("a key")?, self.next("a value")?),
            "kenv" => Statement::Kenv(self.next("a name")?, self.next("a value")?),
            "image" => Statement::Image { from: self.option("from"), name: self.next("a name")? },
            "release" => {
                let (image, version) = (self.option("image"), self.option("version"));
                let mut set = Vec::new();
                for name in ["pack", "compat", "name", "min-from"] {
                    set.extend(self.option(name).map(|value| (name.to_owned(), value)));
                }
                Statement::Release {
                    file: self.next("a file")?,
                    image: image.ok_or("image=NAME")?,
                    version: version.ok_or("version=NUMBER")?,
                    set,
                }
            }
            "truncate" => Statement::Truncate { file: self.next("a file")?, bytes: self.number()? },
            "fault" => self.fault()?,
            "in-use" => Statement::InUse(self.path()?),
            "service-fails" => Statement::ServiceFails(self.next("a service")?),
            "interface" => {
                let (up, has_address) = (self.flag("up"), self.flag("address"));
                let name = self.next("an interface")?;
                Statement::Interface(Interface { name, up, has_address })
            }
            "default-route" => Statement::DefaultRoute(self.next("yes or no")? == "yes"),
            "answers" => Statement::Answers(std::mem::take(&mut self.plain).into()),
            "wait" => Statement::Wait(time(&self.next("a time")?)?),
            "at-work" => Statement::AtWork(match self.next("a process, or nobody")?.as_str() {
                "nobody" => None,
                word => {
                    let process = word.parse().map_err(|_| format!("{word}: not a process"))?;
                    Some((process, std::mem::take(&mut self.plain).into()))
                }
            }),
            "mend" => Statement::Mend,
            "boot" => Statement::Boot,
            "single-user" => Statement::SingleUser,
            "run" => {
                // Every word is the command's.
                let options = std::mem::take(&mut self.options);
                let words = std::mem::take(&mut self.plain).into_iter();
                let rest = options.into_iter().map(|(name, value)| format!("{name}={value}"));
                Statement::Run(words.chain(rest).collect())
            }
            "shutdown" => Statement::Shutdown,
            "settle" => Statement::Settle,
            "boot-area" => Statement::BootArea {
                device: self.next("a device")?,
                bytes: self.next("the bytes")?.into_bytes(),
            },
            "cut" => {
                let word = self.next("lost, kept, torn or reordered")?;
                let cut = Cut::OF_DRIVES.into_iter().find(|cut| cut.name() == word);
                let wrong = || format!("cut {word}: lost, kept, torn or reordered");
                Statement::Cut(cut.ok_or_else(wrong)?)
            }
            "detach" => Statement::Detach(self.next("a device")?),
            "attach" => Statement::Attach {
                device: self.next("a device")?,
                name: self.option("as"),
                after: self.after()?,
            },
            "rename-disk" => {
                Statement::Rename { from: self.next("a device")?, to: self.next("a device")? }
            }
            "swap" => match self.next("os-drive")?.as_str() {
                "os-drive" => Statement::Swap {
                    device: self.next("a device")?,
                    serial: self.option("serial").unwrap_or_default(),
                },
                other => return Err(format!("swap {other}: only os-drive")),
            },
            "expect" => Statement::Expect(self.expect()?),
            other => return Err(format!("{other}: not a statement")),
        })
    }

    fn os_drive(&mut self) -> Result<OsDrive, String> {
        Ok(OsDrive {
            device: self.next("a device")?,
            serial: self.option("serial").unwrap_or_default(),
            label: self.option("label").unwrap_or_else(|| "nano".to_owned()),
            scheme: match self.option("layout").as_deref() {
                None | Some("mbr") => Scheme::Mbr,
                Some("gpt") => Scheme::Gpt,
                Some(other) => return Err(format!("layout {other}: mbr or gpt")),
            },
            loader: match self.option("loader").as_deref() {
                None => None,
                Some("gptboot") => Some(Loader::Gptboot),
                Some("gptboot.efi") => Some(Loader::GptbootEfi),
                Some("loader.efi") => Some(Loader::LoaderEfi),
                Some("boot0") => Some(Loader::Boot0),
                Some("mbr") => Some(Loader::Mbr),
                Some(other) => return Err(format!("loader {other}: not known")),
            },
        })
    }

    fn start(&mut self) -> Result<Vec<Start>, String> {
        let mut all = Vec::new();
        let memory = self.size("etc-size", 5 << 20)?;
        for (name, value) in std::mem::take(&mut self.options) {
            all.push(match (name.as_str(), value.as_str()) {
                ("root", "ro") => Start::Writable(false),
                ("root", "rw") => Start::Writable(true),
                ("by", "label") => Start::ByLabel(true),
                ("by", "device") => Start::ByLabel(false),
                ("etc", "memory") => Start::Etc(Some(memory)),
                ("etc", "root") => Start::Etc(None),
                ("slot", number) => {
                    Start::Slot(number.parse().map_err(|_| format!("slot {number}: not a number"))?)
                }
                _ => return Err(format!("start {name}={value}: not known")),
            });
        }
        Ok(all)
    }

    fn pool(&mut self) -> Result<Statement, String> {
        let name = self.next("a name")?;
        let guid = self.option("guid");
        let guid = guid.map(|word| word.parse().map_err(|_| format!("{word}: not a GUID")));
        let (host, exported) = (self.option("host"), self.flag("exported"));
        let mut tops: Vec<TopWords> = Vec::new();
        for word in std::mem::take(&mut self.plain) {
            let is_kind = word.starts_with("raidz")
                || ["disk", "mirror", "spare", "log", "cache"].contains(&word.as_str());
            match (is_kind, tops.last_mut()) {
                (true, _) => tops.push(TopWords { kind: word, devices: Vec::new() }),
                (false, Some(top)) => top.devices.push(word),
                (false, None) => {
                    tops.push(TopWords { kind: "disk".to_owned(), devices: vec![word] });
                }
            }
        }
        Ok(Statement::Pool { name, tops, guid: guid.transpose()?, host, exported })
    }

    fn dataset(&mut self) -> Result<Statement, String> {
        let encrypted = self.flag("encrypted");
        let key = self.flag("key-loaded") || !encrypted;
        let name = self.next("a dataset")?;
        let mut settings = Vec::new();
        for name in ["canmount", "mountpoint"] {
            settings.extend(self.option(name).map(|value| (name.to_owned(), value)));
        }
        while let Some(set) = self.option("set") {
            let (name, value) = set.split_once('=').ok_or("set=NAME=VALUE")?;
            settings.push((name.to_owned(), value.to_owned()));
        }
        Ok(Statement::Dataset { name, settings, encrypted, key })
    }

    fn put(&mut self, verb: &str) -> Result<Statement, String> {
        let (place, path) = (self.place()?, self.path()?);
        let (thing, usual) = match verb {
            "file" => match self.option("size") {
                Some(word) => {
                    let length = usize::try_from(size(&word)?).map_err(|e| e.to_string())?;
                    (Thing::File(vec![b'x'; length]), 0o644)
                }
                None => (Thing::File(self.next("the content")?.into_bytes()), 0o644),
            },
            "dir" => (Thing::Directory, 0o755),
            "link" => (Thing::Link(PathBuf::from(self.next("a target")?)), 0o755),
            "name" => (Thing::Name(PathBuf::from(self.next("a file beside it")?)), 0o644),
            "fifo" => (Thing::Special(FileKind::Fifo), 0o644),
            _ => (Thing::Special(FileKind::Device), 0o600),
        };
        let mode = self.mode()?.unwrap_or(usual);
        let owner = self.owner()?.unwrap_or_default();
        Ok(Statement::Put { place, path, thing, mode, owner })
    }

    fn fault(&mut self) -> Result<Statement, String> {
        let at = match self.next("import, write, mount, program, geom or disk")?.as_str() {
            "import" => Target::Import(self.next("a pool")?),
            "write" => Target::Write(self.path()?),
            "mount" => Target::Mount(self.next("a source or mount point")?),
            "program" => Target::Program(self.next("a program")?),
            "geom" => Target::Geom,
            "disk" => {
                let device = self.next("a device")?;
                let trouble = match self.next("what is wrong with it")?.as_str() {
                    "unreadable" => DiskTrouble::Lasting(Trouble::Unreadable),
                    "damaged" => DiskTrouble::Lasting(Trouble::Damaged),
                    "corrupt-table" => DiskTrouble::CorruptTable,
                    "recovery-unclean" => DiskTrouble::RecoveryCopy(true, Damage::None),
                    "recovery-mendable" => DiskTrouble::RecoveryCopy(true, Damage::Mendable),
                    "recovery-hopeless" => DiskTrouble::RecoveryCopy(true, Damage::Hopeless),
                    "drops-write" => DiskTrouble::Once(Flaw::DropsWrite(self.number()?)),
                    "fails-read" => DiskTrouble::Once(Flaw::FailsRead(self.number()?)),
                    other => return Err(format!("{other}: not known")),
                };
                return Ok(Statement::DiskFault { device, trouble });
            }
            other => return Err(format!("fault {other}: not known")),
        };
        let how = match self.next("hang, missing, nonsense, or an errno")?.as_str() {
            "hang" => Failure::Hang,
            "missing" => Failure::Missing,
            "nonsense" => Failure::Nonsense,
            "says" => Failure::Says(self.next("the words")?),
            "EIO" => Failure::Errno(libc::EIO),
            "ENOSPC" => Failure::Errno(libc::ENOSPC),
            "EBUSY" => Failure::Errno(libc::EBUSY),
            "EACCES" => Failure::Errno(libc::EACCES),
            "EROFS" => Failure::Errno(libc::EROFS),
            "ENOENT" => Failure::Errno(libc::ENOENT),
            "ENXIO" => Failure::Errno(libc::ENXIO),
            other => return Err(format!("{other}: not a way to fail")),
        };
        Ok(Statement::Fault(Fault { at, how }))
    }

    fn expect(&mut self) -> Result<Expect, String> {
        let verb = self.next("what to expect")?;
        Ok(match verb.as_str() {
            "exit" => {
                let word = self.next("a number")?;
                Expect::Exit(word.parse().map_err(|_| format!("{word}: not an exit code"))?)
            }
            "mode" => Expect::Mode(self.next("a mode")?),
            "kenv" => Expect::Kenv(self.next("a name")?, self.next("a value")?),
            "mounted" => Expect::Mounted {
                read_only: self.flag("read-only"),
                at: self.path()?,
                source: self.next("a source")?,
            },
            "not-mounted" => Expect::NotMounted(self.path()?),
            "file" => Expect::File {
                path: self.path()?,
                content: self.next("the content")?,
                mode: self.mode()?,
                owner: self.owner()?,
            },
            "directory" => Expect::Directory { path: self.path()?, mode: self.mode()? },
            "link" => {
                Expect::Link { path: self.path()?, target: PathBuf::from(self.next("a target")?) }
            }
            "absent" => Expect::Absent(self.path()?),
            "dataset" => Expect::Dataset(self.next("a dataset")?),
            "no-dataset" => Expect::NoDataset(self.next("a dataset or snapshot")?),
            "snapshot" => Expect::Snapshot(self.next("a snapshot")?),
            "property" => Expect::Property {
                dataset: self.next("a dataset")?,
                name: self.next("a property")?,
                value: self.next("a value")?,
            },
            "imported" => Expect::Imported(self.next("a pool")?),
            "untouched" => Expect::Untouched(self.next("a pool")?),
            "waited" => {
                let word = self.next("FROM..TO")?;
                let (from, to) = word.split_once("..").unwrap_or((&word, &word));
                Expect::Waited(time(from)?, time(to)?)
            }
            "programs" => {
                let word = self.next("a number")?;
                Expect::Programs(word.parse().map_err(|_| format!("{word}: not a number"))?)
            }
            "restarting" => Expect::Restarting(true),
            "not-restarting" => Expect::Restarting(false),
            "running" => Expect::Running(self.next("A or B")?),
            "slot" => Expect::Slot {
                slot: self.next("A or B")?,
                marks: std::mem::take(&mut self.plain).into(),
            },
            "logged" => Expect::Logged(self.next("the words")?),
            "syslog" => Expect::Syslog(self.next("the words")?),
            "unfinished" => {
                let number = u32::try_from(self.number()?);
                Expect::Unfinished(number.map_err(|error| error.to_string())?)
            }
            "past" => Expect::Past(std::mem::take(&mut self.plain).into()),
            "unchanged" => Expect::Unchanged,
            "says" => Expect::Says(self.next("the words")?),
            "silent" => Expect::Silent(self.next("the words")?),
            other => return Err(format!("expect {other}: not known")),
        })
    }
}

/// `4s`, `250ms`.
fn time(word: &str) -> Result<Duration, String> {
    let wrong = || format!("{word}: not a time like 4s or 250ms");
    if let Some(number) = word.strip_suffix("ms") {
        return number.parse().map(Duration::from_millis).map_err(|_| wrong());
    }
    let number = word.strip_suffix('s').unwrap_or(word);
    number.parse().map(Duration::from_secs).map_err(|_| wrong())
}

/// `256m`, `4k`, `100`.
fn size(word: &str) -> Result<u64, String> {
    let wrong = || format!("{word}: not a size like 256m");
    let (digits, shift) = match word.chars().last() {
        Some('k') => (word.trim_end_matches('k'), 10),
        Some('m') => (word.trim_end_matches('m'), 20),
        Some('g') => (word.trim_end_matches('g'), 30),
        _ => (word, 0),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

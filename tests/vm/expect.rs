//! Checking what a story expects, by asking the guest.

use std::path::Path;
use std::time::Duration;

use nanozfs::boot::said::LOG;
use nanozfs::format::boots::OFFSET;
use nanozfs::lab::statement::Expect;

use super::maker::quote;
use super::player::Player;

/// A guest's clock and QEMU's bus are not the lab's: this much later is still in time.
const SLACK: Duration = Duration::from_millis(2500);

impl Player<'_> {
    /// Why it is not so; nothing when it is.
    ///
    /// # Errors
    ///
    /// When the guest cannot be asked.
    pub(crate) fn check(&self, expect: &Expect) -> Result<Option<String>, String> {
        let failed = |error: anyhow::Error| format!("{error:#}");
        let ask = |line: &str| self.sh(line).map_err(failed);
        Ok(match expect {
            Expect::Exit(code) => differ("exit", &Some(*code), &self.last.exit),
            Expect::Mode(mode) => {
                differ("mode", mode, &ask("kenv -q nanozfs.state")?.output.trim().to_owned())
            }
            Expect::Kenv(name, value) => {
                let found = ask(&format!("kenv -q {name}"))?.output.trim().to_owned();
                differ(name, value, &found)
            }
            Expect::Mounted { at, source, read_only } => match self.mounted(at)? {
                Some((found, options))
                    if same_device(&found, source)
                        && (!read_only || options.split(',').any(|word| word == "ro")) =>
                {
                    None
                }
                found => Some(format!("{} shows {found:?}, not {source}", at.display())),
            },
            Expect::Running(_) | Expect::Slot { .. } | Expect::Past(_) => {
                return Err("looked at by the lab only".to_owned());
            }
            Expect::NotMounted(at) => {
                let found = self.mounted(at)?;
                found.map(|(source, _)| format!("{} is mounted: {source}", at.display()))
            }
            Expect::File { path, content, mode, owner } => {
                let name = name(path);
                let ran = ask(&format!("stat -L -f '%Mp%Lp %u:%g %HT' {name} && cat {name}"))?;
                let (about, found) = ran.output.split_once('\n').unwrap_or((&ran.output, ""));
                if ran.exit != 0 {
                    return Ok(Some(format!("{}: {}", path.display(), ran.output.trim())));
                }
                let found = found.replace('\r', "");
                differ(&path.display().to_string(), &self.real_guids(content), &found)
                    .or_else(|| attributes(path, about, *mode, *owner))
            }
            Expect::Directory { path, mode } => {
                let ran = ask(&format!("stat -f '%Mp%Lp %u:%g %HT' {}", name(path)))?;
                match ran.output.contains("Directory") {
                    true => attributes(path, &ran.output, *mode, None),
                    false => Some(format!("{}: {}", path.display(), ran.output.trim())),
                }
            }
            Expect::Link { path, target } => {
                let found = ask(&format!("readlink {}", name(path)))?.output.trim().to_owned();
                differ(&path.display().to_string(), &target.display().to_string(), &found)
            }
            Expect::Absent(path) => {
                let ran = ask(&format!("stat {}", name(path)))?;
                (ran.exit == 0).then(|| format!("{} is there", path.display()))
            }
            Expect::Dataset(name) | Expect::Snapshot(name) => {
                let ran = ask(&format!("zfs list -H -o name {name}"))?;
                (ran.exit != 0).then(|| format!("there is no {name}"))
            }
            Expect::NoDataset(name) => {
                let ran = ask(&format!("zfs list -H -o name {name}"))?;
                (ran.exit == 0).then(|| format!("{name} is there"))
            }
            Expect::Property { dataset, name, value } => {
                let get = format!("zfs get -H -s local,received -o value {name} {dataset}");
                let found = ask(&get)?.output.trim_end_matches('\n').to_owned();
                differ(&format!("{name} of {dataset}"), value, &found)
            }
            Expect::Imported(pool) => {
                let pool = self.real_guids(pool);
                let ran = ask("zpool list -H -o name,guid")?;
                let found = ran.output.split_whitespace().any(|word| word == pool);
                (!found).then(|| format!("pool {pool} is not imported: {}", ran.output.trim()))
            }
            Expect::Untouched(pool) => self.untouched(pool).map_err(failed)?,
            Expect::Waited(from, to) => match self.last.waited {
                Some(waited) if waited + SLACK >= *from && waited <= *to + SLACK => None,
                waited => Some(format!("waited {waited:?}, not {from:?} to {to:?}")),
            },
            Expect::Logged(words) => {
                let ran = ask(&format!("grep -F -e {} {LOG}", quote(words.as_bytes())))?;
                (ran.exit != 0).then(|| format!("not logged: {words:?}"))
            }
            Expect::Unfinished(count) => {
                let slots = self.slots();
                let (_, recovery, _) = slots.first().ok_or("there is no OS drive")?;
                let dd = format!("dd if=/dev/{recovery} bs={OFFSET} skip=1 count=1 2>/dev/null");
                let found = ask(&format!("{dd} | tr -d '\\0' | sed -n s/^unfinished=//p"))?.output;
                differ("boots without an end", &count.to_string(), &found.trim().to_owned())
            }
            // The syslog.conf of a guest drops most of it.
            Expect::Syslog(_) => None,
            // A guest does not count programs, and restarts instead of being about to.
            Expect::Programs(_) | Expect::Restarting(_) => None,
            Expect::Unchanged => match &self.last.changed {
                None => Some("nobody looked: it has to follow its run".to_owned()),
                Some(changed) => {
                    changed.as_ref().map(|what| format!("the last run changed: {what}"))
                }
            },
            Expect::Says(words) => {
                let words = self.real_guids(words);
                (!said(&self.last.output, &words)).then(|| format!("it did not say {words:?}"))
            }
            Expect::Silent(words) => {
                said(&self.last.output, words).then(|| format!("it did say {words:?}"))
            }
        })
    }

    /// What is mounted there last: source and options.
    fn mounted(&self, at: &Path) -> Result<Option<(String, String)>, String> {
        let ran = self.sh("mount -p").map_err(|error| format!("{error:#}"))?;
        let lines = ran.output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut found = lines.filter_map(|words| match words.as_slice() {
            [source, place, _, options, ..] if Path::new(place) == at => {
                Some(((*source).to_owned(), (*options).to_owned()))
            }
            _ => None,
        });
        Ok(found.next_back())
    }
}

/// A label and a device may be the same partition; `tmpfs` stands for any file system in memory.
fn same_device(found: &str, wanted: &str) -> bool {
    found == wanted || (wanted == "tmpfs" && found.starts_with("/dev/md"))
}

fn name(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    quote(path.as_os_str().as_bytes())
}

/// `1777 0:0 Directory` against what is wanted.
fn attributes(
    path: &Path,
    about: &str,
    mode: Option<u32>,
    owner: Option<(u32, u32)>,
) -> Option<String> {
    let mut words = about.split_whitespace();
    let found_mode = words.next().and_then(|word| u32::from_str_radix(word, 8).ok());
    let found_owner = words.next().unwrap_or_default();
    let wrong_mode = mode.is_some_and(|mode| found_mode != Some(mode));
    let wrong_owner = owner.is_some_and(|(uid, gid)| found_owner != format!("{uid}:{gid}"));
    (wrong_mode || wrong_owner).then(|| format!("{}: {}", path.display(), about.trim()))
}

/// Says what is different.
fn differ<T: PartialEq + std::fmt::Debug>(what: &str, wanted: &T, found: &T) -> Option<String> {
    (wanted != found).then(|| format!("{what}: {found:?}, not {wanted:?}"))
}

/// True when the words are there, however the lines are wrapped.
fn said(output: &str, words: &str) -> bool {
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    flat(output).contains(&flat(words))
}

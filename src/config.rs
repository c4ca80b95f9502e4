//! `/etc/nanozfs.conf` and the loader's say, made into a [`Config`].
//!
//! nanozfs.conf(5) is the page for people. A key that is not known or a value that cannot be used
//! never stops a boot: it is a [`Finding`] with file and line, and the default stands.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::format::conf;
use crate::format::selection::Selection;
use crate::host::{Host, why};
use crate::report::{Code, Finding};

/// Where the configuration is, in the image.
pub const PATH: &str = "/etc/nanozfs.conf";
/// Prefix of the kernel environment variables that win over the file: `nanozfs.wait=5`.
pub const KENV: &str = "nanozfs.";
/// More than a configuration file can sensibly have.
const MAX_SIZE: u64 = 1 << 20;

/// What the suite was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The pools that may be imported, in order of preference.
    pub pools: Vec<KnownPool>,
    /// How long boot waits for disks of known pools.
    pub wait: Duration,
    /// How long one import may take.
    pub import_limit: Duration,
    /// The parent of the layout below a pool: `nano` for `tank/nano/cfg`.
    pub dataset: String,
    /// The labels' common beginning on the OS drive: `nano` for `ufs/nanos1a` or `gpt/nanoA`.
    pub label: String,
    /// Size of a memory `/var`, in bytes.
    pub var_size: u64,
    /// The image's own `/var`, from which an empty one is filled.
    pub var_seed: PathBuf,
    /// Parts of `/var` that describe the image: shown from [`Config::var_seed`].
    pub var_image: Vec<PathBuf>,
    /// Leave every pool alone.
    pub recovery: bool,
    /// A trial that is not kept this long after the start of the machine is given up.
    pub trial_limit: Duration,
    /// How long one check of the administrator's may take.
    pub health_limit: Duration,
    /// Releases without a signature of a known key are refused.
    pub require_signature: bool,
    /// What the recovery copy has of `/cfg`.
    pub recovery_files: Selection,
}

/// What a machine needs to answer on its network address and let its people in.
const RECOVERY_FILES: &str = "rc.conf* start_if.* hosts resolv.conf wpa_supplicant.conf \
    dhclient.conf pf.conf ppp ssh master.passwd group login.conf ttys";

impl Default for Config {
    fn default() -> Self {
        Config {
            pools: Vec::new(),
            wait: Duration::from_secs(30),
            import_limit: Duration::from_secs(120),
            dataset: "nano".to_owned(),
            label: "nano".to_owned(),
            var_size: 64 << 20,
            var_seed: PathBuf::from("/conf/nanozfs/var"),
            var_image: vec![PathBuf::from("db/pkg")],
            recovery: false,
            trial_limit: Duration::from_secs(600),
            health_limit: Duration::from_secs(60),
            require_signature: true,
            recovery_files: Selection::parse(RECOVERY_FILES).unwrap_or_default(),
        }
    }
}

/// A pool that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownPool {
    /// By name, or by a pattern of names: `tank`, `data*`.
    Name(glob::Pattern),
    /// By GUID, which no second pool can have.
    Guid(u64),
}

impl KnownPool {
    /// A word of the `pools` key: digits are a GUID, since no pool's name begins with one.
    fn parse(word: &str) -> Result<Self, String> {
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return match word.parse() {
                Ok(guid) if guid != 0 => Ok(KnownPool::Guid(guid)),
                _ => Err(format!("{word}: neither a pool's name nor its GUID")),
            };
        }
        let pattern = glob::Pattern::new(word).map_err(|error| format!("{word}: {}", error.msg))?;
        Ok(KnownPool::Name(pattern))
    }

    /// Is this pool meant?
    pub fn matches(&self, name: &str, guid: u64) -> bool {
        match self {
            KnownPool::Name(pattern) => pattern.matches(name),
            KnownPool::Guid(known) => *known == guid,
        }
    }

    /// True when it names exactly one pool name, so that two pools matching it are one too many.
    pub fn is_one_name(&self) -> bool {
        match self {
            KnownPool::Name(pattern) => !pattern.as_str().contains(['*', '?', '[']),
            KnownPool::Guid(_) => false,
        }
    }
}

impl std::fmt::Display for KnownPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KnownPool::Name(pattern) => f.write_str(pattern.as_str()),
            KnownPool::Guid(guid) => write!(f, "{guid}"),
        }
    }
}

/// One key: its name, how the default reads, one line on what it does, and how a value is taken.
pub struct Key {
    /// As it stands in the file.
    pub name: &'static str,
    /// The default, as it would stand in the file.
    pub default: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    take: fn(&mut Config, &str) -> Result<(), String>,
}

/// Every key. nanozfs.conf(5) and `overlay/etc/nanozfs.conf` are compared with it in the tests.
pub const KEYS: &[Key] = &[
    Key {
        name: "pools",
        default: "",
        about: "Pools to import: names, patterns or GUIDs, the first with a layout wins.",
        take: |config, value| {
            let words: Result<Vec<_>, _> = value.split_whitespace().map(KnownPool::parse).collect();
            config.pools = words?;
            Ok(())
        },
    },
    Key {
        name: "wait",
        default: "30",
        about: "Seconds to wait for disks of these pools. 0: do not wait.",
        take: |config, value| seconds(value, 0..=3600).map(|time| config.wait = time),
    },
    Key {
        name: "import_limit",
        default: "120",
        about: "Seconds after which an import is given up.",
        take: |config, value| seconds(value, 1..=86_400).map(|time| config.import_limit = time),
    },
    Key {
        name: "dataset",
        default: "nano",
        about: "Dataset below the pool that holds cfg, var and jails.",
        take: |config, value| dataset_name(value).map(|name| config.dataset = name),
    },
    Key {
        name: "label",
        default: "nano",
        about: "How the labels on the OS drive begin: nanos1a, nanoA.",
        take: |config, value| word(value).map(|label| config.label = label),
    },
    Key {
        name: "var_size",
        default: "64m",
        about: "Size of /var when it has to be in memory: bytes, or with k, m, g.",
        take: |config, value| size(value).map(|bytes| config.var_size = bytes),
    },
    Key {
        name: "var_seed",
        default: "/conf/nanozfs/var",
        about: "The image's own /var: what an empty /var is filled from.",
        take: |config, value| absolute(value).map(|path| config.var_seed = path),
    },
    Key {
        name: "var_image",
        default: "db/pkg",
        about: "Parts of /var that belong to the image and are shown from var_seed.",
        take: |config, value| {
            let paths: Result<Vec<_>, _> = value.split_whitespace().map(relative).collect();
            config.var_image = paths?;
            Ok(())
        },
    },
    Key {
        name: "mode",
        default: "auto",
        about: "auto, or recovery: import nothing, start from the recovery copy.",
        take: |config, value| {
            config.recovery = match value {
                "auto" => false,
                "recovery" => true,
                _ => return Err("neither auto nor recovery".to_owned()),
            };
            Ok(())
        },
    },
    Key {
        name: "trial_limit",
        default: "600",
        about: "Seconds after the start in which a trial must turn out healthy.",
        take: |config, value| seconds(value, 60..=86_400).map(|time| config.trial_limit = time),
    },
    Key {
        name: "health_limit",
        default: "60",
        about: "Seconds that one check in /etc/nanozfs/health.d may take.",
        take: |config, value| seconds(value, 1..=3600).map(|time| config.health_limit = time),
    },
    Key {
        name: "require_signature",
        default: "yes",
        about: "Install only releases that a key in /etc/nanozfs.pub.d signed.",
        take: |config, value| yes_or_no(value).map(|yes| config.require_signature = yes),
    },
    Key {
        name: "recovery_files",
        default: RECOVERY_FILES,
        about: "Files of /cfg that \"nanozfs cfg recovery save\" puts on the OS drive.",
        take: |config, value| Selection::parse(value).map(|files| config.recovery_files = files),
    },
];

fn seconds(value: &str, range: std::ops::RangeInclusive<u64>) -> Result<Duration, String> {
    match value.parse() {
        Ok(seconds) if range.contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("not a number of seconds from {} to {}", range.start(), range.end())),
    }
}

/// As rc.conf(5) knows it.
fn yes_or_no(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Ok(true),
        "no" | "false" | "off" | "0" => Ok(false),
        _ => Err("neither yes nor no".to_owned()),
    }
}

/// Bytes, with the suffixes that mdmfs(8) takes.
fn size(value: &str) -> Result<u64, String> {
    let (digits, shift) = match value.char_indices().last() {
        Some((at, 'k' | 'K')) => (value.get(..at), 10),
        Some((at, 'm' | 'M')) => (value.get(..at), 20),
        Some((at, 'g' | 'G')) => (value.get(..at), 30),
        _ => (Some(value), 0),
    };
    let bytes = digits
        .and_then(|digits| digits.parse::<u64>().ok())
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|bytes| (1 << 20..=1 << 40).contains(bytes));
    bytes.ok_or_else(|| "not a size from 1m to 1024g".to_owned())
}

/// A name that can stand in a label: GEOM keeps them under 64 bytes.
fn word(value: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if value.is_empty() || value.len() > 32 || !value.chars().all(fits) {
        return Err("not a label: letters, digits, _ - . and at most 32 of them".to_owned());
    }
    Ok(value.to_owned())
}

fn dataset_name(value: &str) -> Result<String, String> {
    let part = |part: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
        !part.is_empty() && part != "." && part != ".." && part.chars().all(fits)
    };
    if value.len() > 128 || !value.split('/').all(part) {
        return Err("not a dataset's name".to_owned());
    }
    Ok(value.to_owned())
}

fn absolute(value: &str) -> Result<PathBuf, String> {
    let path = Path::new(value);
    match path.is_absolute() && !dotted(path) && path != Path::new("/") {
        true => Ok(path.to_owned()),
        false => Err("not an absolute path".to_owned()),
    }
}

fn relative(value: &str) -> Result<PathBuf, String> {
    let path = Path::new(value);
    match path.is_relative() && !dotted(path) {
        true => Ok(path.to_owned()),
        false => Err(format!("{value}: not a path below /var")),
    }
}

/// A path with `.` or `..` in it leads somewhere else than it reads.
fn dotted(path: &Path) -> bool {
    path.to_string_lossy().split('/').any(|part| part == "." || part == "..")
}

impl Config {
    /// Reads the configuration of `host`. What is wrong with it is in the findings, and the
    /// defaults stand in its place.
    pub fn load(host: &dyn Host) -> (Config, Vec<Finding>) {
        let mut findings = Vec::new();
        let text = match host.files().read(Path::new(PATH), MAX_SIZE) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                findings.push(Finding::new(Code::E01, format!("{PATH}: {}", why(&error))));
                String::new()
            }
        };
        let config = Self::read(&text, |name| host.kenv(name), &mut findings);
        (config, findings)
    }

    /// The configuration that `text` and the loader's variables make.
    fn read(
        text: &str,
        kenv: impl Fn(&str) -> Option<String>,
        findings: &mut Vec<Finding>,
    ) -> Config {
        let mut config = Config::default();
        let conf = conf::parse(text);
        let mut told: Vec<(usize, Finding)> = Vec::new();
        for problem in &conf.problems {
            let what = format!("{PATH}:{}: {}: line ignored", problem.line, problem.why);
            told.push((problem.line, Finding::new(Code::E02, what)));
        }
        for assignment in &conf.assignments {
            let at = format!("{PATH}:{}", assignment.line);
            let finding = match KEYS.iter().find(|key| key.name == assignment.key) {
                Some(key) => config.take(key, &assignment.value, &at),
                None => {
                    let what = format!("{at}: unknown key {}: ignored", assignment.key);
                    Some(Finding::new(Code::E02, what))
                }
            };
            told.extend(finding.map(|finding| (assignment.line, finding)));
        }
        told.sort_by_key(|(line, _)| *line);
        findings.extend(told.into_iter().map(|(_, finding)| finding));
        for key in KEYS {
            let name = format!("{KENV}{}", key.name);
            if let Some(value) = kenv(&name) {
                findings.extend(config.take(key, &value, &format!("kenv {name}")));
            }
        }
        config
    }

    /// Takes one value; a bad one leaves what was there before, and is a finding.
    fn take(&mut self, key: &Key, value: &str, at: &str) -> Option<Finding> {
        let mut changed = self.clone();
        match (key.take)(&mut changed, value) {
            Ok(()) => {
                *self = changed;
                None
            }
            Err(why) => {
                let what = format!("{at}: {}=\"{value}\": {why}: not used", key.name);
                Some(Finding::new(Code::E03, what))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, kenv: &[(&str, &str)]) -> (Config, Vec<String>) {
        let mut findings = Vec::new();
        let look = |name: &str| {
            kenv.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let config = Config::read(text, look, &mut findings);
        (config, findings.into_iter().map(|f| format!("{} {}", f.code.id(), f.what)).collect())
    }

    #[test]
    fn the_defaults_in_the_table_are_the_defaults_in_the_code() {
        let text: String =
            KEYS.iter().map(|key| format!("{}=\"{}\"\n", key.name, key.default)).collect();
        assert_eq!(read(&text, &[]), (Config::default(), vec![]));
    }

    #[test]
    fn a_bad_value_is_named_with_its_line_and_the_default_stands() {
        let (config, findings) = read("wait=\"soon\"\npolls=\"tank\"\n\nwhat\n", &[]);
        assert_eq!(config, Config::default());
        assert_eq!(
            findings,
            [
                "E03 /etc/nanozfs.conf:1: wait=\"soon\": not a number of seconds from 0 to 3600: not used",
                "E02 /etc/nanozfs.conf:2: unknown key polls: ignored",
                "E02 /etc/nanozfs.conf:4: not a key=\"value\" line: line ignored",
            ]
        );
    }

    #[test]
    fn the_loader_wins_over_the_file() {
        let (config, findings) =
            read("wait=\"5\"\n", &[("nanozfs.wait", "7"), ("nanozfs.mode", "recovery")]);
        assert_eq!((config.wait.as_secs(), config.recovery), (7, true));
        assert_eq!(findings, Vec::<String>::new());
    }

    #[test]
    fn pools_are_known_by_name_by_pattern_and_by_guid() {
        let (config, _) = read("pools=\"tank data* 12345\"", &[]);
        let [name, pattern, guid] = config.pools.as_slice() else { panic!("{config:?}") };
        assert!(name.matches("tank", 1) && !name.matches("tank2", 1) && name.is_one_name());
        assert!(pattern.matches("data7", 1) && !pattern.is_one_name());
        assert!(guid.matches("any", 12345) && !guid.matches("12345", 1));
    }

    #[test]
    fn values_that_would_lead_elsewhere_are_refused() {
        for text in [
            "pools=\"[a\"",
            "pools=\"0\"",
            "pools=\"99999999999999999999\"",
            "wait=\"-1\"",
            "wait=\"3601\"",
            "import_limit=\"0\"",
            "dataset=\"../x\"",
            "dataset=\"\"",
            "dataset=\"a//b\"",
            "label=\"a/b\"",
            "label=\"\"",
            "var_size=\"0\"",
            "var_size=\"9e9\"",
            "var_size=\"99999999999g\"",
            "var_size=\"é\"",
            "var_seed=\"conf\"",
            "var_seed=\"/\"",
            "var_image=\"../etc\"",
            "var_image=\"/db\"",
            "mode=\"recover\"",
            "recovery_files=\"rc.conf ../master.passwd\"",
        ] {
            let (config, findings) = read(text, &[]);
            assert_eq!(config, Config::default(), "{text}");
            assert_eq!(findings.len(), 1, "{text}: {findings:?}");
        }
    }
}

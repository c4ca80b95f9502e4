//! Is the system that is on trial healthy? The checks that come with the suite, and those that the
//! administrator wrote.

use std::path::{Path, PathBuf};

use crate::boot::record;
use crate::config::Config;
use crate::format::console_log;
use crate::host::{Ended, FileKind, Host, Interface, why};
use crate::report::Mode;

/// Where executables of the administrator's are: each is a check, exit code 0 is healthy.
pub const CHECKS: &str = "/etc/nanozfs/health.d";
/// What is written and removed to see whether a directory can be written to.
const PROBE: &str = ".nanozfs.health";

/// One check and what it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// What is wrong; `None` when nothing is.
    pub problem: Option<String>,
}

/// Makes all checks. Changes nothing but for a file that is written to `/cfg` and `/var` and
/// removed again.
pub fn examine(host: &dyn Host, config: &Config) -> Vec<Check> {
    let mut checks = vec![
        check("mode", mode(host)),
        check("services", services(host)),
        check("/cfg", writable(host, Path::new("/cfg"))),
        check("/var", writable(host, Path::new("/var"))),
        check("network", network(host)),
    ];
    match executables(host) {
        Ok(paths) => checks.extend(paths.iter().map(|path| by_executable(host, config, path))),
        Err(problem) => checks.push(check(CHECKS, Some(problem))),
    }
    checks
}

fn check(name: &str, problem: Option<String>) -> Check {
    Check { name: name.to_owned(), problem }
}

fn mode(host: &dyn Host) -> Option<String> {
    match host.kenv(record::STATE) {
        Some(mode) if mode == Mode::Normal.name() => None,
        Some(mode) => Some(format!("the mode is {mode}")),
        None => Some("nanozfs boot did not run".to_owned()),
    }
}

fn services(host: &dyn Host) -> Option<String> {
    match host.services().console_log() {
        Ok(log) => {
            let failed = console_log::failed_services(&log);
            (!failed.is_empty()).then(|| format!("not started: {}", failed.join(", ")))
        }
        Err(error) => Some(error.to_string()),
    }
}

fn writable(host: &dyn Host, directory: &Path) -> Option<String> {
    let (files, probe) = (host.files(), directory.join(PROBE));
    // One that an earlier check left when the power went.
    let _ = files.remove_file(&probe);
    let tried = files.create(&probe, b"").and_then(|()| files.remove_file(&probe));
    tried.err().map(|error| format!("cannot be written to: {}", why(&error)))
}

fn network(host: &dyn Host) -> Option<String> {
    let services = host.services();
    let known = services.settings().and_then(|settings| {
        let interfaces = services.interfaces()?;
        Ok((settings, interfaces, services.has_default_route()?))
    });
    match known {
        Ok((settings, interfaces, route)) => network_problem(&settings, &interfaces, route),
        Err(error) => Some(error.to_string()),
    }
}

/// What rc.conf asks of the network and is not there.
fn network_problem(
    settings: &[(String, String)],
    interfaces: &[Interface],
    has_route: bool,
) -> Option<String> {
    let setting = |name: &str| settings.iter().find(|(other, _)| other == name).map(|(_, v)| v);
    for (name, value) in settings {
        let Some(interface) = name.strip_prefix("ifconfig_").filter(|rest| is_interface(rest))
        else {
            continue;
        };
        let renamed = setting(&format!("ifconfig_{interface}_name"));
        let interface = renamed.map_or(interface, String::as_str);
        let Some(found) = interfaces.iter().find(|one| one.name == interface) else {
            return Some(format!("{interface} is not there"));
        };
        if !found.up {
            return Some(format!("{interface} is down"));
        }
        let wants_address = value.split_whitespace().any(|word| {
            let word = word.to_ascii_lowercase();
            matches!(word.as_str(), "inet" | "inet6" | "dhcp" | "syncdhcp" | "noasyncdhcp")
        });
        if wants_address && !found.has_address {
            return Some(format!("{interface} has no address"));
        }
    }
    let wants_route = setting("defaultrouter")
        .is_some_and(|value| !value.is_empty() && !value.eq_ignore_ascii_case("no"));
    (wants_route && !has_route).then(|| "there is no default route".to_owned())
}

/// `em0`, `vtnet1`: letters and then digits. `em0_alias0` and `DEFAULT` are other settings.
fn is_interface(word: &str) -> bool {
    let digits = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
    digits.len() < word.len() && !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit())
}

/// The administrator's checks, by name.
fn executables(host: &dyn Host) -> Result<Vec<PathBuf>, String> {
    let (files, directory) = (host.files(), Path::new(CHECKS));
    if !matches!(files.find(directory), Ok(Some(_))) {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for name in files.list(directory).map_err(|error| why(&error))? {
        let path = directory.join(name);
        let stat = files.stat(&path).map_err(|error| why(&error))?;
        if stat.kind == FileKind::File && stat.attributes.mode & 0o111 != 0 {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn by_executable(host: &dyn Host, config: &Config, path: &Path) -> Check {
    let problem = match host.services().run(path, config.health_limit) {
        Ok(Ended { code: Some(0), .. }) => None,
        Ok(Ended { code: Some(code), last_line }) => {
            Some(said(&format!("exit {code}"), &last_line))
        }
        Ok(Ended { code: None, last_line }) => Some(said("it was ended", &last_line)),
        Err(error) => Some(error.why),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    check(&name, problem)
}

fn said(how: &str, last_line: &str) -> String {
    if last_line.is_empty() { how.to_owned() } else { format!("{how}: {last_line}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, up: bool, has_address: bool) -> Interface {
        Interface { name: name.to_owned(), up, has_address }
    }

    #[test]
    fn the_network_is_what_rc_conf_asks_for() {
        let em0 = [interface("em0", true, true)];
        let mute = [interface("em0", true, false)];
        let down = [interface("em0", false, false)];
        let lan0 = [interface("lan0", true, true)];
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a [Interface], bool, Option<&'a str>);
        let cases: &[Case<'_>] = &[
            (&[], &[], false, None),
            (&[("ifconfig_em0", "DHCP")], &em0, false, None),
            (&[("ifconfig_em0", "SYNCDHCP")], &mute, false, Some("em0 has no address")),
            (&[("ifconfig_em0", "inet 10.0.0.1/24")], &down, false, Some("em0 is down")),
            (&[("ifconfig_em0", "inet 10.0.0.1/24")], &[], false, Some("em0 is not there")),
            (&[("ifconfig_em0", "up")], &mute, false, None),
            (&[("ifconfig_em0", "DHCP"), ("ifconfig_em0_name", "lan0")], &lan0, true, None),
            (&[("ifconfig_DEFAULT", "DHCP"), ("ifconfig_em0_alias0", "inet x")], &[], false, None),
            (&[("defaultrouter", "10.0.0.254")], &em0, false, Some("there is no default route")),
            (&[("defaultrouter", "10.0.0.254")], &em0, true, None),
            (&[("defaultrouter", "NO")], &em0, false, None),
        ];
        for (settings, interfaces, route, problem) in cases {
            let owned: Vec<_> =
                settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let found = network_problem(&owned, interfaces, *route);
            assert_eq!(found.as_deref(), *problem, "{settings:?} {interfaces:?}");
        }
    }
}

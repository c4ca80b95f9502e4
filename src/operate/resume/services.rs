//! Which services have to read their configuration again, or open their files again.

use std::path::Path;
use std::time::Duration;

use crate::host::{Ended, Services};

/// As long as one service may take: a database that is interrupted in the middle of its own stop stays
/// down.
pub const LIMIT: Duration = Duration::from_secs(600);

/// Daemons of the base system that read `/etc` or have files open in `/var`. Everything else that
/// rc enables is done at a boot and not again: above all the network, which an operator may be
/// sitting at the other end of.
const DAEMONS: [&str; 34] = [
    "auditd",
    "auditdistd",
    "blacklistd",
    "blocklistd",
    "bsnmpd",
    "cron",
    "ctld",
    "devd",
    "dma",
    "ftpd",
    "gssd",
    "inetd",
    "kadmind",
    "kdc",
    "local_unbound",
    "lockd",
    "lpd",
    "mountd",
    "nfsd",
    "nfsuserd",
    "nscd",
    "ntpd",
    "pflog",
    "powerd",
    "rpcbind",
    "rtadvd",
    "rwho",
    "sendmail",
    "snmpd",
    "statd",
    "syslogd",
    "ypbind",
    "ypserv",
    "zfsd",
];

/// What changed under the running services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Pools were imported: datasets of theirs are to be mounted, jails may be on them.
    pub pools: bool,
    /// `/etc` or `/var` are others.
    pub files: bool,
}

/// One service and what its script is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// `restart`, `reload` or `start`.
    pub action: &'static str,
}

impl Service {
    /// As it is typed.
    pub fn command(&self) -> String {
        format!("service {} {}", self.name, self.action)
    }
}

/// Of the services that are enabled, those that are to do something, in the order in which they do
/// it: first the datasets that others are on, last jails, and sshd, which reads its configuration
/// and its keys again without ending a session.
pub fn affected(enabled: &[String], changed: Changed) -> Vec<Service> {
    let service = |name: &str, action| Service { name: name.to_owned(), action };
    let is_enabled = |name: &str| enabled.iter().any(|path| path.rsplit('/').next() == Some(name));
    let mut all = Vec::new();
    if changed.pools && is_enabled("zfs") {
        all.push(service("zfs", "start"));
    }
    if changed.files {
        for path in enabled {
            let Some(name) = path.rsplit('/').next() else { continue };
            let of_base = Path::new(path).starts_with("/etc/rc.d");
            if !of_base || DAEMONS.contains(&name) {
                all.push(service(name, "restart"));
            }
        }
    }
    if (changed.pools || changed.files) && is_enabled("jail") {
        all.push(service("jail", "start"));
    }
    if changed.files && is_enabled("sshd") {
        all.push(service("sshd", "reload"));
    }
    all
}

/// Has a service do it; why it did not.
pub fn act(services: &dyn Services, service: &Service) -> Result<(), String> {
    let tried = |action: &str| match services.service(&service.name, action, LIMIT) {
        Ok(ended) if ended.code == Some(0) => Ok(()),
        Ok(ended) if ended.last_line.is_empty() => Err(match ended.code {
            Some(code) => format!("exit {code}"),
            None => "it was stopped".to_owned(),
        }),
        Ok(Ended { code: Some(code), last_line }) => Err(format!("exit {code}: {last_line}")),
        Ok(ended) => Err(ended.last_line),
        Err(error) => Err(error.to_string()),
    };
    match tried(service.action) {
        // It was not running: what it was started with did not enable it.
        Err(why) if service.action == "reload" => tried("start").map_err(|_| why),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(enabled: &[&str], pools: bool, files: bool) -> Vec<String> {
        let enabled: Vec<String> = enabled.iter().map(|path| (*path).to_owned()).collect();
        let all = affected(&enabled, Changed { pools, files });
        all.iter().map(|one| format!("{} {}", one.name, one.action)).collect()
    }

    const ENABLED: [&str; 7] = [
        "/etc/rc.d/zfs",
        "/etc/rc.d/netif",
        "/etc/rc.d/jail",
        "/etc/rc.d/syslogd",
        "/etc/rc.d/sshd",
        "/usr/local/etc/rc.d/app",
        "/etc/rc.d/cron",
    ];

    #[test]
    fn daemons_restart_in_rcs_order_and_the_network_and_sessions_are_left_alone() {
        let all = [
            "zfs start",
            "syslogd restart",
            "app restart",
            "cron restart",
            "jail start",
            "sshd reload",
        ];
        assert_eq!(commands(&ENABLED, true, true), all);
    }

    #[test]
    fn a_pool_without_cfg_and_var_concerns_datasets_and_jails_only() {
        assert_eq!(commands(&ENABLED, true, false), ["zfs start", "jail start"]);
        assert_eq!(commands(&ENABLED, false, false), Vec::<String>::new());
        assert_eq!(commands(&["/etc/rc.d/netif"], true, true), Vec::<String>::new());
    }

    #[test]
    fn names_of_daemons_are_in_order() {
        assert!(DAEMONS.is_sorted());
    }
}

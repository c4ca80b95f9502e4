//! Services, network and restart of the lab machine.

use std::path::Path;
use std::time::Duration;

use super::effects::Effect;
use super::{Inner, Lab};
use crate::host::{Ended, Error, Host, Interface, Result, Services};

/// What `service NAME ACTION` takes.
const SERVICE: Duration = Duration::from_millis(300);
/// Scripts of the base system in rc's order, and whether rc.conf enables them by itself.
const RC_ORDER: [(&str, bool); 10] = [
    ("zfs", false),
    ("netif", true),
    ("devd", true),
    ("routing", true),
    ("syslogd", true),
    ("rpcbind", false),
    ("ntpd", false),
    ("jail", false),
    ("cron", true),
    ("sshd", false),
];

/// The variable that [`Services::guard`] leaves its deadline in, so that people see it.
const GUARD: &str = "nanozfs.guard";

impl Services for Lab {
    fn console_log(&self) -> Result<Vec<u8>> {
        let failed = Lab::lock(self).machine.failed_services.clone();
        let line = |name: &String| format!("/etc/rc: WARNING: failed to start {name}\n");
        let lines: String = failed.iter().map(line).collect();
        Ok(format!("---<<BOOT>>---\n{lines}").into_bytes())
    }

    /// What rc.conf says, as far as plain assignments in `/etc/rc.conf` go.
    fn settings(&self) -> Result<Vec<(String, String)>> {
        let text = self.files().read(Path::new("/etc/rc.conf"), 1 << 20);
        let text = text.map_err(|error| Error::io("read rc.conf", &error))?;
        let conf = crate::format::conf::parse(&String::from_utf8_lossy(&text));
        Ok(conf.assignments.into_iter().map(|one| (one.key, one.value)).collect())
    }

    fn interfaces(&self) -> Result<Vec<Interface>> {
        Ok(Lab::lock(self).machine.interfaces.clone())
    }

    fn has_default_route(&self) -> Result<bool> {
        Ok(Lab::lock(self).machine.default_route)
    }

    /// An executable of the lab is a text; its first line says how it ends: `exit 1 words`, or
    /// `hang`.
    fn run(&self, executable: &Path, limit: Duration) -> Result<Ended> {
        let text = self.files().read(executable, 1 << 16);
        let text = text.map_err(|error| Error::io(executable.display().to_string(), &error))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.lines().find(|line| !line.starts_with('#')).unwrap_or("exit 0");
        if line == "hang" {
            Lab::lock(self).machine.uptime += limit;
            let last_line = format!("no answer within {} s", limit.as_secs());
            return Ok(Ended { code: None, last_line });
        }
        let mut words = line.splitn(3, ' ').skip(1);
        let code = words.next().and_then(|code| code.parse().ok()).unwrap_or(0);
        Ok(Ended { code: Some(code), last_line: words.next().unwrap_or_default().to_owned() })
    }

    /// What the base system starts by itself, and what rc.conf sets to YES.
    fn enabled(&self) -> Result<Vec<String>> {
        let settings = self.settings()?;
        let on = |name: &str| {
            let key = format!("{name}_enable");
            let set = settings.iter().rfind(|(other, _)| *other == key);
            set.map(|(_, value)| value.eq_ignore_ascii_case("yes"))
        };
        let path = |name: &&str| format!("/etc/rc.d/{name}");
        let base = RC_ORDER.iter().filter(|(name, usual)| on(name).unwrap_or(*usual));
        let mut paths: Vec<String> = base.map(|(name, _)| path(name)).collect();
        let known = |name: &str| RC_ORDER.iter().any(|(other, _)| *other == name);
        for (key, _) in &settings {
            let Some(name) = key.strip_suffix("_enable") else { continue };
            if !known(name) && on(name) == Some(true) {
                paths.push(format!("/usr/local/etc/rc.d/{name}"));
            }
        }
        Ok(paths)
    }

    /// A service that a story lets fail does not start again either.
    fn service(&self, name: &str, action: &str, _limit: Duration) -> Result<Ended> {
        let mut inner = Lab::lock(self);
        let effect = Effect::new("run", format!("service {name} {action}"));
        inner.gate_host(effect, Duration::ZERO)?;
        inner.machine.uptime += SERVICE;
        if inner.machine.failed_services.iter().any(|failed| failed == name) {
            let last_line = format!("{name}: WARNING: failed to start {name}");
            return Ok(Ended { code: Some(1), last_line });
        }
        Ok(Ended { code: Some(0), last_line: format!("Starting {name}.") })
    }

    fn guard(&self, deadline: Duration) -> Result<()> {
        let mut inner = Lab::lock(self);
        inner.gate_host(Effect::new("run", "the guard of the trial"), Duration::ZERO)?;
        inner.machine.guard = Some(deadline);
        inner.machine.kenv.insert(GUARD.to_owned(), deadline.as_secs().to_string());
        Ok(())
    }

    fn watch(&self, id: &str, deadline: Duration) -> Result<()> {
        let mut inner = Lab::lock(self);
        inner.gate_host(Effect::new("run", "the watch of a change"), Duration::ZERO)?;
        inner.machine.watches.push((id.to_owned(), deadline));
        Ok(())
    }

    fn is_guarded(&self) -> bool {
        Lab::lock(self).machine.guard.is_some()
    }

    fn stand_down(&self) -> Result<bool> {
        let mut inner = Lab::lock(self);
        if inner.machine.guard.is_none() {
            return Ok(false);
        }
        inner.gate_host(Effect::new("signal", "the guard of the trial"), Duration::ZERO)?;
        inner.machine.guard = None;
        inner.machine.kenv.remove(GUARD);
        Ok(true)
    }

    fn started_by_rc(&self) -> bool {
        Lab::lock(self).machine.under_rc
    }

    fn log_late(&self, text: &str, warns: bool) {
        let word = if warns { "warning" } else { "info" };
        Lab::lock(self).machine.syslog.push(format!("{word}: {text}"));
    }

    fn rc_is_running(&self) -> bool {
        false
    }

    fn detach(&self) {}

    fn see_it_through(&self) {}

    fn now(&self) -> i64 {
        Lab::lock(self).machine.now().seconds
    }

    fn sleep(&self, time: Duration) {
        Lab::lock(self).machine.uptime += time;
    }

    fn reboot(&self, orderly: bool) -> Result<()> {
        let mut inner = Lab::lock(self);
        let how = if orderly { "reboot" } else { "reboot -q" };
        inner.gate_host(Effect::new("run", how), Duration::ZERO)?;
        inner.machine.restarting = true;
        Ok(())
    }
}

impl Inner {
    /// Time in which only what waits in the background may do something: the guard of a trial; what
    /// [`Inner::due`] names is run by whoever tells the time.
    pub(crate) fn time_passes(&mut self, time: Duration) {
        self.machine.uptime += time;
        let now = self.machine.uptime;
        self.machine.watches.retain(|(_, deadline)| *deadline > now);
        if self.machine.guard.is_some_and(|deadline| deadline <= self.machine.uptime) {
            self.machine.restarting = true;
        }
    }

    /// What a process that waits in the background types when this much more time has passed.
    pub(crate) fn due(&self, time: Duration) -> Option<Vec<String>> {
        let then = self.machine.uptime + time;
        let (id, deadline) = self.machine.watches.iter().find(|(_, at)| *at <= then)?;
        let deadline = deadline.as_secs().to_string();
        Some(["nanozfs", "cfg", "watch", id.as_str(), deadline.as_str()].map(str::to_owned).into())
    }

    /// What the running system knows is gone when it stops.
    pub(crate) fn services_stop(&mut self) {
        self.machine.guard = None;
        self.machine.restarting = false;
        self.machine.at_work = None;
        self.machine.rc_is_busy = false;
        self.machine.syslog.clear();
        self.machine.watches.clear();
    }
}

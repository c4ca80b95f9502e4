//! A running guest: QEMU, its two serial lines, and its monitor.
//!
//! The first serial line is the console. The second one carries commands to a shell of root's, so
//! that what they print is not mixed with what the kernel says.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// QEMU does not outlive us, however we end: it is killed when our end of its input is closed.
const LEASH: &str =
    "exec 3<&0; (cat <&3 >/dev/null; kill -9 $$) & exec qemu-system-x86_64 \"$@\" </dev/null 3<&-";
/// Memory of a guest in MiB.
const MEMORY: &str = "1024";
/// From power-on until the kernel's first line, when KVM works.
const KERNEL: Duration = Duration::from_secs(20);
/// From the start of QEMU until its sockets are there.
const SOCKETS: Duration = Duration::from_secs(10);

/// Which QEMU it is: `QEMU 7.2.22`.
pub(crate) fn version() -> String {
    let output = Command::new("qemu-system-x86_64").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    let number = text.split(' ').skip_while(|word| *word != "version").nth(1);
    format!("QEMU {}", number.unwrap_or("of an unknown version"))
}

/// True when KVM can be used. A device node is not enough, nor a QEMU that starts: some hosts fail
/// at the first instruction of the firmware or the loader. So the kernel of `drive` must come up.
pub(crate) fn kvm_works(drive: &Drive, run: &Path, log: &Path) -> bool {
    if std::fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return false;
    }
    let Ok(guest) = Guest::start(std::slice::from_ref(drive), true, run, log) else {
        return false;
    };
    guest.console.wait(&["Copyright (c) 1992"], 0, KERNEL).is_ok()
}

/// A disk as QEMU gets it.
#[derive(Clone, Debug)]
pub(crate) struct Drive {
    /// The kernel's name: `ada1`.
    pub(crate) device: String,
    pub(crate) serial: String,
    pub(crate) file: PathBuf,
    /// The firmware starts from it.
    pub(crate) first: bool,
    /// Every read fails.
    pub(crate) unreadable: bool,
    /// A server stands between: see `liar.rs`.
    pub(crate) socket: Option<PathBuf>,
}

impl Drive {
    /// The bus and the number in a name: `ada1` is (`ada`, 1).
    fn place(&self) -> Result<(&str, u32)> {
        let digits = self.device.find(|c: char| c.is_ascii_digit());
        let (bus, number) = self.device.split_at(digits.unwrap_or(self.device.len()));
        let number = number.parse().with_context(|| format!("{}: no number", self.device))?;
        Ok((bus, number))
    }

    fn node(&self) -> String {
        format!("node-{}", self.device)
    }

    /// The back end, in the form of -blockdev. What the guest has written is in this system's cache
    /// when QEMU is killed: nothing has to reach the disk below it.
    fn blockdev(&self) -> Value {
        let file = json!({"driver": "file", "filename": self.file, "read-only": self.device.starts_with("cd"), "cache": {"direct": false, "no-flush": true}});
        let file = match (&self.socket, self.unreadable) {
            (Some(socket), _) => {
                json!({"driver": "nbd", "server": {"type": "unix", "path": socket}})
            }
            (None, false) => file,
            (None, true) => json!({"driver": "blkdebug", "image": file, "inject-error":
                [{"event": "read_aio", "errno": 5, "once": false, "immediately": true}]}),
        };
        let read_only = self.device.starts_with("cd");
        json!({"driver": "raw", "node-name": self.node(), "file": file, "read-only": read_only})
    }

    /// The front end, in the form of -device. AHCI of QEMU cannot be plugged in or pulled while
    /// the guest runs: such a disk becomes a SCSI disk with the same number.
    fn frontend(&self, hot: bool) -> Result<Value> {
        let (bus, number) = self.place()?;
        let mut device = match (bus, hot) {
            ("ada", false) => json!({"driver": "ide-hd",
                "bus": format!("ahci{}.{}", number / 6, number % 6)}),
            ("da" | "ada", _) => json!({"driver": "scsi-hd", "bus": "scsi0.0",
                "scsi-id": number, "lun": 0}),
            ("cd", false) => json!({"driver": "ide-cd", "bus": "ahci1.5"}),
            ("vtbd", false) => json!({"driver": "virtio-blk-pci"}),
            ("nda" | "nvd", false) => json!({"driver": "nvme"}),
            _ => bail!("{}: no such disk can be plugged in", self.device),
        };
        if let Some(fields) = device.as_object_mut() {
            fields.insert("id".to_owned(), json!(format!("disk-{}", self.device)));
            fields.insert("drive".to_owned(), json!(self.node()));
            if !self.serial.is_empty() {
                fields.insert("serial".to_owned(), json!(self.serial));
            }
            if self.first {
                fields.insert("bootindex".to_owned(), json!(0));
            }
        }
        Ok(device)
    }
}

/// Variables for the loader that tie each disk to its name.
pub(crate) fn wiring() -> String {
    let mut text = String::new();
    for n in 0..12 {
        text.push_str(&format!("hint.scbus.{n}.at=\"ahcich{n}\"\nhint.ada.{n}.at=\"scbus{n}\"\n"));
    }
    text.push_str("hint.scbus.20.at=\"vtscsi0\"\n");
    for n in 0..32 {
        text.push_str(&format!(
            "hint.da.{n}.at=\"scbus20\"\nhint.da.{n}.target=\"{n}\"\nhint.da.{n}.unit=\"0\"\n"
        ));
    }
    text.push_str("hw.nvme.use_nvd=\"0\"\n");
    text
}

/// What came over a serial line, and when.
#[derive(Debug, Default)]
struct Received {
    text: Vec<u8>,
    /// How much had come by when.
    times: Vec<(usize, Instant)>,
    ended: bool,
}

/// A serial line.
#[derive(Debug)]
pub(crate) struct Line {
    stream: UnixStream,
    received: Arc<(Mutex<Received>, Condvar)>,
}

impl Line {
    fn open(path: &Path, log: &Path) -> Result<Line> {
        let stream = connect(path)?;
        let received: Arc<(Mutex<Received>, Condvar)> = Arc::default();
        let (mut reader, shared) = (stream.try_clone()?, Arc::clone(&received));
        let mut log = File::create(log)?;
        thread::spawn(move || {
            let mut buffer = [0u8; 4096];
            loop {
                let count = reader.read(&mut buffer).unwrap_or(0);
                let chunk = buffer.get(..count).unwrap_or_default();
                let _ = log.write_all(chunk);
                let mut received = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                received.text.extend(chunk);
                let length = received.text.len();
                received.times.push((length, Instant::now()));
                received.ended |= count == 0;
                shared.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Ok(Line { stream, received })
    }

    /// Everything that came from `from` on.
    pub(crate) fn text(&self, from: usize) -> String {
        let received = self.received.0.lock().unwrap_or_else(PoisonError::into_inner);
        clean(received.text.get(from..).unwrap_or_default())
    }

    /// How much came.
    pub(crate) fn length(&self) -> usize {
        self.received.0.lock().unwrap_or_else(PoisonError::into_inner).text.len()
    }

    /// When the text before `end` had come.
    pub(crate) fn when(&self, end: usize) -> Option<Instant> {
        let received = self.received.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = received.times.partition_point(|(length, _)| *length < end);
        received.times.get(at).map(|(_, when)| *when)
    }

    /// Waits for one of the words, looking from `from` on: which, and where it ends.
    pub(crate) fn wait(
        &self,
        words: &[&str],
        from: usize,
        limit: Duration,
    ) -> Result<(usize, usize)> {
        let deadline = Instant::now() + limit;
        let mut received = self.received.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let text = received.text.get(from..).unwrap_or_default();
            let found = words.iter().enumerate().filter_map(|(index, word)| {
                let at = text.windows(word.len()).position(|bytes| bytes == word.as_bytes())?;
                Some((index, from + at + word.len()))
            });
            if let Some(found) = found.min_by_key(|(_, end)| *end) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if received.ended {
                bail!("the guest is gone, while waiting for {words:?}");
            }
            if left.is_zero() {
                bail!("{} s passed without {words:?}", limit.as_secs());
            }
            let wait = self.received.1.wait_timeout(received, left);
            received = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Types it, not faster than a serial line is read.
    pub(crate) fn send(&self, text: &str) -> Result<()> {
        let mut stream = &self.stream;
        for chunk in text.as_bytes().chunks(48) {
            stream.write_all(chunk)?;
            thread::sleep(Duration::from_millis(4));
        }
        Ok(())
    }
}

/// Text without carriage returns and without the loader's cursor movements.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {}
            '\u{1b}' => {
                if chars.next_if_eq(&'[').is_some() {
                    while chars.next_if(|c| c.is_ascii_digit() || *c == ';' || *c == '?').is_some()
                    {
                    }
                    chars.next();
                }
            }
            c => out.push(c),
        }
    }
    out
}

fn connect(path: &Path) -> Result<UnixStream> {
    let deadline = Instant::now() + SOCKETS;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => {
                return Err(error).context("QEMU does not answer");
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// A guest that runs. Dropping it cuts the power.
#[derive(Debug)]
pub(crate) struct Guest {
    child: Child,
    pub(crate) console: Line,
    pub(crate) commands: Line,
    monitor: BufReader<UnixStream>,
    log: PathBuf,
}

impl Guest {
    /// Starts a guest with these disks. Sockets go to `run`, logs to `logs` with this name.
    pub(crate) fn start(drives: &[Drive], kvm: bool, run: &Path, log: &Path) -> Result<Guest> {
        let mut command = Command::new("sh");
        command.args(["-c", LEASH, "qemu"]);
        command.args(["-machine", "pc", "-m", MEMORY, "-display", "none", "-vga", "std"]);
        command.args(["-nodefaults", "-no-user-config", "-net", "none"]);
        let processors = std::env::var("CPUS").ok().filter(|number| !number.is_empty());
        command.args(["-smp", processors.as_deref().unwrap_or("1")]);
        command.args(if kvm {
            ["-accel", "kvm", "-cpu", "host"]
        } else {
            // QEMU 10.0 reads beyond the operand of VINSERTI128 in memory: zfs.ko of 15 panics at
            // the end of a page.
            ["-accel", "tcg", "-cpu", "max,avx2=off"]
        });
        command.args(["-uuid", "2f1c9a4e-7d31-4b6e-9c55-0123456789ab"]);
        command.args(["-device", "virtio-rng-pci,addr=0x5"]);
        command.args(["-device", "virtio-scsi-pci,id=scsi0,addr=0x6"]);
        command.args(["-device", "ich9-ahci,id=ahci0,addr=0x8"]);
        command.args(["-device", "ich9-ahci,id=ahci1,addr=0x9"]);
        let socket = |name: &str| run.join(name);
        for name in ["console", "commands", "monitor"] {
            let _ = std::fs::remove_file(socket(name));
        }
        for name in ["console", "commands"] {
            let path = socket(name).display().to_string();
            command.args(["-chardev", &format!("socket,id={name},path={path},server=on,wait=off")]);
            command.args(["-serial", &format!("chardev:{name}")]);
        }
        let monitor = socket("monitor").display().to_string();
        command.args(["-qmp", &format!("unix:{monitor},server=on,wait=off"), "-S"]);
        for drive in drives {
            command.args(["-blockdev", &drive.blockdev().to_string()]);
            command.args(["-device", &drive.frontend(false)?.to_string()]);
        }
        let errors = log.with_extension("qemu");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(File::create(&errors)?);
        let child = command.spawn().context("qemu-system-x86_64")?;
        let mut child = Killed(Some(child));
        let lines = || -> Result<_> {
            Ok((
                Line::open(&socket("console"), &log.with_extension("console"))?,
                Line::open(&socket("commands"), &log.with_extension("commands"))?,
                BufReader::new(connect(&socket("monitor"))?),
            ))
        };
        let (console, commands, monitor) = lines().with_context(|| {
            std::fs::read_to_string(&errors).unwrap_or_default().trim().to_owned()
        })?;
        let child = child.0.take().context("QEMU is gone")?;
        let mut guest = Guest { child, console, commands, monitor, log: log.to_owned() };
        guest.monitor.get_ref().set_read_timeout(Some(SOCKETS))?;
        let mut greeting = String::new();
        guest.monitor.read_line(&mut greeting)?;
        guest.ask("qmp_capabilities", json!({}))?;
        guest.ask("cont", json!({}))?;
        Ok(guest)
    }

    /// Keeps what the processor is at, three times, beside the console of a guest that stands still.
    pub(crate) fn write_state(&mut self) -> Result<()> {
        let mut text = String::new();
        for line in ["info registers", "info registers", "info registers", "info pic"] {
            let told = self.ask("human-monitor-command", json!({"command-line": line}))?;
            text += &format!("{line}\n{}\n", told.as_str().unwrap_or_default());
        }
        Ok(std::fs::write(self.log.with_extension("state"), text)?)
    }

    /// One command of QEMU's monitor.
    fn ask(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let line = json!({"execute": command, "arguments": arguments});
        self.monitor.get_ref().write_all(format!("{line}\n").as_bytes())?;
        loop {
            let mut answer = String::new();
            if self.monitor.read_line(&mut answer)? == 0 {
                bail!("{command}: QEMU is gone");
            }
            let answer: Value = serde_json::from_str(&answer)?;
            if let Some(error) = answer.get("error") {
                bail!("{command}: {error}");
            }
            if let Some(done) = answer.get("return") {
                return Ok(done.clone());
            }
        }
    }

    /// Plugs a disk in while the guest runs.
    pub(crate) fn plug(&mut self, drive: &Drive) -> Result<()> {
        self.ask("blockdev-add", drive.blockdev())?;
        let mut device = drive.frontend(true)?;
        if let Some(fields) = device.as_object_mut() {
            fields.remove("bootindex");
        }
        self.ask("device_add", device)?;
        Ok(())
    }

    /// Pulls a disk that was plugged in, or is on a bus that allows it.
    pub(crate) fn pull(&mut self, device: &str) -> Result<()> {
        self.ask("device_del", json!({"id": format!("disk-{device}")}))?;
        // Its back end can go once the guest has let go of it.
        let deadline = Instant::now() + SOCKETS;
        let node = json!({"node-name": format!("node-{device}")});
        while let Err(error) = self.ask("blockdev-del", node.clone()) {
            if Instant::now() > deadline {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Waits until the guest has switched itself off.
    pub(crate) fn wait_off(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("it has not switched itself off after {} s", limit.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The power goes: QEMU is killed. What the guest had written to its disks is there (it is in
    /// this system's cache), what it had only in its own memory is lost.
    pub(crate) fn cut(self) {}
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A child that does not outlive an error.
struct Killed(Option<Child>);

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

//! Writing a release into the other slot: `upgrade install`, `upgrade info`.

use std::io::{self, Read};
use std::path::Path;

use super::command::Order;
use super::journal::{Image, Installed, Journal};
use super::progress::Teller;
use super::release::{self, KEYS, Keys, Refusal, Release, Running, Trust};
use super::select::{self, Scheme};
use super::slot::{self, Counts, Left, Target};
use super::trial::{self, Started};
use super::work;
use super::{data, switch};
use crate::boot::Boot;
use crate::boot::layout::KnownPool;
use crate::format::geom::Mesh;
use crate::format::manifest::{self, Layout, Manifest};
use crate::format::version::Version;
use crate::host::why;
use crate::report::{Code, Exit, Finding};

/// What the running slot says about itself: the manifest it was installed with.
const OWN: &str = "/conf/nanozfs/release";
/// What a machine is compatible with that was not installed from a release.
const ANY: &str = "generic";

/// `upgrade info`: what a release is, and whether this machine takes it. Reads the beginning of it
/// only, and changes nothing.
pub fn info(boot: &mut Boot<'_, '_>, file: &str) -> Exit {
    let Some(mut input) = open(boot, file) else { return Exit::Failed };
    let keys = keys(boot);
    let release = match Release::open(&mut *input, &keys, false) {
        Ok(release) => release,
        Err(refusal) => {
            boot.find(refused(file, &refusal));
            return Exit::Failed;
        }
    };
    let manifest = &release.manifest;
    let trust = match &release.trust {
        Trust::Signed { key, comment } => format!("signed by {key} ({comment})"),
        Trust::Unknown => "signed by a key that this machine does not have".to_owned(),
        Trust::Unsigned => "not signed".to_owned(),
    };
    for line in [
        format!("{} {}, for {}, {}", manifest.name, manifest.version, manifest.compat, trust),
        format!(
            "image {}: {} bytes, for a drive with {}",
            manifest.image,
            manifest.size,
            manifest.layout.name()
        ),
    ] {
        boot.console.say(&line);
    }
    let untrusted = boot.config.require_signature && !matches!(release.trust, Trust::Signed { .. });
    if untrusted {
        boot.find(Finding::new(Code::E61, format!("{file}: {trust}")));
    }
    let Some((started, _, journal)) = trial::machine_now(boot) else { return Exit::Failed };
    let fits = fits(boot, &started, manifest) && room(boot, &started, manifest);
    let digest = manifest.sha256.to_string();
    if let Some(past) = journal.failure(&digest) {
        boot.find(switch::failed_before(&past.why, &past.image));
    }
    let unfit = switch::unfit(boot, &started);
    if let Some(why) = &unfit {
        boot.find(Finding::new(Code::E75, why.clone()));
    }
    match fits && !untrusted && unfit.is_none() {
        true => {
            boot.console.say("this machine takes it");
            Exit::Done
        }
        false => Exit::Failed,
    }
}

/// `upgrade install`: checks a release, and writes it into the slot that is not running. Until the
/// last check is passed, that slot holds nothing that starts. What was written, or would be.
///
/// When the order goes on to arm the slot, whatever would keep it from that is refused here, before
/// the first byte.
///
/// # Errors
///
/// The exit code; what is wrong is a finding.
pub fn run(boot: &mut Boot<'_, '_>, file: &str, order: &Order) -> Result<Image, Exit> {
    let (started, pool, mut journal) = switch::ready(boot).ok_or(Exit::Failed)?;
    if !can_be_tried(boot, &started, order) {
        return Err(Exit::Failed);
    }
    let mut input = open(boot, file).ok_or(Exit::Failed)?;
    let keys = keys(boot);
    let mut release = match Release::open(&mut *input, &keys, boot.config.require_signature) {
        Ok(release) => release,
        Err(refusal) => {
            boot.find(refused(file, &refusal));
            return Err(Exit::Failed);
        }
    };
    let manifest = release.manifest.clone();
    let digest = manifest.sha256.to_string();
    if let Some(past) = journal.failure(&digest).filter(|_| !order.force) {
        let again = format!("nanozfs upgrade install --force {file}");
        boot.find(switch::failed_before(&past.why, &past.image).next(again));
        return Err(Exit::Failed);
    }
    if !fits(boot, &started, &manifest) || !room(boot, &started, &manifest) {
        return Err(Exit::Failed);
    }
    let target = target(boot, &started).ok_or(Exit::Failed)?;
    let root = format!("{}/{}", pool.name, boot.config.dataset);
    if !room_for_snapshots(boot, &root, &pool) {
        return Err(Exit::Failed);
    }
    let image =
        Image { name: manifest.name.clone(), version: manifest.version.to_string(), digest };
    let (name, slot) = (format!("{} {}", manifest.name, manifest.version), target.role.name());
    if !boot.act {
        let whole = &target.whole;
        boot.console
            .say(&format!("would write {name} to {slot} ({whole}), {} bytes", manifest.size));
        return Ok(image);
    }
    // The drive's marks first: nothing may lead to a slot that is being written.
    let mut started = started;
    let actions = select::settle(&started.selection, started.running);
    if !trial::change(boot, &mut started, &actions) {
        return Err(Exit::Failed);
    }
    let drive = trial::drive_id(&started.drive).to_owned();
    let written = Installed { slot: target.role, complete: false, drive, image: image.clone() };
    journal.installed = Some(written.clone());
    if !work::write(boot, &root, &journal) {
        return Err(Exit::Failed);
    }
    boot.console.say(&format!("install: writing {name} to {slot} ({})", target.whole));
    match write(boot, &target, &mut release, order) {
        Ok(counts) => {
            journal.installed = Some(Installed { complete: true, ..written });
            if !work::write(boot, &root, &journal) {
                return Err(Exit::Failed);
            }
            let (new, same) = (megabytes(counts.written), megabytes(counts.spared));
            boot.console.say(&format!(
                "install: {name} is in {slot}: {new} MB written, {same} MB were there already; \
                 read back and checked"
            ));
            Ok(image)
        }
        Err(failed) => {
            after_failure(boot, &root, &mut journal, &written, &failed);
            let code = match failed.slot {
                Left::Untouched => Code::E65,
                Left::Invalid => Code::E66,
                Left::Unknown => Code::E67,
            };
            boot.find(Finding::new(code, format!("{slot}: {}", failed.why)));
            Err(Exit::Failed)
        }
    }
}

/// Whether what is written could be tried then. Written by itself it may be, with a word about it.
fn can_be_tried(boot: &mut Boot<'_, '_>, started: &Started, order: &Order) -> bool {
    let Some(why) = switch::unfit(boot, started) else { return true };
    match order.verb {
        Some(_) => boot.console.say(&format!("install: this machine could not try it: {why}")),
        None => boot.find(Finding::new(Code::E75, why)),
    }
    order.verb.is_some()
}

/// A slot that was not touched holds what it held.
fn after_failure(
    boot: &mut Boot<'_, '_>,
    root: &str,
    journal: &mut Journal,
    written: &Installed,
    failed: &slot::Failed,
) {
    if failed.slot == Left::Untouched && journal.installed.as_ref() == Some(written) {
        journal.installed = None;
        work::write(boot, root, journal);
    }
}

/// Unpacks and writes.
fn write(
    boot: &mut Boot<'_, '_>,
    target: &Target,
    release: &mut Release<'_>,
    order: &Order,
) -> Result<Counts, slot::Failed> {
    let (host, text) = (boot.host, release.text.clone());
    let manifest = release.manifest.clone();
    let mut teller = Teller::new(boot, order.progress_fd);
    let mut result = None;
    let unpacked = host.unpack(manifest.packing(), release.image(), &mut |stream| {
        let mut image = slot::Image {
            stream,
            size: manifest.size,
            sha256: manifest.sha256.0,
            release: text.as_bytes(),
        };
        let written =
            slot::install(host, target, &mut image, &mut |progress| teller.tell(progress));
        let failed = written.is_err();
        result = Some(written);
        if failed { Err(io::Error::other("writing the slot failed")) } else { Ok(()) }
    });
    let broken = |why: String| {
        let slot = slot::invalidate(host, target).map_or(Left::Unknown, |()| Left::Invalid);
        slot::Failed { why, slot }
    };
    let counts = match (result, unpacked) {
        (Some(Err(failed)), Err(error)) => {
            // What the stream says is nearer to the cause.
            let stream = release.finish().err().map(|refusal| refusal.to_string());
            let why = stream.unwrap_or_else(|| match error.why.contains("writing the slot") {
                true => failed.why.clone(),
                false => error.to_string(),
            });
            return Err(slot::Failed { why, ..failed });
        }
        (Some(result), _) => result?,
        (None, Err(error)) => {
            return Err(slot::Failed { why: error.to_string(), slot: Left::Untouched });
        }
        (None, Ok(())) => return Err(broken("the image was not read".to_owned())),
    };
    release.finish().map_err(|refusal| broken(refusal.to_string()))?;
    Ok(counts)
}

/// Opens a release.
fn open(boot: &mut Boot<'_, '_>, file: &str) -> Option<Box<dyn Read + Send>> {
    match boot.host.input(file) {
        Ok(input) => Some(input),
        Err(error) => {
            boot.find(Finding::new(Code::E60, format!("{file}: {}", why(&error))));
            None
        }
    }
}

/// The keys of this machine. What is not a key is worth a word.
fn keys(boot: &mut Boot<'_, '_>) -> Keys {
    let keys = Keys::load(boot.host.files(), Path::new(KEYS));
    for problem in &keys.problems {
        boot.find(Finding::new(Code::E61, problem.clone()));
    }
    keys
}

fn refused(file: &str, refusal: &Refusal) -> Finding {
    let code = match refusal {
        Refusal::Unsigned | Refusal::NoKey | Refusal::UnknownKey | Refusal::WrongSignature(_) => {
            Code::E61
        }
        _ => Code::E60,
    };
    Finding::new(code, format!("{file}: {refusal}"))
}

/// Whether the release is for this machine. Every reason why not is a finding.
fn fits(boot: &mut Boot<'_, '_>, started: &Started, manifest: &Manifest) -> bool {
    let own = boot.host.files().read(Path::new(OWN), manifest::MAX_SIZE as u64).ok();
    let own = own.and_then(|text| manifest::parse(std::str::from_utf8(&text).ok()?).ok());
    let Some(nanozfs) = Version::parse(env!("CARGO_PKG_VERSION")) else { return false };
    let running = Running {
        nanozfs,
        system: own.as_ref().map(|own| own.version.clone()),
        compat: own.map_or_else(|| ANY.to_owned(), |own| own.compat),
        layout: match started.selection.scheme {
            Scheme::Gpt => Layout::Gpt,
            Scheme::Mbr => Layout::Mbr,
        },
    };
    let reasons = release::unfit(manifest, &running);
    for reason in &reasons {
        boot.find(Finding::new(Code::E62, reason.to_string()));
    }
    reasons.is_empty()
}

/// Whether the image fits the slot.
fn room(boot: &mut Boot<'_, '_>, started: &Started, manifest: &Manifest) -> bool {
    let Some(target) = target(boot, started) else { return false };
    match target.accepts(manifest.size) {
        Ok(()) => true,
        Err(why) => {
            boot.find(Finding::new(Code::E63, why));
            false
        }
    }
}

/// Whether the snapshots of arming would find room.
fn room_for_snapshots(boot: &mut Boot<'_, '_>, root: &str, pool: &KnownPool) -> bool {
    let goal = data::Goal::Snapshot { id: "trial".to_owned() };
    match data::Plan::make(boot.host, root, goal) {
        Ok(_) => true,
        Err(error) => {
            let what = format!("pool {}", pool.name);
            boot.find(Finding::failed(Code::E63, &what, &error));
            false
        }
    }
}

/// The slot that may be written.
fn target(boot: &mut Boot<'_, '_>, started: &Started) -> Option<Target> {
    let mesh = boot.host.geom().ok().and_then(|xml| Mesh::parse(&xml).ok());
    let found = match (mesh, boot.host.mounts()) {
        (Some(mesh), Ok(mounts)) => {
            let other = select::opposite(started.running);
            Target::find(&mesh, &mounts, &started.drive, &boot.config.label, other)
        }
        _ => Err("what is on the OS drive, or mounted, is not known".to_owned()),
    };
    match found {
        Ok(target) => Some(target),
        Err(why) => {
            boot.find(Finding::new(Code::E65, why));
            None
        }
    }
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

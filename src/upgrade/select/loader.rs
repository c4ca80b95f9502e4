//! Whether what starts the machine looks at the marks at all.

use super::{SLOTS, Scheme, Selection};
use crate::boot::osdrive::OsDrive;
use crate::format::geom::Mesh;
use crate::host::Host;

/// Set by loader.efi, and by no loader for BIOS.
const UEFI: &str = "efi-version";
/// What gptboot and gptboot.efi call themselves in their messages.
const GPTBOOT: (&str, &[u8]) = ("freebsd-boot", b"gptboot");
const GPTBOOT_EFI: (&str, &[u8]) = ("efi", b"gptboot.efi");
/// As much of a boot partition is searched. Files lie at the front of an EFI system partition.
const SEARCHED: u64 = 64 << 20;
/// Read at once.
const CHUNK: usize = 1 << 20;

/// Why a slot cannot be tried on this machine, in words for people; nothing when it can, as far as
/// that can be seen. Reads up to 64 MiB from a GPT drive.
pub fn unfit(host: &dyn Host, mesh: &Mesh, drive: &OsDrive, now: &Selection) -> Option<String> {
    let uefi = host.kenv(UEFI).is_some();
    let disk = &now.disk;
    if now.scheme == Scheme::Mbr {
        let Some(boot0) = now.boot0.filter(|_| !uefi) else {
            return Some(match uefi {
                true => format!("UEFI started this machine, and looks at no slice of {disk}"),
                false => format!(
                    "the boot code in sector 0 of {disk} is not boot0: boot0cfg -B {disk} \
                     installs it"
                ),
            });
        };
        let hidden = SLOTS.into_iter().find(|role| !boot0.offers(now.slot(*role).index))?;
        let slice = now.slot(hidden).index;
        return Some(format!("boot0 on {disk} does not offer slice {slice}: boot0cfg -m"));
    }
    let ((kind, name), advice) = match uefi {
        false => (GPTBOOT, "gpart bootcode -p /boot/gptboot installs it"),
        true => (
            GPTBOOT_EFI,
            "loader.efi alone ignores bootme and bootonce; /boot/gptboot.efi must be the loader \
             in the EFI system partition",
        ),
    };
    let top = mesh.find(&drive.disk);
    let mut parts = mesh.iter().filter(|(id, provider)| {
        let partition = provider.partition.as_ref();
        mesh.parent(*id) == top && partition.is_some_and(|partition| partition.kind == kind)
    });
    let found = parts.any(|(_, provider)| contains(host, &provider.name, provider.mediasize, name));
    (!found).then(|| {
        let name = String::from_utf8_lossy(name);
        format!("{name} is in no {kind} partition of {disk}: {advice}")
    })
}

/// True when the front of a provider holds these bytes.
fn contains(host: &dyn Host, provider: &str, size: u64, what: &[u8]) -> bool {
    let mut window = Vec::new();
    let mut offset = 0;
    while offset < size.min(SEARCHED) {
        match host.read_device(provider, offset, CHUNK) {
            Ok(bytes) if !bytes.is_empty() => {
                offset += bytes.len() as u64;
                window.extend_from_slice(&bytes);
            }
            Ok(_) => return false,
            Err(error) => {
                log::warn!("read {provider}: {error}");
                return false;
            }
        }
        if window.windows(what.len()).any(|found| found == what) {
            return true;
        }
        window.drain(..window.len().saturating_sub(what.len()));
    }
    false
}

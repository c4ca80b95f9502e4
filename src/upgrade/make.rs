//! `nanozfs release`: makes a release of an image, on the machine that built the image. That may be
//! any system with a tar and minisign(1); nothing here needs an appliance, or root.
//!
//! The image is read twice: once for its digest, which the manifest at the front of the release
//! needs, and once to be packed. It is never held in memory. A release takes its name when it is
//! whole.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::release::{MANIFEST, MAX_SIGNATURE, Refusal, Release, SIGNATURE};
use crate::format::manifest::{Digest, Layout, Manifest, Packing, SECTOR, is_word};
use crate::format::tar;
use crate::format::version::Version;
use crate::host::command::{filter, packer};
use crate::host::why;
use crate::report::Console;

/// The system's name, when none is given.
pub const NAME: &str = "system";
/// The machines that a system runs on, when nothing is said: those of a builder who has one kind.
pub const COMPAT: &str = "generic";
/// The oldest nanozfs that knows releases of the format that is made.
pub const OLDEST_NANOZFS: &str = "0.1.0";

/// Bytes at the beginning of an image that tell what it is an image of.
const HEAD: usize = 68 << 10;
const CHUNK: usize = 128 << 10;

/// What was asked for, in the words of the command line.
#[derive(Debug, Default)]
pub struct Order<'a> {
    /// The image; with a signature, the release that is there.
    pub image: &'a str,
    /// `--version`.
    pub version: Option<&'a str>,
    /// `--name`.
    pub name: Option<&'a str>,
    /// `--compat`.
    pub compat: Option<&'a str>,
    /// `--layout`.
    pub layout: Option<&'a str>,
    /// `--min-from`.
    pub min_from: Option<&'a str>,
    /// `--pack`.
    pub pack: Option<&'a str>,
    /// `--output`.
    pub output: Option<&'a str>,
    /// `--sign-with`.
    pub sign_with: Option<&'a str>,
    /// `--signature`.
    pub signature: Option<&'a str>,
}

/// Why no release was made, in one line.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The command line contradicts itself or the rules for a manifest.
    Usage(String),
    /// It could not be done. Nothing was changed.
    Failed(String),
}

type Result<T> = std::result::Result<T, Failure>;

/// Does what was asked for; only says what it would do unless `act`.
pub fn run(order: &Order<'_>, console: &mut Console<'_>, act: bool) -> Result<()> {
    match order.signature {
        Some(signature) => sign(order, Path::new(signature), console, act),
        None => make(order, console, act),
    }
}

/// Makes a release of an image.
fn make(order: &Order<'_>, console: &mut Console<'_>, act: bool) -> Result<()> {
    let image = Path::new(order.image);
    let packing = match order.pack {
        None => Packing::Zst,
        Some("none") => Packing::None,
        Some(word) => Packing::ALL
            .into_iter()
            .find(|packing| packing.suffix().strip_prefix('.') == Some(word))
            .ok_or_else(|| bad("pack", word, "none of zst, xz, gz, none"))?,
    };
    let mut manifest = plan(order, image, packing)?;
    let mut source = open(image)?;
    let (size, sha256, head) = measure(&mut source).map_err(cannot("read", image))?;
    if size == 0 || size % SECTOR != 0 {
        let why = format!("{size} bytes, not a multiple of {SECTOR}: not a slot image");
        return Err(failed(image, &why));
    }
    let layout = order.layout.map(|_| manifest.layout);
    manifest.layout = fitting(layout, &head).map_err(|why| failed(image, &why))?;
    (manifest.size, manifest.sha256) = (size, sha256);
    let text = manifest.encode();

    let default = format!("{}-{}.nzr", manifest.name, manifest.version);
    let output = Path::new(order.output.unwrap_or(&default));
    if !act {
        console.say(&format!("{} would get this manifest:", output.display()));
        text.lines().for_each(|line| console.plain(line));
        return Ok(());
    }
    let comment = format!("{} {}", manifest.name, manifest.version);
    let signature = match order.sign_with {
        Some(key) => Some(minisign(&text, Path::new(key), output, &comment)?),
        None => None,
    };
    source.rewind().map_err(cannot("read", image))?;
    let written = write(output, |out| {
        begin(out, &text, signature.as_deref())?;
        pack(out, &manifest, packing, source, image)
    })?;
    let packed = match packing {
        Packing::None => "not packed".to_owned(),
        _ => format!("{written} packed"),
    };
    let signed = if signature.is_some() { "signed" } else { "not signed" };
    console.say(&format!("{}: {comment}, {size} bytes, {packed}, {signed}", output.display()));
    if signature.is_none() {
        let file = output.display();
        console.plain("To sign it:");
        console.plain(&format!("  tar -xOf {file} {MANIFEST} > {MANIFEST}"));
        console.plain(&format!("  minisign -S -m {MANIFEST} -t '{comment}'"));
        console.plain(&format!("  nanozfs release {file} --signature {SIGNATURE}"));
    }
    Ok(())
}

/// Puts a signature into a release that is there, in the place of the one that it has.
fn sign(order: &Order<'_>, signature: &Path, console: &mut Console<'_>, act: bool) -> Result<()> {
    let for_making = [order.version, order.name, order.compat, order.layout, order.min_from];
    if for_making.iter().chain([&order.pack, &order.sign_with]).any(|option| option.is_some()) {
        let why = "--signature goes with a release that was made already, and only with --output";
        return Err(Failure::Usage(why.to_owned()));
    }
    let path = Path::new(order.image);
    let output = order.output.map_or(path, Path::new);
    let mut text = String::new();
    File::open(signature)
        .and_then(|file| file.take(MAX_SIGNATURE as u64 + 1).read_to_string(&mut text))
        .map_err(cannot("read", signature))?;
    if text.len() > MAX_SIGNATURE || minisign_verify::Signature::decode(&text).is_err() {
        return Err(failed(signature, "not a signature of minisign"));
    }
    let refused = |refusal: Refusal| failed(path, &refusal.to_string());
    let mut source = open(path)?;
    let mut release = Release::open(&mut source, &Default::default(), false).map_err(refused)?;
    let (name, version) = (&release.manifest.name, &release.manifest.version);
    let what = format!("{}: {name} {version}", output.display());
    if !act {
        console.say(&format!("{what} would be signed"));
        return Ok(());
    }
    let (manifest, packed) = (release.text.clone(), release.packed);
    let image = release.manifest.image.clone();
    write(output, |out| {
        begin(out, &manifest, Some(&text))?;
        header(out, &image, packed)?;
        let copied = io::copy(release.image(), out).map_err(cannot("write", output))?;
        release.finish().map_err(refused)?;
        fill(out, copied)?;
        Ok(copied)
    })?;
    console.say(&format!("{what}, signed"));
    Ok(())
}

/// The manifest as far as the command line tells it; size, digest and perhaps layout are missing.
fn plan(order: &Order<'_>, image: &Path, packing: Packing) -> Result<Manifest> {
    let word = |option: &str, word: &str| match is_word(word) {
        true => Ok(word.to_owned()),
        false => Err(bad(option, word, "not a word of letters, digits and . - _ +")),
    };
    let version = |option: &str, text: &str| {
        let why = "not a version: a digit, then letters, digits and . - _ +";
        Version::parse(text).ok_or_else(|| bad(option, text, why))
    };
    let layout =
        |text: &str| Layout::parse(text).ok_or_else(|| bad("layout", text, "neither gpt nor mbr"));
    let Some(own) = order.version else {
        return Err(Failure::Usage("release: --version is missing".to_owned()));
    };
    let name = word("name", order.name.unwrap_or(NAME))?;
    let file = image.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // The suffix tells the packing, so it must not tell another one.
    let stem = match Packing::of(file) {
        Packing::None => file,
        other => {
            let why = format!("it ends in {}: a release packs by itself", other.suffix());
            return Err(failed(image, &why));
        }
    };
    let named = is_word(&format!("{stem}{}", packing.suffix())) && !stem.starts_with(MANIFEST);
    let stem = if named { stem } else { "image" };
    Ok(Manifest {
        version: version("version", own)?,
        compat: word("compat", order.compat.unwrap_or(COMPAT))?,
        layout: order.layout.map_or(Ok(Layout::Gpt), layout)?,
        size: 0,
        sha256: Digest([0; 32]),
        image: format!("{stem}{}", packing.suffix()),
        min_version: version("min-version", OLDEST_NANOZFS)?,
        min_from: order.min_from.map(|text| version("min-from", text)).transpose()?,
        others: Vec::new(),
        name,
    })
}

/// Size, digest and beginning of an image.
fn measure(source: &mut File) -> io::Result<(u64, Digest, Vec<u8>)> {
    let mut digest = Sha256::new();
    let mut head = Vec::with_capacity(HEAD);
    let mut buffer = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let count = source.read(&mut buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        if read.is_empty() {
            return Ok((size, Digest(digest.finalize().into()), head));
        }
        digest.update(read);
        head.extend(read.iter().take(HEAD - head.len()));
        size += count as u64;
    }
}

/// The layout of an image by its first bytes, which must not contradict the one that was given.
fn fitting(given: Option<Layout>, head: &[u8]) -> std::result::Result<Layout, String> {
    let is = |at: usize, bytes: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    // DISKMAGIC in the second sector: the BSD label of a slice (sys/disk/bsd.h).
    let label = is(512, &0x8256_4557_u32.to_le_bytes());
    if is(512, b"EFI PART") || is(510, &[0x55, 0xaa]) && !label {
        return Err("the image of a whole disk, not of a slot".to_owned());
    }
    let ufs = head.get(crate::format::ufs::SUPERBLOCK_OFFSET as usize..);
    let found = match (label, ufs.is_some_and(crate::format::ufs::is_superblock)) {
        (true, _) => Some((Layout::Mbr, "a slice with a BSD label")),
        (false, true) => Some((Layout::Gpt, "a partition without a BSD label")),
        (false, false) => None,
    };
    match (given, found) {
        (Some(given), Some((found, what))) if given != found => {
            Err(format!("it is {what}, which is layout {}", found.name()))
        }
        (Some(given), _) => Ok(given),
        (None, Some((found, _))) => Ok(found),
        (None, None) => Err("neither UFS nor a slice with a BSD label: say --layout".to_owned()),
    }
}

/// Signs `text` by running minisign(1), which may ask on the terminal for the key's password.
fn minisign(text: &str, key: &Path, output: &Path, comment: &str) -> Result<String> {
    let key = key.canonicalize().map_err(cannot("read", key))?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path)
        .map(|directory| directory.join("minisign"))
        .find(|program| program.is_file())
        .ok_or_else(|| Failure::Failed("minisign is not installed".to_owned()))?;
    let file = beside(output, ".manifest");
    let signed = beside(output, ".manifest.minisig");
    std::fs::write(&file, text).map_err(cannot("write", &file))?;
    // Its environment is given as a whole, for the reason that src/host/command/system.rs has.
    let status = std::process::Command::new(program)
        .env_clear()
        .env("PATH", path)
        .arg("-S")
        .arg("-s")
        .arg(key)
        .arg("-m")
        .arg(&file)
        .arg("-x")
        .arg(&signed)
        .arg("-t")
        .arg(comment)
        .status();
    let result = match status {
        Ok(status) if status.success() => {
            std::fs::read_to_string(&signed).map_err(cannot("read", &signed))
        }
        Ok(status) => Err(Failure::Failed(format!("minisign: {status}"))),
        Err(error) => Err(Failure::Failed(format!("minisign: {}", why(&error)))),
    };
    for file in [file, signed] {
        remove(&file);
    }
    result
}

/// Makes the file `output` by `fill` and gives it its name when it is whole and on disk; what
/// `fill` returns.
fn write(output: &Path, fill: impl FnOnce(&mut File) -> Result<u64>) -> Result<u64> {
    let unfinished = beside(output, ".tmp");
    let mut file = File::create(&unfinished).map_err(cannot("make", &unfinished))?;
    let result = fill(&mut file).and_then(|filled| {
        file.write_all(&tar::END).map_err(cannot("write", output))?;
        file.sync_all().map_err(cannot("write", output))?;
        std::fs::rename(&unfinished, output).map_err(cannot("make", output))?;
        Ok(filled)
    });
    result.inspect_err(|_| remove(&unfinished))
}

/// The entries before the image.
fn begin(out: &mut File, manifest: &str, signature: Option<&str>) -> Result<()> {
    let entries = [(MANIFEST, Some(manifest)), (SIGNATURE, signature)];
    for (name, text) in entries {
        if let Some(text) = text {
            header(out, name, text.len() as u64)?;
            put(out, text.as_bytes())?;
            fill(out, text.len() as u64)?;
        }
    }
    Ok(())
}

/// The image, packed, as the last entry; its size, packed.
fn pack(
    out: &mut File,
    manifest: &Manifest,
    packing: Packing,
    source: File,
    image: &Path,
) -> Result<u64> {
    let at = out.stream_position().map_err(writing)?;
    // How large it is shows at its end.
    header(out, &manifest.image, 0)?;
    let mut source = Hashed { source, digest: Sha256::new() };
    let mut packed = 0;
    match packer(packing) {
        Some(command) => filter(&command, &mut source, &mut |from| {
            packed = io::copy(from, out)?;
            Ok(())
        })
        .map_err(|error| Failure::Failed(error.to_string()))?,
        None => packed = io::copy(&mut source, out).map_err(writing)?,
    }
    if Digest(source.digest.finalize().into()) != manifest.sha256 {
        return Err(failed(image, "it has changed meanwhile"));
    }
    fill(out, packed)?;
    out.seek(SeekFrom::Start(at)).map_err(writing)?;
    header(out, &manifest.image, packed)?;
    out.seek(SeekFrom::End(0)).map_err(writing)?;
    Ok(packed)
}

fn header(out: &mut File, name: &str, size: u64) -> Result<()> {
    let header = tar::encode(name, size, 0);
    put(out, &header.ok_or_else(|| Failure::Failed(format!("{name}: too long a name")))?)
}

/// Fills the last block of an entry.
fn fill(out: &mut File, size: u64) -> Result<()> {
    let zeros = [0; tar::BLOCK];
    let count = usize::try_from(tar::padding(size)).unwrap_or_default();
    put(out, zeros.get(..count).unwrap_or_default())
}

fn put(out: &mut File, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(writing)
}

/// A file whose digest is known when it was read.
struct Hashed {
    source: File,
    digest: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.digest.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Opens a regular file.
fn open(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(cannot("read", path))?;
    match file.metadata().map_err(cannot("read", path))?.is_file() {
        true => Ok(file),
        false => Err(failed(path, "not a regular file")),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Removes what was made on the way.
fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        log::debug!("remove {}: {error}", path.display());
    }
}

fn bad(option: &str, value: &str, why: &str) -> Failure {
    Failure::Usage(format!("release: --{option} {value}: {why}"))
}

fn failed(path: &Path, why: &str) -> Failure {
    Failure::Failed(format!("{}: {why}", path.display()))
}

fn cannot<'a>(doing: &'a str, path: &'a Path) -> impl Fn(io::Error) -> Failure + use<'a> {
    move |error| Failure::Failed(format!("cannot {doing} {}: {}", path.display(), why(&error)))
}

fn writing(error: io::Error) -> Failure {
    Failure::Failed(format!("cannot write the release: {}", why(&error)))
}

#[cfg(test)]
mod tests;

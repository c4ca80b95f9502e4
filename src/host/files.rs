//! The file operations the suite is made of.
//!
//! They are the primitive ones, because their order is what survives a power cut: whoever replaces
//! a file creates, sets attributes, syncs and renames, in that order, and the lab cuts between any
//! two of them. None of them follows a symbolic link in the last component.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes read at a time; memory is counted, files in `/cfg` may be large.
const CHUNK: usize = 64 << 10;

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "lab", derive(serde::Serialize, serde::Deserialize))]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character or block device.
    Device,
}

impl FileKind {
    /// The field's name for it.
    pub fn name(self) -> &'static str {
        match self {
            FileKind::File => "file",
            FileKind::Directory => "directory",
            FileKind::Link => "symbolic link",
            FileKind::Fifo => "fifo",
            FileKind::Socket => "socket",
            FileKind::Device => "device node",
        }
    }

    /// Neither a file, a directory nor a link: nothing that could be carried over.
    pub fn is_special(self) -> bool {
        matches!(self, FileKind::Fifo | FileKind::Socket | FileKind::Device)
    }
}

/// A point in time, as the file system keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
#[cfg_attr(feature = "lab", derive(serde::Serialize, serde::Deserialize))]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanoseconds: i64,
}

impl Timestamp {
    fn to_timespec(self) -> nix::sys::time::TimeSpec {
        nix::sys::time::TimeSpec::new(
            self.seconds as libc::time_t,
            self.nanoseconds as libc::c_long,
        )
    }
}

/// Owner, permissions and time of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "lab", derive(serde::Serialize, serde::Deserialize))]
pub struct Attributes {
    /// Permission bits with set-id and sticky, `0o7777` at most.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of the content.
    pub modified: Timestamp,
}

impl Attributes {
    /// Equal but for the time, which a directory changes by itself.
    pub fn same_owner_and_mode(&self, other: &Attributes) -> bool {
        (self.mode, self.uid, self.gid) == (other.mode, other.uid, other.gid)
    }
}

/// lstat(2), as far as the suite looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Owner, mode, time.
    pub attributes: Attributes,
    /// Bytes, for a regular file.
    pub size: u64,
    /// When content or attributes changed last. Nobody can set it.
    pub changed: Timestamp,
}

impl From<&libc::stat> for Stat {
    // The widths of these differ between systems.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    fn from(stat: &libc::stat) -> Stat {
        let kind = match stat.st_mode & libc::S_IFMT {
            libc::S_IFREG => FileKind::File,
            libc::S_IFDIR => FileKind::Directory,
            libc::S_IFLNK => FileKind::Link,
            libc::S_IFIFO => FileKind::Fifo,
            libc::S_IFSOCK => FileKind::Socket,
            _ => FileKind::Device,
        };
        let timestamp = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
        Stat {
            kind,
            attributes: Attributes {
                mode: u32::from(stat.st_mode) & 0o7777,
                uid: stat.st_uid,
                gid: stat.st_gid,
                modified: timestamp(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            },
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            changed: timestamp(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }
}

/// File operations on one machine. Errors are the system's own, with their errno(2).
pub trait Files: Send + Sync {
    /// What lies at `path` (lstat(2)).
    fn stat(&self, path: &Path) -> io::Result<Stat>;

    /// [`Files::stat`] of several names in one directory, in their order. One look-up of the
    /// directory serves them all.
    fn stat_in(&self, directory: &Path, names: &[OsString]) -> Vec<io::Result<Stat>> {
        names.iter().map(|name| self.stat(&directory.join(name))).collect()
    }

    /// The names in a directory, sorted by bytes, without `.` and `..`.
    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>>;

    /// The content of a regular file of at most `limit` bytes; a larger one is `EFBIG`.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;

    /// Where a symbolic link points, as written in it.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;

    /// True when two regular files hold the same bytes.
    fn same_content(&self, one: &Path, other: &Path) -> io::Result<bool>;

    /// Bytes that can still be written to the file system that holds `path` (statvfs(2)).
    fn free_space(&self, path: &Path) -> io::Result<u64>;

    /// Makes a new regular file, mode 0600, with this content; `EEXIST` when something is there.
    /// When it fails after it began, nothing is left at `path`.
    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Like [`Files::create`], the content being that of the regular file `source`, and with
    /// `attributes`.
    fn copy(&self, source: &Path, path: &Path, attributes: &Attributes) -> io::Result<()>;

    /// Sets owner, mode and time; of a symbolic link, the owner and the time.
    fn set_attributes(&self, path: &Path, attributes: &Attributes) -> io::Result<()>;

    /// Returns when the file's content, or the directory's entries, are on disk (fsync(2)).
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// Puts `from` in the place of `to`, atomically (rename(2)).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes a symbolic link at `path` that reads `target`.
    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()>;

    /// Makes one directory, mode 0755.
    fn make_directory(&self, path: &Path) -> io::Result<()>;

    /// Removes a file or link. The suite removes only what it made itself.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// How many threads may work on files at a time. One, where the order of effects is watched.
    fn workers(&self) -> usize {
        1
    }
}

impl dyn Files + '_ {
    /// [`Files::stat`], `None` when nothing is there.
    pub fn find(&self, path: &Path) -> io::Result<Option<Stat>> {
        found(self.stat(path))
    }

    /// True when `path` is a directory, not a link to one.
    pub fn is_directory(&self, path: &Path) -> bool {
        self.stat(path).is_ok_and(|stat| stat.kind == FileKind::Directory)
    }

    /// True when `path` is a directory with nothing in it but what `except` names.
    pub fn is_empty(&self, path: &Path, except: &[&str]) -> io::Result<bool> {
        let names = self.list(path)?;
        Ok(names.iter().all(|name| except.iter().any(|other| name.as_os_str() == *other)))
    }
}

/// A [`Files::stat`] of which "nothing is there" is an answer.
pub fn found(stat: io::Result<Stat>) -> io::Result<Option<Stat>> {
    match stat {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// True when the error says that nothing is there.
fn absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

/// The files of the system this program runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

impl RealFiles {
    /// Creates `path` and fills it by `fill`; removes it again when that fails.
    fn fill(path: &Path, fill: impl FnOnce(&mut fs::File) -> io::Result<()>) -> io::Result<()> {
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        fill(&mut file).inspect_err(|_| {
            if let Err(error) = fs::remove_file(path) {
                log::warn!("remove {}: {error}", path.display());
            }
        })
    }

    /// Opens a regular file, and nothing that could block or follow a link; with its length.
    fn open(path: &Path) -> io::Result<(fs::File, u64)> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_file() {
            Ok((file, metadata.len()))
        } else {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        }
    }
}

/// What to read at a time of a file of this length: one byte more than a small one has, so that
/// its end is seen at once.
fn chunk(length: u64) -> usize {
    usize::try_from(length).map_or(CHUNK, |length| length.saturating_add(1).min(CHUNK))
}

/// Reads until `buffer` is full or the file ends; the bytes read.
fn read_full(file: &mut fs::File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Files for RealFiles {
    fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(Stat::from(&nix::sys::stat::lstat(path)?))
    }

    fn stat_in(&self, directory: &Path, names: &[OsString]) -> Vec<io::Result<Stat>> {
        if names.is_empty() {
            return Vec::new();
        }
        // A fifo in the place of the directory would hold the one who opens it for ever.
        let flags = libc::O_DIRECTORY | libc::O_NONBLOCK;
        let place = match fs::OpenOptions::new().read(true).custom_flags(flags).open(directory) {
            Ok(place) => place,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                return names.iter().map(|_| Err(io::Error::from_raw_os_error(errno))).collect();
            }
        };
        let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
        let one = |name: &OsString| {
            Ok(Stat::from(&nix::sys::stat::fstatat(&place, name.as_os_str(), flags)?))
        };
        names.iter().map(one).collect()
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let names: io::Result<Vec<_>> =
            fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect();
        let mut names = names?;
        names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        Ok(names)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        Self::open(path)?.0.take(limit.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
        Ok(content)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(path)
    }

    fn same_content(&self, one: &Path, other: &Path) -> io::Result<bool> {
        let ((mut one, length), (mut other, other_length)) = (Self::open(one)?, Self::open(other)?);
        if length != other_length {
            return Ok(false);
        }
        let size = chunk(length);
        let (mut a, mut b) = (vec![0; size], vec![0; size]);
        loop {
            let (read, same) = (read_full(&mut one, &mut a)?, read_full(&mut other, &mut b)?);
            if read != same || a.get(..read) != b.get(..same) {
                return Ok(false);
            }
            if read < size {
                return Ok(true);
            }
        }
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let stat = nix::sys::statvfs::statvfs(path)?;
        // The width of these differs between systems.
        #[allow(clippy::useless_conversion)]
        Ok(u64::from(stat.blocks_available()).saturating_mul(stat.fragment_size().into()))
    }

    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        Self::fill(path, |file| file.write_all(content))
    }

    fn copy(&self, source: &Path, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let (mut source, length) = Self::open(source)?;
        let mut buffer = vec![0; chunk(length)];
        Self::fill(path, |file| {
            loop {
                let count = read_full(&mut source, &mut buffer)?;
                file.write_all(buffer.get(..count).unwrap_or_default())?;
                if count < buffer.len() {
                    break;
                }
            }
            let made = file.metadata()?;
            if (made.uid(), made.gid()) != (attributes.uid, attributes.gid) {
                std::os::unix::fs::fchown(&*file, Some(attributes.uid), Some(attributes.gid))?;
            }
            file.set_permissions(fs::Permissions::from_mode(attributes.mode))?;
            let time = attributes.modified.to_timespec();
            Ok(nix::sys::stat::futimens(&*file, &time, &time)?)
        })
    }

    fn set_attributes(&self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        use nix::sys::stat::{UtimensatFlags, utimensat};
        let link = fs::symlink_metadata(path)?;
        if (link.uid(), link.gid()) != (attributes.uid, attributes.gid) {
            std::os::unix::fs::lchown(path, Some(attributes.uid), Some(attributes.gid))?;
        }
        if !link.is_symlink() {
            fs::set_permissions(path, fs::Permissions::from_mode(attributes.mode))?;
        }
        let time = attributes.modified.to_timespec();
        utimensat(nix::fcntl::AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink)?;
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(target, path)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o755).create(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn workers(&self) -> usize {
        std::thread::available_parallelism().map_or(1, |count| count.get().min(4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_file_is_created_once_and_privately() {
        let dir = scratch();
        let path = dir.path().join("f");
        RealFiles.create(&path, b"one").unwrap();
        assert_eq!(RealFiles.stat(&path).unwrap().attributes.mode, 0o600);
        let again = RealFiles.create(&path, b"two").unwrap_err();
        assert_eq!(again.raw_os_error(), Some(libc::EEXIST));
        assert_eq!(RealFiles.read(&path, 3).unwrap(), b"one");
    }

    #[test]
    fn reading_stops_at_the_limit_and_says_so() {
        let dir = scratch();
        let path = dir.path().join("f");
        RealFiles.create(&path, b"four").unwrap();
        assert_eq!(RealFiles.read(&path, 3).unwrap_err().raw_os_error(), Some(libc::EFBIG));
    }

    #[test]
    fn content_is_compared_to_the_last_byte() {
        let dir = scratch();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let mut content = vec![7_u8; CHUNK * 2];
        RealFiles.create(&a, &content).unwrap();
        *content.last_mut().unwrap() = 8;
        RealFiles.create(&b, &content).unwrap();
        assert!(!RealFiles.same_content(&a, &b).unwrap());
        let c = dir.path().join("c");
        let attributes = RealFiles.stat(&a).unwrap().attributes;
        RealFiles.copy(&a, &c, &attributes).unwrap();
        assert_eq!(RealFiles.stat(&c).unwrap().attributes, attributes);
        assert!(RealFiles.same_content(&a, &c).unwrap());
    }

    #[test]
    fn a_fifo_is_named_and_never_opened() {
        let dir = scratch();
        let path = dir.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(RealFiles.stat(&path).unwrap().kind, FileKind::Fifo);
        assert_eq!(RealFiles.read(&path, 10).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn a_fifo_in_the_place_of_a_directory_holds_nobody() {
        let dir = scratch();
        let path = dir.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(RealFiles.stat_in(&path, &[]).is_empty());
        let stats = RealFiles.stat_in(&path, &["x".into()]);
        let errno = stats.into_iter().next().unwrap().unwrap_err().raw_os_error();
        assert_eq!(errno, Some(libc::ENOTDIR));
    }

    #[test]
    fn attributes_come_back_as_they_were_set() {
        let dir = scratch();
        let path = dir.path().join("f");
        RealFiles.create(&path, b"").unwrap();
        let mut attributes = RealFiles.stat(&path).unwrap().attributes;
        attributes.mode = 0o4751;
        attributes.modified = Timestamp { seconds: 1_000_000_000, nanoseconds: 123_456_789 };
        RealFiles.set_attributes(&path, &attributes).unwrap();
        assert_eq!(RealFiles.stat(&path).unwrap().attributes, attributes);
    }
}

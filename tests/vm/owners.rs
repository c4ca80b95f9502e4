//! Owners and modes of what goes into an image, whoever unpacked the FreeBSD root.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Owner and mode by path below the root.
pub(crate) type Attributes = BTreeMap<PathBuf, (u32, u32, u32)>;

/// Owners and modes: from METALOG if the tree was installed without being root, else from the
/// tree itself, if root unpacked it; otherwise everything is root's.
pub(crate) fn owners(root: &Path) -> Result<Attributes> {
    let mut all = Attributes::new();
    let Ok(metalog) = fs::read_to_string(root.join("METALOG")) else {
        return if fs::metadata(root)?.uid() == 0 { owners_as_unpacked(root) } else { Ok(all) };
    };
    let users = numbers(&root.join("etc/master.passwd"))?;
    let groups = numbers(&root.join("etc/group"))?;
    for line in metalog.lines().filter(|line| line.starts_with('.')) {
        let mut words = line.split_whitespace();
        let path = words.next().unwrap_or(".").trim_start_matches('.').trim_start_matches('/');
        let (mut uid, mut gid, mut mode) = (0, 0, None);
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            match name {
                "uname" => uid = users.get(value).copied().unwrap_or(0),
                "gname" => gid = groups.get(value).copied().unwrap_or(0),
                "mode" => mode = u32::from_str_radix(value, 8).ok(),
                _ => {}
            }
        }
        if let Some(mode) = mode {
            all.insert(PathBuf::from(path), (uid, gid, mode));
        }
    }
    Ok(all)
}

/// Of every file as it is in the tree.
fn owners_as_unpacked(root: &Path) -> Result<Attributes> {
    let mut all = Attributes::new();
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let real = root.join(&path);
        let about = fs::symlink_metadata(&real).with_context(|| real.display().to_string())?;
        if about.is_dir() {
            for entry in fs::read_dir(&real)? {
                open.push(path.join(entry?.file_name()));
            }
        }
        all.insert(path, (about.uid(), about.gid(), about.mode() & 0o7777));
    }
    Ok(all)
}

/// Names and numbers of passwd(5) or group(5).
fn numbers(path: &Path) -> Result<BTreeMap<String, u32>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let parse = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((name, fields.nth(1)?.parse().ok()?))
    };
    Ok(text.lines().filter_map(parse).collect())
}

/// What is known of a directory also holds for its copy.
pub(crate) fn move_attributes(attributes: &mut Attributes, from: &Path, to: &Path) {
    let copies: Vec<_> = attributes
        .iter()
        .filter_map(|(path, value)| Some((to.join(path.strip_prefix(from).ok()?), *value)))
        .collect();
    attributes.extend(copies);
}

/// An mtree(5) of the tree, for bsdtar(1).
pub(crate) fn specification(stage: &Path, attributes: &Attributes) -> Result<String> {
    let mut text = String::from("#mtree 2.0\n");
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let real = stage.join(&path);
        let about = fs::symlink_metadata(&real)?;
        let kind = about.file_type();
        let usual = (0, 0, about.mode() & 0o7777);
        let (uid, gid, mode) = attributes.get(&path).copied().unwrap_or(usual);
        let mut name = String::from(".");
        if !path.as_os_str().is_empty() {
            name.push('/');
            for byte in path.as_os_str().as_bytes() {
                if byte.is_ascii_graphic() && !b"\\#*?[]=".contains(byte) {
                    name.push(char::from(*byte));
                } else {
                    let _ = write!(name, "\\{byte:03o}");
                }
            }
        }
        let what = if kind.is_dir() {
            let mut names = fs::read_dir(&real)?.collect::<std::io::Result<Vec<_>>>()?;
            names.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
            open.extend(names.iter().map(|entry| path.join(entry.file_name())));
            "dir".to_owned()
        } else if kind.is_symlink() {
            format!("link link={}", fs::read_link(&real)?.display())
        } else {
            match path == Path::new("etc/rc") {
                true => "file contents=./etc/rc.real".to_owned(),
                false => "file".to_owned(),
            }
        };
        let _ = writeln!(text, "{name} type={what} uid={uid} gid={gid} mode={mode:04o}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn without_metalog_what_root_unpacked_keeps_its_modes() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str, mode: u32| {
            let path = root.path().join(path);
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        make("var", 0o751);
        make("var/tmp", 0o1777);
        make("var/empty", 0o555);
        let all = owners_as_unpacked(root.path()).unwrap();
        let mode = |path: &str| all[Path::new(path)].2;
        assert_eq!((mode("var/tmp"), mode("var/empty"), mode("var")), (0o1777, 0o555, 0o751));
    }

    #[test]
    fn metalog_says_it_where_it_is() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/master.passwd"), "root:*:0:0::\n").unwrap();
        fs::write(root.path().join("etc/group"), "wheel:*:0:\ntty:*:4:\n").unwrap();
        let line = "./usr/bin/wall type=file uname=root gname=tty mode=2555\n";
        fs::write(root.path().join("METALOG"), line).unwrap();
        let all = owners(root.path()).unwrap();
        assert_eq!(all.into_iter().collect::<Vec<_>>(), [("usr/bin/wall".into(), (0, 4, 0o2555))]);
    }
}

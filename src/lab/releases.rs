//! The releases of a story: real files, made by the command that makes real ones.

use std::io;

use super::Lab;
use super::host::RELEASES;
use crate::report::Console;
use crate::upgrade::make;

impl Lab {
    /// Makes a release of the image of this name, with these options of `nanozfs release`.
    pub(crate) fn make_release(
        &self,
        file: &str,
        image: &str,
        version: &str,
        set: &[(String, String)],
    ) -> io::Result<()> {
        let directory = self.root().join(RELEASES);
        std::fs::create_dir_all(&directory)?;
        let raw = directory.join(format!("{image}.img"));
        std::fs::write(&raw, self.image(image)?)?;
        let (raw, output) = (raw.display().to_string(), directory.join(file).display().to_string());
        let option = |name: &str| {
            set.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
        };
        let order = make::Order {
            image: &raw,
            version: Some(version),
            name: option("name").or(Some("gate")),
            compat: option("compat"),
            min_from: option("min-from"),
            pack: option("pack").or(Some("none")),
            output: Some(&output),
            ..make::Order::default()
        };
        let mut said = Vec::new();
        make::run(&order, &mut Console::new(&mut said, false), true).map_err(|failure| {
            let said = String::from_utf8_lossy(&said).into_owned();
            io::Error::other(format!("{failure:?} {said}"))
        })?;
        std::fs::remove_file(raw)
    }

    /// Cuts a release off.
    pub(crate) fn truncate_release(&self, file: &str, bytes: u64) -> io::Result<()> {
        let path = self.root().join(RELEASES).join(file);
        std::fs::OpenOptions::new().write(true).open(path)?.set_len(bytes)
    }
}

//! From XML to a mesh.

use std::borrow::Cow;
use std::collections::HashMap;

use roxmltree::{Document, Node};

use super::{Access, Geom, Mesh, Partition, Provider, ProviderId};
use crate::format::ParseError;

const WHAT: &str = "kern.geom.confxml";

pub(super) fn parse(text: &[u8]) -> Result<Mesh, ParseError> {
    let until_nul = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(until_nul);
    let text = clean(&text);
    let document = Document::parse(&text).map_err(|error| ParseError {
        what: WHAT.to_owned(),
        at: Some(error.pos().row as usize),
        why: format!("not XML: {error}"),
    })?;
    let mesh = document.root_element();
    if !mesh.has_tag_name("mesh") {
        return Err(ParseError::new(WHAT, "it has no <mesh>"));
    }
    Ok(read(mesh))
}

/// The text without characters that XML forbids. The kernel replaces them in names and serial
/// numbers, but not every class does so with what it adds, and one odd disk must not hide all
/// others.
fn clean(text: &str) -> Cow<'_, str> {
    // U+FFFE and U+FFFF begin with this byte.
    let odd = |byte: u8| (byte < b' ' && !b"\t\n\r".contains(&byte)) || byte == 0xef;
    if !text.bytes().any(odd) {
        return Cow::Borrowed(text);
    }
    let replace = |c: char| match c {
        '\t' | '\n' | '\r' => c,
        '\0'..' ' | '\u{fffe}' | '\u{ffff}' => '?',
        _ => c,
    };
    Cow::Owned(text.chars().map(replace).collect())
}

fn read(mesh: Node<'_, '_>) -> Mesh {
    let mut providers = Vec::new();
    let mut geoms = Vec::new();
    let mut ids = HashMap::new();
    let mut wanted = Vec::new(); // for each geom, the ids that its consumers are attached to
    for class_node in children(mesh, "class") {
        let class = text(class_node, "name").unwrap_or_default();
        for node in children(class_node, "geom") {
            let number = geoms.len();
            let geom = geom(node, &class);
            for provider_node in children(node, "provider") {
                let Some(provider) = provider(provider_node, &geom, number) else {
                    continue;
                };
                if let Some(id) = provider_node.attribute("id") {
                    ids.entry(id).or_insert(ProviderId(providers.len()));
                }
                providers.push(provider);
            }
            let attached = children(node, "consumer").filter_map(attached_to);
            wanted.push(attached.collect::<Vec<&str>>());
            geoms.push(geom);
        }
    }
    for (geom, wanted) in geoms.iter_mut().zip(wanted) {
        geom.consumes = wanted.iter().filter_map(|id| ids.get(id).copied()).collect();
    }
    Mesh::new(providers, geoms)
}

/// A geom that is being torn down is kept, for what it is still attached to.
fn geom(node: Node<'_, '_>, class: &str) -> Geom {
    let config = child(node, "config");
    let of_config = |name| config.and_then(|config| text(config, name));
    Geom {
        class: class.to_owned(),
        name: text(node, "name").unwrap_or_default(),
        consumes: Vec::new(),
        state: of_config("state"),
        scheme: of_config("scheme"),
    }
}

fn attached_to<'a>(consumer: Node<'a, '_>) -> Option<&'a str> {
    child(consumer, "provider")?.attribute("ref")
}

/// A provider, unless it is being torn down, or lacks what every one has.
fn provider(node: Node<'_, '_>, geom: &Geom, number: usize) -> Option<Provider> {
    let geom_node = node.parent()?;
    if child(node, "wither").is_some() || child(geom_node, "wither").is_some() {
        return None;
    }
    let config = child(node, "config");
    let of_config = |name| config.and_then(|config| text(config, name));
    let of_disk = |name| {
        let value = of_config(name).filter(|_| geom.class == "DISK")?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    let offset = of_config("offset").and_then(|offset| offset.trim().parse().ok());
    let partition = config.and_then(|config| partition(config, geom));
    let alias = |node: Node<'_, '_>| node.text().map(decode);
    Some(Provider {
        name: text(node, "name").filter(|name| !name.is_empty())?,
        geom: number,
        mediasize: parsed(node, "mediasize").unwrap_or(0),
        sectorsize: parsed(node, "sectorsize").unwrap_or(0),
        access: access(&text(node, "mode")?)?,
        ident: of_disk("ident"),
        descr: of_disk("descr"),
        partition,
        offset,
        aliases: children(node, "alias").filter_map(alias).collect(),
    })
}

fn partition(config: Node<'_, '_>, geom: &Geom) -> Option<Partition> {
    if geom.class != "PART" {
        return None;
    }
    let attributes = children(config, "attrib").filter_map(|node| node.text().map(decode));
    Some(Partition {
        scheme: geom.scheme.clone()?,
        index: parsed(config, "index")?,
        kind: text(config, "type")?,
        offset: parsed(config, "offset")?,
        length: parsed(config, "length")?,
        label: text(config, "label").filter(|label| !label.is_empty()),
        attributes: attributes.collect(),
        table_ok: geom.state.as_deref() == Some("OK"),
    })
}

/// `r1w0e2`.
fn access(mode: &str) -> Option<Access> {
    let (r, rest) = mode.trim().strip_prefix('r')?.split_once('w')?;
    let (w, e) = rest.split_once('e')?;
    Some(Access { r: r.parse().ok()?, w: w.parse().ok()?, e: e.parse().ok()? })
}

fn children<'a, 'input>(
    node: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.has_tag_name(name))
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &'static str) -> Option<Node<'a, 'input>> {
    children(node, name).next()
}

/// The text of a child; that of an empty one is empty.
fn text(node: Node<'_, '_>, name: &'static str) -> Option<String> {
    let child = child(node, name)?;
    Some(child.text().map(decode).unwrap_or_default())
}

fn parsed<T: std::str::FromStr>(node: Node<'_, '_>, name: &'static str) -> Option<T> {
    child(node, name)?.text()?.trim().parse().ok()
}

/// The kernel writes each byte of a character that is not ASCII as a reference to a character of
/// its own: `é` becomes `&#xC3;&#xA9;`. This puts the bytes together again.
fn decode(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(u32::from(c)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

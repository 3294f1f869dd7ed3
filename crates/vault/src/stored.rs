//! Keys as the store has them: their kinds, and how what is under them begins.

use crate::sealing::{BY_HIERARCHY, BY_MASTER, Parts, hex};

/// What a stored key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// The root key, wrapped by the seal.
    Root,
    /// The key of an owner, wrapped by the root key.
    Owner,
    /// The key that authenticates, wrapped by the root key.
    Anchor,
    /// The master key of an installation from before the hierarchy, wrapped by the root key; opens what it had sealed.
    Master,
}

impl KeyKind {
    const ALL: [Self; 4] = [Self::Root, Self::Owner, Self::Anchor, Self::Master];

    /// As rows have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Owner => "owner",
            Self::Anchor => "anchor",
            Self::Master => "master",
        }
    }

    /// `None` for a text that is no kind.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A key as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// The tenant; empty for the installation.
    pub owner: String,
    pub kind: KeyKind,
    pub version: u64,
    /// Names the key without telling anything of it.
    pub key_id: String,
    pub wrapped: Vec<u8>,
    /// The newest seals; the others open what they had sealed.
    pub active: bool,
}

/// The key id in a seal of the hierarchy or of a master key, as rows and listings show it.
pub fn sealed_under(sealed: &[u8]) -> Option<String> {
    Parts::of(sealed).map(|parts| hex(parts.key_id))
}

/// How the seals of a stored key begin, by which the store counts them; `None` for a key that seals nothing.
pub fn seal_header(kind: KeyKind, key_id: &str) -> Option<Vec<u8>> {
    let version = match kind {
        KeyKind::Owner => BY_HIERARCHY,
        KeyKind::Master => BY_MASTER,
        KeyKind::Root | KeyKind::Anchor => return None,
    };
    let mut header = vec![version];
    header.extend(key_id.as_bytes().chunks(2).filter_map(|pair| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    }));
    Some(header)
}

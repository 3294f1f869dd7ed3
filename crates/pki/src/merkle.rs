//! A Merkle tree over what only ever grows (RFC 9162 §2.1): hashes, proofs that a leaf is in it and that a later tree
//! continues an earlier one, and the checks of both.
//!
//! Hashes are kept in tiles, as C2SP tlog-tiles lays them out: a tile of level `t` has up to 256 hashes of complete
//! subtrees of 256^t leaves, side by side. All other hashes follow from those, so that a tree of a million leaves needs
//! some four thousand rows and a proof reads at most a few of them. A tile is named by what it needs: first ask
//! [`Plan::tiles`], load them, then [`Plan::prove`].

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{Context, SHA256};

/// SHA-256.
pub type Hash = [u8; 32];

/// Hashes in one tile, and the power of two that it is.
pub const TILE_HASHES: u64 = 256;
const TILE_LEVELS: u32 = 8;

/// A tile's place: its level, and its number within the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    pub level: u32,
    pub place: u64,
}

/// Tiles that were loaded. A tile at the right edge may be shorter than 256 hashes.
pub type Tiles = BTreeMap<Tile, Vec<Hash>>;

/// The hash of a leaf (RFC 9162 §2.1.1).
pub fn leaf(entry: &[u8]) -> Hash {
    sha256(&[&[0], entry])
}

fn node(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Why there is no proof, or none that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("no such leaf or size in this tree")]
    OutOfRange,
    #[error("a part of the tree is missing")]
    Missing,
    #[error("the proof does not hold")]
    Mismatch,
}

/// A complete subtree: 2^height leaves, the `place`th of its height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subtree {
    height: u32,
    place: u64,
}

/// The complete subtrees, from left to right, that make up the leaves `from..to` of a tree; `from` is a multiple of the
/// largest power of two below the length, as every range that a proof has.
fn subtrees(mut from: u64, to: u64) -> Vec<Subtree> {
    let mut list = Vec::new();
    while from < to {
        let fits = (to - from).ilog2();
        let height = if from == 0 { fits } else { fits.min(from.trailing_zeros()) };
        list.push(Subtree { height, place: from >> height });
        from += 1 << height;
    }
    list
}

/// What a proof consists of: for each of its hashes the range of leaves below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    ranges: Vec<(u64, u64)>,
}

impl Plan {
    /// That leaf `index` is in the tree of `size` leaves (RFC 9162 §2.1.3.1).
    ///
    /// # Errors
    /// [`ProofError::OutOfRange`] where it is not.
    pub fn inclusion(index: u64, size: u64) -> Result<Self, ProofError> {
        if index >= size {
            return Err(ProofError::OutOfRange);
        }
        let (mut from, mut to, mut ranges) = (0, size, Vec::new());
        while to - from > 1 {
            let middle = from + split(to - from);
            if index < middle {
                ranges.push((middle, to));
                to = middle;
            } else {
                ranges.push((from, middle));
                from = middle;
            }
        }
        ranges.reverse();
        Ok(Self { ranges })
    }

    /// That the tree of `size` leaves continues the one of `old` (RFC 9162 §2.1.4.1). An empty tree, and the same one, need
    /// no proof.
    ///
    /// # Errors
    /// [`ProofError::OutOfRange`] where the old one is the larger.
    pub fn consistency(old: u64, size: u64) -> Result<Self, ProofError> {
        if old > size {
            return Err(ProofError::OutOfRange);
        }
        let mut ranges = Vec::new();
        if old == 0 || old == size {
            return Ok(Self { ranges });
        }
        let (mut from, mut to, mut whole) = (0, size, true);
        while to != old {
            let middle = from + split(to - from);
            if old <= middle {
                ranges.push((middle, to));
                to = middle;
            } else {
                ranges.push((from, middle));
                from = middle;
                whole = false;
            }
        }
        if !whole {
            ranges.push((from, to));
        }
        ranges.reverse();
        Ok(Self { ranges })
    }

    /// The root of the tree of `size` leaves, which must not be empty.
    fn root(size: u64) -> Self {
        Self { ranges: vec![(0, size)] }
    }

    /// What must be loaded for it.
    pub fn tiles(&self) -> BTreeSet<Tile> {
        let ranges = self.ranges.iter();
        ranges.flat_map(|(from, to)| subtrees(*from, *to)).map(|subtree| tile_of(subtree).0).collect()
    }

    /// The hashes of the proof.
    ///
    /// # Errors
    /// [`ProofError::Missing`] where a tile of [`Self::tiles`] is not there or too short.
    pub fn prove(&self, tiles: &Tiles) -> Result<Vec<Hash>, ProofError> {
        self.ranges.iter().map(|(from, to)| range(tiles, *from, *to)).collect()
    }
}

/// The largest power of two below `length`.
fn split(length: u64) -> u64 {
    1 << (length - 1).ilog2()
}

/// In which tile the hash of a subtree is, from which hash on, and how many heights above those it is.
fn tile_of(subtree: Subtree) -> (Tile, u64, u32) {
    let (level, above) = (subtree.height / TILE_LEVELS, subtree.height % TILE_LEVELS);
    let first = subtree.place << above;
    (Tile { level, place: first / TILE_HASHES }, first % TILE_HASHES, above)
}

fn subtree(tiles: &Tiles, of: Subtree) -> Result<Hash, ProofError> {
    let (tile, first, above) = tile_of(of);
    let first = usize::try_from(first).map_err(|_| ProofError::Missing)?;
    let hashes = tiles.get(&tile).ok_or(ProofError::Missing)?;
    fold(hashes.get(first..first + (1 << above)).ok_or(ProofError::Missing)?.to_vec())
}

/// The hash over a row of a power of two of them.
fn fold(mut row: Vec<Hash>) -> Result<Hash, ProofError> {
    while row.len() > 1 {
        let above = row.chunks(2).map(|pair| match pair {
            [left, right] => Ok(node(left, right)),
            _ => Err(ProofError::Missing),
        });
        row = above.collect::<Result<_, _>>()?;
    }
    row.first().copied().ok_or(ProofError::Missing)
}

/// The hash over the leaves `from..to`, which begin at a place where a subtree of the tree does.
fn range(tiles: &Tiles, from: u64, to: u64) -> Result<Hash, ProofError> {
    let mut folded: Option<Hash> = None;
    for part in subtrees(from, to).into_iter().rev() {
        let hash = subtree(tiles, part)?;
        folded = Some(folded.map_or(hash, |right| node(&hash, &right)));
    }
    folded.ok_or(ProofError::Missing)
}

/// The root of an empty tree (RFC 9162 §2.1.1).
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// The tiles at the right edge of a tree of `size` leaves: what [`append`] and [`root`] need.
pub fn edge(size: u64) -> BTreeSet<Tile> {
    let mut tiles: BTreeSet<Tile> = if size == 0 { BTreeSet::new() } else { Plan::root(size).tiles() };
    let (mut level, mut count) = (0, size);
    // Where the next hash of each level goes, as long as that level has any.
    while count > 0 {
        tiles.insert(Tile { level, place: count / TILE_HASHES });
        level += 1;
        count /= TILE_HASHES;
    }
    tiles
}

/// Appends leaves to a tree of `size`; the tiles that changed. `tiles` has at least those of [`edge`], as far as there are
/// such, and is brought up to date.
///
/// # Errors
/// [`ProofError::Missing`] where a tile at the edge has not the hashes that it should.
pub fn append(tiles: &mut Tiles, size: u64, leaves: &[Hash]) -> Result<BTreeSet<Tile>, ProofError> {
    let mut changed = BTreeSet::new();
    for (index, leaf) in (size..).zip(leaves) {
        let (mut level, mut place, mut hash) = (0, index, *leaf);
        loop {
            let tile = Tile { level, place: place / TILE_HASHES };
            let hashes = tiles.entry(tile).or_default();
            if u64::try_from(hashes.len()).ok() != Some(place % TILE_HASHES) {
                return Err(ProofError::Missing);
            }
            hashes.push(hash);
            changed.insert(tile);
            if (place + 1) % TILE_HASHES != 0 {
                break;
            }
            // A tile that is full is one hash of the level above.
            hash = fold(hashes.clone())?;
            (level, place) = (level + 1, place / TILE_HASHES);
        }
    }
    Ok(changed)
}

/// The root of a tree of `size` leaves.
///
/// # Errors
/// [`ProofError::Missing`] where a tile of [`edge`] is not there.
pub fn root(tiles: &Tiles, size: u64) -> Result<Hash, ProofError> {
    if size == 0 { Ok(empty_root()) } else { range(tiles, 0, size) }
}

/// Checks that `leaf` is number `index` of the tree of `size` leaves with this root (RFC 9162 §2.1.3.2).
///
/// # Errors
/// [`ProofError::Mismatch`] where it does not follow.
pub fn check_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Mismatch);
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node(&hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(ProofError::Mismatch) }
}

/// Checks that the tree of `size` leaves and root `root` continues that of `old` and `old_root` (RFC 9162 §2.1.4.2).
///
/// # Errors
/// [`ProofError::Mismatch`] where it does not follow.
pub fn check_consistency(old: u64, old_root: &Hash, size: u64, root: &Hash, proof: &[Hash]) -> Result<(), ProofError> {
    if old > size {
        return Err(ProofError::OutOfRange);
    }
    if old == 0 || old == size {
        let same = old == 0 || old_root == root;
        return if same && proof.is_empty() { Ok(()) } else { Err(ProofError::Mismatch) };
    }
    // A tree of a power of two is itself the first hash of the proof.
    let with_first: Vec<Hash> = if old.is_power_of_two() { [&[*old_root], proof].concat() } else { proof.to_vec() };
    let (first, rest) = with_first.split_first().ok_or(ProofError::Mismatch)?;
    let (mut at, mut last) = (old - 1, size - 1);
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Mismatch);
        }
        if at & 1 == 1 || at == last {
            (old_hash, new_hash) = (node(sibling, &old_hash), node(sibling, &new_hash));
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            new_hash = node(&new_hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    if last == 0 && old_hash == *old_root && new_hash == *root { Ok(()) } else { Err(ProofError::Mismatch) }
}

#[cfg(test)]
mod tests;

use proptest::prelude::*;

use super::*;

/// The tree as RFC 9162 §2.1.1 defines it, in so many words.
fn plain(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(usize::try_from(split(more.len() as u64)).expect("small"));
            node(&plain(left), &plain(right))
        }
    }
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|number| leaf(&number.to_be_bytes())).collect()
}

fn tree(count: u64) -> Tiles {
    let mut tiles = Tiles::new();
    append(&mut tiles, 0, &leaves(count)).expect("an empty tree takes all");
    tiles
}

#[test]
fn the_vectors_of_certificate_transparency() {
    let hex = |hash: &Hash| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&empty_root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(hex(&leaf(&[])), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    let entries: [&[u8]; 8] = [
        &[],
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
    ];
    let hashes: Vec<Hash> = entries.iter().map(|entry| leaf(entry)).collect();
    let mut tiles = Tiles::new();
    append(&mut tiles, 0, &hashes).expect("an empty tree takes all");
    let root = root(&tiles, 8).expect("a root");
    assert_eq!(hex(&root), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
}

#[test]
fn tiles_fill_and_rise() {
    let tiles = tree(256 * 256 + 3);
    let found: Vec<(u32, usize)> =
        [0, 1, 2].map(|level| (level, tiles.keys().filter(|tile| tile.level == level).count())).into();
    assert_eq!(found, [(0, 257), (1, 1), (2, 1)]);
    assert_eq!(root(&tiles, 256 * 256 + 3).expect("a root"), plain(&leaves(256 * 256 + 3)));
    for size in [1, 255, 256, 257, 511, 65_536, 65_539] {
        assert_eq!(root(&tiles, size).ok(), Some(plain(&leaves(size))), "an earlier size is still there: {size}");
    }
}

#[test]
fn a_tree_without_its_edge_takes_nothing() {
    assert_eq!(append(&mut Tiles::new(), 5, &leaves(1)), Err(ProofError::Missing));
    assert_eq!(root(&Tiles::new(), 5), Err(ProofError::Missing));
    assert_eq!(Plan::inclusion(5, 5), Err(ProofError::OutOfRange));
    assert_eq!(Plan::consistency(6, 5), Err(ProofError::OutOfRange));
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    /// Grown in pieces with nothing but its edge in hand, it is the same tree.
    #[test]
    fn pieces_make_the_whole(pieces in proptest::collection::vec(0_u64..300, 1..6)) {
        let (mut kept, mut size) = (Tiles::new(), 0);
        for piece in pieces {
            let mut hand: Tiles = edge(size).iter().filter_map(|tile| Some((*tile, kept.get(tile)?.clone()))).collect();
            let new: Vec<Hash> = leaves(size + piece).split_off(usize::try_from(size).expect("small"));
            for tile in append(&mut hand, size, &new).expect("the edge is enough") {
                kept.insert(tile, hand[&tile].clone());
            }
            size += piece;
            let hand: Tiles = edge(size).iter().filter_map(|tile| Some((*tile, kept.get(tile)?.clone()))).collect();
            prop_assert_eq!(root(&hand, size).expect("the edge is enough"), plain(&leaves(size)));
        }
    }

    #[test]
    fn every_leaf_is_proven_and_no_other(size in 1_u64..700, at in 0_u64..700, wrong in 0_usize..40) {
        let at = at % size;
        let (tiles, leaves) = (tree(size), leaves(size));
        let plan = Plan::inclusion(at, size).expect("within");
        let loaded: Tiles = plan.tiles().iter().map(|tile| (*tile, tiles[tile].clone())).collect();
        let proof = plan.prove(&loaded).expect("all is loaded");
        let (root, hash) = (plain(&leaves), leaves[usize::try_from(at).expect("small")]);
        prop_assert_eq!(check_inclusion(&hash, at, size, &proof, &root), Ok(()));
        prop_assert!(check_inclusion(&leaf(b"another"), at, size, &proof, &root).is_err());
        prop_assert!(check_inclusion(&hash, at, size, &[proof.as_slice(), &[hash]].concat(), &root).is_err());
        if size > 1 {
            prop_assert!(check_inclusion(&hash, (at + 1) % size, size, &proof, &root).is_err());
            let mut bent = proof.clone();
            let index = wrong % bent.len();
            bent[index][0] ^= 1;
            prop_assert!(check_inclusion(&hash, at, size, &bent, &root).is_err());
        }
    }

    #[test]
    fn every_tree_continues_its_beginnings_and_no_other(size in 1_u64..700, old in 0_u64..700) {
        let old = old % (size + 1);
        let (tiles, leaves) = (tree(size), leaves(size));
        let proof = Plan::consistency(old, size).expect("within").prove(&tiles).expect("all is there");
        let (first, _) = leaves.split_at(usize::try_from(old).expect("small"));
        let (old_root, root) = (plain(first), plain(&leaves));
        prop_assert_eq!(check_consistency(old, &old_root, size, &root, &proof), Ok(()));
        if old > 0 {
            prop_assert!(check_consistency(old, &leaf(b"another"), size, &root, &proof).is_err());
            prop_assert!(check_consistency(old, &old_root, size, &leaf(b"another"), &proof).is_err());
        }
    }

    #[test]
    fn foreign_proofs_never_panic(
        at in proptest::num::u64::ANY,
        size in proptest::num::u64::ANY,
        proof in proptest::collection::vec(proptest::array::uniform32(proptest::num::u8::ANY), 0..70),
    ) {
        let root = leaf(b"root");
        check_inclusion(&root, at, size, &proof, &root).ok();
        check_consistency(at, &root, size, &root, &proof).ok();
    }
}

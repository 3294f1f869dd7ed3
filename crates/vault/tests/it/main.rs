//! The seals against what they stand on: a token (SoftHSM2), a TPM (swtpm), the transit API over TLS.

#[cfg(feature = "pkcs11")]
mod token;
mod tpm;
mod transit;

use fleetward_base::SeededRng;
use fleetward_vault::{Envelope, KeyError, KeyUri, Purpose, RootSeal, RootSealError, StoredKey, Vault, sealed_under};
use std::sync::Arc;

#[test]
fn no_corpus_makes_a_reader_panic() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/vault_keys");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is checked in") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        if let Ok(envelope) = Envelope::parse(&bytes) {
            assert_eq!(envelope.format(), bytes);
            read += 1;
        }
        if let Some(uri) = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse::<KeyUri>().ok()) {
            assert_eq!(uri.to_string().parse::<KeyUri>(), Ok(uri));
            read += 1;
        }
        sealed_under(&bytes);
    }
    assert_eq!(read, 5, "four kinds of wrapped keys and a URI");
}

/// A root key and an owner's under `seal`, and something sealed.
async fn made(seal: &Arc<dyn RootSeal>) -> (Vec<StoredKey>, Vec<u8>) {
    let rng = SeededRng::new(3);
    let vault = Vault::sealed_by(Arc::clone(seal));
    let (root, key) = vault.new_root(&rng, 1).await.expect("a root key");
    let rows = vec![root, Vault::first_owner_key(&rng, &key, "acme").stored];
    vault.load(&rows).await.expect("loads");
    let sealed = vault.seal(&rng, Purpose::Secret, &["acme"], b"plain").expect("seals");
    (rows, sealed)
}

/// What a start on these rows under `seal` gives.
async fn opened(seal: &Arc<dyn RootSeal>, rows: &[StoredKey], sealed: &[u8]) -> Result<Vec<u8>, RootSealError> {
    let vault = Vault::sealed_by(Arc::clone(seal));
    match vault.load(rows).await {
        Ok(()) => Ok(vault.open(Purpose::Secret, &["acme"], sealed).expect("opens").expose().clone()),
        Err(error) => {
            assert_eq!(vault.check("acme"), Err(KeyError::Closed), "a vault that does not open stays shut");
            Err(error)
        }
    }
}

/// That no byte of the wrapped root key can be changed.
async fn holds_each_byte(seal: &Arc<dyn RootSeal>, rows: &[StoredKey], sealed: &[u8]) {
    let (root, others) = rows.split_first().expect("a root key");
    for at in 0..root.wrapped.len() {
        let mut root = root.clone();
        *root.wrapped.get_mut(at).expect("a byte") ^= 1;
        let changed = [&[root], others].concat();
        assert!(opened(seal, &changed, sealed).await.is_err(), "byte {at}");
    }
}

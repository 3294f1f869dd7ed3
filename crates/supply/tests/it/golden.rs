//! Bytes that devices in the field have signed and stored. If one of these tests fails, the format has changed: that needs
//! a new signature context, not a new golden.

use fleetward_base::Timestamp;
use fleetward_supply::{Artifact, Manifest, Sha256, SignedRelease, Signers, SigningKey, Trust, VerifyingKey};

const MANIFEST: &[u8] = include_bytes!("../golden/manifest.json");
const SIGNATURE: &str = include_str!("../golden/signature.hex");
/// Written by `openssl genpkey -algorithm ed25519` (OpenSSL 3.0) and `openssl pkey -pubout`.
const PRIVATE: &[u8] = include_bytes!("../golden/private.pem");
const PUBLIC: &[u8] = include_bytes!("../golden/public.pem");

fn manifest() -> Manifest {
    let artifact = |filename: &str, hardware: &[&str], content: &[u8]| Artifact {
        filename: filename.to_owned(),
        hardware: hardware.iter().map(|&h| h.to_owned()).collect(),
        sha256: Sha256::of(content),
        size: content.len() as u64,
    };
    let artifacts = vec![artifact("gw-b.img", &["rev-b"], b"bb"), artifact("gw-a.img", &["rev-a2", "rev-a1"], b"a")];
    Manifest::new("gateway-os".into(), "2.0.0".into(), Timestamp::from_millis(1_795_171_980_000), artifacts)
        .expect("a good manifest")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn canonical_manifest() {
    assert_eq!(String::from_utf8_lossy(&manifest().canonical()), String::from_utf8_lossy(MANIFEST).trim_end());
}

#[test]
fn signature_of_a_foreign_key_file() {
    let key = SigningKey::from_pem(PRIVATE).expect("OpenSSL's key file");
    assert_eq!(VerifyingKey::from_pem(PUBLIC), Ok(key.verifying_key()));
    let release = SignedRelease::sign(&manifest(), &key);
    assert_eq!(hex(&release.signature), SIGNATURE.trim());
    assert_eq!(release.key_id.to_string(), include_str!("../golden/key_id.txt").trim());
    let signers: Signers = [key.verifying_key()].into_iter().collect();
    assert!(signers.verify(&release).is_ok());
}

#[test]
fn our_key_files_are_openssls() {
    let key = SigningKey::from_pem(PRIVATE).expect("OpenSSL's key file");
    assert_eq!(key.to_pem().expose().as_bytes(), PRIVATE);
    assert_eq!(key.verifying_key().to_pem().as_bytes(), PUBLIC);
}

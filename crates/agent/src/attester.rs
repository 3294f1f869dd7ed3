//! What the agent asks its TPM for, so that the server believes it: the endorsement key with its certificate, an
//! attestation key, the secret of an activation, and quotes.
//!
//! Both keys are primary keys of fixed templates, so there is nothing to keep: the same TPM makes the same keys again.
//! Everything here blocks.

use std::collections::{BTreeMap, BTreeSet};

use fleetward_attest::tpm::{Handle, Public, Signed, Tpm, TpmError, template};

/// Where makers keep the certificates of endorsement keys (TCG EK Credential Profile 2.5 §2.2.1.4).
const P256_CERTIFICATE: Handle = Handle(0x01c0_000a);
const RSA_CERTIFICATE: Handle = Handle(0x01c0_0002);

/// The keys that vouch for this machine, loaded; whoever opened them closes them.
#[derive(Debug)]
pub struct Keys {
    endorsement: Handle,
    pub endorsement_public: Public,
    /// None where the maker put no certificate into the TPM.
    pub certificate: Option<Vec<u8>>,
    attestation: Handle,
    pub attestation_public: Public,
}

/// What the TPM says of the state that the machine booted into.
#[derive(Debug)]
pub struct Quoted {
    pub signed: Signed,
    pub pcrs: BTreeMap<u8, Vec<u8>>,
}

impl Keys {
    /// # Errors
    /// What the TPM refused.
    pub fn open(tpm: &mut Tpm) -> Result<Self, TpmError> {
        // A key of P-256 is made in a moment; the one of RSA only where the certificate is about that.
        let (template, certificate) = match tpm.nv_read(P256_CERTIFICATE)? {
            Some(certificate) => (template::endorsement_p256(), Some(certificate)),
            None => match tpm.nv_read(RSA_CERTIFICATE)? {
                Some(certificate) => (template::endorsement_rsa(), Some(certificate)),
                None => (template::endorsement_p256(), None),
            },
        };
        let (endorsement, endorsement_public) = tpm.create_primary(Handle::ENDORSEMENT, &template)?;
        // In this hierarchy a statement has the true count of starts; in the owner's it would be obscured (Part 1 §36.7).
        match tpm.create_primary(Handle::ENDORSEMENT, &template::attestation_p256()) {
            Ok((attestation, attestation_public)) => {
                Ok(Self { endorsement, endorsement_public, certificate, attestation, attestation_public })
            }
            Err(error) => {
                tpm.flush(endorsement)?;
                Err(error)
            }
        }
    }

    pub fn close(self, tpm: &mut Tpm) -> Result<(), TpmError> {
        tpm.flush(self.endorsement)?;
        tpm.flush(self.attestation)
    }

    /// The secret that the server wrapped for this TPM.
    pub fn activate(&self, tpm: &mut Tpm, blob: &[u8], secret: &[u8], nonce: &[u8; 16]) -> Result<Vec<u8>, TpmError> {
        tpm.activate_credential(self.attestation, self.endorsement, blob, secret, nonce)
    }

    /// The PCRs as the TPM vouches for them. Values that change between the quote and the reading would not fit; the
    /// server says so, and the next attempt does.
    pub fn quote(&self, tpm: &mut Tpm, nonce: &[u8], pcrs: &BTreeSet<u8>) -> Result<Quoted, TpmError> {
        let signed = tpm.quote(self.attestation, nonce, pcrs)?;
        Ok(Quoted { signed, pcrs: tpm.pcr_read(pcrs)? })
    }

    /// Has the attestation key say that `object` is a key of this TPM.
    pub fn certify(&self, tpm: &mut Tpm, object: Handle, qualifying: &[u8]) -> Result<Signed, TpmError> {
        tpm.certify(object, self.attestation, qualifying)
    }
}

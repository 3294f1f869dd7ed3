//! DICE: a chain of certificates in which each layer of firmware vouches for the next one, and says what it measured in
//! the extension TcbInfo (TCG DICE Attestation Architecture 1.1 §6.1).
//!
//! The chain comes leaf first: the alias key, the layers below it, the DeviceID, whose issuer is a configured root. It is
//! walked here and not by the verifier of TLS, since TcbInfo may be critical. Freshness is a signature of the alias key
//! over the challenge.

use const_oid::ObjectIdentifier;
use der::asn1::BitStringRef;
use der::{Decode, Encode, Header, Reader, SliceReader, Tag, TagNumber};
use fleetward_base::{Timestamp, limits};
use fleetward_pki::Certificate;
use fleetward_pki::certificate::fingerprint;
use fleetward_pki::key::check_signature;
use spki::AlgorithmIdentifierRef;

use crate::facts::{Facts, Measurement};
use crate::signed::{Algorithm, holds};
use crate::tpm::Hash;

const TCB_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.1");
const UEID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.4");
/// Critical extensions that are understood: usages and constraints of authorities, names, and the two of DICE.
const UNDERSTOOD: [ObjectIdentifier; 6] = [
    TCB_INFO,
    UEID,
    ObjectIdentifier::new_unwrap("2.5.29.15"),
    ObjectIdentifier::new_unwrap("2.5.29.17"),
    ObjectIdentifier::new_unwrap("2.5.29.19"),
    ObjectIdentifier::new_unwrap("2.5.29.37"),
];
/// Before the challenge, so that a signature for this is one for nothing else.
pub const CONTEXT: &[u8] = b"fleetward dice challenge\0";
/// Of the flags: notSecure and debug (bits 1 and 3), and notConfigured and recovery (0 and 2).
const FLAGS_OPEN: u8 = 0b0101_0000;
const FLAGS_UNFIT: u8 = 0b1010_0000;

/// What a device sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// DER, the alias certificate first, without the root.
    pub certificates: Vec<Vec<u8>>,
    /// Of the alias key over [`CONTEXT`] and the challenge: r and s one after the other, or Ed25519's.
    pub signature: Vec<u8>,
}

/// Why a chain proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChain {
    #[error("a certificate of the chain cannot be read")]
    Malformed,
    #[error("a chain has between 1 and {} certificates", limits::DICE_LAYERS)]
    Length,
    #[error("a certificate has the critical extension {0}, which is not known here")]
    CriticalExtension(ObjectIdentifier),
    #[error("the chain breaks at certificate {0}")]
    Broken(usize),
    #[error("certificate {0} is not valid now")]
    Time(usize),
    #[error("the chain does not come from a configured root")]
    Root,
    #[error("the alias key did not sign the challenge")]
    Signature,
    #[error("no certificate of the chain says what was measured")]
    NoTcbInfo,
}

/// What one layer measured of the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcbInfo {
    pub layer: Option<u32>,
    pub index: Option<u32>,
    pub digests: Vec<Vec<u8>>,
    flags: u8,
}

/// Checks a chain up to one of `roots` for the challenge `nonce`.
///
/// # Errors
/// [`BadChain`].
pub fn verify(chain: &Chain, roots: &[Vec<u8>], nonce: &[u8], now: Timestamp) -> Result<Facts, BadChain> {
    if chain.certificates.is_empty() || chain.certificates.len() > limits::DICE_LAYERS {
        return Err(BadChain::Length);
    }
    let parsed: Vec<Link> = chain.certificates.iter().map(|der| Link::read(der)).collect::<Result<_, _>>()?;
    let (alias, last) = (parsed.first().ok_or(BadChain::Length)?, parsed.last().ok_or(BadChain::Length)?);
    for (at, (link, issuer)) in parsed.iter().zip(parsed.iter().skip(1)).enumerate() {
        if !link.comes_from(&issuer.certificate) {
            return Err(BadChain::Broken(at));
        }
    }
    if let Some(at) = parsed.iter().position(|link| !link.holds_at(now)) {
        return Err(BadChain::Time(at));
    }
    let root = roots
        .iter()
        .find(|root| Certificate::parse(root).is_ok_and(|root| last.comes_from(&root) && root.not_after >= now));
    let root = root.ok_or(BadChain::Root)?;
    let message = [CONTEXT, nonce].concat();
    let signed = [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa]
        .into_iter()
        .any(|algorithm| holds(algorithm, &alias.certificate.spki, &message, &chain.signature));
    if !signed {
        return Err(BadChain::Signature);
    }
    facts(&parsed, last, fingerprint(root))
}

fn facts(parsed: &[Link], device: &Link, anchor: String) -> Result<Facts, BadChain> {
    let (mut measurements, mut flags, mut any) = (Vec::new(), 0, false);
    // Layers are counted from the hardware up, as TcbInfo does.
    for (height, link) in parsed.iter().rev().enumerate() {
        let Some(info) = &link.info else { continue };
        any = true;
        flags |= info.flags;
        let layer = info.layer.unwrap_or_else(|| u32::try_from(height).unwrap_or(u32::MAX));
        let index = info.index.unwrap_or_default();
        let named = |digest: &Vec<u8>| Measurement::new(format!("fwid/{layer}/{index}"), digest);
        measurements.extend(info.digests.iter().map(named));
    }
    if !any {
        return Err(BadChain::NoTcbInfo);
    }
    Ok(Facts {
        identity: Hash::Sha256.digest(&[&device.certificate.spki]),
        anchor,
        measurements,
        debug: Some(flags & FLAGS_OPEN != 0),
        secured: Some(flags & FLAGS_UNFIT == 0),
        ..Facts::default()
    })
}

struct Link {
    certificate: Certificate,
    tbs: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
    info: Option<TcbInfo>,
}

impl Link {
    fn read(der: &[u8]) -> Result<Self, BadChain> {
        let certificate = Certificate::parse(der).map_err(|_| BadChain::Malformed)?;
        let (tbs, algorithm, signature) = split(der).map_err(|_| BadChain::Malformed)?;
        let info = extensions(der)?;
        Ok(Self { certificate, tbs, algorithm, signature, info })
    }

    fn comes_from(&self, issuer: &Certificate) -> bool {
        let Ok(algorithm) = AlgorithmIdentifierRef::from_der(&self.algorithm) else { return false };
        issuer.is_authority
            && self.certificate.issuer == issuer.subject
            && check_signature(&issuer.spki, &algorithm, &self.tbs, &self.signature).is_ok()
    }

    fn holds_at(&self, now: Timestamp) -> bool {
        self.certificate.not_before <= now && now <= self.certificate.not_after
    }
}

fn split(der: &[u8]) -> der::Result<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let mut reader = SliceReader::new(der)?;
    let parts = reader.sequence(|inner| {
        let (tbs, algorithm) = (inner.tlv_bytes()?.to_vec(), inner.tlv_bytes()?.to_vec());
        let signature = BitStringRef::decode(inner)?;
        Ok((tbs, algorithm, signature.as_bytes().ok_or(Tag::BitString.value_error())?.to_vec()))
    })?;
    reader.finish(parts)
}

fn extensions(der: &[u8]) -> Result<Option<TcbInfo>, BadChain> {
    let read = x509_cert::Certificate::from_der(der).map_err(|_| BadChain::Malformed)?;
    let mut info = None;
    for extension in read.tbs_certificate.extensions.iter().flatten() {
        if extension.critical && !UNDERSTOOD.contains(&extension.extn_id) {
            return Err(BadChain::CriticalExtension(extension.extn_id));
        }
        if extension.extn_id == TCB_INFO {
            info = Some(tcb_info(extension.extn_value.as_bytes()).map_err(|_| BadChain::Malformed)?);
        }
    }
    Ok(info)
}

/// Reads the extension; the fuzz target begins here.
///
/// # Errors
/// Where it is no DiceTcbInfo.
pub fn tcb_info(der: &[u8]) -> der::Result<TcbInfo> {
    let mut reader = SliceReader::new(der)?;
    let info = reader.sequence(|inner| {
        let mut info = TcbInfo::default();
        while !inner.is_finished() {
            let header = Header::decode(inner)?;
            let Tag::ContextSpecific { number, .. } = header.tag else { return Err(header.tag.unexpected_error(None)) };
            let content = inner.read_slice(header.length)?;
            match number {
                TagNumber::N4 => info.layer = Some(small(content)?),
                TagNumber::N5 => info.index = Some(small(content)?),
                TagNumber::N6 => info.digests = fwids(content)?,
                // A BIT STRING without its tag: the count of unused bits, then the bits.
                TagNumber::N7 => info.flags = content.get(1).copied().unwrap_or_default(),
                _ => {}
            }
        }
        Ok(info)
    })?;
    reader.finish(info)
}

/// An INTEGER without its tag.
fn small(content: &[u8]) -> der::Result<u32> {
    let length = u8::try_from(content.len()).map_err(|_| Tag::Integer.value_error())?;
    u32::from_der(&[&[0x02, length], content].concat())
}

fn fwids(content: &[u8]) -> der::Result<Vec<Vec<u8>>> {
    let mut reader = SliceReader::new(content)?;
    let mut digests = Vec::new();
    while !reader.is_finished() {
        digests.push(reader.sequence(|inner| {
            ObjectIdentifier::decode(inner)?;
            Ok(der::asn1::OctetStringRef::decode(inner)?.as_bytes().to_vec())
        })?);
        if digests.len() > limits::ATTESTATION_MEASUREMENTS {
            return Err(Tag::Sequence.length_error());
        }
    }
    Ok(digests)
}

/// A TcbInfo for tests and for makers' tools: layer and digests of SHA-256.
pub fn write_tcb_info(layer: u32, digests: &[&[u8]]) -> der::Result<Vec<u8>> {
    const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
    let mut list = Vec::new();
    for digest in digests {
        let digest = der::asn1::OctetString::new(*digest)?.to_der()?;
        list.extend(wrap(0x30, &[SHA256.to_der()?, digest].concat())?);
    }
    let layer = layer.to_der()?;
    let layer = wrap(0x84, layer.get(2..).unwrap_or_default())?;
    wrap(0x30, &[layer, wrap(0xa6, &list)?].concat())
}

fn wrap(tag: u8, content: &[u8]) -> der::Result<Vec<u8>> {
    let length = der::Length::try_from(content.len())?.to_der()?;
    Ok([&[tag], length.as_slice(), content].concat())
}

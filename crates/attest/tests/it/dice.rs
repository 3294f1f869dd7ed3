//! DICE chains, made with rcgen: alias, layer, DeviceID, root.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use fleetward_attest::Measurement;
use fleetward_attest::dice::{self, BadChain, CONTEXT, Chain};
use fleetward_base::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair};

const NONCE: &[u8] = &[7; 32];
const TCB_INFO: &[u64] = &[2, 23, 133, 5, 4, 1];

fn now() -> Timestamp {
    Timestamp::from_secs(1_795_824_000)
}

fn params(name: &str, authority: bool, info: Option<Vec<u8>>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = if authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
    if let Some(info) = info {
        let mut extension = CustomExtension::from_oid_content(TCB_INFO, info);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    }
    params
}

struct Made {
    root: Vec<u8>,
    chain: Vec<Vec<u8>>,
    alias: KeyPair,
}

/// Root, DeviceID, a layer with what it measured, and the alias key with what the layer measured.
fn make(change: impl Fn(&str, &mut CertificateParams)) -> Made {
    let info = |layer, byte: u8| Some(dice::write_tcb_info(layer, &[&[byte; 32]]).expect("DER"));
    let key = || KeyPair::generate().expect("random source");
    let (root_key, device_key, layer_key, alias) = (key(), key(), key(), key());
    let with = |name: &str, authority, info| {
        let mut params = params(name, authority, info);
        change(name, &mut params);
        params
    };
    let root = with("root", true, None);
    let root_der = root.self_signed(&root_key).expect("signs").der().to_vec();
    let root = Issuer::from_params(&root, &root_key);
    let device = with("device", true, None);
    let device_der = device.signed_by(&device_key, &root).expect("signs").der().to_vec();
    let device = Issuer::from_params(&device, &device_key);
    let layer = with("layer", true, info(0, 0xa0));
    let layer_der = layer.signed_by(&layer_key, &device).expect("signs").der().to_vec();
    let layer = Issuer::from_params(&layer, &layer_key);
    let alias_der = with("alias", false, info(1, 0xa1)).signed_by(&alias, &layer).expect("signs").der().to_vec();
    Made { root: root_der, chain: vec![alias_der, layer_der, device_der], alias }
}

impl Made {
    fn sent(&self, nonce: &[u8]) -> Chain {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.alias.serialize_der());
        let signature = key.expect("a key").sign(&SystemRandom::new(), &[CONTEXT, nonce].concat()).expect("signs");
        Chain { certificates: self.chain.clone(), signature: signature.as_ref().to_vec() }
    }

    fn judge(&self, chain: &Chain) -> Result<fleetward_attest::Facts, BadChain> {
        dice::verify(chain, std::slice::from_ref(&self.root), NONCE, now())
    }
}

#[test]
fn each_layer_vouches_for_the_next() {
    let made = make(|_, _| {});
    let facts = made.judge(&made.sent(NONCE)).expect("holds");
    assert_eq!(
        facts.measurements,
        [Measurement::new("fwid/0/0", &[0xa0; 32]), Measurement::new("fwid/1/0", &[0xa1; 32])]
    );
    assert_eq!((facts.debug, facts.secured), (Some(false), Some(true)));
    assert_eq!(facts.anchor, fleetward_pki::certificate::fingerprint(&made.root));
    // The device is known by its DeviceID, whatever firmware it runs.
    let again = make(|_, _| {});
    assert_ne!(again.judge(&again.sent(NONCE)).expect("holds").identity, facts.identity, "another device");
}

#[test]
fn a_broken_chain_is_found_out() {
    let made = make(|_, _| {});
    let judge = |change: &dyn Fn(&mut Chain)| {
        let mut chain = made.sent(NONCE);
        change(&mut chain);
        made.judge(&chain).map(drop)
    };
    assert_eq!(judge(&|_| {}), Ok(()));
    assert_eq!(judge(&|chain| *chain = made.sent(&[8; 32])), Err(BadChain::Signature));
    assert_eq!(judge(&|chain| chain.signature.clear()), Err(BadChain::Signature));
    assert_eq!(judge(&|chain| chain.certificates.clear()), Err(BadChain::Length));
    assert_eq!(judge(&|chain| drop(chain.certificates.remove(1))), Err(BadChain::Broken(0)));
    assert_eq!(judge(&|chain| drop(chain.certificates.pop())), Err(BadChain::Root));
    assert_eq!(judge(&|chain| chain.certificates[0].truncate(50)), Err(BadChain::Malformed));
    let foreign = make(|_, _| {});
    assert_eq!(judge(&|chain| chain.certificates[1].clone_from(&foreign.chain[1])), Err(BadChain::Broken(0)));
    assert_eq!(foreign.judge(&made.sent(NONCE)).map(drop), Err(BadChain::Root));
    let many = vec![made.chain[0].clone(); fleetward_base::limits::DICE_LAYERS + 1];
    assert_eq!(judge(&|chain| chain.certificates.clone_from(&many)), Err(BadChain::Length));
}

#[test]
fn what_is_not_understood_is_not_passed_over() {
    let unknown = make(|name, params| {
        if name == "layer" {
            let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            extension.set_criticality(true);
            params.custom_extensions.push(extension);
        }
    });
    assert!(matches!(unknown.judge(&unknown.sent(NONCE)), Err(BadChain::CriticalExtension(_))));
    let silent = make(|_, params| params.custom_extensions.clear());
    assert_eq!(silent.judge(&silent.sent(NONCE)), Err(BadChain::NoTcbInfo));
    let no_authority = make(|name, params| {
        if name == "layer" {
            params.is_ca = IsCa::NoCa;
        }
    });
    assert_eq!(no_authority.judge(&no_authority.sent(NONCE)), Err(BadChain::Broken(0)));
    let late = dice::verify(
        &unknown.sent(NONCE),
        std::slice::from_ref(&unknown.root),
        NONCE,
        Timestamp::from_secs(i64::MAX / 10_000),
    );
    assert!(late.is_err());
}

#[test]
fn flags_say_that_somebody_may_have_looked_in() {
    // layer 0 and flags: the count of unused bits, then notSecure and debug.
    let with = |flags: u8| {
        let der = [0x30, 7, 0x84, 1, 0, 0x87, 2, 4, flags];
        make(move |name, params| {
            if name == "alias" {
                params.custom_extensions = vec![CustomExtension::from_oid_content(TCB_INFO, der.to_vec())];
            }
        })
    };
    for (flags, debug, secured) in
        [(0x00, false, true), (0x10, true, true), (0x40, true, true), (0x80, false, false), (0x20, false, false)]
    {
        let made = with(flags);
        let facts = made.judge(&made.sent(NONCE)).expect("holds");
        assert_eq!((facts.debug, facts.secured), (Some(debug), Some(secured)), "{flags:x}");
    }
}

//! The messages, sound ones and ones with a defect.

use std::collections::BTreeMap;

use rustls_pki_types::PrivateKeyDer;
use zt_core::spiffe::TrustDomainRef;

use super::super::Authority;
use super::scene::{MessageDefect, Scene};
use crate::bundle::X509Bundle;
use crate::workload_api::proto;
use crate::workload_api::{MAX_HINT_LEN, MAX_MESSAGE_LEN};
use crate::x509_identity::X509Identity;

pub(super) fn x509(authority: &Authority, scene: &Scene) -> proto::X509svidResponse {
    let svids = scene.identities.iter().map(|(hint, identity)| proto::X509svid {
        spiffe_id: identity.id().as_str().into(),
        x509_svid: row(identity.chain()),
        x509_svid_key: key(identity),
        bundle: roots(&authority.bundle()),
        hint: hint.clone(),
    });
    let federated = scene.federated.iter();
    let mut message = proto::X509svidResponse {
        svids: svids.collect(),
        crl: scene.lists.clone(),
        federated_bundles: federated
            .map(|(domain, foreign)| (id(domain.borrowed()), roots(&foreign.x509)))
            .collect(),
    };
    if let Some(defect) = scene.defect {
        spoil_x509(defect, &mut message);
    }
    message
}

pub(super) fn x509_bundles(authority: &Authority, scene: &Scene) -> proto::X509BundlesResponse {
    let own = (id(authority.trust_domain().borrowed()), roots(&authority.bundle()));
    let federated = scene.federated.iter();
    let federated =
        federated.map(|(domain, foreign)| (id(domain.borrowed()), roots(&foreign.x509)));
    let mut message = proto::X509BundlesResponse {
        crl: scene.lists.clone(),
        bundles: federated.chain([own]).collect(),
    };
    if let Some(defect) = scene.defect {
        spoil_bundles(defect, authority, &mut message.bundles);
        if defect == MessageDefect::TornList {
            message.crl.push(vec![0x30, 0x80]);
        }
    }
    message
}

pub(super) fn jwt_bundles(authority: &Authority, scene: &Scene) -> proto::JwtBundlesResponse {
    let own = (id(authority.trust_domain().borrowed()), authority.jwt_bundle_document().into());
    let federated = scene.federated.iter();
    let federated =
        federated.map(|(domain, foreign)| (id(domain.borrowed()), foreign.jwt.clone().into()));
    let mut message = proto::JwtBundlesResponse { bundles: federated.chain([own]).collect() };
    if let Some(defect) = scene.defect {
        spoil_bundles(defect, authority, &mut message.bundles);
    }
    message
}

pub(super) fn spoil_jwt_svids(defect: MessageDefect, message: &mut proto::JwtsvidResponse) {
    let first = message.svids.first_mut();
    match (defect, first) {
        (MessageDefect::Empty, _) => message.svids.clear(),
        (MessageDefect::NoId, Some(svid)) => svid.spiffe_id.clear(),
        (MessageDefect::NoSvid, Some(svid)) => svid.svid.clear(),
        (MessageDefect::AnotherId, Some(svid)) => svid.spiffe_id.push_str("-else"),
        (MessageDefect::LongHint, Some(svid)) => svid.hint = long_hint(),
        _ => {}
    }
}

fn spoil_x509(defect: MessageDefect, message: &mut proto::X509svidResponse) {
    let proto::X509svidResponse { svids, crl, federated_bundles } = message;
    let Some(svid) = svids.first_mut() else { return };
    match defect {
        MessageDefect::Empty => *message = proto::X509svidResponse::default(),
        MessageDefect::NoId => svid.spiffe_id.clear(),
        MessageDefect::NoSvid => svid.x509_svid.clear(),
        MessageDefect::NoKey => svid.x509_svid_key.clear(),
        MessageDefect::NoBundle => svid.bundle.clear(),
        MessageDefect::AnotherId => svid.spiffe_id.push_str("-else"),
        MessageDefect::AnotherKey => {
            svid.x509_svid_key =
                rcgen::KeyPair::generate().map(|key| key.serialize_der()).unwrap_or_default();
        }
        MessageDefect::TornChain => tear(&mut svid.x509_svid),
        MessageDefect::TornBundle => tear(&mut svid.bundle),
        MessageDefect::LongHint => svid.hint = long_hint(),
        MessageDefect::BundleOfAWorkload => {
            federated_bundles.insert("spiffe://other.test/x".into(), vec![0x30]);
        }
        MessageDefect::TornFederatedBundles => federated_bundles.values_mut().for_each(tear),
        MessageDefect::TornList => crl.push(vec![0x30, 0x80]),
        MessageDefect::TooLong => crl.push(vec![0; MAX_MESSAGE_LEN]),
    }
}

fn spoil_bundles(
    defect: MessageDefect,
    authority: &Authority,
    bundles: &mut BTreeMap<String, Vec<u8>>,
) {
    let own = id(authority.trust_domain().borrowed());
    match defect {
        MessageDefect::Empty => bundles.clear(),
        MessageDefect::TornBundle => bundles.get_mut(&own).into_iter().for_each(tear),
        MessageDefect::TornFederatedBundles => {
            bundles.iter_mut().filter(|(key, _)| **key != own).for_each(|(_, row)| tear(row));
        }
        MessageDefect::BundleOfAWorkload => {
            bundles.insert(format!("{own}/x"), vec![0x30]);
        }
        MessageDefect::TooLong => {
            bundles.insert("spiffe://long.test".into(), vec![0; MAX_MESSAGE_LEN]);
        }
        MessageDefect::NoId
        | MessageDefect::NoSvid
        | MessageDefect::NoKey
        | MessageDefect::NoBundle
        | MessageDefect::AnotherId
        | MessageDefect::AnotherKey
        | MessageDefect::TornChain
        | MessageDefect::TornList
        | MessageDefect::LongHint => {}
    }
}

fn tear(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len() / 2);
}

fn long_hint() -> String {
    "h".repeat(MAX_HINT_LEN.saturating_add(1))
}

fn id(trust_domain: TrustDomainRef<'_>) -> String {
    format!("spiffe://{trust_domain}")
}

fn row<C: AsRef<[u8]>>(certificates: &[C]) -> Vec<u8> {
    certificates.iter().flat_map(|der| der.as_ref().iter().copied()).collect()
}

fn roots(bundle: &X509Bundle) -> Vec<u8> {
    let roots: Vec<_> = bundle.roots().iter().map(|root| root.certificate()).collect();
    row(&roots)
}

fn key(identity: &X509Identity) -> Vec<u8> {
    match identity.key().expose() {
        PrivateKeyDer::Pkcs8(pkcs8) => pkcs8.secret_pkcs8_der().into(),
        // The API has no other form (§5.2.1); what the authority issues has this one.
        PrivateKeyDer::Pkcs1(_) | PrivateKeyDer::Sec1(_) | _ => Vec::new(),
    }
}

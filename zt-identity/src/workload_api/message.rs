//! What the agent sends, checked before any of it counts.
//!
//! An X.509 message is taken as a whole or not at all, when (SPIFFE Workload API §5):
//!
//! 1. it has at most [`MAX_MESSAGE_LEN`] bytes, and not more SVIDs, bundles and lists than there is a
//!    use for;
//! 2. it has an SVID, and of each the ID, the chain, the key and the bundle; what is at its default
//!    is missing (§5.2.1; );
//! 3. no hint is longer than [`MAX_HINT_LEN`] bytes. Of two SVIDs with one hint the first counts
//!    (§5.2.1; A-07);
//! 4. chain and key of each are an [`X509Identity`], and its ID is the one of the message
//!
//! 5. the bundle of each has a root for its trust domain; a certificate in it that cannot be a root is
//!    left out, as to go on with yesterday's bundle would be to believe a root that was withdrawn;
//! 6. each federated bundle has the ID of a trust domain as its key. What another trust domain
//!    publishes refuses nothing of ours: a bundle that cannot be read vouches for nobody;
//! 7. each revocation list loads.
//!
//! Bundles of an X.509 message vouch for X.509-SVIDs and for nothing else, and those of a JWT message
//! for JWT-SVIDs: they are of different types.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use prost::Message;
use rustls_pki_types::CertificateDer;
use zt_core::fault::Fault;
use zt_core::secret::Secret;
use zt_core::spiffe::{SpiffeId, SpiffeIdError, TrustDomain};
use zt_core::time::Timestamp;

use super::proto;
use crate::bundle::{BundleError, BundleSet, X509Bundle};
use crate::certificate;
use crate::jwk::JwkSetError;
use crate::jwt_bundle::{JwtBundle, JwtBundleSet};
use crate::revocation::{RevocationList, RevocationListError, RevocationLists};
use crate::x509_identity::{X509Identity, X509IdentityError};

/// The longest message that is read, in bytes: two of the longest revocation lists, or thousands of
/// bundles.
pub const MAX_MESSAGE_LEN: usize = 16 * 1024 * 1024;
/// The longest hint, in bytes (§5.2.1).
pub const MAX_HINT_LEN: usize = 1024;
/// The most SVIDs in a message.
pub const MAX_SVIDS: usize = 128;
/// The most bundles in a message.
pub const MAX_BUNDLES: usize = 4096;
/// The most revocation lists in a message.
pub const MAX_LISTS: usize = 1024;

/// One of the identities that a workload has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hinted {
    /// What the operator says that it is for.
    pub hint: Option<String>,
    /// The identity.
    pub identity: X509Identity,
}

/// All that a message of `FetchX509SVID` says: the whole of what there is, and not what has changed
///
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct X509Update {
    /// The identities, in the order of the agent. There is one at least, and the first is the default
    ///
    pub identities: Vec<Hinted>,
    /// The bundles of their trust domains and of those that are federated, and the revocation lists.
    pub bundles: BundleSet,
    /// What of bundles was left out.
    pub left_out: Vec<LeftOut>,
}

/// What of a bundle was left out, which does not refuse the rest.
#[derive(Clone, Debug, thiserror::Error)]
#[error("some of the bundle of {trust_domain} is left out")]
#[non_exhaustive]
pub struct LeftOut {
    /// Of which trust domain.
    pub trust_domain: TrustDomain,
    /// Why.
    pub source: BadBundle,
}

/// Why a bundle, or a certificate in one, is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadBundle {
    /// It is not certificates that are roots of its trust domain.
    #[error(transparent)]
    X509(#[from] BundleError),
    /// It is not a key set.
    #[error(transparent)]
    Jwt(#[from] JwkSetError),
}

impl X509Update {
    /// Reads a message of `FetchX509SVID`.
    ///
    /// # Errors
    ///
    /// [`MessageError`] names the first rule that is broken.
    pub fn decode(bytes: &[u8], now: Timestamp) -> Result<Self, MessageError> {
        Self::check(decoded::<proto::X509svidResponse>(bytes)?, now)
    }

    pub(super) fn check(
        message: proto::X509svidResponse,
        now: Timestamp,
    ) -> Result<Self, MessageError> {
        let proto::X509svidResponse { mut svids, crl, federated_bundles } = message;
        // Wiped with this, whatever becomes of the message.
        let keys: Vec<Secret<Vec<u8>>> = svids
            .iter_mut()
            .map(|svid| Secret::new(std::mem::take(&mut svid.x509_svid_key)))
            .collect();
        at_most("svids", svids.len(), MAX_SVIDS)?;
        if svids.is_empty() {
            return Err(MessageError::Missing { field: "svids" });
        }
        let (mut identities, mut own, mut left_out) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (svid, key) in svids.iter().zip(&keys) {
            let identity = identity(svid, key.expose())?;
            let trust_domain = identity.id().trust_domain().to_owned();
            if let Entry::Vacant(vacant) = own.entry(trust_domain) {
                let bundle = own_bundle(vacant.key(), &svid.bundle, now, &mut left_out)?;
                vacant.insert(bundle);
            }
            let hint = Some(svid.hint.clone()).filter(|hint| !hint.is_empty());
            if hint.is_none() || identities.iter().all(|known: &Hinted| known.hint != hint) {
                identities.push(Hinted { hint, identity });
            }
        }
        let federated = x509_bundles(&federated_bundles, None, now, &mut left_out)?;
        // What an SVID brings of its own trust domain goes before what is said of it elsewhere.
        let bundles = federated.into_iter().chain(own.into_values()).collect::<BundleSet>();
        let bundles = bundles.with_revocation_lists(lists(&crl)?);
        Ok(Self { identities, bundles, left_out })
    }

    /// The identity that counts where nothing else is asked for, or that of a hint.
    #[must_use]
    pub fn identity(&self, hint: Option<&str>) -> Option<&X509Identity> {
        let known = match hint {
            None => self.identities.first(),
            Some(hint) => self.identities.iter().find(|known| known.hint.as_deref() == Some(hint)),
        };
        known.map(|known| &known.identity)
    }
}

/// All that a message of `FetchX509Bundles` says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct X509BundlesUpdate {
    /// The bundles and the revocation lists.
    pub bundles: BundleSet,
    /// What of bundles was left out.
    pub left_out: Vec<LeftOut>,
}

impl X509BundlesUpdate {
    /// Reads a message of `FetchX509Bundles` for a service of the trust domain `own`.
    ///
    /// # Errors
    ///
    /// [`MessageError`] names the first rule that is broken.
    pub fn decode(bytes: &[u8], own: &TrustDomain, now: Timestamp) -> Result<Self, MessageError> {
        Self::check(&decoded(bytes)?, own, now)
    }

    pub(super) fn check(
        message: &proto::X509BundlesResponse,
        own: &TrustDomain,
        now: Timestamp,
    ) -> Result<Self, MessageError> {
        if message.bundles.is_empty() {
            return Err(MessageError::Missing { field: "bundles" });
        }
        let mut left_out = Vec::new();
        let bundles = x509_bundles(&message.bundles, Some(own), now, &mut left_out)?;
        let bundles = bundles.into_iter().collect::<BundleSet>();
        Ok(Self { bundles: bundles.with_revocation_lists(lists(&message.crl)?), left_out })
    }
}

/// All that a message of `FetchJWTBundles` says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JwtBundlesUpdate {
    /// The bundles.
    pub bundles: JwtBundleSet,
    /// What of bundles was left out.
    pub left_out: Vec<LeftOut>,
}

impl JwtBundlesUpdate {
    /// Reads a message of `FetchJWTBundles` for a service of the trust domain `own`.
    ///
    /// # Errors
    ///
    /// [`MessageError`] names the first rule that is broken.
    pub fn decode(bytes: &[u8], own: &TrustDomain) -> Result<Self, MessageError> {
        Self::check(&decoded(bytes)?, own)
    }

    pub(super) fn check(
        message: &proto::JwtBundlesResponse,
        own: &TrustDomain,
    ) -> Result<Self, MessageError> {
        if message.bundles.is_empty() {
            return Err(MessageError::Missing { field: "bundles" });
        }
        at_most("bundles", message.bundles.len(), MAX_BUNDLES)?;
        let (mut bundles, mut left_out) = (JwtBundleSet::new(), Vec::new());
        for (key, document) in &message.bundles {
            let trust_domain = trust_domain(key)?;
            let bundle = match JwtBundle::from_jwks(trust_domain.clone(), document) {
                Ok(bundle) => bundle,
                Err(error) if trust_domain == *own => {
                    return Err(MessageError::Bundle { trust_domain, source: error.into() });
                }
                Err(error) => {
                    let bundle = JwtBundle::empty(trust_domain.clone());
                    left_out.push(LeftOut { trust_domain, source: error.into() });
                    bundle
                }
            };
            bundles = bundles.with(bundle);
        }
        Ok(Self { bundles, left_out })
    }
}

/// A JWT-SVID as the agent sends it: its parts are there, and its signature is not looked at yet.
pub(super) struct JwtSvidText {
    pub(super) id: SpiffeId,
    pub(super) token: Secret<String>,
}

/// The JWT-SVIDs of a message of `FetchJWTSVID`, the default first.
pub(super) fn jwt_svids(message: proto::JwtsvidResponse) -> Result<Vec<JwtSvidText>, MessageError> {
    at_most("svids", message.svids.len(), MAX_SVIDS)?;
    if message.svids.is_empty() {
        return Err(MessageError::Missing { field: "svids" });
    }
    let svids = message.svids.into_iter().map(|svid| {
        let token = Secret::new(svid.svid);
        if token.expose().is_empty() {
            return Err(MessageError::Missing { field: "svid" });
        }
        check_hint(&svid.hint)?;
        Ok(JwtSvidText { id: spiffe_id(&svid.spiffe_id)?, token })
    });
    svids.collect()
}

fn decoded<M: Message + Default>(bytes: &[u8]) -> Result<M, MessageError> {
    at_most("bytes", bytes.len(), MAX_MESSAGE_LEN)?;
    M::decode(bytes).map_err(|_| MessageError::Protobuf)
}

fn identity(svid: &proto::X509svid, key: &[u8]) -> Result<X509Identity, MessageError> {
    let fields =
        [("x509_svid", &svid.x509_svid[..]), ("x509_svid_key", key), ("bundle", &svid.bundle)];
    if let Some((field, _)) = fields.into_iter().find(|(_, value)| value.is_empty()) {
        return Err(MessageError::Missing { field });
    }
    check_hint(&svid.hint)?;
    let id = spiffe_id(&svid.spiffe_id)?;
    let identity = X509Identity::from_der(&svid.x509_svid, key)
        .map_err(|source| MessageError::Identity { id: id.clone(), source })?;
    if *identity.id() != id {
        let certificate = identity.id().clone();
        return Err(MessageError::AnotherId { message: id, certificate });
    }
    Ok(identity)
}

fn check_hint(hint: &str) -> Result<(), MessageError> {
    if hint.len() > MAX_HINT_LEN {
        return Err(MessageError::HintTooLong { len: hint.len() });
    }
    Ok(())
}

fn spiffe_id(text: &str) -> Result<SpiffeId, MessageError> {
    if text.is_empty() {
        return Err(MessageError::Missing { field: "spiffe_id" });
    }
    Ok(SpiffeId::parse(text)?)
}

/// the key of a bundle is `spiffe://` and the trust domain, and nothing else.
fn trust_domain(key: &str) -> Result<TrustDomain, MessageError> {
    let id = SpiffeId::parse(key)?;
    if !id.path().is_empty() {
        return Err(MessageError::NotATrustDomain { id });
    }
    Ok(id.trust_domain().to_owned())
}

fn x509_bundles(
    bundles: &BTreeMap<String, Vec<u8>>,
    own: Option<&TrustDomain>,
    now: Timestamp,
    left_out: &mut Vec<LeftOut>,
) -> Result<Vec<X509Bundle>, MessageError> {
    at_most("bundles", bundles.len(), MAX_BUNDLES)?;
    let read = bundles.iter().map(|(key, row)| {
        let trust_domain = trust_domain(key)?;
        if own == Some(&trust_domain) {
            return own_bundle(&trust_domain, row, now, left_out);
        }
        Ok(usable(&trust_domain, row, now, left_out))
    });
    read.collect()
}

/// Without a root nobody of our own trust domain counts: that is not taken on the word of a message.
fn own_bundle(
    trust_domain: &TrustDomain,
    row: &[u8],
    now: Timestamp,
    left_out: &mut Vec<LeftOut>,
) -> Result<X509Bundle, MessageError> {
    let before = left_out.len();
    let bundle = usable(trust_domain, row, now, left_out);
    if bundle.roots().is_empty() {
        let why = left_out.get(before).map(|left_out| left_out.source.clone());
        let none = BadBundle::from(BundleError::NoRoots { expired: 0 });
        let trust_domain = trust_domain.clone();
        return Err(MessageError::Bundle { trust_domain, source: why.unwrap_or(none) });
    }
    Ok(bundle)
}

fn usable(
    trust_domain: &TrustDomain,
    row: &[u8],
    now: Timestamp,
    left_out: &mut Vec<LeftOut>,
) -> X509Bundle {
    let mut leave_out = |source: BundleError| {
        left_out.push(LeftOut { trust_domain: trust_domain.clone(), source: source.into() });
    };
    let certificates = match certificate::separate(row) {
        Ok(certificates) => certificates,
        Err(error) => {
            leave_out(error.into());
            Vec::new()
        }
    };
    let certificates = certificates.into_iter().map(CertificateDer::into_owned);
    let (bundle, broken) = X509Bundle::from_usable_certs(trust_domain.clone(), certificates, now);
    broken.into_iter().for_each(|(_, error)| leave_out(error));
    bundle
}

fn lists(crl: &[Vec<u8>]) -> Result<RevocationLists, MessageError> {
    at_most("crl", crl.len(), MAX_LISTS)?;
    let lists = crl.iter().map(|der| RevocationList::from_der(der));
    lists.collect::<Result<_, _>>().map_err(MessageError::Crl)
}

fn at_most(what: &'static str, found: usize, limit: usize) -> Result<(), MessageError> {
    if found > limit {
        return Err(MessageError::TooMany { what, found, limit });
    }
    Ok(())
}

/// Why a message of the agent is not taken. Nothing of a key or a token is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// It is not the message that was asked for, in protobuf.
    #[error("the message is not the one that was asked for")]
    Protobuf,
    /// There is more of something than is taken.
    #[error("the message has {found} {what}, more than {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// a mandatory field has its default value.
    #[error("the message has no {field:?}")]
    Missing {
        /// Which.
        field: &'static str,
    },
    /// A hint is longer than [`MAX_HINT_LEN`].
    #[error("a hint has {len} bytes, more than {MAX_HINT_LEN}")]
    HintTooLong {
        /// How many bytes it has.
        len: usize,
    },
    /// An ID is none.
    #[error(transparent)]
    SpiffeId(#[from] SpiffeIdError),
    /// the key of a bundle is the ID of a workload.
    #[error("the key of a bundle is {id}, which is not the ID of a trust domain")]
    NotATrustDomain {
        /// What it is.
        id: SpiffeId,
    },
    /// Chain and key are no identity.
    #[error("the SVID {id} is none that can be used")]
    Identity {
        /// Of which ID.
        id: SpiffeId,
        /// Why not.
        source: X509IdentityError,
    },
    /// the message and the certificate have different IDs.
    #[error("the message says {message}, and its certificate {certificate}")]
    AnotherId {
        /// The one of the message.
        message: SpiffeId,
        /// The one of the certificate.
        certificate: SpiffeId,
    },
    /// The identity that is to be used does not count now.
    #[error("the identity does not count: {0}")]
    Validity(#[from] zt_core::time::OutsideValidity),
    /// There is no identity with the hint that was asked for.
    #[error("no identity has the hint {hint:?}")]
    NoSuchHint {
        /// Which.
        hint: String,
    },
    /// The bundle of our own trust domain has no root that can be used.
    #[error("the bundle of {trust_domain} cannot be used")]
    Bundle {
        /// Of which trust domain.
        trust_domain: TrustDomain,
        /// Why not.
        source: BadBundle,
    },
    /// A revocation list does not load.
    #[error("a revocation list cannot be loaded")]
    Crl(#[source] RevocationListError),
}

impl MessageError {
    /// Whose fault it is: the agent's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}

impl fmt::Debug for JwtSvidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSvidText").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::PrivateKeyDer;

    use super::*;
    use crate::authority::Authority;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn domain(name: &str) -> TrustDomain {
        TrustDomain::from_name(name).unwrap()
    }

    fn svid(authority: &Authority, path: &str, hint: &str) -> proto::X509svid {
        let identity = authority.svid(path).unwrap();
        let PrivateKeyDer::Pkcs8(key) = identity.key().expose() else { panic!("PKCS#8") };
        proto::X509svid {
            spiffe_id: identity.id().as_str().into(),
            x509_svid: identity.chain()[0].to_vec(),
            x509_svid_key: key.secret_pkcs8_der().to_vec(),
            bundle: authority.bundle().roots()[0].certificate().to_vec(),
            hint: hint.into(),
        }
    }

    fn message(authority: &Authority) -> proto::X509svidResponse {
        let partner = Authority::new(domain("partner.test"), NOW).unwrap();
        let root = partner.bundle().roots()[0].certificate().to_vec();
        proto::X509svidResponse {
            svids: vec![svid(authority, "/a", ""), svid(authority, "/b", "x")],
            crl: vec![authority.crl().der().unwrap().to_vec()],
            federated_bundles: [("spiffe://partner.test".into(), root)].into(),
        }
    }

    #[test]
    fn each_rule_of_a_message_has_its_refusal() {
        let authority = Authority::new(domain("example.org"), NOW).unwrap();
        let spoiled = |spoil: &dyn Fn(&mut proto::X509svidResponse)| {
            let mut message = message(&authority);
            spoil(&mut message);
            X509Update::decode(&message.encode_to_vec(), NOW).map(|_update| ())
        };
        assert_eq!(spoiled(&|_| ()), Ok(()));
        let missing = |field| Err(MessageError::Missing { field });
        assert_eq!(spoiled(&|it| it.svids.clear()), missing("svids"));
        // The second one as well as the first.
        assert_eq!(spoiled(&|it| it.svids[1].spiffe_id.clear()), missing("spiffe_id"));
        assert_eq!(spoiled(&|it| it.svids[1].x509_svid.clear()), missing("x509_svid"));
        assert_eq!(spoiled(&|it| it.svids[1].x509_svid_key.clear()), missing("x509_svid_key"));
        assert_eq!(spoiled(&|it| it.svids[1].bundle.clear()), missing("bundle"));
        let long = spoiled(&|it| it.svids[1].hint = "h".repeat(MAX_HINT_LEN + 1));
        assert_eq!(long, Err(MessageError::HintTooLong { len: MAX_HINT_LEN + 1 }));
        assert_eq!(spoiled(&|it| it.svids[1].hint = "h".repeat(MAX_HINT_LEN)), Ok(()));

        let another = spoiled(&|it| it.svids[0].spiffe_id.push('x'));
        assert!(matches!(another, Err(MessageError::AnotherId { .. })), "{another:?}");
        let no_id = spoiled(&|it| it.svids[0].spiffe_id.push('/'));
        assert!(matches!(no_id, Err(MessageError::SpiffeId(_))), "{no_id:?}");
        let swapped = spoiled(&|it| it.svids[0].x509_svid_key = it.svids[1].x509_svid_key.clone());
        let mismatch = X509IdentityError::KeyMismatch;
        assert!(
            matches!(&swapped, Err(MessageError::Identity { source, .. }) if *source == mismatch),
            "{swapped:?}"
        );
        let trailing = spoiled(&|it| it.svids[0].x509_svid.push(0));
        assert!(matches!(trailing, Err(MessageError::Identity { .. })), "{trailing:?}");

        let rootless = spoiled(&|it| it.svids[0].bundle = it.svids[0].x509_svid.clone());
        assert!(matches!(rootless, Err(MessageError::Bundle { .. })), "{rootless:?}");
        let workload = spoiled(&|it| {
            it.federated_bundles.insert("spiffe://partner.test/x".into(), Vec::new());
        });
        assert!(matches!(workload, Err(MessageError::NotATrustDomain { .. })), "{workload:?}");
        let list = spoiled(&|it| it.crl.push(vec![0x30, 0]));
        assert!(matches!(list, Err(MessageError::Crl(_))), "{list:?}");

        let many = spoiled(&|it| it.svids = vec![proto::X509svid::default(); MAX_SVIDS + 1]);
        assert!(matches!(many, Err(MessageError::TooMany { what: "svids", .. })), "{many:?}");
        let many = spoiled(&|it| it.crl = vec![Vec::new(); MAX_LISTS + 1]);
        assert!(matches!(many, Err(MessageError::TooMany { what: "crl", .. })), "{many:?}");
        let many = spoiled(&|it| {
            let names = (0..=MAX_BUNDLES).map(|n| (format!("spiffe://d{n}"), Vec::new()));
            it.federated_bundles = names.collect();
        });
        assert!(matches!(many, Err(MessageError::TooMany { what: "bundles", .. })), "{many:?}");
        let long = X509Update::decode(&vec![0; MAX_MESSAGE_LEN + 1], NOW).map(|_| ());
        assert!(matches!(long, Err(MessageError::TooMany { what: "bytes", .. })), "{long:?}");
        let torn = X509Update::decode(&message(&authority).encode_to_vec()[..99], NOW).map(|_| ());
        assert_eq!(torn, Err(MessageError::Protobuf));
    }

    #[test]
    fn what_is_said_of_our_own_trust_domain_elsewhere_does_not_count() {
        let ours = Authority::new(domain("example.org"), NOW).unwrap();
        let thief = Authority::new(domain("example.org"), NOW).unwrap();
        let mut message = message(&ours);
        let root = thief.bundle().roots()[0].certificate().to_vec();
        message.federated_bundles.insert("spiffe://example.org".into(), root);
        let update = X509Update::check(message, NOW).unwrap();
        assert_eq!(update.bundles.get(domain("example.org").borrowed()), Some(&ours.bundle()));
    }

    #[test]
    fn the_first_is_the_default_and_of_two_with_one_hint_the_first_counts() {
        let authority = Authority::new(domain("example.org"), NOW).unwrap();
        let hints = [("/a", "x"), ("/b", "x"), ("/c", ""), ("/d", ""), ("/e", "y")];
        let svids = hints.map(|(path, hint)| svid(&authority, path, hint)).into();
        let message = proto::X509svidResponse { svids, ..Default::default() };
        let update = X509Update::check(message, NOW).unwrap();
        let path = |hint| update.identity(hint).map(|identity| identity.id().path().to_owned());
        assert_eq!(path(None).as_deref(), Some("/a"));
        assert_eq!(path(Some("x")).as_deref(), Some("/a"));
        assert_eq!(path(Some("y")).as_deref(), Some("/e"));
        assert_eq!((path(Some("z")), path(Some(""))), (None, None));
        assert_eq!(update.identities.len(), 4);
    }

    #[test]
    fn a_message_of_bundles_has_the_one_of_our_own_trust_domain_whole() {
        let ours = Authority::new(domain("example.org"), NOW).unwrap();
        let partner = Authority::new(domain("partner.test"), NOW).unwrap();
        let (own, torn) = (ours.jwt_bundle_document().into_bytes(), b"{".to_vec());
        let check = |own_document: &[u8], partners: &[u8]| {
            let bundles = [
                ("spiffe://example.org".to_owned(), own_document.to_vec()),
                ("spiffe://partner.test".to_owned(), partners.to_vec()),
            ];
            let message = proto::JwtBundlesResponse { bundles: bundles.into() };
            JwtBundlesUpdate::decode(&message.encode_to_vec(), &domain("example.org"))
        };
        let sound = check(&own, partner.jwt_bundle_document().as_bytes()).unwrap();
        assert_eq!((sound.bundles.iter().count(), sound.left_out.len()), (2, 0));
        let update = check(&own, &torn).unwrap();
        let theirs = update.bundles.get(domain("partner.test").borrowed()).unwrap();
        assert!(theirs.is_empty() && update.left_out.len() == 1);
        let refused = check(&torn, &own).map(|_| ());
        assert!(matches!(refused, Err(MessageError::Bundle { .. })), "{refused:?}");
        let empty = JwtBundlesUpdate::decode(&[], &domain("example.org")).map(|_| ());
        assert_eq!(empty, Err(MessageError::Missing { field: "bundles" }));
    }

    #[test]
    fn what_a_key_or_a_token_is_shown_as_says_nothing_of_it() {
        let text = JwtSvidText {
            id: SpiffeId::parse("spiffe://example.org/a").unwrap(),
            token: Secret::new("eyJhbGciOi".to_owned()),
        };
        assert!(!format!("{text:?}").contains("eyJ"));
    }
}

//! Revocation lists: what an authority takes back before it expires.
//!
//! [`RevocationList::from_der`] accepts bytes as a complete list of an authority (RFC 5280 §5)
//! when, in this order:
//!
//! 1. there are at most [`MAX_LIST_LEN`], and they are one DER element with nothing behind it;
//! 2. it is of version 2 (§5.1.2.1), the two names of its signature algorithm agree (§5.1.1.2), and
//!    its issuer has a name (§5.1.2.3);
//! 3. it says when it was issued and when the next one will be: a list without `nextUpdate` would
//!    count for ever (§5.1.2.5);
//! 4. there are at most [`MAX_ENTRIES`], each with a serial number of at most 20 octets, a date, and
//!    no critical extension (§5.1.2.6, §5.3);
//! 5. it is neither indirect nor scoped (§5.2.5), nor a delta (§5.2.4), and no other extension of it
//!    is critical (§5.2);
//! 6. it has a number, which is not critical (§5.2.3).
//!
//! An entry counts whatever its reason and its date: on hold is revoked, and soon is now.
//!
//! # Whose list it is
//!
//! A list belongs to the name and the key that issued it. Its signature is checked once for each key
//! that bears the name: that of a root when the list joins a [`BundleSet`], that of an intermediate
//! when a path first leads through it. A list that no such key has signed is nobody's, and says
//! nothing: [`RevocationLists::unclaimed`] names those, to be watched.
//!
//! Of several lists of one issuer the one with the highest number counts, and of equal numbers the
//! one issued last, so that an old list cannot hide what a new one says.
//!
//! # What is asked of a path
//!
//! Of each certificate on a path, the leaf and the intermediates, the newest list of the issuer whose
//! key verified it is asked, unless [`Revocation::Off`]:
//!
//! 1. without one the certificate passes, or with [`Revocation::Required`] does not;
//! 2. the issuer may sign lists (`cRLSign`, §6.3.3 (f));
//! 3. the serial number is not on it;
//! 4. it is current: from `thisUpdate` to `nextUpdate`.
//!
//! A root is revoked by leaving it out of its bundle. Asking takes the same time whatever the length
//! of the list, and allocates nothing.
//!
//! [`BundleSet`]: crate::bundle::BundleSet

mod error;
mod list;

use std::collections::BTreeMap;
use std::sync::Arc;

use zt_core::time::Timestamp;

pub use self::error::{MAX_ENTRIES, MAX_LIST_LEN, RevocationError, RevocationListError};
pub use self::list::RevocationList;
use crate::certificate::Certificate;
use crate::pem;

/// What revocation lists are asked, and what becomes of a certificate that no list tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Revocation {
    /// Lists are not looked at.
    Off,
    /// Where there is a list of the issuer it is obeyed, and denies once it is stale.
    #[default]
    IfPresent,
    /// There has to be a list of every issuer.
    Required,
}

/// The revocation lists that are known, of whatever issuers. A clone shares them.
///
/// ```
/// # #[cfg(feature = "authority")] {
/// use zt_core::spiffe::TrustDomain;
/// use zt_core::time::Timestamp;
/// use zt_identity::authority::Authority;
/// use zt_identity::bundle::BundleSet;
/// use zt_identity::revocation::RevocationError;
/// use zt_identity::x509_svid::{X509SvidError, X509SvidVerifier};
///
/// # let now = Timestamp::from_secs(1_800_000_000);
/// let authority = Authority::new(TrustDomain::from_name("example.org")?, now)?;
/// let cart = authority.svid("/ns/shop/sa/cart")?;
/// let list = authority.revoke(&cart)?;
///
/// let bundles = BundleSet::new().with(authority.bundle()).with_revocation_list(list);
/// let refused = X509SvidVerifier::new().verify(cart.chain(), &bundles, now).unwrap_err();
/// assert_eq!(refused, X509SvidError::Revocation(RevocationError::Revoked { position: 0 }));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevocationLists {
    // INVARIANT: each list stands under the name of its issuer, the newest of a name first.
    by_issuer: BTreeMap<Box<[u8]>, Arc<[RevocationList]>>,
}

impl RevocationLists {
    /// No lists.
    #[must_use]
    pub const fn new() -> Self {
        Self { by_issuer: BTreeMap::new() }
    }

    /// These lists and one more. One that is there already is not added again.
    #[must_use]
    pub fn with(mut self, list: RevocationList) -> Self {
        let of_name = self.by_issuer.entry(list.issuer().into()).or_default();
        if !of_name.contains(&list) {
            let mut lists = of_name.to_vec();
            let place = lists.partition_point(|other| !list.is_newer_than(other));
            lists.insert(place, list);
            *of_name = lists.into();
        }
        self
    }

    /// Reads the lists of a file: PEM of nothing but `X509 CRL` sections, or the DER of one list.
    ///
    /// # Errors
    ///
    /// [`RevocationListError`] names the first rule that a list breaks.
    pub fn from_file(bytes: &[u8]) -> Result<Self, RevocationListError> {
        // DER of more than 127 bytes, which is no text.
        if matches!(bytes, [0x30, 0x80..=0xff, ..]) {
            return Ok(Self::new().with(RevocationList::from_der(bytes)?));
        }
        let lists = pem::revocation_lists(bytes)?;
        lists.iter().map(|list| RevocationList::from_der(list)).collect()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_issuer.is_empty()
    }

    /// All lists.
    pub fn iter(&self) -> impl Iterator<Item = &RevocationList> {
        self.by_issuer.values().flat_map(|lists| lists.iter())
    }

    /// The lists that no issuer was found for: of an intermediate that no path has led through yet,
    /// or of nobody that is believed.
    pub fn unclaimed(&self) -> impl Iterator<Item = &RevocationList> {
        self.iter().filter(|list| !list.is_claimed())
    }

    /// Looks which lists this authority has signed, so that nobody has to later.
    pub(crate) fn claim(&self, authority: &Certificate<'_>) {
        for list in self.of_name(authority.subject()) {
            let _ = list.is_signed_by(authority);
        }
    }

    /// Asks about a certificate at a place of a path, of which the issuer's key has verified it.
    pub(crate) fn check(
        &self,
        revocation: Revocation,
        certificate: &Certificate<'_>,
        position: usize,
        issuer: &Certificate<'_>,
        now: Timestamp,
    ) -> Result<(), RevocationError> {
        let newest =
            || self.of_name(issuer.subject()).iter().find(|list| list.is_signed_by(issuer));
        let list = match (revocation, newest) {
            (Revocation::Off, _) => return Ok(()),
            (Revocation::IfPresent, newest) => match newest() {
                Some(list) => list,
                None => return Ok(()),
            },
            (Revocation::Required, newest) => {
                newest().ok_or(RevocationError::Unknown { position })?
            }
        };
        may_sign_lists(issuer, position)?;
        if list.revokes(certificate.serial()) {
            return Err(RevocationError::Revoked { position });
        }
        list.validity().check(now).map_err(|source| RevocationError::Stale { position, source })
    }

    fn of_name(&self, issuer: &[u8]) -> &[RevocationList] {
        self.by_issuer.get(issuer).map_or(&[], |lists| lists)
    }
}

impl FromIterator<RevocationList> for RevocationLists {
    fn from_iter<I: IntoIterator<Item = RevocationList>>(lists: I) -> Self {
        lists.into_iter().fold(Self::new(), Self::with)
    }
}

/// RFC 5280 §6.3.3 (f): a key usage, where there is one, has `cRLSign`. A list that its issuer may
/// not sign tells nothing, and that there is one at all is no reason to believe.
fn may_sign_lists(issuer: &Certificate<'_>, position: usize) -> Result<(), RevocationError> {
    match issuer.key_usage() {
        Some(usage) if !usage.crl_sign() => Err(RevocationError::Unknown { position }),
        Some(_) | None => Ok(()),
    }
}

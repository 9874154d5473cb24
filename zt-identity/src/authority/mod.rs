//! The one authority for development and tests.
//!
//! An [`Authority`] is the root of a trust domain, in memory: it issues X.509-SVIDs that meet the
//! standard and live for [`SVID_LIFETIME`], and, for tests, ones with one [`Defect`]. It issues
//! JWT-SVIDs too. An [`Issuer`] plays the OpenID provider, without any HTTP.
//!
//! # Not for production
//!
//! Whoever holds an `Authority` is everyone in its trust domain. It attests nothing, protects its
//! key by nothing, and rotates nothing by itself. In production, identities come from what attests
//! workloads: [SPIRE](https://spiffe.io/docs/latest/spire-about/), Istio, or cert-manager with
//! `csi-driver-spiffe`; point [`X509Source`] at the files that they write.
//!
//! ```
//! use zt_core::spiffe::TrustDomain;
//! use zt_core::time::Timestamp;
//! use zt_identity::authority::Authority;
//! use zt_identity::bundle::BundleSet;
//! use zt_identity::x509_svid::X509SvidVerifier;
//!
//! # let now = Timestamp::from_secs(1_800_000_000);
//! let authority = Authority::new(TrustDomain::from_name("example.org")?, now)?;
//! let cart = authority.svid("/ns/shop/sa/cart")?;
//!
//! let bundles = BundleSet::new().with(authority.bundle());
//! let svid = X509SvidVerifier::new().verify(cart.chain(), &bundles, now)?;
//! assert_eq!(svid.id().as_str(), "spiffe://example.org/ns/shop/sa/cart");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod template;
mod defect;
mod folder;
mod crl;
mod intermediate;
mod signing_key;
mod issuer;
mod jwt;
#[cfg(feature = "workload-api")]
mod workload_api;

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, KeyPair};
use rustls_pki_types::{CertificateDer, DnsName, PrivateKeyDer, PrivatePkcs8KeyDer};
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::Timestamp;

pub use self::crl::{CRL_LIFETIME, CrlDefect, CrlRequest};
pub use self::defect::Defect;
pub use self::error::AuthorityError;
pub use self::intermediate::Intermediate;
pub use self::issuer::{Issuer, TOKEN_LIFETIME};
pub use self::jwt::JWT_SVID_LIFETIME;
use self::signing_key::SigningKey;
use self::template::{CRL_SIGN, DIGITAL_SIGNATURE, DNS, KEY_CERT_SIGN, Template, URI};
#[cfg(feature = "workload-api")]
pub use self::workload_api::{AgentFault, MessageDefect, WorkloadApiServer};
use crate::bundle::{BundleSet, X509Bundle};
use crate::certificate::Certificate;
use crate::revocation::RevocationList;
use crate::source::X509Source;
use crate::x509_identity::{X509Identity, X509IdentityError};

/// How long a root counts: 30 days.
pub const ROOT_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long an SVID counts unless it is asked for otherwise: 1 hour.
pub const SVID_LIFETIME: Duration = Duration::from_secs(3600);
/// How long before it was issued a certificate counts already, for clocks that differ: 1 minute.
pub const BACKDATED: Duration = Duration::from_secs(60);

/// The root of a trust domain, in memory.
pub struct Authority {
    trust_domain: TrustDomain,
    now: Timestamp,
    key: KeyPair,
    root: Template,
    bundle: X509Bundle,
    // The serial numbers of what was revoked by `revoke`.
    revoked: Mutex<Vec<Vec<u8>>>,
    jwt_key: SigningKey,
}

impl Authority {
    /// A new root for a trust domain. Certificates are issued as of `now`, unless they are asked
    /// for otherwise.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when there is no randomness for a key, or `now` is not a date.
    pub fn new(trust_domain: TrustDomain, now: Timestamp) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let root = authority_template(&trust_domain, "root", now, ROOT_LIFETIME);
        let certificate = root.self_signed(&key)?;
        let bundle = X509Bundle::from_der_certs(trust_domain.clone(), [certificate], now)?;
        Ok(Self {
            trust_domain,
            now,
            key,
            root,
            bundle,
            revoked: Mutex::default(),
            jwt_key: SigningKey::generate()?,
        })
    }

    /// The trust domain.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The bundle of the trust domain: this root.
    #[must_use]
    pub fn bundle(&self) -> X509Bundle {
        self.bundle.clone()
    }

    /// An identity with this path, such as `/ns/shop/sa/cart`.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when the path is not one of a SPIFFE ID.
    pub fn svid(&self, path: &str) -> Result<X509Identity, AuthorityError> {
        self.request(path).identity()
    }

    /// An identity with this path together with the bundle of its own trust domain.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when the path is not one of a SPIFFE ID.
    pub fn source(&self, path: &str) -> Result<X509Source, AuthorityError> {
        Ok(X509Source::new(self.svid(path)?, BundleSet::new().with(self.bundle())))
    }

    /// Asks for an SVID with this path, to be issued otherwise than usual.
    pub fn request(&self, path: &str) -> SvidRequest<'_> {
        SvidRequest {
            authority: self,
            path: path.into(),
            now: self.now,
            lifetime: SVID_LIFETIME,
            host: None,
            intermediate: false,
            through: None,
            defect: None,
            ed25519: false,
        }
    }

    /// An intermediate authority, to issue SVIDs through.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when there is no randomness for a key.
    pub fn intermediate(&self) -> Result<Intermediate, AuthorityError> {
        Intermediate::new(self, None)
    }

    /// An intermediate authority with one defect of those that are of an intermediate.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when there is no randomness for a key.
    pub fn defective_intermediate(&self, defect: Defect) -> Result<Intermediate, AuthorityError> {
        Intermediate::new(self, Some(defect))
    }

    /// Asks for a revocation list of the root, on which nothing is yet.
    pub fn crl(&self) -> CrlRequest<'_> {
        let root = self.bundle.roots().first().map_or(&[][..], |root| root.certificate());
        CrlRequest::new(root, &self.key, self.now)
    }

    /// Revokes the leaf of an identity that the root has issued, and returns the list of all that
    /// were revoked so. Each list has a greater number than the one before.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when there is no randomness for a signature.
    pub fn revoke(&self, identity: &X509Identity) -> Result<RevocationList, AuthorityError> {
        let leaf = Certificate::parse(identity.chain().first().map_or(&[][..], |leaf| leaf))
            .map_err(X509IdentityError::from)?;
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.push(leaf.serial().to_vec());
        let number = u64::try_from(revoked.len()).unwrap_or(u64::MAX);
        self.crl().revoking_serials(revoked.iter().cloned()).numbered(number).list()
    }

    /// Writes an identity with this path as `svid.pem` and `key.pem`, and the bundle as
    /// `bundle.pem`, into a folder that is made if need be. On Unix the folder is readable by its
    /// owner only (0700), as are the files (0600). Each file is replaced in one step.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when the path is not one of a SPIFFE ID, or the files cannot be written.
    pub fn write_to_folder(
        &self,
        folder: impl AsRef<Path>,
        path: &str,
    ) -> Result<(), AuthorityError> {
        self.request(path).write_to_folder(folder)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.trust_domain)
            .finish_non_exhaustive()
    }
}

/// An SVID that an [`Authority`] is asked for.
#[derive(Debug)]
#[must_use]
pub struct SvidRequest<'a> {
    authority: &'a Authority,
    path: String,
    now: Timestamp,
    lifetime: Duration,
    host: Option<String>,
    intermediate: bool,
    through: Option<&'a Intermediate>,
    defect: Option<Defect>,
    ed25519: bool,
}

impl<'a> SvidRequest<'a> {
    /// Issued at another time than the authority's own.
    pub const fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// With another lifetime than [`SVID_LIFETIME`].
    pub const fn lasting(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// With the DNS name of a host beside the SPIFFE ID, for clients that know servers by their
    /// hosts: curl, browsers.
    pub fn for_host(mut self, name: impl Into<String>) -> Self {
        self.host = Some(name.into());
        self
    }

    /// With a key of Ed25519; the key is one of P-256 else, as the authority's is.
    pub const fn ed25519(mut self) -> Self {
        self.ed25519 = true;
        self
    }

    /// Issued by an intermediate authority, whose certificate is part of the chain.
    pub const fn through_intermediate(mut self) -> Self {
        self.intermediate = true;
        self
    }

    /// Issued by this intermediate authority, whose certificate is part of the chain.
    pub const fn through(mut self, intermediate: &'a Intermediate) -> Self {
        self.through = Some(intermediate);
        self
    }

    /// With one defect; one of the intermediate brings an intermediate along.
    pub const fn with_defect(mut self, defect: Defect) -> Self {
        self.intermediate |= defect.is_of_intermediate();
        self.defect = Some(defect);
        self
    }

    /// Issues it as an identity, which is refused with most defects.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Identity`] for a defect, else as [`SvidRequest::issue`].
    pub fn identity(self) -> Result<X509Identity, AuthorityError> {
        let (chain, key) = self.issue()?;
        Ok(X509Identity::new(chain, key)?)
    }

    /// Issues it and writes it, as [`Authority::write_to_folder`].
    ///
    /// # Errors
    ///
    /// As [`SvidRequest::identity`], and when the files cannot be written.
    pub fn write_to_folder(self, folder: impl AsRef<Path>) -> Result<(), AuthorityError> {
        let bundle = self.authority.bundle();
        folder::write(folder.as_ref(), &self.identity()?, &bundle)
    }

    /// Issues it as it is: a chain, leaf first, and the key of its leaf.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when the path is not one of a SPIFFE ID, or the host not a DNS name.
    pub fn issue(
        self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), AuthorityError> {
        let key = if self.ed25519 {
            KeyPair::generate_for(&rcgen::PKCS_ED25519)?
        } else {
            KeyPair::generate()?
        };
        let leaf = self.leaf()?;
        let own;
        let through = match self.through {
            None if self.intermediate => {
                own = Intermediate::of(self.authority, self.intermediate())?;
                Some(&own)
            }
            through => through,
        };
        let chain = match through {
            Some(Intermediate { template, key: issuer, certificate }) => {
                vec![self.sign(&leaf, &key, template, issuer)?, certificate.clone()]
            }
            None => vec![self.sign(&leaf, &key, &self.authority.root, &self.authority.key)?],
        };
        Ok((chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }

    fn leaf(&self) -> Result<Template, AuthorityError> {
        let id = SpiffeId::from_path(self.authority.trust_domain.borrowed(), &self.path)?;
        let mut names = vec![(URI, id.as_str().as_bytes().to_vec())];
        if let Some(host) = &self.host {
            DnsName::try_from(host.as_str())
                .map_err(|_| AuthorityError::Host { host: host.chars().take(64).collect() })?;
            names.push((DNS, host.as_bytes().to_vec()));
        }
        let mut leaf = Template {
            subject: "workload".into(),
            names,
            names_critical: false,
            not_before: self.now.saturating_sub(BACKDATED),
            not_after: self.now.saturating_add(self.lifetime),
            ca: false,
            path_len: None,
            key_usage: DIGITAL_SIGNATURE,
            key_usage_critical: true,
            purposes: vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            unknown_critical: false,
            serial: None,
        };
        if let Some(defect) = self.defect {
            defect.spoil_leaf(&mut leaf);
        }
        Ok(leaf)
    }

    fn intermediate(&self) -> Template {
        intermediate::template(self.authority, self.now, self.lifetime, self.defect)
    }

    fn sign(
        &self,
        leaf: &Template,
        key: &KeyPair,
        issuer: &Template,
        issuer_key: &KeyPair,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        match self.defect {
            Some(Defect::ForgedSignature) => leaf.signed_by(key, issuer, &KeyPair::generate()?),
            Some(Defect::TrailingByte) => {
                let mut bytes = leaf.signed_by(key, issuer, issuer_key)?.to_vec();
                bytes.push(0);
                Ok(bytes.into())
            }
            Some(_) | None => leaf.signed_by(key, issuer, issuer_key),
        }
    }
}

fn authority_template(
    trust_domain: &TrustDomain,
    role: &str,
    now: Timestamp,
    lifetime: Duration,
) -> Template {
    Template {
        subject: format!("development {role} of {trust_domain}"),
        names: vec![(URI, trust_domain.id().as_str().as_bytes().to_vec())],
        names_critical: false,
        not_before: now.saturating_sub(BACKDATED),
        not_after: now.saturating_add(lifetime),
        ca: true,
        path_len: None,
        key_usage: KEY_CERT_SIGN | CRL_SIGN,
        key_usage_critical: true,
        purposes: Vec::new(),
        unknown_critical: false,
        serial: None,
    }
}

//! An authority below the root.

use std::fmt;
use std::time::Duration;

use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use zt_core::time::Timestamp;

use super::crl::CrlRequest;
use super::error::AuthorityError;
use super::template::Template;
use super::{Authority, Defect, ROOT_LIFETIME, authority_template};
use crate::certificate::Certificate;
use crate::x509_identity::X509IdentityError;

/// An intermediate authority of an [`Authority`], in memory.
pub struct Intermediate {
    pub(super) template: Template,
    pub(super) key: KeyPair,
    pub(super) certificate: CertificateDer<'static>,
}

impl Intermediate {
    pub(super) fn new(
        authority: &Authority,
        defect: Option<Defect>,
    ) -> Result<Self, AuthorityError> {
        Self::of(authority, template(authority, authority.now, ROOT_LIFETIME, defect))
    }

    pub(super) fn of(authority: &Authority, template: Template) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let certificate = template.signed_by(&key, &authority.root, &authority.key)?;
        Ok(Self { template, key, certificate })
    }

    /// Its certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The same authority with another certificate, of another serial number.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when there is no randomness for a signature.
    pub fn renewed(
        &self,
        authority: &Authority,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let certificate = Certificate::parse(&self.certificate).map_err(X509IdentityError::from)?;
        let mut serial = certificate.serial().to_vec();
        if let Some(last) = serial.last_mut() {
            *last = last.wrapping_add(1);
        }
        let template = Template { serial: Some(serial), ..self.template.clone() };
        template.signed_by(&self.key, &authority.root, &authority.key)
    }

    /// Asks for a revocation list of its own, issued at `now`, on which nothing is yet.
    pub fn crl(&self, now: Timestamp) -> CrlRequest<'_> {
        CrlRequest::new(&self.certificate, &self.key, now)
    }
}

impl fmt::Debug for Intermediate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intermediate")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

pub(super) fn template(
    authority: &Authority,
    now: Timestamp,
    lifetime: Duration,
    defect: Option<Defect>,
) -> Template {
    let mut template = authority_template(&authority.trust_domain, "intermediate", now, lifetime);
    template.path_len = Some(0);
    if let Some(defect) = defect {
        defect.spoil_intermediate(&mut template);
    }
    template
}

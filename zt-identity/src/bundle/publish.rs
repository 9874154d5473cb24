//! Our own bundle, as others fetch it (X509-SVID §6.1, SPIFFE Trust Domain and Bundle §4).

use std::fmt::Write;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::alg_id;

use super::X509Bundle;
use super::spiffe::{MAX_REFRESH_HINT, MIN_REFRESH_HINT, SpiffeBundle};
use crate::certificate::{Certificate, PublicKey};
use crate::der::{self, Budget, DerError, Reader, tag};

impl SpiffeBundle {
    /// A bundle of these roots, to be published.
    ///
    /// ```
    /// # #[cfg(feature = "authority")] {
    /// use zt_core::spiffe::TrustDomain;
    /// use zt_core::time::Timestamp;
    /// use zt_identity::authority::Authority;
    /// use zt_identity::bundle::SpiffeBundle;
    ///
    /// # let now = Timestamp::from_secs(1_800_000_000);
    /// let domain = TrustDomain::from_name("example.org")?;
    /// let authority = Authority::new(domain.clone(), now)?;
    /// let published = SpiffeBundle::of_roots(&authority.bundle()).with_sequence(1).to_json();
    ///
    /// let fetched = SpiffeBundle::from_json(published.as_bytes())?;
    /// assert_eq!(fetched.x509_bundle(domain, now).0, authority.bundle());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of_roots(bundle: &X509Bundle) -> Self {
        let x509 = bundle.roots().iter().map(|root| root.certificate().clone()).collect();
        Self { x509, ..Self::default() }
    }

    /// The same bundle with a sequence, which has to grow with every change.
    #[must_use]
    pub fn with_sequence(self, sequence: u64) -> Self {
        Self { sequence: Some(sequence), ..self }
    }

    /// The same bundle, to be looked at again after this time, which is moved between
    /// [`MIN_REFRESH_HINT`] and [`MAX_REFRESH_HINT`] and loses its fraction of a second.
    #[must_use]
    pub fn with_refresh_hint(self, hint: Duration) -> Self {
        let hint = Duration::from_secs(hint.as_secs()).clamp(MIN_REFRESH_HINT, MAX_REFRESH_HINT);
        Self { refresh_hint: Some(hint), ..self }
    }

    /// The same bundle with the keys for tokens of another, such as one that was read from the JSON
    /// of whoever issues them.
    #[must_use]
    pub fn with_token_keys_of(self, other: &Self) -> Self {
        Self { jwt: other.jwt.clone(), wit: other.wit.clone(), ..self }
    }

    /// The document, to be served as [`MEDIA_TYPE`](super::MEDIA_TYPE).
    ///
    /// A certificate that was read from a document, and that is none or has a key of another kind
    /// than roots may have, is left out.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = String::from("{");
        // Writing to a String does not fail.
        if let Some(sequence) = self.sequence {
            let _ = write!(json, r#""spiffe_sequence":{sequence},"#);
        }
        if let Some(hint) = self.refresh_hint {
            let _ = write!(json, r#""spiffe_refresh_hint":{},"#, hint.as_secs());
        }
        let roots = self.x509.iter().filter_map(|certificate| root(certificate));
        let keys: Vec<String> =
            roots.chain(self.jwt.iter().cloned()).chain(self.wit.iter().cloned()).collect();
        let _ = write!(json, r#""keys":[{}]}}"#, keys.join(","));
        json
    }
}

/// X-13: no `kid`, and one certificate in base64.
fn root(der: &[u8]) -> Option<String> {
    let certificate = Certificate::parse(der).ok()?;
    let key = key_members(certificate.public_key())?;
    Some(format!(r#"{{"use":"x509-svid",{key},"x5c":["{}"]}}"#, STANDARD.encode(der)))
}

/// RFC 7518 §6.2, §6.3; RFC 8037 §2.
fn key_members(key: PublicKey<'_>) -> Option<String> {
    let is = |algorithm: &[u8]| key.algorithm == algorithm;
    if is(&alg_id::ECDSA_P256) {
        point("P-256", 32, key.key)
    } else if is(&alg_id::ECDSA_P384) {
        point("P-384", 48, key.key)
    } else if is(&alg_id::ED25519) {
        Some(format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, URL_SAFE_NO_PAD.encode(key.key)))
    } else if is(&alg_id::RSA_ENCRYPTION) {
        rsa(key.key).ok()
    } else {
        None
    }
}

/// SEC 1 §2.3.3: not compressed.
fn point(curve: &str, len: usize, key: &[u8]) -> Option<String> {
    let (x, y) = key.strip_prefix(&[4])?.split_at_checked(len)?;
    let encode = |coordinate| URL_SAFE_NO_PAD.encode(coordinate);
    let (x, y) = (encode(x), encode(y));
    Some(format!(r#""kty":"EC","crv":"{curve}","x":"{x}","y":"{y}""#))
}

/// RFC 8017 §A.1.1: `SEQUENCE { modulus, publicExponent }`.
fn rsa(key: &[u8]) -> Result<String, DerError> {
    let budget = Budget::new(3);
    let mut outer = Reader::new(key, &budget);
    let mut parts = outer.enter(tag::SEQUENCE)?;
    let mut number = || {
        let integer = der::integer(parts.expect(tag::INTEGER)?.contents)?;
        Ok(URL_SAFE_NO_PAD.encode(integer.strip_prefix(&[0]).unwrap_or(integer)))
    };
    let (n, e) = (number()?, number()?);
    Ok(format!(r#""kty":"RSA","n":"{n}","e":"{e}""#))
}

//! Signed tokens in compact form (RFC 7515).
//!
//! [`Jws::parse`] accepts the header of a token when, in this order:
//!
//! 1. the token has at most [`MAX_LEN`] bytes and exactly three parts (RFC 7515 §7.1, T-01);
//! 2. the header is canonical base64url of strict JSON (T-02, T-03);
//! 3. it has no `crit`, `b64` or `zip`: an extension that must be understood is refused, a payload
//!    that is encoded differently too (RFC 7515 §4.1.11, RFC 7797, T-05);
//! 4. where the profile allows no other header, there is none but `alg`, `kid` and `typ` (J-03);
//! 5. `alg` is one that the profile allows (RFC 8725 §3.1, T-04);
//! 6. `typ` is what the profile expects, letter for letter (RFC 8725 §3.11, T-07);
//! 7. `kid`, where present, is a text of at most [`MAX_KID_LEN`] bytes (T-06).
//!
//! [`Jws::verify`] then yields the payload, when the signature verifies under the given key.
//! Keys that a header brings along (`jwk`, `jku`, `x5u`, `x5c`) are ignored and never fetched.

use zt_core::fault::Fault;

use crate::algorithm::{Algorithm, AlgorithmError, SignatureError};
use crate::base64url;
use crate::excerpt::excerpt;
use crate::json::{JsonError, Object};
use crate::jwk::{Jwk, MAX_KID_LEN};

/// The longest token that is read, in bytes; header lines of HTTP servers end there or before.
pub const MAX_LEN: usize = 16 * 1024;

const REFUSED_HEADERS: [&str; 3] = ["crit", "b64", "zip"];
const BARE_HEADERS: [&str; 3] = ["alg", "kid", "typ"];

/// What a kind of token demands of its header.
#[derive(Clone, Copy, Debug)]
pub struct Profile<'p> {
    algorithms: &'p [Algorithm],
    types: &'p [&'p str],
    untyped: bool,
    bare: bool,
}

impl<'p> Profile<'p> {
    /// One of these algorithms and one of these types.
    #[must_use]
    pub const fn new(algorithms: &'p [Algorithm], types: &'p [&'p str]) -> Self {
        Self { algorithms, types, untyped: false, bare: false }
    }

    /// Also a header without `typ`.
    #[must_use]
    pub const fn or_untyped(self) -> Self {
        Self { untyped: true, ..self }
    }

    /// A header of `alg`, `kid` and `typ`, and of nothing else.
    #[must_use]
    pub const fn and_no_other_header(self) -> Self {
        Self { bare: true, ..self }
    }
}

/// A token whose header was accepted and whose signature was not looked at.
#[derive(Clone, Debug)]
pub struct Jws<'t> {
    algorithm: Algorithm,
    kid: Option<String>,
    signing_input: &'t str,
    payload: &'t str,
    signature: &'t str,
}

impl<'t> Jws<'t> {
    /// Splits a token and checks its header.
    ///
    /// # Errors
    ///
    /// [`JwsError`] names the first rule that is broken.
    pub fn parse(token: &'t str, profile: &Profile<'_>) -> Result<Self, JwsError> {
        Ok(Self::parse_and_read(token, profile, |_| ())?.0)
    }

    /// As [`Jws::parse`], and what `read` makes of the header once it is accepted.
    pub(crate) fn parse_and_read<T>(
        token: &'t str,
        profile: &Profile<'_>,
        read: impl FnOnce(&Object<'_>) -> T,
    ) -> Result<(Self, T), JwsError> {
        if token.len() > MAX_LEN {
            return Err(JwsError::TooLong { len: token.len() });
        }
        let (signing_input, header, payload, signature) = split(token).ok_or(JwsError::Parts)?;
        let header = base64url::decode(header).map_err(|_| JwsError::Header)?;
        let header = Object::parse_token(&header).map_err(JwsError::HeaderJson)?;
        check_extensions(&header)?;
        check_bare(&header, profile)?;
        let algorithm = algorithm(&header, profile)?;
        check_type(&header, profile)?;
        let kid = kid(&header)?.map(str::to_owned);
        Ok((Self { algorithm, kid, signing_input, payload, signature }, read(&header)))
    }

    /// The algorithm that the token claims to be signed with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The name of the key that the token claims to be signed with: good to look a key up by, and
    /// for nothing else.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The payload, once the signature is verified.
    ///
    /// # Errors
    ///
    /// [`JwsError`] when the key is not for the token's algorithm, when the signature does not
    /// verify, and when signature or payload are not canonical base64url.
    pub fn verify(&self, key: &Jwk) -> Result<Vec<u8>, JwsError> {
        self.check_signature(key)?;
        self.unverified_payload()
    }

    pub(crate) fn check_signature(&self, key: &Jwk) -> Result<(), JwsError> {
        let signature = base64url::decode(self.signature).map_err(|_| JwsError::Signature)?;
        Ok(key.verify(self.algorithm, self.signing_input.as_bytes(), &signature)?)
    }

    /// What anyone may have written: good to find out whose keys to look for, and for nothing
    /// else before [`Jws::check_signature`].
    pub(crate) fn unverified_payload(&self) -> Result<Vec<u8>, JwsError> {
        base64url::decode(self.payload).map_err(|_| JwsError::Payload)
    }
}

/// The payload of a token of which not even the header was looked at: see
/// [`Jws::unverified_payload`].
pub(crate) fn unverified_payload(token: &str) -> Result<Vec<u8>, JwsError> {
    if token.len() > MAX_LEN {
        return Err(JwsError::TooLong { len: token.len() });
    }
    let (_, _, payload, _) = split(token).ok_or(JwsError::Parts)?;
    base64url::decode(payload).map_err(|_| JwsError::Payload)
}

/// The signing input and the three parts; `None` for any other number of parts.
fn split(token: &str) -> Option<(&str, &str, &str, &str)> {
    let (signing_input, signature) = token.rsplit_once('.')?;
    let (header, payload) = signing_input.split_once('.')?;
    (!payload.contains('.')).then_some((signing_input, header, payload, signature))
}

fn check_extensions(header: &Object<'_>) -> Result<(), JwsError> {
    match REFUSED_HEADERS.iter().find(|name| header.get(name).is_some()) {
        None => Ok(()),
        Some(name) => Err(JwsError::Extension { name }),
    }
}

/// J-03.
fn check_bare(header: &Object<'_>, profile: &Profile<'_>) -> Result<(), JwsError> {
    let mut names = header.iter().map(|(name, _)| name);
    match names.find(|name| profile.bare && !BARE_HEADERS.contains(name)) {
        None => Ok(()),
        Some(name) => Err(JwsError::ForeignHeader { name: excerpt(name) }),
    }
}

fn text<'h>(header: &'h Object<'_>, name: &'static str) -> Result<Option<&'h str>, JwsError> {
    match header.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(JwsError::NotText { name }),
    }
}

fn algorithm(header: &Object<'_>, profile: &Profile<'_>) -> Result<Algorithm, JwsError> {
    let name = text(header, "alg")?.ok_or(JwsError::NotText { name: "alg" })?;
    let algorithm = Algorithm::from_name(name)?;
    if profile.algorithms.contains(&algorithm) {
        Ok(algorithm)
    } else {
        Err(AlgorithmError { name: excerpt(name) }.into())
    }
}

fn check_type(header: &Object<'_>, profile: &Profile<'_>) -> Result<(), JwsError> {
    match text(header, "typ")? {
        None if profile.untyped => Ok(()),
        Some(typ) if profile.types.contains(&typ) => Ok(()),
        found => Err(JwsError::Type { found: found.map(excerpt) }),
    }
}

fn kid<'h>(header: &'h Object<'_>) -> Result<Option<&'h str>, JwsError> {
    match text(header, "kid")? {
        Some(kid) if kid.len() > MAX_KID_LEN => Err(JwsError::KidTooLong { len: kid.len() }),
        kid => Ok(kid),
    }
}

/// Why a signed token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// The token is longer than [`MAX_LEN`].
    #[error("a token of {len} bytes, and at most {MAX_LEN} are read")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The token does not have exactly three parts.
    #[error("a signed token has three parts, separated by periods")]
    Parts,
    /// The header is not canonical base64url.
    #[error("the header is not base64url in its one spelling")]
    Header,
    /// The header is not JSON that is accepted.
    #[error("the header is not JSON that is accepted")]
    HeaderJson(#[source] JsonError),
    /// The header uses an extension that is refused.
    #[error("the header parameter {name:?} is refused")]
    Extension {
        /// The header parameter.
        name: &'static str,
    },
    /// The header has a parameter that this kind of token does not have.
    #[error("the header parameter {name:?} does not belong into this kind of token")]
    ForeignHeader {
        /// The header parameter, cut.
        name: String,
    },
    /// A header parameter is missing or not text.
    #[error("the header parameter {name:?} is missing or not text")]
    NotText {
        /// The header parameter.
        name: &'static str,
    },
    /// The algorithm is not one that this kind of token may be signed with.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    /// The token is of another kind.
    #[error("the token is of the type {found:?}, which is not expected here")]
    Type {
        /// Its `typ`, cut.
        found: Option<String>,
    },
    /// The name of the key is longer than [`MAX_KID_LEN`].
    #[error("a \"kid\" of {len} bytes, and at most {MAX_KID_LEN} are read")]
    KidTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The signature is not canonical base64url.
    #[error("the signature is not base64url in its one spelling")]
    Signature,
    /// The signature does not count.
    #[error(transparent)]
    NotSigned(#[from] SignatureError),
    /// The payload is signed and not canonical base64url.
    #[error("the payload is not base64url in its one spelling")]
    Payload,
}

impl JwsError {
    /// Whose fault it is: that of whoever sent the token.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// token in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Algorithm(_) => "token_algorithm",
            Self::Type { .. } => "token_of_another_kind",
            Self::NotSigned(_) => "token_bad_signature",
            Self::TooLong { .. }
            | Self::Parts
            | Self::Header
            | Self::HeaderJson(_)
            | Self::Extension { .. }
            | Self::ForeignHeader { .. }
            | Self::NotText { .. }
            | Self::KidTooLong { .. }
            | Self::Signature
            | Self::Payload => "token_malformed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::minted::{self, base64url};

    const PROFILE: Profile<'_> = Profile::new(&[Algorithm::EdDsa], &["at+jwt"]);
    const HEADER: &str = r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}"#;

    fn key() -> Jwk {
        Jwk::parse(minted::Issuer::new().jwk("k1").as_bytes()).unwrap()
    }

    fn verify(token: &str) -> Result<Vec<u8>, JwsError> {
        Jws::parse(token, &PROFILE)?.verify(&key())
    }

    fn with_header(header: &str) -> Result<Vec<u8>, JwsError> {
        verify(&minted::Issuer::new().sign(header, "payload"))
    }

    #[test]
    fn the_payload_of_a_signed_token_is_what_was_signed() {
        assert_eq!(with_header(HEADER).unwrap(), b"payload");
        let token = minted::Issuer::new().sign(HEADER, "");
        assert_eq!(verify(&token).unwrap(), b"");
        assert_eq!(Jws::parse(&token, &PROFILE).unwrap().kid(), Some("k1"));
    }

    #[test]
    fn a_token_has_exactly_three_parts() {
        let token = minted::Issuer::new().sign(HEADER, "payload");
        let two = token.rsplit_once('.').unwrap().0;
        for bad in
            ["", ".", "a", two, &format!("{token}."), &format!(".{token}"), &format!("{token}.a.b")]
        {
            assert_eq!(verify(bad), Err(JwsError::Parts), "{bad:?}");
        }
        assert!(verify("..").is_err());
        assert!(verify(&format!("{two}.")).is_err());
    }

    #[test]
    fn a_token_has_a_maximum_length() {
        let filler = "a".repeat(MAX_LEN);
        assert!(matches!(verify(&filler), Err(JwsError::Parts)));
        assert_eq!(verify(&format!("{filler}a")), Err(JwsError::TooLong { len: MAX_LEN + 1 }));
    }

    #[test]
    fn header_payload_and_signature_are_canonical_base64url() {
        let issuer = minted::Issuer::new();
        let (header, payload) = (base64url(HEADER), base64url("payload"));
        assert_eq!(
            verify(&issuer.sign_parts(&format!("{header}="), &payload)),
            Err(JwsError::Header)
        );
        assert_eq!(
            verify(&issuer.sign_parts(&format!(" {header}"), &payload)),
            Err(JwsError::Header)
        );
        for bad in ["cGF5bG9hZA==", "cGF5bG9hZB", "cGF5bG9hZA\n", "pay+load"] {
            assert_eq!(verify(&issuer.sign_parts(&header, bad)), Err(JwsError::Payload), "{bad}");
        }
        let token = issuer.sign_parts(&header, &payload);
        assert_eq!(verify(&format!("{token}==")), Err(JwsError::Signature));
    }

    #[test]
    fn the_header_is_strict_json() {
        for header in ["", "[]", "{", r#"{"alg":"EdDSA","typ":"at+jwt","alg":"EdDSA"}"#, "{} x"] {
            assert!(matches!(with_header(header), Err(JwsError::HeaderJson(_))), "{header}");
        }
    }

    #[test]
    fn extensions_are_refused_whatever_they_say() {
        for (name, value) in [
            ("crit", r#"["exp"]"#),
            ("crit", "[]"),
            ("b64", "false"),
            ("b64", "true"),
            ("zip", r#""DEF""#),
        ] {
            let header = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","{name}":{value}}}"#);
            assert_eq!(with_header(&header).unwrap_err(), JwsError::Extension { name });
        }
    }

    #[test]
    fn keys_that_the_token_brings_along_are_ignored() {
        let header = r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1","jwk":{"kty":"oct","k":"AA"},
            "jku":"http://127.0.0.1:1/","x5u":"http://127.0.0.1:1/","x5c":["AA"],"future":1}"#;
        assert!(with_header(header).is_ok());
    }

    #[test]
    fn a_profile_may_allow_no_header_besides_the_three() {
        let issuer = minted::Issuer::new();
        let bare = PROFILE.and_no_other_header();
        assert!(Jws::parse(&issuer.sign(HEADER, "payload"), &bare).is_ok());
        for name in ["jwk", "jku", "x5u", "x5c", "x5t", "cty", "priv", "Alg"] {
            let header = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","{name}":"x"}}"#);
            let refused = Jws::parse(&issuer.sign(&header, "payload"), &bare).unwrap_err();
            assert_eq!(refused, JwsError::ForeignHeader { name: name.into() });
        }
    }

    #[test]
    fn the_algorithm_is_one_of_the_profile() {
        for alg in ["none", "HS256", "ES512", "eddsa", ""] {
            let header = format!(r#"{{"alg":"{alg}","typ":"at+jwt"}}"#);
            assert!(matches!(with_header(&header), Err(JwsError::Algorithm(_))), "{alg}");
        }
        let es256 = with_header(r#"{"alg":"ES256","typ":"at+jwt"}"#);
        assert_eq!(es256, Err(JwsError::Algorithm(AlgorithmError { name: "ES256".into() })));
        for header in
            [r#"{"typ":"at+jwt"}"#, r#"{"alg":null,"typ":"at+jwt"}"#, r#"{"alg":["EdDSA"]}"#]
        {
            assert_eq!(with_header(header), Err(JwsError::NotText { name: "alg" }));
        }
    }

    #[test]
    fn the_type_is_one_of_the_profile() {
        let untyped = minted::Issuer::new().sign(r#"{"alg":"EdDSA"}"#, "payload");
        assert_eq!(verify(&untyped), Err(JwsError::Type { found: None }));
        assert!(Jws::parse(&untyped, &PROFILE.or_untyped()).is_ok());
        let typed = with_header(r#"{"alg":"EdDSA","typ":"JWT"}"#);
        assert_eq!(typed, Err(JwsError::Type { found: Some("JWT".into()) }));
        let number = with_header(r#"{"alg":"EdDSA","typ":1}"#);
        assert_eq!(number, Err(JwsError::NotText { name: "typ" }));
    }

    #[test]
    fn the_name_of_a_key_is_a_text_of_256_bytes_at_most() {
        let header = |kid: &str| format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":{kid}}}"#);
        assert!(with_header(&header(&format!("{:?}", "k".repeat(256)))).is_ok());
        assert_eq!(
            with_header(&header(&format!("{:?}", "k".repeat(257)))),
            Err(JwsError::KidTooLong { len: 257 })
        );
        assert_eq!(with_header(&header("1")), Err(JwsError::NotText { name: "kid" }));
    }

    #[test]
    fn a_signature_of_someone_else_is_refused() {
        let token = minted::Issuer::new().sign(HEADER, "payload");
        let (input, _) = token.rsplit_once('.').unwrap();
        for signature in [String::new(), base64url([0; 64]), base64url([0; 63])] {
            let refused = verify(&format!("{input}.{signature}"));
            assert_eq!(refused, Err(JwsError::NotSigned(SignatureError::Invalid)));
        }
    }
}

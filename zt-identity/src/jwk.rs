//! JSON Web Keys: who may sign what.
//!
//! A key is taken when, in this order:
//!
//! 1. it has no private member: who can read it could sign with it (RFC 7517 §9.2);
//! 2. `use`, where present, is `sig`, and `key_ops`, where present, has `verify` (RFC 7517 §4.2,
//!    §4.3);
//! 3. `kty` and `crv` name a type of [`KeyType`], and the key itself is sound (RFC 7518 §6, RFC
//!    8037 §2, T-08);
//! 4. `alg`, where present, is an allowed algorithm of that type, and then the only one that the
//!    key verifies (T-04).
//!
//! In a set, a key has a `kid` of at most [`MAX_KID_LEN`] bytes besides, and shares it with no
//! other usable key: a token names its key, and keys are never tried in turn. A key that breaks a
//! rule is left out and reported in [`JwkSet::skipped`]; the set lives on without it (T-08).

use std::collections::HashMap;
use std::sync::Arc;

use zt_core::fault::Fault;

use crate::algorithm::{
    Algorithm, AlgorithmError, KeyError, KeyType, PublicKey, SignatureError, sha256,
};
use crate::base64url;
use crate::excerpt::excerpt;
use crate::json::{JsonError, Object};

/// The largest key set that is read, in bytes (T-20).
pub const MAX_SET_LEN: usize = 256 * 1024;
/// The longest `kid`, in bytes (T-06).
pub const MAX_KID_LEN: usize = 256;

/// What `use` says of a key that signs; what is absent says nothing against it.
const SIGNING: &[Option<&str>] = &[None, Some("sig")];

const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A public key, with what it may be used for.
#[derive(Clone, Debug)]
pub struct Jwk {
    kid: Option<Arc<str>>,
    // INVARIANT: an algorithm of the key's type.
    algorithm: Option<Algorithm>,
    key: PublicKey,
}

impl Jwk {
    /// Reads one key. A `kid` is optional here.
    ///
    /// # Errors
    ///
    /// [`JwkError`] names the first rule that is broken.
    pub fn parse(bytes: &[u8]) -> Result<Self, JwkError> {
        if bytes.len() > MAX_SET_LEN {
            return Err(JwkError::TooLong { len: bytes.len() });
        }
        Self::from_object(&Object::parse(bytes)?)
    }

    /// Takes one key from JSON that was read already.
    ///
    /// # Errors
    ///
    /// As [`Jwk::parse`].
    pub fn from_object(jwk: &Object<'_>) -> Result<Self, JwkError> {
        Self::for_uses(jwk, SIGNING)
    }

    /// The key of a document that brings it along, for the signature of that document and no
    /// other: a point that does not lie on its curve is found out there.
    pub(crate) fn for_one_signature(jwk: &Object<'_>) -> Result<Self, JwkError> {
        let points = Points {
            p256: PublicKey::p256_for_one_signature,
            p384: PublicKey::p384_for_one_signature,
        };
        Self::with_points(jwk, SIGNING, points)
    }

    fn for_uses(jwk: &Object<'_>, uses: &[Option<&str>]) -> Result<Self, JwkError> {
        let points = Points { p256: PublicKey::p256, p384: PublicKey::p384 };
        Self::with_points(jwk, uses, points)
    }

    fn with_points(
        jwk: &Object<'_>,
        uses: &[Option<&str>],
        points: Points,
    ) -> Result<Self, JwkError> {
        check_public(jwk)?;
        check_use(jwk, uses)?;
        check_key_ops(jwk)?;
        let key = public_key(jwk, points)?;
        let algorithm = algorithm(jwk, key.key_type())?;
        Ok(Self { kid: kid(jwk)?, algorithm, key })
    }

    /// The name that tokens call it by.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm that it is for, where it is for one.
    #[must_use]
    pub const fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// What it is a key of.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.key.key_type()
    }

    /// Whether the owner of this key signed `message` with `algorithm`.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] when the key is not for this algorithm, or the signature is not valid.
    pub fn verify(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        match self.algorithm {
            Some(pinned) if pinned != algorithm => {
                Err(SignatureError::WrongAlgorithm { algorithm, pinned })
            }
            _ => self.key.verify(algorithm, message, signature),
        }
    }
}

/// The thumbprint of a public key: SHA-256 over its required members alone, in lexicographic order
/// and without whitespace (RFC 7638 §3). Two spellings of one key have one thumbprint.
///
/// # Errors
///
/// [`JwkError`] when the key is not one that [`Jwk::from_object`] takes.
pub fn thumbprint(jwk: &Object<'_>) -> Result<[u8; 32], JwkError> {
    // Members are canonical base64url, so they stand in JSON as they are.
    Jwk::for_one_signature(jwk)?;
    thumbprint_of_sound(jwk)
}

/// As [`thumbprint`], of a key that was taken already.
pub(crate) fn thumbprint_of_sound(jwk: &Object<'_>) -> Result<[u8; 32], JwkError> {
    let member = |member| text(jwk, member)?.ok_or(JwkError::Member { member });
    let required = match member("kty")? {
        "RSA" => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, member("e")?, member("n")?),
        "EC" => format!(
            r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
            member("crv")?,
            member("x")?,
            member("y")?
        ),
        kty => {
            format!(r#"{{"crv":"{}","kty":"{kty}","x":"{}"}}"#, member("crv")?, member("x")?)
        }
    };
    Ok(sha256(required.as_bytes()))
}

type Point = fn(&[u8], &[u8]) -> Result<PublicKey, KeyError>;

/// How points are taken.
#[derive(Clone, Copy)]
struct Points {
    p256: Point,
    p384: Point,
}

/// The text of a member; `None` when there is none.
fn text<'o>(jwk: &'o Object<'_>, member: &'static str) -> Result<Option<&'o str>, JwkError> {
    match jwk.get(member) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(JwkError::Member { member }),
    }
}

fn bytes(jwk: &Object<'_>, member: &'static str) -> Result<Vec<u8>, JwkError> {
    let text = text(jwk, member)?.ok_or(JwkError::Member { member })?;
    base64url::decode(text).map_err(|_| JwkError::Member { member })
}

/// A private key where a public one belongs is a published secret: anyone may have signed.
pub(crate) fn check_public(jwk: &Object<'_>) -> Result<(), JwkError> {
    match PRIVATE_MEMBERS.iter().find(|member| jwk.get(member).is_some()) {
        None => Ok(()),
        Some(member) => Err(JwkError::Private { member }),
    }
}

/// RFC 7517 §4.2; SPIFFE bundles have uses of their own (Trust Domain and Bundle §4.2.2).
fn check_use(jwk: &Object<'_>, uses: &[Option<&str>]) -> Result<(), JwkError> {
    match text(jwk, "use")? {
        found if uses.contains(&found) => Ok(()),
        found => Err(JwkError::Use { found: excerpt(found.unwrap_or_default()) }),
    }
}

/// RFC 7517 §4.3: an array of texts without repetition.
fn check_key_ops(jwk: &Object<'_>) -> Result<(), JwkError> {
    let Some(value) = jwk.get("key_ops") else { return Ok(()) };
    let mut operations = value.as_strings().ok_or(JwkError::Member { member: "key_ops" })?;
    let len = operations.len();
    operations.sort_unstable();
    operations.dedup();
    if operations.len() != len {
        return Err(JwkError::Member { member: "key_ops" });
    }
    if operations.contains(&"verify") { Ok(()) } else { Err(JwkError::KeyOps) }
}

fn public_key(jwk: &Object<'_>, points: Points) -> Result<PublicKey, JwkError> {
    let kty = text(jwk, "kty")?.ok_or(JwkError::Member { member: "kty" })?;
    if kty == "RSA" {
        return Ok(PublicKey::rsa(&bytes(jwk, "n")?, &bytes(jwk, "e")?)?);
    }
    if !matches!(kty, "EC" | "OKP") {
        return Err(JwkError::KeyType { kty: excerpt(kty) });
    }
    let crv = text(jwk, "crv")?.ok_or(JwkError::Member { member: "crv" })?;
    match (kty, crv) {
        ("EC", "P-256") => Ok((points.p256)(&bytes(jwk, "x")?, &bytes(jwk, "y")?)?),
        ("EC", "P-384") => Ok((points.p384)(&bytes(jwk, "x")?, &bytes(jwk, "y")?)?),
        #[cfg(feature = "aws-lc-rs")]
        ("EC", "P-521") => Ok(PublicKey::p521(&bytes(jwk, "x")?, &bytes(jwk, "y")?)?),
        ("OKP", "Ed25519") => Ok(PublicKey::ed25519(&bytes(jwk, "x")?)?),
        _ => Err(JwkError::Curve { crv: excerpt(crv) }),
    }
}

fn algorithm(jwk: &Object<'_>, key_type: KeyType) -> Result<Option<Algorithm>, JwkError> {
    let Some(name) = text(jwk, "alg")? else { return Ok(None) };
    let algorithm = Algorithm::from_name(name)?;
    if algorithm.key_type() != key_type {
        return Err(JwkError::AlgorithmMismatch { algorithm, key_type });
    }
    Ok(Some(algorithm))
}

fn kid(jwk: &Object<'_>) -> Result<Option<Arc<str>>, JwkError> {
    match text(jwk, "kid")? {
        Some(kid) if kid.len() > MAX_KID_LEN => Err(JwkError::KidTooLong { len: kid.len() }),
        kid => Ok(kid.map(Arc::from)),
    }
}

/// The keys of one issuer, each known by its `kid`.
///
/// ```
/// use zt_identity::jwk::JwkSet;
///
/// let set = JwkSet::parse(br#"{"keys":[
///     {"kty":"OKP","crv":"Ed25519","kid":"2026-11",
///      "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
///     {"kty":"oct","kid":"shared","k":"c2VjcmV0"}]}"#)?;
/// assert!(set.key("2026-11").is_some());
/// assert_eq!(set.len(), 1);
/// assert_eq!(set.skipped().len(), 1); // nobody verifies with a shared secret here
/// # Ok::<(), zt_identity::jwk::JwkSetError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct JwkSet {
    // INVARIANT: each key is found under its own `kid`.
    keys: HashMap<Arc<str>, Jwk>,
    skipped: Vec<SkippedJwk>,
}

impl JwkSet {
    /// Reads a key set. Unknown members are ignored (RFC 7517 §5).
    ///
    /// # Errors
    ///
    /// [`JwkSetError`] when the document is no key set at all. A set without a usable key is a
    /// set: it vouches for nobody.
    pub fn parse(bytes: &[u8]) -> Result<Self, JwkSetError> {
        Self::parse_for_uses(bytes, SIGNING)
    }

    /// Reads the keys of these uses.
    pub(crate) fn parse_for_uses(bytes: &[u8], uses: &[Option<&str>]) -> Result<Self, JwkSetError> {
        if bytes.len() > MAX_SET_LEN {
            return Err(JwkSetError::TooLong { len: bytes.len() });
        }
        Self::from_document(&Object::parse(bytes)?, uses)
    }

    /// Takes the keys of these uses from JSON that was read already.
    pub(crate) fn from_document(
        document: &Object<'_>,
        uses: &[Option<&str>],
    ) -> Result<Self, JwkSetError> {
        let keys = document.get("keys").and_then(|keys| keys.as_array());
        let mut named_keys: HashMap<_, Vec<_>> = HashMap::new();
        let mut skipped = Vec::new();
        for (index, value) in keys.ok_or(JwkSetError::NoKeys)?.iter().enumerate() {
            match value.as_object().ok_or(JwkError::NotAnObject).and_then(|jwk| named(jwk, uses)) {
                Ok((kid, jwk)) => named_keys.entry(kid).or_default().push((index, jwk)),
                Err(reason) => skipped.push(SkippedJwk { index, reason }),
            }
        }
        let mut set = Self { keys: HashMap::new(), skipped };
        for (kid, keys) in named_keys {
            set.add(kid, keys);
        }
        set.skipped.sort_unstable_by_key(|skipped| skipped.index);
        Ok(set)
    }

    /// Adds the one key of a name. Which of several the issuer meant cannot be told, so none of
    /// them counts.
    fn add(&mut self, kid: Arc<str>, keys: Vec<(usize, Jwk)>) {
        match <[(usize, Jwk); 1]>::try_from(keys) {
            Ok([(_, jwk)]) => _ = self.keys.insert(kid, jwk),
            Err(keys) => self.skipped.extend(keys.into_iter().map(|(index, _)| SkippedJwk {
                index,
                reason: JwkError::SharedKid { kid: excerpt(&kid) },
            })),
        }
    }

    #[cfg(feature = "unstable-wit")]
    pub(crate) fn remove(&mut self, kid: &str) {
        self.keys.remove(kid);
    }

    /// The key of this name.
    #[must_use]
    pub fn key(&self, kid: &str) -> Option<&Jwk> {
        self.keys.get(kid)
    }

    /// How many usable keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is usable.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What was left out, and why.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedJwk] {
        &self.skipped
    }
}

fn named(jwk: &Object<'_>, uses: &[Option<&str>]) -> Result<(Arc<str>, Jwk), JwkError> {
    let jwk = Jwk::for_uses(jwk, uses)?;
    let kid = jwk.kid.clone().ok_or(JwkError::NoKid)?;
    Ok((kid, jwk))
}

/// A key of a set that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedJwk {
    /// Its place in the set, counted from 0.
    pub index: usize,
    /// What is wrong with it.
    pub reason: JwkError,
}

/// Why a key is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwkError {
    /// The document is longer than [`MAX_SET_LEN`].
    #[error("a key of {len} bytes, and at most {MAX_SET_LEN} are read")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The document is not JSON that is accepted.
    #[error("not JSON that is accepted")]
    Json(#[from] JsonError),
    /// The key is something else than an object.
    #[error("not an object")]
    NotAnObject,
    /// The key has a private or secret member.
    #[error("the member {member:?} belongs to a private key")]
    Private {
        /// The member.
        member: &'static str,
    },
    /// A member is missing, of the wrong type or not canonical base64url.
    #[error("the member {member:?} is missing or malformed")]
    Member {
        /// The member.
        member: &'static str,
    },
    /// The key is for something else than what is asked for, or says nothing of its use where it has to.
    #[error("the key is for the use {found:?}")]
    Use {
        /// Its use, cut; empty where it names none and has to.
        found: String,
    },
    /// The key's operations do not include `verify`.
    #[error("the key's operations do not include \"verify\"")]
    KeyOps,
    /// The key is of a type that is not accepted; `oct` is one of those.
    #[error("the key type {kty:?} is not accepted")]
    KeyType {
        /// Its type, cut.
        kty: String,
    },
    /// The key is on a curve that is not accepted; P-521 is one of those without the feature
    /// `aws-lc-rs`.
    #[error("the curve {crv:?} is not accepted")]
    Curve {
        /// Its curve, cut.
        crv: String,
    },
    /// The key is for an algorithm that is not accepted.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    /// The key is for an algorithm of another type of key.
    #[error("a key of {key_type} cannot be for {algorithm}")]
    AlgorithmMismatch {
        /// The algorithm.
        algorithm: Algorithm,
        /// The type of the key.
        key_type: KeyType,
    },
    /// The key itself is not sound.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key has no name, and keys are never tried in turn.
    #[error("the key has no \"kid\"")]
    NoKid,
    /// The name is longer than [`MAX_KID_LEN`].
    #[error("a \"kid\" of {len} bytes, and at most {MAX_KID_LEN} are read")]
    KidTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Another key of the set has the same name; neither is used.
    #[error("two keys are named {kid:?}")]
    SharedKid {
        /// The name, cut.
        kid: String,
    },
}

impl JwkError {
    /// Whose fault it is: that of the authority that published the key.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}

/// Why a document is no key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwkSetError {
    /// The document is longer than [`MAX_SET_LEN`].
    #[error("a key set of {len} bytes, and at most {MAX_SET_LEN} are read")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The document is not JSON that is accepted.
    #[error("not JSON that is accepted")]
    Json(#[from] JsonError),
    /// The document has no array of keys.
    #[error("there is no array \"keys\"")]
    NoKeys,
}

impl JwkSetError {
    /// Whose fault it is: that of the authority that published the set.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::minted;

    fn ed25519() -> Json {
        serde_json::from_str(&minted::Issuer::new().jwk("k1")).unwrap()
    }

    fn with(changes: Json) -> Json {
        let mut jwk = ed25519();
        for (name, value) in changes.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    }

    fn parse(jwk: &Json) -> Result<Jwk, JwkError> {
        Jwk::parse(jwk.to_string().as_bytes())
    }

    fn refused(changes: Json) -> JwkError {
        parse(&with(changes)).unwrap_err()
    }

    fn set(keys: &[Json]) -> JwkSet {
        JwkSet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_key_for_signatures_is_taken_with_what_it_is_pinned_to() {
        let jwk = parse(&with(json!({
            "alg": "EdDSA", "use": "sig", "key_ops": ["verify"], "x5t": "ignored", "future": {},
        })))
        .unwrap();
        assert_eq!(jwk.kid(), Some("k1"));
        assert_eq!(jwk.algorithm(), Some(Algorithm::EdDsa));
        assert_eq!(jwk.key_type(), KeyType::Ed25519);
    }

    #[test]
    fn a_key_with_a_private_member_is_refused() {
        for member in PRIVATE_MEMBERS {
            assert_eq!(refused(json!({ member: "AA" })), JwkError::Private { member });
        }
    }

    #[test]
    fn a_key_for_another_use_is_refused() {
        for found in ["enc", "SIG", ""] {
            assert_eq!(refused(json!({"use": found})), JwkError::Use { found: found.into() });
        }
        assert_eq!(refused(json!({"use": 1})), JwkError::Member { member: "use" });
    }

    #[test]
    fn the_operations_of_a_key_include_verify_once() {
        assert!(parse(&with(json!({"key_ops": ["sign", "verify"]}))).is_ok());
        assert_eq!(refused(json!({"key_ops": []})), JwkError::KeyOps);
        assert_eq!(refused(json!({"key_ops": ["sign"]})), JwkError::KeyOps);
        for malformed in [json!("verify"), json!([1]), json!(["verify", "verify"])] {
            assert_eq!(
                refused(json!({"key_ops": malformed})),
                JwkError::Member { member: "key_ops" }
            );
        }
    }

    #[test]
    fn a_key_of_another_type_or_curve_is_refused() {
        for kty in ["oct", "AKP", "okp", ""] {
            assert_eq!(refused(json!({"kty": kty})), JwkError::KeyType { kty: kty.into() });
        }
        assert_eq!(refused(json!({"kty": null})), JwkError::Member { member: "kty" });
        for crv in ["Ed448", "X25519", "P-256", "ed25519"] {
            assert_eq!(refused(json!({"crv": crv})), JwkError::Curve { crv: crv.into() });
        }
        let p521 = refused(json!({"kty": "EC", "crv": "P-521"}));
        if cfg!(feature = "aws-lc-rs") {
            assert_eq!(p521, JwkError::Member { member: "y" });
        } else {
            assert_eq!(p521, JwkError::Curve { crv: "P-521".into() });
        }
    }

    #[test]
    fn the_members_of_a_key_are_canonical_base64url() {
        let x = ed25519()["x"].as_str().unwrap().to_owned();
        for bad in [json!(format!("{x}=")), json!(format!(" {x}")), json!(1), Json::Null] {
            assert_eq!(refused(json!({"x": bad})), JwkError::Member { member: "x" });
        }
        assert!(matches!(refused(json!({"x": "AA"})), JwkError::Key(KeyError::Length { .. })));
    }

    #[test]
    fn a_key_is_for_an_allowed_algorithm_of_its_type() {
        assert!(parse(&with(json!({"alg": "Ed25519"}))).is_ok());
        for alg in ["none", "HS256", "RSA-OAEP", "ES521"] {
            assert!(matches!(refused(json!({"alg": alg})), JwkError::Algorithm(_)));
        }
        assert_eq!(
            refused(json!({"alg": "ES256"})),
            JwkError::AlgorithmMismatch { algorithm: Algorithm::Es256, key_type: KeyType::Ed25519 }
        );
    }

    #[test]
    fn a_set_leaves_out_what_is_unusable_and_keeps_the_rest() {
        let set = set(&[
            json!("no object"),
            with(json!({"use": "enc"})),
            ed25519(),
            with(json!({"kid": "k".repeat(257)})),
            with(json!({"kid": null})),
            json!({"kty": "OKP"}),
        ]);
        assert_eq!(set.len(), 1);
        assert!(set.key("k1").is_some());
        let skipped: Vec<_> = set.skipped().iter().map(|skipped| skipped.index).collect();
        assert_eq!(skipped, [0, 1, 3, 4, 5]);
    }

    #[test]
    fn a_key_of_a_set_has_a_name() {
        let mut nameless = ed25519();
        nameless.as_object_mut().unwrap().remove("kid");
        assert!(parse(&nameless).is_ok());
        assert_eq!(set(&[nameless]).skipped()[0].reason, JwkError::NoKid);
        let long = with(json!({"kid": "k".repeat(256)}));
        assert_eq!(set(&[long]).len(), 1);
    }

    #[test]
    fn keys_that_share_a_name_are_all_left_out() {
        let set = set(&[ed25519(), with(json!({"kid": "k2"})), ed25519(), ed25519()]);
        assert_eq!(set.len(), 1);
        assert!(set.key("k1").is_none());
        assert_eq!(set.skipped().len(), 3);
        assert!(set.skipped().iter().all(|s| s.reason == JwkError::SharedKid { kid: "k1".into() }));
    }

    #[test]
    fn a_document_without_an_array_of_keys_is_no_set() {
        for text in ["{}", r#"{"keys":{}}"#, r#"{"keys":null}"#] {
            assert_eq!(JwkSet::parse(text.as_bytes()).unwrap_err(), JwkSetError::NoKeys);
        }
        assert!(matches!(JwkSet::parse(b"[]"), Err(JwkSetError::Json(_))));
        assert!(JwkSet::parse(br#"{"keys":[],"future":1}"#).unwrap().is_empty());
        let long = vec![b' '; MAX_SET_LEN + 1];
        assert!(matches!(JwkSet::parse(&long), Err(JwkSetError::TooLong { .. })));
        assert!(matches!(Jwk::parse(&long), Err(JwkError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn no_key_panics(
            kty in "(RSA|EC|OKP|oct|x)", crv in "(P-256|P-384|Ed25519|x)", x in "[A-Za-z0-9_-]{0,90}",
            y in "[A-Za-z0-9_-]{0,90}", n in "[A-Za-z0-9_-]{0,400}", e in "[A-Za-z0-9_-]{0,8}",
        ) {
            let key = json!({"kty": kty, "crv": crv, "x": x, "y": y, "n": n, "e": e});
            let _ = parse(&key);
            prop_assert!(set(&[key]).is_empty());
        }
    }
}

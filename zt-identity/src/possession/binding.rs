//! A token is not a caller: what makes it one (T-16).
//!
//! A route states how a token has to belong to its sender, and [`Binding::user`] yields the user
//! when it does:
//!
//! - [`Binding::bearer`]: whoever holds the token is believed. A token that is bound to anything,
//!   by `cnf`, is refused: taken as bearer it would lose what binds it (T-16).
//! - [`Binding::certificate`]: the token's `cnf` names the certificate of this very connection,
//!   by `x5t#S256` (RFC 8705 §3, T-30). A token that is bound to nothing is refused.
//! - [`Binding::dpop`]: the token's `cnf` names the key of the proof that came with this request, by
//!   `jkt` (RFC 9449 §6.1, T-31), and the proof was verified beside this very token (§4.3, `ath`). A
//!   token that is bound to nothing is refused.
//!
//! A workload has a connection of its own to be known by. Where it has none and sends a JWT-SVID or
//! a service account's token instead, [`Binding::workload`] and [`Binding::service_account`] make
//! a principal of it, for bearers only and never out of a token that is bound to anything (T-16).
//!
//! What is verified was true when it was verified. Verify a token with each request that it comes
//! with ([`cached`](crate::AccessTokenVerifier::cached) makes that cheap) and do not keep the result:
//! nothing here asks for the time again.
//!
//! All methods of confirmation that a token names have to hold: one that cannot be checked is
//! refused, and so is one whose proof is not there, also beside another that is.

use zt_core::danger;
use zt_core::fault::Fault;
use zt_core::peer::Peer;
use zt_core::principal::{Principal, User, Workload};
use zt_core::verified::Verified;

use crate::algorithm::sha256;
use crate::confirmation::Confirmation;
use crate::jwt_svid::JwtSvid;
use crate::oidc::access_token::AccessToken;
use crate::possession::dpop::DpopProof;
use crate::service_account::ServiceAccountToken;

/// How a token has to belong to its sender.
///
/// It may be kept as long as its connection lives.
///
/// ```
/// use zt_core::peer::Peer;
/// use zt_core::principal::Principal;
/// use zt_core::verified::Verified;
/// use zt_identity::oidc::access_token::AccessToken;
/// use zt_identity::possession::binding::{Binding, BindingError};
///
/// fn caller(
///     peer: &Verified<Peer>,
///     token: &Verified<AccessToken>,
/// ) -> Result<Verified<Principal>, BindingError> {
///     let user = Binding::certificate(peer).user(token)?;
///     Ok(peer.principal().on_behalf_of(user))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding(How);

#[derive(Clone, Debug, PartialEq, Eq)]
enum How {
    Bearer,
    Certificate { sha256: [u8; 32] },
    Key { thumbprint: [u8; 32], token: [u8; 32], certificate: Option<[u8; 32]> },
}

impl Binding {
    /// Whoever holds the token is its user.
    #[must_use]
    pub const fn bearer() -> Self {
        Self(How::Bearer)
    }

    /// Only the peer of this connection is its user, whose certificate the token names.
    #[must_use]
    pub fn certificate(peer: &Verified<Peer>) -> Self {
        Self(How::Certificate { sha256: thumbprint(peer) })
    }

    /// Only the holder of this proof's key is its user, which the token names, and only of the token
    /// that the proof was verified beside: another one of the same key is refused. That the proof came
    /// with this very request is what it was verified against.
    #[must_use]
    pub fn dpop(proof: &Verified<DpopProof>) -> Self {
        Self(How::Key {
            thumbprint: *proof.key_thumbprint(),
            token: *proof.token_sha256(),
            certificate: None,
        })
    }

    /// And where the token names a certificate too, only the peer of this connection.
    #[must_use]
    pub fn over(self, peer: &Verified<Peer>) -> Self {
        match self.0 {
            How::Key { thumbprint, token, .. } => {
                let certificate = Some(self::thumbprint(peer));
                Self(How::Key { thumbprint, token, certificate })
            }
            How::Bearer | How::Certificate { .. } => self,
        }
    }

    /// The user of a token that belongs to its sender.
    ///
    /// # Errors
    ///
    /// [`BindingError`] when it does not, or when that cannot be told.
    pub fn user(&self, token: &Verified<AccessToken>) -> Result<Verified<User>, BindingError> {
        match &self.0 {
            How::Bearer => check_unbound(token.confirmation())?,
            How::Certificate { sha256 } => check_certificate(token.confirmation(), sha256)?,
            How::Key { thumbprint, token: proven, certificate } => {
                check_key(token.confirmation(), thumbprint, certificate.as_ref())?;
                check_token(token.sha256(), proven)?;
            }
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the token is verified, and belongs to its sender in the way the route states"
        )]
        let user = danger::verified(token.user().clone());
        Ok(user)
    }

    /// The workload of a JWT-SVID that belongs to its sender, which is anyone who holds it: for
    /// [`Binding::bearer`] only.
    ///
    /// # Errors
    ///
    /// [`BindingError`] when the route demands more than holding the token, when the token is
    /// bound to anything, and when it names a trust domain and no workload in it.
    pub fn workload(&self, svid: &Verified<JwtSvid>) -> Result<Verified<Principal>, BindingError> {
        self.check_bearer(svid.confirmation())?;
        if svid.id().path().is_empty() {
            return Err(BindingError::NoWorkload);
        }
        Ok(caller(Workload::new(svid.id().clone())))
    }

    /// The workload of a service account's token that belongs to its sender, which is anyone who
    /// holds it: for [`Binding::bearer`] only. Its attributes are `namespace`, `name` and `uid`,
    /// and where the token has them `pod` and `node`, records of a `name` and a `uid`.
    ///
    /// # Errors
    ///
    /// [`BindingError`] when the route demands more than holding the token, and when the token is
    /// bound to anything.
    pub fn service_account(
        &self,
        token: &Verified<ServiceAccountToken>,
    ) -> Result<Verified<Principal>, BindingError> {
        self.check_bearer(token.confirmation())?;
        Ok(caller(token.workload().clone()))
    }

    /// No document that names a workload can be bound to a certificate.
    const fn check_bearer(&self, confirmation: Option<&Confirmation>) -> Result<(), BindingError> {
        match self.0 {
            How::Bearer => check_unbound(confirmation),
            How::Certificate { .. } | How::Key { .. } => Err(BindingError::BearerOnly),
        }
    }
}

/// Of the certificate of this connection (RFC 8705 §3.1): computed once, however many tokens come over
/// it.
#[expect(clippy::disallowed_methods, reason = "it is the SHA-256")]
fn thumbprint(peer: &Peer) -> [u8; 32] {
    *danger::leaf_sha256(peer, sha256)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the token is verified and bound to nothing, and the route states that it believes bearers"
)]
const fn caller(workload: Workload) -> Verified<Principal> {
    danger::verified(Principal::new(workload))
}

/// T-16.
const fn check_unbound(confirmation: Option<&Confirmation>) -> Result<(), BindingError> {
    match confirmation {
        None => Ok(()),
        Some(_) => Err(BindingError::Bound),
    }
}

/// RFC 8705 §3, T-30. Digests of certificates are public, so comparing them needs no care.
fn check_certificate(
    confirmation: Option<&Confirmation>,
    sha256: &[u8; 32],
) -> Result<(), BindingError> {
    let confirmation = supported(confirmation)?;
    if confirmation.key_thumbprint().is_some() {
        return Err(BindingError::KeyNotProven);
    }
    if confirmation.certificate_sha256() != Some(sha256) {
        return Err(BindingError::OtherCertificate);
    }
    Ok(())
}

/// RFC 9449 §6.1, T-31.
fn check_key(
    confirmation: Option<&Confirmation>,
    thumbprint: &[u8; 32],
    certificate: Option<&[u8; 32]>,
) -> Result<(), BindingError> {
    let confirmation = supported(confirmation)?;
    let key = confirmation.key_thumbprint().ok_or(BindingError::Unbound)?;
    if key != thumbprint {
        return Err(BindingError::OtherKey);
    }
    match confirmation.certificate_sha256() {
        Some(named) if Some(named) != certificate => Err(BindingError::OtherCertificate),
        _ => Ok(()),
    }
}

/// RFC 9449 §4.3. Whoever has seen a proof has seen its token, so comparing needs no care.
fn check_token(token: Option<&[u8; 32]>, proven: &[u8; 32]) -> Result<(), BindingError> {
    if token == Some(proven) { Ok(()) } else { Err(BindingError::OtherToken) }
}

/// A confirmation of whose methods each can be checked.
fn supported(confirmation: Option<&Confirmation>) -> Result<&Confirmation, BindingError> {
    let confirmation = confirmation.ok_or(BindingError::Unbound)?;
    match confirmation.unsupported() {
        Some(method) => Err(BindingError::UnsupportedConfirmation { method: method.to_owned() }),
        None => Ok(confirmation),
    }
}

/// Why a token does not belong to its sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindingError {
    /// The token is bound to a key or certificate, and was sent as if it were not.
    #[error("the token is bound and cannot be used as bearer")]
    Bound,
    /// The token is bound to nothing, or not in the way that is demanded.
    #[error("the token is not bound in the way that is demanded")]
    Unbound,
    /// The token names a workload to whoever holds it, and possession is demanded.
    #[error("the token is for bearers, and possession is demanded")]
    BearerOnly,
    /// The token names a trust domain and no workload in it.
    #[error("the token names a trust domain and no workload in it")]
    NoWorkload,
    /// The token is bound by a method that cannot be checked.
    #[error("the confirmation method {method:?} is not supported")]
    UnsupportedConfirmation {
        /// The method, cut.
        method: String,
    },
    /// The token is bound to another certificate than that of this connection.
    #[error("the token is bound to another certificate")]
    OtherCertificate,
    /// The token is bound to a key, and nothing proves that the sender has it.
    #[error("the token is bound to a key that is not proven")]
    KeyNotProven,
    /// The token is bound to another key than that of the proof.
    #[error("the token is bound to another key")]
    OtherKey,
    /// The proof was verified beside another token, which is bound to the same key.
    #[error("the proof is for another token")]
    OtherToken,
}

impl BindingError {
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
            Self::Bound => "token_bound",
            Self::Unbound => "token_unbound",
            Self::BearerOnly => "token_for_bearers",
            Self::NoWorkload => "token_without_workload",
            Self::UnsupportedConfirmation { .. } => "token_confirmation_unsupported",
            Self::OtherCertificate => "token_of_another_connection",
            Self::KeyNotProven => "token_key_not_proven",
            Self::OtherKey => "token_of_another_key",
            Self::OtherToken => "proof_of_another_token",
        }
    }
}

#[cfg(test)]
mod tests {
    use zt_core::spiffe::{SpiffeId, TrustDomain};
    use zt_core::time::{Timestamp, Validity};

    use super::*;
    use crate::claims::Audience;
    use crate::jwk::JwkSet;
    use crate::jwt_bundle::{JwtBundle, JwtBundleSet};
    use crate::jwt_svid::JwtSvidVerifier;
    use crate::minted;
    use crate::oidc::access_token::AccessTokenVerifier;
    use crate::oidc::issuer::Issuer;
    use crate::oidc::keys::IssuerKeys;
    use crate::service_account::ServiceAccountVerifier;

    fn peer(leaf: &[u8]) -> Verified<Peer> {
        let id = SpiffeId::parse("spiffe://example.org/cart").unwrap();
        let validity = Validity::new(Timestamp::EPOCH, Timestamp::MAX).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a peer for tests")]
        danger::verified(Peer::new(id, validity, leaf, 1))
    }

    fn token(cnf: &str) -> Verified<AccessToken> {
        sent(cnf).1
    }

    /// As text, and verified.
    fn sent(cnf: &str) -> (String, Verified<AccessToken>) {
        let issuer = minted::Issuer::new();
        let claims = format!(
            r#"{{"iss":"https://issuer.example","aud":"orders","sub":"alice","exp":2000,
                "email":"a@example.com","email_verified":true{cnf}}}"#
        );
        let text = issuer.sign(r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}"#, claims);
        let token = AccessTokenVerifier::builder("https://issuer.example")
            .unwrap()
            .audience("orders")
            .keys(IssuerKeys::fixed(JwkSet::parse(issuer.jwks().as_bytes()).unwrap()))
            .build()
            .unwrap()
            .verify(&text, Timestamp::from_secs(1000))
            .unwrap();
        (text, token)
    }

    fn bound_to(leaf: &[u8], more: &str) -> Verified<AccessToken> {
        let digest = minted::base64url(sha256(leaf));
        token(&format!(r#","cnf":{{"x5t#S256":"{digest}"{more}}}"#))
    }

    fn svid(id: &str, cnf: &str) -> Verified<JwtSvid> {
        let issuer = minted::Issuer::p256();
        let trust_domain = TrustDomain::from_name("example.org").unwrap();
        let bundle = JwtBundle::from_jwks(trust_domain, issuer.jwks().as_bytes()).unwrap();
        let claims = format!(r#"{{"sub":"{id}","aud":"orders","exp":2000{cnf}}}"#);
        JwtSvidVerifier::new(Audience::any(["orders"]).unwrap())
            .verify(
                &issuer.sign(r#"{"alg":"ES256","kid":"k1"}"#, claims),
                &JwtBundleSet::new().with(bundle),
                Timestamp::from_secs(1000),
            )
            .unwrap()
    }

    #[test]
    fn whoever_holds_a_jwt_svid_is_its_workload_where_bearers_are_believed() {
        let caller = Binding::bearer().workload(&svid("spiffe://example.org/cart", "")).unwrap();
        assert_eq!(caller.workload().id().to_string(), "spiffe://example.org/cart");
        assert_eq!(caller.user(), None);
    }

    #[test]
    fn a_jwt_svid_has_no_workload_where_possession_is_demanded() {
        let bound = r#","cnf":{"x5t#S256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
        for svid in
            [svid("spiffe://example.org/cart", ""), svid("spiffe://example.org/cart", bound)]
        {
            let refused = Binding::certificate(&peer(b"leaf")).workload(&svid);
            assert_eq!(refused, Err(BindingError::BearerOnly));
        }
    }

    #[test]
    fn a_jwt_svid_that_is_bound_to_anything_has_no_workload() {
        let svid = svid("spiffe://example.org/cart", r#","cnf":{"jwk":"x"}"#);
        assert_eq!(Binding::bearer().workload(&svid), Err(BindingError::Bound));
    }

    #[test]
    fn a_service_account_is_a_workload_where_bearers_are_believed_and_its_token_is_unbound() {
        let issuer = minted::Issuer::p256();
        let verify = |cnf: &str| {
            let keys = IssuerKeys::fixed(JwkSet::parse(issuer.jwks().as_bytes()).unwrap());
            let claims = format!(
                r#"{{"iss":"https://cluster.example","aud":"orders","exp":2000,
                    "sub":"system:serviceaccount:shop:cart","kubernetes.io":{{
                    "namespace":"shop","serviceaccount":{{"name":"cart","uid":"u"}}}}{cnf}}}"#
            );
            ServiceAccountVerifier::new(
                Issuer::parse("https://cluster.example").unwrap(),
                Audience::any(["orders"]).unwrap(),
                keys,
            )
            .unwrap()
            .verify(
                &issuer.sign(r#"{"alg":"ES256","kid":"k1"}"#, claims),
                Timestamp::from_secs(1000),
            )
            .unwrap()
        };
        let caller = Binding::bearer().service_account(&verify("")).unwrap();
        assert_eq!(caller.workload().id().to_string(), "system:serviceaccount:shop:cart");
        assert_eq!(caller.workload().attributes().get("uid"), Some(&"u".into()));

        let refused = Binding::bearer().service_account(&verify(r#","cnf":{"jwk":"x"}"#));
        assert_eq!(refused, Err(BindingError::Bound));
        let refused = Binding::certificate(&peer(b"leaf")).service_account(&verify(""));
        assert_eq!(refused, Err(BindingError::BearerOnly));
    }

    #[test]
    fn the_name_of_a_trust_domain_is_no_workload() {
        let svid = svid("spiffe://example.org", "");
        assert_eq!(Binding::bearer().workload(&svid), Err(BindingError::NoWorkload));
    }

    #[test]
    fn an_unbound_token_has_its_bearer_as_user() {
        let user = Binding::bearer().user(&token("")).unwrap();
        assert_eq!((&**user.issuer(), user.subject()), ("https://issuer.example", "alice"));
        assert_eq!(user.attributes().get("email"), Some(&"a@example.com".into()));
    }

    #[test]
    fn a_token_that_is_bound_to_anything_is_refused_as_bearer() {
        for token in [bound_to(b"leaf", ""), token(r#","cnf":{"jwk":"x"}"#)] {
            assert_eq!(Binding::bearer().user(&token), Err(BindingError::Bound));
        }
    }

    #[test]
    fn a_bound_token_has_a_user_over_the_connection_with_its_certificate_only() {
        let token = bound_to(b"leaf", "");
        assert!(Binding::certificate(&peer(b"leaf")).user(&token).is_ok());
        assert_eq!(
            Binding::certificate(&peer(b"other")).user(&token),
            Err(BindingError::OtherCertificate)
        );
    }

    #[test]
    fn an_unbound_token_is_refused_where_possession_is_demanded() {
        let refused = Binding::certificate(&peer(b"leaf")).user(&token(""));
        assert_eq!(refused, Err(BindingError::Unbound));
    }

    #[test]
    fn a_method_that_cannot_be_checked_is_refused_even_beside_one_that_can() {
        let binding = Binding::certificate(&peer(b"leaf"));
        for (token, method) in [
            (bound_to(b"leaf", r#","future":{}"#), "future"),
            (token(r#","cnf":{"jwk":{}}"#), "jwk"),
        ] {
            let error = BindingError::UnsupportedConfirmation { method: method.into() };
            assert_eq!(binding.user(&token), Err(error));
        }
    }

    const KEY: [u8; 32] = [9; 32];

    /// By this key, beside this token.
    fn proof(key: [u8; 32], token: &str) -> Verified<DpopProof> {
        #[expect(clippy::disallowed_methods, reason = "a proof for tests")]
        danger::verified(DpopProof::new(key, sha256(token.as_bytes())))
    }

    fn jkt(key: [u8; 32]) -> String {
        format!(r#""jkt":"{}""#, minted::base64url(key))
    }

    #[test]
    fn a_token_that_is_bound_to_a_key_has_a_user_with_a_proof_of_that_key_only() {
        let (text, bound) = sent(&format!(r#","cnf":{{{}}}"#, jkt(KEY)));
        assert!(Binding::dpop(&proof(KEY, &text)).user(&bound).is_ok());
        let other = Binding::dpop(&proof([8; 32], &text)).user(&bound);
        assert_eq!(other, Err(BindingError::OtherKey));
        assert_eq!(Binding::bearer().user(&bound), Err(BindingError::Bound));
        let certificate = Binding::certificate(&peer(b"leaf")).user(&bound);
        assert_eq!(certificate, Err(BindingError::KeyNotProven));
    }

    #[test]
    fn a_proof_is_worth_nothing_with_another_token_of_the_same_key() {
        let (first, bound) = sent(&format!(r#","cnf":{{{}}}"#, jkt(KEY)));
        let (second, other) = sent(&format!(r#","scope":"admin","cnf":{{{}}}"#, jkt(KEY)));
        for (proven, token, good) in [(&first, &bound, true), (&second, &other, true)]
            .into_iter()
            .chain([(&first, &other, false), (&second, &bound, false)])
        {
            let proof = proof(KEY, proven);
            for binding in [Binding::dpop(&proof), Binding::dpop(&proof).over(&peer(b"leaf"))] {
                let user = binding.user(token).map(|_| ());
                assert_eq!(user, if good { Ok(()) } else { Err(BindingError::OtherToken) });
            }
        }
    }

    #[test]
    fn a_proof_is_worth_nothing_with_a_token_that_is_not_bound_to_a_key() {
        for (text, token) in [sent(""), (String::new(), bound_to(b"leaf", ""))] {
            let refused = Binding::dpop(&proof(KEY, &text)).over(&peer(b"leaf")).user(&token);
            assert_eq!(refused, Err(BindingError::Unbound));
        }
        let (text, unknown) = sent(&format!(r#","cnf":{{{},"future":1}}"#, jkt(KEY)));
        let method = "future".into();
        let refused = Binding::dpop(&proof(KEY, &text)).user(&unknown);
        assert_eq!(refused, Err(BindingError::UnsupportedConfirmation { method }));
    }

    #[test]
    fn a_token_that_is_bound_to_a_key_and_a_certificate_needs_both() {
        let digest = minted::base64url(sha256(b"leaf"));
        let (text, both) = sent(&format!(r#","cnf":{{"x5t#S256":"{digest}",{}}}"#, jkt(KEY)));
        let proof = proof(KEY, &text);
        assert!(Binding::dpop(&proof).over(&peer(b"leaf")).user(&both).is_ok());
        let refused = |binding: Binding| binding.user(&both).unwrap_err();
        assert_eq!(refused(Binding::dpop(&proof)), BindingError::OtherCertificate);
        let elsewhere = Binding::dpop(&proof).over(&peer(b"other"));
        assert_eq!(refused(elsewhere), BindingError::OtherCertificate);
        assert_eq!(refused(Binding::certificate(&peer(b"leaf"))), BindingError::KeyNotProven);
        assert_eq!(refused(Binding::bearer()), BindingError::Bound);
    }
}

//! A token is not a caller: what makes it one (T-16).
//!
//! A route states how a token has to belong to its sender, and [`Binding::user`] yields the user
//! when it does:
//!
//! - [`Binding::bearer`]: whoever holds the token is believed. A token that is bound to anything,
//!   by `cnf`, is refused: taken as bearer it would lose what binds it (T-16).
//! - [`Binding::certificate`]: the token's `cnf` names the certificate of this very connection,
//!   by `x5t#S256` (RFC 8705 §3, T-30). A token that is bound to nothing is refused.
//!
//! A method of confirmation that cannot be checked is refused, `jkt` (RFC 9449) among them, also
//! beside one that can: all of them have to hold.

use zt_core::danger;
use zt_core::fault::Fault;
use zt_core::peer::Peer;
use zt_core::principal::User;
use zt_core::verified::Verified;

use crate::algorithm::sha256;
use crate::oidc::access_token::{AccessToken, Confirmation};

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
        Self(How::Certificate { sha256: sha256(peer.leaf()) })
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
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the token is verified, and belongs to its sender in the way the route states"
        )]
        let user = danger::verified(token.user().clone());
        Ok(user)
    }
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
    let confirmation = confirmation.ok_or(BindingError::Unbound)?;
    if let Some(method) = confirmation.unsupported() {
        return Err(BindingError::UnsupportedConfirmation { method: method.to_owned() });
    }
    if confirmation.certificate_sha256() != Some(sha256) {
        return Err(BindingError::OtherCertificate);
    }
    Ok(())
}

/// Why a token does not belong to its sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindingError {
    /// The token is bound to a key or certificate, and was sent as if it were not.
    #[error("the token is bound and cannot be used as bearer")]
    Bound,
    /// The token is bound to nothing where possession is demanded.
    #[error("the token is not bound to a certificate")]
    Unbound,
    /// The token is bound by a method that cannot be checked.
    #[error("the confirmation method {method:?} is not supported")]
    UnsupportedConfirmation {
        /// The method, cut.
        method: String,
    },
    /// The token is bound to another certificate than that of this connection.
    #[error("the token is bound to another certificate")]
    OtherCertificate,
}

impl BindingError {
    /// Whose fault it is: that of whoever sent the token.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}

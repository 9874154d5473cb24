//! The URL that names an issuer.

use std::fmt;
use std::sync::Arc;

use zt_core::fault::Fault;

/// The URL of an issuer: compared byte for byte, never normalised.
///
/// It is `https`, with a host and without user, query or fragment (OpenID Connect Discovery §2,
/// RFC 8414 §2, T-15).
///
/// ```
/// use zt_identity::oidc::issuer::Issuer;
///
/// assert!(Issuer::parse("https://login.example.com/tenant").is_ok());
/// assert!(Issuer::parse("http://login.example.com").is_err());
/// assert!(Issuer::parse("https://login.example.com/?tenant=1").is_err());
/// assert!(Issuer::loopback("http://127.0.0.1:8080").is_ok());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Issuer(Arc<str>);

impl Issuer {
    /// An issuer that is reached over `https`.
    ///
    /// # Errors
    ///
    /// [`IssuerError`] names the first rule that is broken.
    pub fn parse(url: &str) -> Result<Self, IssuerError> {
        let rest = url.strip_prefix("https://").ok_or(IssuerError::NotHttps)?;
        check_rest(rest)?;
        Ok(Self(url.into()))
    }

    /// An issuer on this machine that is reached over plain `http`, for development and tests:
    /// `localhost`, `127.0.0.1` or `[::1]`.
    ///
    /// # Errors
    ///
    /// [`IssuerError`] names the first rule that is broken.
    pub fn loopback(url: &str) -> Result<Self, IssuerError> {
        let rest = url.strip_prefix("http://").ok_or(IssuerError::NotLoopback)?;
        check_rest(rest)?;
        if is_loopback(authority(rest)) {
            Ok(Self(url.into()))
        } else {
            Err(IssuerError::NotLoopback)
        }
    }

    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_loopback(&self) -> bool {
        self.0.starts_with("http://")
    }

    /// Where its discovery document is (OpenID Connect Discovery §4.1).
    #[cfg(feature = "http")]
    pub(super) fn discovery_url(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.0.trim_end_matches('/'))
    }

    /// Whether an endpoint of this issuer, such as that of its keys, may be at `url`: over `https`, or from this machine
    /// when the issuer is there too.
    pub(crate) fn admits_keys_at(&self, url: &str) -> bool {
        let visible = url.bytes().all(|byte| byte.is_ascii_graphic());
        let host = |rest| !authority(rest).is_empty() && !authority(rest).contains('@');
        let allowed = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => host(rest),
            (None, Some(rest)) => self.is_loopback() && is_loopback(authority(rest)),
            (None, None) => false,
        };
        visible && allowed
    }

    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Whether `host[:port]` is this machine.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

/// What follows the scheme: a host, and nothing that names something else than an issuer.
fn check_rest(rest: &str) -> Result<(), IssuerError> {
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(IssuerError::Character);
    }
    if rest.contains(['{', '}']) {
        return Err(IssuerError::Template);
    }
    if rest.contains(['?', '#']) {
        return Err(IssuerError::QueryOrFragment);
    }
    match authority(rest) {
        authority if authority.contains('@') => Err(IssuerError::UserInfo),
        authority if authority.is_empty() || authority.starts_with(':') => Err(IssuerError::NoHost),
        _ => Ok(()),
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a URL cannot name an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// The URL does not begin with `https://`, in lower case.
    #[error("the URL of an issuer begins with https://")]
    NotHttps,
    /// The URL is not `http` on this machine.
    #[error("plain http is for localhost, 127.0.0.1 and [::1]")]
    NotLoopback,
    /// The URL has no host.
    #[error("the URL of an issuer has a host")]
    NoHost,
    /// The URL names a user.
    #[error("the URL of an issuer has no user")]
    UserInfo,
    /// The URL has a query or a fragment.
    #[error("the URL of an issuer has neither query nor fragment")]
    QueryOrFragment,
    /// The URL has a character that no URL has.
    #[error("the URL of an issuer is visible ASCII")]
    Character,
    /// The URL has a `{` or `}`: it stands for the issuers of many tenants, and no token names it.
    #[error("the URL of an issuer is that of one tenant, without {{ and }}")]
    Template,
}

impl IssuerError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_an_issuer_is_https_with_a_host_and_nothing_besides() {
        for good in ["https://a", "https://a:8443/b/c", "https://a/", "https://[::1]/"] {
            assert_eq!(Issuer::parse(good).map(|issuer| issuer.to_string()), Ok(good.into()));
        }
        for (bad, error) in [
            ("", IssuerError::NotHttps),
            ("http://a", IssuerError::NotHttps),
            ("HTTPS://a", IssuerError::NotHttps),
            ("https:a", IssuerError::NotHttps),
            ("https://", IssuerError::NoHost),
            ("https:///a", IssuerError::NoHost),
            ("https://:443", IssuerError::NoHost),
            ("https://u@a", IssuerError::UserInfo),
            ("https://u:p@a/b", IssuerError::UserInfo),
            ("https://a?b", IssuerError::QueryOrFragment),
            ("https://a/#", IssuerError::QueryOrFragment),
            ("https://a /b", IssuerError::Character),
            ("https://é", IssuerError::Character),
            ("https://a\n", IssuerError::Character),
            ("https://a/{tenantid}/v2.0", IssuerError::Template),
            ("https://a/b}", IssuerError::Template),
        ] {
            assert_eq!(Issuer::parse(bad), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_and_has_to_be_asked_for() {
        for good in
            ["http://localhost", "http://127.0.0.1:80/a", "http://[::1]:8080", "http://[::1]"]
        {
            assert!(Issuer::loopback(good).is_ok(), "{good}");
        }
        for bad in [
            "https://localhost",
            "http://localhost.example",
            "http://127.0.0.1.example",
            "http://127.0.0.2",
            "http://a",
            "http://localhost:80:80",
            "http://localhost:x",
        ] {
            assert_eq!(Issuer::loopback(bad), Err(IssuerError::NotLoopback), "{bad}");
        }
        assert_eq!(Issuer::loopback("http://u@localhost"), Err(IssuerError::UserInfo));
    }
}

//! What has begun and not ended: kept for the browser that began it, used once.
//!
//! A pending login holds secrets (`nonce`, the PKCE verifier) and what the browser has to bring back
//! (`state`). It belongs into the session of the browser, on the server; as text it fits into any
//! store. It is no cookie, unless one that nobody else can read, change or make.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zt_core::fault::Fault;
use zt_core::secret::Secret;
use zt_core::time::Timestamp;

use super::error::LoginError;
use super::response::{Response, ResponseError};
use super::return_path::ReturnPath;
use crate::algorithm::sha256;
use crate::oidc::step_up::StepUp;

/// The longest text of a pending login, in bytes.
pub const MAX_TEXT_LEN: usize = 16 * 1024;

/// A login that has begun. It is used up by the attempt to end it.
pub struct PendingLogin {
    pub(super) issuer: Arc<str>,
    pub(super) client_id: Arc<str>,
    pub(super) state: Secret<String>,
    pub(super) nonce: Secret<String>,
    pub(super) verifier: Secret<String>,
    pub(super) until: Timestamp,
    pub(super) return_to: ReturnPath,
    pub(super) step_up: Option<StepUp>,
    pub(super) subject: Option<Arc<str>>,
}

impl PendingLogin {
    /// The last moment at which it can end.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    /// As text, for a store that the browser cannot read or write.
    #[must_use]
    pub fn to_text(&self) -> Secret<String> {
        let (acr_values, max_age) = match &self.step_up {
            None => (Vec::new(), None),
            Some(step_up) => {
                let values = step_up.acr_values().iter().map(|acr| acr.to_string()).collect();
                (values, step_up.max_age().map(|age| age.as_secs()))
            }
        };
        let stored = Stored {
            issuer: self.issuer.to_string(),
            client_id: self.client_id.to_string(),
            state: self.state.expose().clone(),
            nonce: self.nonce.expose().clone(),
            verifier: self.verifier.expose().clone(),
            until: self.until.as_micros(),
            return_to: self.return_to.as_str().to_owned(),
            acr_values,
            max_age,
            subject: self.subject.as_deref().map(str::to_owned),
        };
        Secret::new(serde_json::to_string(&stored).unwrap_or_default())
    }

    /// Reads what [`PendingLogin::to_text`] wrote.
    ///
    /// # Errors
    ///
    /// [`PendingLoginError`] when it did not write this.
    pub fn from_text(text: &str) -> Result<Self, PendingLoginError> {
        if text.len() > MAX_TEXT_LEN {
            return Err(PendingLoginError);
        }
        let stored: Stored = serde_json::from_str(text).map_err(|_| PendingLoginError)?;
        let max_age = stored.max_age.map(Duration::from_secs);
        let acr_values = stored.acr_values.iter().map(String::as_str);
        let demands_nothing = stored.acr_values.is_empty() && max_age.is_none();
        let step_up = (!demands_nothing).then(|| StepUp::new(acr_values, max_age)).transpose();
        Ok(Self {
            issuer: stored.issuer.into(),
            client_id: stored.client_id.into(),
            state: Secret::new(stored.state),
            nonce: Secret::new(stored.nonce),
            verifier: Secret::new(stored.verifier),
            until: Timestamp::from_micros(stored.until),
            return_to: ReturnPath::parse(&stored.return_to).map_err(|_| PendingLoginError)?,
            step_up: step_up.map_err(|_| PendingLoginError)?,
            subject: stored.subject.map(Arc::from),
        })
    }
}

/// Without its secrets.
impl fmt::Debug for PendingLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingLogin")
            .field("issuer", &self.issuer)
            .field("until", &self.until)
            .field("return_to", &self.return_to)
            .field("step_up", &self.step_up)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    issuer: String,
    client_id: String,
    state: String,
    nonce: String,
    verifier: String,
    until: i64,
    return_to: String,
    acr_values: Vec<String>,
    max_age: Option<u64>,
    subject: Option<String>,
}

/// A text that is no pending login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is no pending login")]
#[non_exhaustive]
pub struct PendingLoginError;

impl PendingLoginError {
    /// Whose fault it is: that of the embedding program, whose store it comes from.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// A sign-out that is to come back from the provider.
#[derive(Debug)]
pub struct PendingSignOut {
    pub(super) state: Secret<String>,
}

impl PendingSignOut {
    /// Whether the browser comes back from this sign-out: the query has its `state`
    /// (RP-Initiated Logout §3).
    ///
    /// # Errors
    ///
    /// [`LoginError::Response`] or [`LoginError::State`] when it does not.
    pub fn finish(self, query: &str) -> Result<(), LoginError> {
        check_state(&Response::parse(query)?, &self.state)
    }
}

/// In a time that tells nothing about the secret.
pub(super) fn check_state(response: &Response, sent: &Secret<String>) -> Result<(), LoginError> {
    let found = response.state.as_deref().ok_or(ResponseError::Missing { parameter: "state" })?;
    if sha256(found.as_bytes()) == sha256(sent.expose().as_bytes()) {
        return Ok(());
    }
    Err(LoginError::State)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending() -> PendingLogin {
        PendingLogin {
            issuer: "https://login.example.com".into(),
            client_id: "shop".into(),
            state: Secret::new("s3cret-state".into()),
            nonce: Secret::new("s3cret-nonce".into()),
            verifier: Secret::new("s3cret-verifier".into()),
            until: Timestamp::from_secs(1_800_000_000),
            return_to: ReturnPath::parse("/a?b=c").unwrap(),
            step_up: Some(StepUp::new(["mfa"], Some(Duration::from_secs(5))).unwrap()),
            subject: Some("alice".into()),
        }
    }

    #[test]
    fn a_pending_login_is_the_same_after_it_was_stored() {
        let text = pending().to_text();
        let again = PendingLogin::from_text(text.expose()).unwrap();
        assert_eq!(again.to_text().expose(), text.expose());
        let plain = PendingLogin { step_up: None, subject: None, ..pending() };
        let again = PendingLogin::from_text(plain.to_text().expose()).unwrap();
        assert!(again.step_up.is_none() && again.subject.is_none());
        assert_eq!(again.until(), plain.until());
    }

    #[test]
    fn what_is_no_pending_login_is_refused() {
        let text = pending().to_text().expose().clone();
        for bad in [
            "{}".to_owned(),
            text.replace("/a?b=c", "//evil.example"),
            text.replace("mfa", ""),
            text.replace("\"state\"", "\"other\""),
            text.clone() + &" ".repeat(MAX_TEXT_LEN),
        ] {
            assert_eq!(PendingLogin::from_text(&bad).err(), Some(PendingLoginError), "{bad}");
        }
    }

    #[test]
    fn a_pending_login_shows_no_secret() {
        assert!(!format!("{:?}", pending()).contains("s3cret"));
        let sign_out = PendingSignOut { state: Secret::new("s3cret".into()) };
        assert!(!format!("{sign_out:?}").contains("s3cret"));
    }

    #[test]
    fn a_sign_out_comes_back_with_its_state() {
        let pending = || PendingSignOut { state: Secret::new("a".into()) };
        assert!(pending().finish("state=a").is_ok());
        assert!(matches!(pending().finish("state=b"), Err(LoginError::State)));
        assert!(matches!(pending().finish(""), Err(LoginError::Response(_))));
    }
}

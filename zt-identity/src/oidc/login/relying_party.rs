//! The client of a provider that signs users in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openidconnect::core::{CoreAuthPrompt, CoreResponseType};
use openidconnect::{
    AuthType, AuthUrl, AuthenticationContextClass, AuthenticationFlow, AuthorizationCode, ClientId,
    ClientSecret, CsrfToken, EndSessionUrl, IssuerUrl, JsonWebKeySet, LoginHint, LogoutRequest,
    Nonce, PkceCodeChallenge, PkceCodeVerifier, PostLogoutRedirectUrl, RedirectUrl, RefreshToken,
    Scope, TokenUrl,
};
use zt_core::secret::Secret;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use super::answer::{self, Answer, Client, TokenEndpointError};
use super::error::LoginError;
use super::metadata::{Metadata, Provider};
use super::pending::{PendingLogin, PendingSignOut, check_state};
use super::response::{Response, ResponseError};
use super::return_path::ReturnPath;
use super::session::{Facts, Session, SignedIn};
use crate::algorithm::random_text;
use crate::excerpt::excerpt;
use crate::oidc::id_token::{IdToken, IdTokenError, IdTokenVerifier, Login};
use crate::oidc::keys::IssuerKeys;
use crate::oidc::signed::SignedTokenError;
use crate::oidc::step_up::StepUp;

/// A client that signs users in at one provider. A clone is the same client.
///
/// See the [module](super) for what it does.
#[derive(Clone)]
pub struct RelyingParty(pub(super) Arc<Parts>);

pub(super) struct Parts {
    pub(super) provider: Provider,
    pub(super) issuer: IssuerUrl,
    pub(super) client_id: Arc<str>,
    pub(super) client_secret: Option<Secret<String>>,
    pub(super) redirect_uri: RedirectUrl,
    pub(super) post_logout_redirect_uri: Option<PostLogoutRedirectUrl>,
    pub(super) scopes: Vec<Arc<str>>,
    pub(super) login_lifetime: Duration,
    pub(super) patience: Duration,
    pub(super) keys: IssuerKeys,
    pub(super) id_tokens: IdTokenVerifier,
}

/// A login that has begun.
#[derive(Debug)]
#[non_exhaustive]
pub struct Begun {
    /// Where to send the browser.
    pub redirect: String,
    /// What to keep for it until it comes back.
    pub pending: PendingLogin,
}

/// A sign-out that has begun.
#[derive(Debug)]
#[non_exhaustive]
pub struct SignOut {
    /// Where to send the browser.
    pub redirect: String,
    /// What to keep for it until it comes back; `None` where it does not, because the client has
    /// no [`post_logout_redirect_uri`](super::RelyingPartyBuilder::post_logout_redirect_uri).
    pub pending: Option<PendingSignOut>,
}

impl RelyingParty {
    /// Sends a browser to the provider, to sign its user in.
    ///
    /// # Errors
    ///
    /// [`LoginError`] when the provider cannot be found, or there is no randomness.
    pub async fn begin(&self, request: &LoginRequest, now: Timestamp) -> Result<Begun, LoginError> {
        let metadata = self.0.provider.metadata(now).await?;
        let pending = self.pending(request, now)?;
        Ok(Begun { redirect: self.authorization_url(&metadata, request, &pending), pending })
    }

    fn pending(&self, request: &LoginRequest, now: Timestamp) -> Result<PendingLogin, LoginError> {
        Ok(PendingLogin {
            issuer: self.0.issuer.as_str().into(),
            client_id: Arc::clone(&self.0.client_id),
            state: Secret::new(random_text()?),
            nonce: Secret::new(random_text()?),
            verifier: Secret::new(random_text()?),
            until: now.saturating_add(self.0.login_lifetime),
            return_to: request.return_to.clone(),
            step_up: request.step_up.clone(),
            subject: request.session.as_ref().map(|session| session.subject().into()),
        })
    }

    /// Core §3.1.2.1, RFC 7636 §4.3.
    fn authorization_url(
        &self,
        metadata: &Metadata,
        request: &LoginRequest,
        pending: &PendingLogin,
    ) -> String {
        let (state, nonce) = (pending.state.clone(), pending.nonce.clone());
        let verifier = PkceCodeVerifier::new(pending.verifier.expose().clone());
        let client = self.client(metadata);
        let mut url = client
            .authorize_url(
                AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
                move || CsrfToken::new(state.expose().clone()),
                move || Nonce::new(nonce.expose().clone()),
            )
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .add_scopes(self.0.scopes.iter().map(|scope| Scope::new(scope.to_string())));
        if let Some(step_up) = &request.step_up {
            for acr in step_up.acr_values() {
                url = url.add_auth_context_value(AuthenticationContextClass::new(acr.to_string()));
            }
            if let Some(max_age) = step_up.max_age() {
                url = url.set_max_age(max_age);
            }
        }
        if let Some(hint) = &request.login_hint {
            url = url.set_login_hint(LoginHint::new(hint.clone()));
        }
        if request.consent {
            url = url.add_prompt(CoreAuthPrompt::Consent);
        }
        if let Some(session) = &request.session {
            let hint = session.facts().id_token_text.expose().clone();
            url = url.add_extra_param("id_token_hint", hint);
        }
        let (url, _, _) = url.url();
        url.into()
    }

    /// Signs the user of a browser in that comes back with this query, by the rules of the
    /// [module](super). A pending login is used up, whatever comes of it.
    ///
    /// # Errors
    ///
    /// [`LoginError`] names the first rule that is broken.
    pub async fn finish(
        &self,
        pending: PendingLogin,
        query: &str,
        now: Timestamp,
    ) -> Result<SignedIn, LoginError> {
        let response = Response::parse(query)?;
        self.check_ours(&pending.issuer, &pending.client_id)?;
        if now > pending.until {
            return Err(LoginError::TooLate { now, until: pending.until });
        }
        check_state(&response, &pending.state)?;
        let metadata = self.0.provider.metadata(now).await?;
        self.check_issuer(&response, &metadata)?;
        let code = code(response)?;
        // Before the code is used, which can be done once.
        self.0.keys.ready(self.0.patience).await?;
        let answer = self.exchange(&metadata, code.expose(), &pending.verifier).await?;
        let session = self.session(&pending, &code, &answer, now).await?;
        check_step_up(&session, &pending)?;
        Ok(SignedIn { session, return_to: pending.return_to })
    }

    /// A session, or a login, that this client began at this provider.
    fn check_ours(&self, issuer: &str, client_id: &str) -> Result<(), LoginError> {
        if issuer == self.0.issuer.as_str() && client_id == &*self.0.client_id {
            return Ok(());
        }
        Err(LoginError::AnotherClient)
    }

    /// RFC 9207 §2.4.
    fn check_issuer(&self, response: &Response, metadata: &Metadata) -> Result<(), LoginError> {
        match response.iss.as_deref() {
            None if !metadata.names_itself => Ok(()),
            Some(iss) if iss == self.0.issuer.as_str() => Ok(()),
            found => Err(LoginError::Issuer { found: excerpt(found.unwrap_or_default()) }),
        }
    }

    async fn exchange(
        &self,
        metadata: &Metadata,
        code: &str,
        verifier: &Secret<String>,
    ) -> Result<Answer, LoginError> {
        let client = self.client(metadata);
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().clone()));
        Ok(answer::read(request.request_async(self.0.provider.fetcher()).await)?)
    }

    async fn session(
        &self,
        pending: &PendingLogin,
        code: &Secret<String>,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<Session, LoginError> {
        let text = answer.id_token().ok_or(TokenEndpointError::NoIdToken)?;
        let access_token = answer.access_token();
        let mut login = Login::with_nonce(pending.nonce.expose())
            .access_token(access_token.expose())
            .code(code.expose());
        if let Some(max_age) = pending.step_up.as_ref().and_then(StepUp::max_age) {
            login = login.max_age(max_age);
        }
        let id_token = self.verify(text.expose(), &login, now).await?;
        Ok(Session::new(Facts {
            client_id: Arc::clone(&self.0.client_id),
            authentication: id_token.authentication().clone(),
            id_token,
            id_token_text: text,
            nonce: pending.nonce.clone(),
            access_token,
            access_token_expires: answer.expires_in().map(|life| now.saturating_add(life)),
            refresh_token: answer.refresh_token(),
        }))
    }

    /// Verifies an ID token; one that names an unknown key waits for a fetch of the keys.
    async fn verify(
        &self,
        token: &str,
        login: &Login<'_>,
        now: Timestamp,
    ) -> Result<Verified<IdToken>, LoginError> {
        let generation = self.0.keys.generation();
        let verified = self.0.id_tokens.verify(token, login, now);
        if let Err(IdTokenError::Signed(SignedTokenError::UnknownKey { .. })) = verified {
            self.0.keys.changed_since(generation, self.0.patience).await;
            return Ok(self.0.id_tokens.verify(token, login, now)?);
        }
        Ok(verified?)
    }

    /// Gets new tokens for a session (Core §12). The user and how they authenticated stay the same.
    ///
    /// Many providers take a refresh token once, and end the whole session when they see it again:
    /// refresh one session in one place at a time, and put the new one in its place.
    ///
    /// # Errors
    ///
    /// [`LoginError`]; when its [`fault`](LoginError::fault) is the peer's the session is over.
    pub async fn refresh(&self, session: &Session, now: Timestamp) -> Result<Session, LoginError> {
        let old = session.facts();
        self.check_ours(old.id_token.issuer(), &old.client_id)?;
        let refresh_token = old.refresh_token.as_ref().ok_or(LoginError::NoRefreshToken)?;
        let metadata = self.0.provider.metadata(now).await?;
        let sent = RefreshToken::new(refresh_token.expose().clone());
        let client = self.client(&metadata);
        let request = client.exchange_refresh_token(&sent);
        let answer = answer::read(request.request_async(self.0.provider.fetcher()).await)?;
        let (id_token, id_token_text) = match answer.id_token() {
            None => (old.id_token.clone(), old.id_token_text.clone()),
            Some(text) => (self.refreshed(old, &answer, &text, now).await?, text),
        };
        Ok(Session::new(Facts {
            client_id: Arc::clone(&old.client_id),
            id_token,
            id_token_text,
            nonce: old.nonce.clone(),
            authentication: old.authentication.clone(),
            access_token: answer.access_token(),
            access_token_expires: answer.expires_in().map(|life| now.saturating_add(life)),
            refresh_token: answer.refresh_token().or_else(|| Some(refresh_token.clone())),
        }))
    }

    /// Core §12.2: the same user, and the time of the original authentication.
    async fn refreshed(
        &self,
        old: &Facts,
        answer: &Answer,
        text: &Secret<String>,
        now: Timestamp,
    ) -> Result<Verified<IdToken>, LoginError> {
        let access_token = answer.access_token();
        let login = Login::refreshed(Some(old.nonce.expose())).access_token(access_token.expose());
        let id_token = self.verify(text.expose(), &login, now).await?;
        let auth_time = id_token.authentication().auth_time;
        let same_time = auth_time.is_none() || auth_time == old.authentication.auth_time;
        if id_token.subject() == old.id_token.subject() && same_time {
            return Ok(id_token);
        }
        Err(LoginError::AnotherUser)
    }

    /// Sends a browser to the provider, to sign its user out there, too (RP-Initiated Logout §2).
    /// The session here is for the application to end, whether the browser comes back or not.
    ///
    /// # Errors
    ///
    /// [`LoginError`] when the provider has no place to sign out at, or cannot be found.
    pub async fn sign_out(&self, session: &Session, now: Timestamp) -> Result<SignOut, LoginError> {
        let facts = session.facts();
        self.check_ours(facts.id_token.issuer(), &facts.client_id)?;
        let metadata = self.0.provider.metadata(now).await?;
        let url = metadata.end_session_endpoint.clone().ok_or(LoginError::NoEndSession)?;
        let mut request = LogoutRequest::from(EndSessionUrl::from_url(url))
            .set_client_id(ClientId::new(self.0.client_id.to_string()));
        let mut pending = None;
        if let Some(uri) = &self.0.post_logout_redirect_uri {
            let state = Secret::new(random_text()?);
            request = request
                .set_post_logout_redirect_uri(uri.clone())
                .set_state(CsrfToken::new(state.expose().clone()));
            pending = Some(PendingSignOut { state });
        }
        let mut redirect = request.http_get_url();
        redirect.query_pairs_mut().append_pair("id_token_hint", facts.id_token_text.expose());
        Ok(SignOut { redirect: redirect.into(), pending })
    }

    fn client(&self, metadata: &Metadata) -> Client {
        let parts = &self.0;
        let client_id = ClientId::new(parts.client_id.to_string());
        let auth_type =
            if metadata.secret_in_body { AuthType::RequestBody } else { AuthType::BasicAuth };
        let client =
            openidconnect::Client::new(client_id, parts.issuer.clone(), JsonWebKeySet::default())
                .set_auth_uri(AuthUrl::from_url(metadata.authorization_endpoint.clone()))
                .set_token_uri(TokenUrl::from_url(metadata.token_endpoint.clone()))
                .set_redirect_uri(parts.redirect_uri.clone())
                .set_auth_type(auth_type);
        match &parts.client_secret {
            Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose().clone())),
            None => client,
        }
    }
}

/// RFC 6749 §4.1.2, §4.1.2.1.
fn code(response: Response) -> Result<Secret<String>, LoginError> {
    if let Some(error) = response.error {
        return Err(LoginError::Refused { error: excerpt(&error) });
    }
    let code = response.code.filter(|code| !code.is_empty());
    Ok(Secret::new(code.ok_or(ResponseError::Missing { parameter: "code" })?))
}

/// RFC 9470 §5. The age was judged with the ID token.
fn check_step_up(session: &Session, pending: &PendingLogin) -> Result<(), LoginError> {
    if pending.subject.as_deref().is_some_and(|subject| subject != session.subject()) {
        return Err(LoginError::AnotherUser);
    }
    match &pending.step_up {
        Some(step_up) if !step_up.has_context(session.authentication()) => {
            Err(LoginError::StepUpNotMet)
        }
        _ => Ok(()),
    }
}

/// Without its secret.
impl fmt::Debug for RelyingParty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelyingParty")
            .field("issuer", &self.0.issuer.as_str())
            .field("client_id", &self.0.client_id)
            .field("redirect_uri", &self.0.redirect_uri.as_str())
            .finish_non_exhaustive()
    }
}

/// What is asked of a login.
#[must_use]
#[derive(Clone, Debug, Default)]
pub struct LoginRequest {
    return_to: ReturnPath,
    step_up: Option<StepUp>,
    session: Option<Session>,
    login_hint: Option<String>,
    consent: bool,
}

impl LoginRequest {
    /// Any user, in any way; then the beginning of the application.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the browser goes when its user is signed in.
    pub fn return_to(self, path: ReturnPath) -> Self {
        Self { return_to: path, ..self }
    }

    /// How, or how recently, the user has to authenticate; a login that ends otherwise is refused.
    pub fn step_up(self, step_up: StepUp) -> Self {
        Self { step_up: Some(step_up), ..self }
    }

    /// The user of this session, and no other.
    pub fn same_user(self, session: &Session) -> Self {
        Self { session: Some(session.clone()), ..self }
    }

    /// Whom the provider may suggest, such as an address (Core §3.1.2.1).
    pub fn login_hint(self, hint: impl Into<String>) -> Self {
        Self { login_hint: Some(hint.into()), ..self }
    }

    /// Has the user asked for consent, as some providers want it for the scope `offline_access`
    /// (Core §11).
    pub fn ask_consent(self) -> Self {
        Self { consent: true, ..self }
    }
}

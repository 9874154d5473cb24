//! The place where tokens are given out, asked for one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zt_core::time::Timestamp;

use super::actor::ActorToken;
use super::answer::{self, TokenAnswer};
use super::destination::Destination;
use super::error::OutgoingError;
use super::proof::{DPOP, Proofs, Proven, nonce_of};
use super::user_token::UserToken;
use crate::oidc::client_authentication::ClientAuthentication;
use crate::oidc::fetch::{FetchError, Fetcher};
use crate::oidc::form::Form;
use crate::oidc::issuer::Issuer;

const CLIENT_CREDENTIALS: &str = "client_credentials";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

pub(super) struct TokenEndpoint {
    pub(super) issuer: Issuer,
    pub(super) url: Arc<str>,
    pub(super) client: ClientAuthentication,
    pub(super) fetcher: Fetcher,
    pub(super) timeout: Duration,
    pub(super) actor: Option<ActorToken>,
    pub(super) proofs: Proofs,
    pub(super) nonce: ArcSwapOption<String>,
    pub(super) room: Semaphore,
}

impl TokenEndpoint {
    pub(super) const fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// Asks for a token for this destination, within the timeout.
    pub(super) async fn ask(
        &self,
        destination: &Destination,
        user: Option<&UserToken>,
        now: Timestamp,
    ) -> Result<TokenAnswer, OutgoingError> {
        let asked = timeout(self.timeout, self.ask_for_long(destination, user, now)).await;
        asked.unwrap_or_else(|_| Err(FetchError::Timeout { after: self.timeout }.into()))
    }

    async fn ask_for_long(
        &self,
        destination: &Destination,
        user: Option<&UserToken>,
        now: Timestamp,
    ) -> Result<TokenAnswer, OutgoingError> {
        // It is never closed.
        let _room = self.room.acquire().await.map_err(|_| OutgoingError::GivenUp)?;
        let answer = self.post(destination, user, now).await?;
        let is_new = self.take_nonce(&answer, destination);
        match read(&answer, destination) {
            // RFC 9449 §8: once more, with the nonce that it wants.
            Err(OutgoingError::Refused { error }) if is_new && error == "use_dpop_nonce" => {
                let answer = self.post(destination, user, now).await?;
                self.take_nonce(&answer, destination);
                read(&answer, destination)
            }
            read => read,
        }
    }

    /// Whether there is a nonce that was not known before.
    fn take_nonce(&self, answer: &Response<Bytes>, destination: &Destination) -> bool {
        let nonce = nonce_of(answer.headers()).filter(|_| destination.is_proven());
        let Some(nonce) = nonce else { return false };
        let old = self.nonce.swap(Some(Arc::new(nonce.to_owned())));
        old.is_none_or(|old| *old != nonce)
    }

    /// RFC 8693 §2.1.
    async fn with_actor(
        &self,
        form: Form,
        user: Option<&UserToken>,
        now: Timestamp,
    ) -> Result<Form, OutgoingError> {
        let Some(actor) = self.actor.as_ref().filter(|_| user.is_some()) else { return Ok(form) };
        let token = actor.current(now).await?;
        Ok(form.with("actor_token", token.expose()).with("actor_token_type", JWT))
    }

    async fn post(
        &self,
        destination: &Destination,
        user: Option<&UserToken>,
        now: Timestamp,
    ) -> Result<Response<Bytes>, OutgoingError> {
        let form = self.with_actor(form(destination, user), user, now).await?;
        let (form, authorization) = self.client.applied(form, &self.issuer, now)?;
        let mut headers = HeaderMap::new();
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        if destination.is_proven() {
            let nonce = self.nonce.load();
            let nonce = nonce.as_deref().map(String::as_str);
            let url = self.url.split('?').next().unwrap_or_default();
            let proven = Proven { method: "POST", url, token: None, nonce };
            headers.insert(DPOP, self.proofs.proof(&proven, now)?);
        }
        let statuses = [StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED];
        Ok(self.fetcher.post_form(&self.url, headers, form.text(), &statuses).await?)
    }
}

fn read(answer: &Response<Bytes>, destination: &Destination) -> Result<TokenAnswer, OutgoingError> {
    if answer.status() == StatusCode::OK {
        return Ok(answer::granted(answer.body(), destination)?);
    }
    Err(answer::refused(answer.body()))
}

/// RFC 6749 §4.4.2, RFC 8693 §2.1, RFC 8707 §2.
fn form(destination: &Destination, user: Option<&UserToken>) -> Form {
    let form = match user {
        None => Form::new().with("grant_type", CLIENT_CREDENTIALS),
        Some(user) => Form::new()
            .with("grant_type", TOKEN_EXCHANGE)
            .with("subject_token", user.text())
            .with("subject_token_type", ACCESS_TOKEN)
            .with("requested_token_type", ACCESS_TOKEN),
    };
    let named = [("audience", destination.audiences()), ("resource", destination.resources())];
    let form = named.into_iter().fold(form, |form, (name, values)| {
        values.iter().fold(form, |form, value| form.with(name, value))
    });
    match destination.scopes() {
        [] => form,
        scopes => form.with("scope", &scopes.join(" ")),
    }
}

impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpoint")
            .field("url", &self.url)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

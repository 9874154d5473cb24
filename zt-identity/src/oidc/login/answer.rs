//! What a token endpoint answers, and the one place that asks it.
//!
//! The ID token stays the text that it arrived as: it is verified by
//! [`id_token`](crate::oidc::id_token) and read by nothing else.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreRevocableToken,
    CoreRevocationErrorResponse, CoreTokenIntrospectionResponse,
};
use openidconnect::{
    AccessToken, AsyncHttpClient, EmptyAdditionalClaims, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, IdToken, OAuth2TokenResponse, RefreshToken, RequestTokenError, Scope,
    StandardErrorResponse, TokenResponse, TokenType,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zt_core::fault::Fault;
use zt_core::secret::Secret;

use crate::excerpt::excerpt;
use crate::oidc::fetch::{FetchError, Fetcher};

/// A client of `openidconnect` whose answers are [`Answer`]s.
pub(super) type Client = openidconnect::Client<
    EmptyAdditionalClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    ErrorAnswer,
    Answer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
    EndpointNotSet,
>;

type ErrorAnswer = StandardErrorResponse<CoreErrorResponseType>;

/// Tokens, as RFC 6749 §5.1 and OpenID Connect Core §3.1.3.3 name them.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    access_token: AccessToken,
    token_type: Kind,
    expires_in: Option<u64>,
    refresh_token: Option<RefreshToken>,
    id_token: Option<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Kind(String);

impl TokenType for Kind {}

#[derive(Debug)]
struct Text(Secret<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

impl Answer {
    pub(super) fn access_token(&self) -> Secret<String> {
        Secret::new(self.access_token.secret().clone())
    }

    pub(super) fn expires_in(&self) -> Option<Duration> {
        self.expires_in.map(Duration::from_secs)
    }

    pub(super) fn refresh_token(&self) -> Option<Secret<String>> {
        self.refresh_token.as_ref().map(|token| Secret::new(token.secret().clone()))
    }

    pub(super) fn id_token(&self) -> Option<Secret<String>> {
        self.id_token.as_ref().map(|text| text.0.clone())
    }
}

// What `openidconnect` wants of an answer, and does not use.

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("tokens are not written"))
    }
}

impl OAuth2TokenResponse for Answer {
    type TokenType = Kind;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &Kind {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in()
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

type UnreadIdToken = IdToken<
    EmptyAdditionalClaims,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

impl
    TokenResponse<
        EmptyAdditionalClaims,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    > for Answer
{
    fn id_token(&self) -> Option<&UnreadIdToken> {
        None
    }
}

impl<'c> AsyncHttpClient<'c> for Fetcher {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async {
            // An error is answered in JSON, too (RFC 6749 §5.2).
            let statuses = [StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED];
            let request = request.map(Bytes::from);
            let answer = self.send(request, &statuses, &["application/json"]).await?;
            Ok(answer.map(Vec::from))
        })
    }
}

/// The answer, when it holds a bearer token: one that is bound to a key would be of no use here.
pub(super) fn read(
    answer: Result<Answer, RequestTokenError<FetchError, ErrorAnswer>>,
) -> Result<Answer, TokenEndpointError> {
    let answer = answer.map_err(|error| match error {
        RequestTokenError::ServerResponse(answer) => {
            TokenEndpointError::Refused { error: excerpt(answer.error().as_ref()) }
        }
        RequestTokenError::Request(error) => TokenEndpointError::Unreachable(error),
        // What cannot be parsed may hold tokens: nothing of it is told.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => TokenEndpointError::Malformed,
    })?;
    if answer.token_type.0.eq_ignore_ascii_case("bearer") {
        return Ok(answer);
    }
    Err(TokenEndpointError::TokenType { found: excerpt(&answer.token_type.0) })
}

/// Why a token endpoint gave out no tokens.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenEndpointError {
    /// It says no: the code or the refresh token is not, or no longer, good for this client, or
    /// the client is not who it says.
    #[error("the token endpoint says {error:?}")]
    Refused {
        /// The error code (RFC 6749 §5.2), cut.
        error: String,
    },
    /// There was no answer that could be read as one.
    #[error("the token endpoint does not answer")]
    Unreachable(#[source] FetchError),
    /// The answer is not one.
    #[error("the answer of the token endpoint is malformed")]
    Malformed,
    /// The access token is of a type that has to be used in another way.
    #[error("the access token is of the type {found:?}")]
    TokenType {
        /// The type, cut.
        found: String,
    },
    /// There is no ID token.
    #[error("the token endpoint gave out no ID token")]
    NoIdToken,
}

impl TokenEndpointError {
    /// Whose fault it is: the browser's when the code or token that it brought is refused, the
    /// embedding program's when the client is, else the authority's.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Refused { error } if error == "invalid_grant" => Fault::Peer,
            Self::Refused { .. } => Fault::Caller,
            Self::Unreachable(_) | Self::Malformed | Self::TokenType { .. } | Self::NoIdToken => {
                Fault::Authority
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_shows_no_token_and_is_not_written() {
        let answer = r#"{"access_token":"s3cret","token_type":"Bearer","expires_in":60,
            "refresh_token":"s3cret","id_token":"s3cret","scope":"openid","extra":[1]}"#;
        let answer: Answer = serde_json::from_str(answer).unwrap();
        assert!(!format!("{answer:?}").contains("s3cret"));
        assert!(serde_json::to_string(&answer).is_err());
        assert_eq!(answer.id_token().unwrap().expose(), "s3cret");
    }

    #[test]
    fn a_token_is_there_once() {
        let twice = r#"{"access_token":"a","token_type":"Bearer","id_token":"a","id_token":"b"}"#;
        assert!(serde_json::from_str::<Answer>(twice).is_err());
    }

    #[test]
    fn a_token_that_is_no_bearer_token_is_refused() {
        let answer = |kind: &str| {
            let answer = format!(r#"{{"access_token":"a","token_type":"{kind}"}}"#);
            read(Ok(serde_json::from_str(&answer).unwrap())).map(|_| ())
        };
        assert!(answer("Bearer").is_ok() && answer("bearer").is_ok());
        assert!(matches!(answer("DPoP"), Err(TokenEndpointError::TokenType { .. })));
    }

    #[test]
    fn what_cannot_be_parsed_is_not_told() {
        let refused = read(Err(RequestTokenError::Other("s3cret".into()))).unwrap_err();
        assert_eq!(refused.to_string(), "the answer of the token endpoint is malformed");
    }
}

//! Signing users in at an OpenID provider: authorization code with PKCE (OpenID Connect Core §3.1,
//! RFC 9700 §2.1.1).
//!
//! [`RelyingParty::begin`] sends a browser to the provider and gives out a
//! [`PendingLogin`](pending::PendingLogin) to keep for it. [`RelyingParty::finish`] takes it back
//! with the query that the browser returns with, and signs its user in when, in this order:
//!
//! 1. the query can be read in one way only ([`response`]);
//! 2. the login was begun by this client at this provider, and not too long ago;
//! 3. `state` is the one of this login: the response belongs to it (RFC 6749 §10.12);
//! 4. `iss`, where it is there, is the provider, and it is there where the provider says so
//!    (RFC 9207 §2.4);
//! 5. there is no `error`, and there is a `code`;
//! 6. the token endpoint takes the code, with the verifier of this login (RFC 7636 §4.5), and gives
//!    out a bearer token and an ID token;
//! 7. the ID token is good: signature, `iss`, `aud`, `azp`, times, `nonce`, `at_hash`, `c_hash`, and
//!    `auth_time` where an age was demanded ([`id_token`](crate::oidc::id_token));
//! 8. the user has authenticated in one of the contexts that were demanded, where any were
//!    (RFC 9470 §5), and is the one who was signed in already, where that was demanded.
//!
//! Then [`RelyingParty::refresh`] gets new tokens and [`RelyingParty::sign_out`] ends the session at
//! the provider, too.
//!
//! ```no_run
//! use std::time::Duration;
//! use zt_core::time::{Clock, SystemClock};
//! use zt_identity::oidc::login::return_path::ReturnPath;
//! use zt_identity::oidc::login::sessions::Sessions;
//! use zt_identity::oidc::login::{LoginRequest, RelyingParty};
//!
//! # async fn login(cookie: String, query: String) -> Result<(), Box<dyn std::error::Error>> {
//! let party = RelyingParty::builder("https://login.example.com", "shop")?
//!     .client_secret(std::fs::read_to_string("client-secret")?)
//!     .redirect_uri("https://shop.example/signed-in")
//!     .build()?;
//! let (logins, sessions) = (Sessions::new(100_000), Sessions::new(100_000));
//!
//! // GET /sign-in?return_to=/orders/42
//! let request = LoginRequest::new().return_to(ReturnPath::parse("/orders/42")?);
//! let begun = party.begin(&request, SystemClock.now()).await?;
//! let until = begun.pending.until();
//! let set_cookie = logins.insert(begun.pending, until, SystemClock.now())?;
//! let location = begun.redirect;
//!
//! // GET /signed-in?code=…&state=…
//! let now = SystemClock.now();
//! let pending = logins.take(&cookie, now).ok_or("no login has begun here")?;
//! let signed_in = party.finish(pending, &query, now).await?;
//! let until = now.saturating_add(Duration::from_secs(8 * 3600));
//! let set_cookie = sessions.insert(signed_in.session, until, now)?;
//! let location = signed_in.return_to;
//! # Ok(())
//! # }
//! ```
//!
//! # What is left to the application
//!
//! Cookies: `Secure`, `HttpOnly`, `SameSite=Lax` (with `Strict` a browser that comes back from the
//! provider shows none), and a name that begins with `__Host-`. A new one for each sign-in. How
//! long a session counts, and who may see what.
//!
//! # What is not done
//!
//! No implicit or hybrid flow, no `form_post`, no `private_key_jwt`, no pushed or signed requests, no
//! encrypted ID tokens, no userinfo: what is to be known about a user has to be in the ID token. A
//! token endpoint that binds tokens to keys is refused.

// In this order: a module uses only those above it.
pub mod return_path;
pub mod response;
pub mod metadata;
pub mod answer;
pub mod error;
pub mod pending;
pub mod session;
pub mod sessions;
mod relying_party;
mod builder;

pub use self::builder::{
    DEFAULT_LOGIN_LIFETIME, MAX_LOGIN_LIFETIME, RelyingPartyBuilder, RelyingPartyError,
};
pub use self::error::LoginError;
pub use self::relying_party::{Begun, LoginRequest, RelyingParty, SignOut};

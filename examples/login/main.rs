//! A web application that signs its users in, asks for more on a sensitive page, and signs them
//! out. README.md beside this file says how to run it.

mod cookies;
mod options;
mod pages;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Query, RawQuery, State};
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, http};
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tokio::net::TcpListener;
use zt_core::fault::Fault;
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_examples::{Outcome, chain};
use zt_identity::oidc::login::pending::{PendingLogin, PendingSignOut};
use zt_identity::oidc::login::return_path::ReturnPath;
use zt_identity::oidc::login::session::Session;
use zt_identity::oidc::login::sessions::{Sessions, SessionsError};
use zt_identity::oidc::login::{LoginError, LoginRequest, RelyingParty};
use zt_identity::oidc::step_up::StepUp;

use crate::cookies::{LOGIN, SESSION, SIGN_OUT};
use crate::options::{Options, USAGE};

/// How long a session counts, whatever its browser does.
const SESSION_LIFETIME: Duration = Duration::from_secs(8 * 3600);
const SIGN_OUT_LIFETIME: Duration = Duration::from_secs(600);
/// How recently a second factor has to have been shown for the sensitive page.
const SENSITIVE_AGE: Duration = Duration::from_secs(300);

struct App {
    party: RelyingParty,
    /// What the sensitive page demands.
    sensitive: StepUp,
    logins: Sessions<PendingLogin>,
    sessions: Sessions<Session>,
    sign_outs: Sessions<PendingSignOut>,
}

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let outcome = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => serve(options).await,
        Err(wrong) => Err(format!("{wrong}\n\n{USAGE}").into()),
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    eprintln!("login: {}", chain(&*error));
    ExitCode::FAILURE
}

async fn serve(options: Options) -> Outcome<()> {
    let listener = TcpListener::bind(options.listen).await?;
    let url = match &options.url {
        Some(url) => url.clone(),
        None => format!("http://{}", listener.local_addr()?),
    };
    let mut party = RelyingParty::for_issuer(options.issuer.clone(), &options.client_id)
        .redirect_uri(&format!("{url}/signed-in"))
        .post_logout_redirect_uri(&format!("{url}/signed-out"))
        .scope("email");
    if let Some(secret) = options.client_secret {
        party = party.client_secret(secret);
    }
    let app = App {
        party: party.build()?,
        sensitive: StepUp::new([&*options.acr], Some(SENSITIVE_AGE))?,
        logins: Sessions::new(100_000),
        sessions: Sessions::new(100_000),
        sign_outs: Sessions::new(100_000),
    };
    println!("up at {url}, with users of {}", options.issuer);
    axum::serve(listener, router(app, &options.issuer.to_string())).await?;
    Ok(())
}

fn router(app: App, issuer: &str) -> Router {
    let policy = pages::security_policy(issuer);
    Router::new()
        .route("/", get(home))
        .route("/orders", get(orders))
        .route("/payout", get(payout))
        .route("/sign-in", get(sign_in))
        .route("/confirm", get(confirm))
        .route("/signed-in", get(signed_in))
        .route("/sign-out", post(sign_out))
        .route("/signed-out", get(signed_out))
        .route("/style.css", get(pages::style))
        .fallback(|| async { pages::not_found() })
        .layer(middleware::map_response(move |mut response: Response| {
            let policy = policy.clone();
            async move {
                pages::protect(response.headers_mut(), policy);
                response
            }
        }))
        .with_state(Arc::new(app))
}

type Shared = State<Arc<App>>;

// Pages.

async fn home(user: Option<User>) -> Response {
    pages::home(user.as_ref().map(|User(session)| session))
}

async fn orders(User(session): User) -> Response {
    pages::orders(&session)
}

async fn payout(State(app): Shared, User(session): User) -> Response {
    if session.meets(&app.sensitive, SystemClock.now()) {
        pages::payout(&session)
    } else {
        pages::confirm(&session)
    }
}

// Signing in and out.

#[derive(Deserialize)]
struct SignIn {
    return_to: Option<String>,
}

/// Anyone may send a browser here: it comes back to this application, wherever it was to go.
async fn sign_in(State(app): Shared, Query(query): Query<SignIn>) -> Result<Response, Failure> {
    let return_to = ReturnPath::parse(query.return_to.as_deref().unwrap_or("/"));
    let request = LoginRequest::new().return_to(return_to.unwrap_or_default());
    begin(&app, &request).await
}

/// The sensitive page wants to know more about the user who is signed in.
async fn confirm(State(app): Shared, User(session): User) -> Result<Response, Failure> {
    let request = LoginRequest::new()
        .return_to(ReturnPath::parse("/payout").unwrap_or_default())
        .step_up(app.sensitive.clone())
        .same_user(&session);
    begin(&app, &request).await
}

async fn begin(app: &App, request: &LoginRequest) -> Result<Response, Failure> {
    let now = SystemClock.now();
    let begun = app.party.begin(request, now).await?;
    let until = begun.pending.until();
    let name = app.logins.insert(begun.pending, until, now)?;
    let cookie = cookies::set(LOGIN, name.expose(), until.since(now));
    Ok(([(SET_COOKIE, cookie)], Redirect::to(&begun.redirect)).into_response())
}

async fn signed_in(
    State(app): Shared,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let now = SystemClock.now();
    let pending = cookies::read(&headers, LOGIN).and_then(|name| app.logins.take(name, now));
    let pending = pending.ok_or(Failure::NotBegun)?;
    let done = app.party.finish(pending, &query.unwrap_or_default(), now).await?;
    // The session that was here, if any, ends: a name that somebody knew before is good no more.
    let _ = cookies::read(&headers, SESSION).and_then(|name| app.sessions.take(name, now));
    let name = app.sessions.insert(done.session, now.saturating_add(SESSION_LIFETIME), now)?;
    let mut response = Redirect::to(done.return_to.as_str()).into_response();
    let cookies = response.headers_mut();
    cookies.append(SET_COOKIE, cookies::set(SESSION, name.expose(), SESSION_LIFETIME));
    cookies.append(SET_COOKIE, cookies::forget(LOGIN));
    Ok(response)
}

/// A `POST`: a browser that comes from elsewhere shows no cookie with it, so nobody is signed out
/// by a link.
async fn sign_out(State(app): Shared, headers: HeaderMap) -> Response {
    let now = SystemClock.now();
    let session = cookies::read(&headers, SESSION).and_then(|name| app.sessions.take(name, now));
    let forget = (SET_COOKIE, cookies::forget(SESSION));
    let Some(session) = session else {
        return ([forget], Redirect::to("/")).into_response();
    };
    match leave(&app, &session, now).await {
        Ok((url, cookie)) => {
            let mut response = ([forget], Redirect::to(&url)).into_response();
            cookie.map(|cookie| response.headers_mut().append(SET_COOKIE, cookie));
            response
        }
        // Here the user is signed out, whatever the provider does.
        Err(error) => {
            error.tell();
            ([forget], pages::signed_out(false)).into_response()
        }
    }
}

/// Where to sign out at the provider, and a cookie to come back with.
async fn leave(
    app: &App,
    session: &Session,
    now: Timestamp,
) -> Result<(String, Option<http::HeaderValue>), Failure> {
    let sign_out = app.party.sign_out(session, now).await?;
    let Some(pending) = sign_out.pending else { return Ok((sign_out.redirect, None)) };
    let name = app.sign_outs.insert(pending, now.saturating_add(SIGN_OUT_LIFETIME), now)?;
    let cookie = cookies::set(SIGN_OUT, name.expose(), SIGN_OUT_LIFETIME);
    Ok((sign_out.redirect, Some(cookie)))
}

async fn signed_out(State(app): Shared, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let pending = cookies::read(&headers, SIGN_OUT)
        .and_then(|name| app.sign_outs.take(name, SystemClock.now()));
    let everywhere =
        pending.is_some_and(|pending| pending.finish(&query.unwrap_or_default()).is_ok());
    let forget = (SET_COOKIE, cookies::forget(SIGN_OUT));
    ([forget], pages::signed_out(everywhere)).into_response()
}

/// Whoever is signed in. Who is not goes and signs in, and comes back.
struct User(Session);

impl User {
    fn find(app: &App, headers: &HeaderMap) -> Option<Self> {
        let name = cookies::read(headers, SESSION)?;
        app.sessions.get(name, SystemClock.now()).map(Self)
    }
}

impl FromRequestParts<Arc<App>> for User {
    type Rejection = Redirect;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Redirect> {
        Self::find(app, &parts.headers).ok_or_else(|| {
            let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
            Redirect::to(&format!("/sign-in?return_to={}", pages::in_query(path)))
        })
    }
}

impl axum::extract::OptionalFromRequestParts<Arc<App>> for User {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &Arc<App>,
    ) -> Result<Option<Self>, Self::Rejection> {
        Ok(Self::find(app, &parts.headers))
    }
}

/// Why nobody is signed in. The log says it all; the user learns whose turn it is.
enum Failure {
    NotBegun,
    Login(LoginError),
    Sessions(SessionsError),
}

impl From<LoginError> for Failure {
    fn from(error: LoginError) -> Self {
        Self::Login(error)
    }
}

impl From<SessionsError> for Failure {
    fn from(error: SessionsError) -> Self {
        Self::Sessions(error)
    }
}

impl Failure {
    fn tell(&self) {
        match self {
            Self::NotBegun => eprintln!("login: no login has begun in this browser"),
            Self::Login(error) => eprintln!("login: {}: {error}", error.reason()),
            Self::Sessions(error) => eprintln!("login: {error}"),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.tell();
        let fault = match &self {
            Self::NotBegun => Fault::Peer,
            Self::Login(error) => error.fault(),
            Self::Sessions(error) => error.fault(),
        };
        let status = match fault {
            Fault::Peer => StatusCode::BAD_REQUEST,
            Fault::Authority => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        pages::failure(status)
    }
}

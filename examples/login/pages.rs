//! What users see.

use std::fmt::Write;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use zt_core::time::Timestamp;
use zt_identity::oidc::login::session::Session;

pub fn home(session: Option<&Session>) -> Response {
    let Some(session) = session else {
        return page(
            None,
            "A small shop",
            "<p>Sign in to see your orders. Your payout account asks for a second factor, too.</p>\
             <p><a class=\"deed\" href=\"/sign-in\">Sign in</a></p>",
        );
    };
    let authentication = session.authentication();
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "not stated".into());
    let facts = [
        ("Name", session.subject().to_owned()),
        ("Email", or_unknown(session.id_token().email().map(str::to_owned))),
        ("Provider", session.id_token().issuer().to_owned()),
        ("Signed in at", or_unknown(authentication.auth_time.map(clock))),
        ("Method (acr)", or_unknown(authentication.acr.as_deref().map(str::to_owned))),
    ];
    let title = format!("Hello, {}", session.subject());
    page(
        Some(session),
        &title,
        &format!(
            "<p class=\"quiet\">This is what your provider says about you.</p>{}<p>Your \
             <a href=\"/orders\">orders</a> are open to you. Your \
             <a href=\"/payout\">payout account</a> asks for a second factor that is no older than \
             five minutes.</p>",
            list(&facts)
        ),
    )
}

pub fn orders(session: &Session) -> Response {
    let orders = [("42", "Two teapots, on their way".into()), ("41", "A kettle, delivered".into())];
    page(
        Some(session),
        "Your orders",
        &format!(
            "<p class=\"quiet\">Being signed in is enough for this page.</p>{}",
            list(&orders)
        ),
    )
}

pub fn payout(session: &Session) -> Response {
    let account = [
        ("Account", "DE89 3704 0044 0532 0130 00".into()),
        ("Holder", session.subject().to_owned()),
        ("Next payout", "120.00 EUR".into()),
    ];
    page(
        Some(session),
        "Your payout account",
        &format!(
            "<p class=\"quiet\">You have shown a second factor within the last five minutes.</p>{}",
            list(&account)
        ),
    )
}

/// What stands in the place of the sensitive page.
pub fn confirm(session: &Session) -> Response {
    let page = page(
        Some(session),
        "Confirm that it is you",
        "<p>Your payout account is shown after a second factor only. We ask for a new one when the \
         last is older than five minutes.</p>\
         <p class=\"row\"><a class=\"deed\" href=\"/confirm\">Confirm</a><a href=\"/\">Not now</a></p>",
    );
    (StatusCode::FORBIDDEN, page).into_response()
}

pub fn signed_out(everywhere: bool) -> Response {
    let text = if everywhere {
        "<p>Here, and at your provider.</p>"
    } else {
        "<p>You are signed out here, but your provider has not said that you are signed out there. \
         On a machine that others use, close the browser.</p>"
    };
    page(
        None,
        "You are signed out",
        &format!("{text}<p><a class=\"deed\" href=\"/sign-in\">Sign in again</a></p>"),
    )
}

/// Which rule was broken is in the log, and none of the browser's business.
pub fn failure(status: StatusCode) -> Response {
    let text = if status == StatusCode::SERVICE_UNAVAILABLE {
        "<p>We cannot sign anybody in at the moment. Please try again in a while.</p>"
    } else {
        "<p>It took too long, began in another browser, ended as another user, or was refused by \
         your provider. Please begin again.</p>"
    };
    let text = format!("{text}<p><a class=\"deed\" href=\"/sign-in\">Sign in</a></p>");
    (status, page(None, "Signing in did not work", &text)).into_response()
}

pub fn not_found() -> Response {
    let page = page(None, "There is no such page", "<p><a href=\"/\">To the beginning</a></p>");
    (StatusCode::NOT_FOUND, page).into_response()
}

pub async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css")], include_str!("style.css")).into_response()
}

/// No script, nothing from elsewhere, no frame; forms lead here, and on to the provider.
pub fn security_policy(issuer: &str) -> HeaderValue {
    let origin: Vec<_> = issuer.splitn(4, '/').take(3).collect();
    let policy = format!(
        "default-src 'none'; style-src 'self'; form-action 'self' {}; base-uri 'none'; \
         frame-ancestors 'none'",
        origin.join("/")
    );
    HeaderValue::try_from(policy).expect("the URL of an issuer is visible ASCII")
}

pub fn protect(headers: &mut HeaderMap, policy: HeaderValue) {
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// `body` is markup, `title` is text.
fn page(session: Option<&Session>, title: &str, body: &str) -> Response {
    let title = escaped(title);
    let account = match session {
        Some(session) => format!(
            "<nav><a href=\"/orders\">Orders</a><a href=\"/payout\">Payout account</a></nav>\
             <span class=\"quiet\">{}</span><form method=\"post\" action=\"/sign-out\">\
             <button class=\"plain\">Sign out</button></form>",
            escaped(session.subject())
        ),
        None => String::new(),
    };
    Html(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><link rel=\"stylesheet\" href=\"/style.css\"></head><body>\
         <header><a class=\"brand\" href=\"/\">Shop</a>{account}</header>\
         <main><h1>{title}</h1>{body}</main></body></html>"
    ))
    .into_response()
}

fn list(facts: &[(&str, String)]) -> String {
    let mut markup = String::from("<dl>");
    for (name, value) in facts {
        let _ = write!(markup, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value));
    }
    markup + "</dl>"
}

/// To the minute, as people read it.
fn clock(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{}, {} UTC", &text[..10], &text[11..16])
}

fn escaped(text: &str) -> String {
    let mut markup = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => markup.push_str("&amp;"),
            '<' => markup.push_str("&lt;"),
            '>' => markup.push_str("&gt;"),
            '"' => markup.push_str("&quot;"),
            '\'' => markup.push_str("&#39;"),
            other => markup.push(other),
        }
    }
    markup
}

/// As the value of a parameter of a query (RFC 3986 §3.4).
pub fn in_query(text: &str) -> String {
    let mut query = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                query.push(byte.into());
            }
            other => {
                let _ = write!(query, "%{other:02X}");
            }
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_no_markup() {
        assert_eq!(escaped("<a href='x'>\"&"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
        assert_eq!(in_query("/a?b=c&d#é"), "/a%3Fb%3Dc%26d%23%C3%A9");
    }

    #[test]
    fn forms_lead_to_the_origin_of_the_provider() {
        let policy = security_policy("https://login.example.com:8443/tenant/1");
        assert!(
            policy.to_str().unwrap().contains("form-action 'self' https://login.example.com:8443;")
        );
    }
}

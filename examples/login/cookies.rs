//! The cookies of this application.
//!
//! `__Host-` and `Secure`: no other host and no plain connection can set or see them (browsers make
//! an exception for this machine). `HttpOnly`: no script can. `SameSite=Lax`: a browser shows them
//! when it comes back from the provider, and not with the form of another site.

use std::time::Duration;

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

pub const SESSION: &str = "__Host-session";
pub const LOGIN: &str = "__Host-login";
pub const SIGN_OUT: &str = "__Host-sign-out";

pub fn set(name: &str, value: &str, lifetime: Duration) -> HeaderValue {
    let seconds = lifetime.as_secs();
    let cookie =
        format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax");
    let mut cookie = HeaderValue::try_from(cookie).expect("names and values are base64url");
    cookie.set_sensitive(true);
    cookie
}

pub fn forget(name: &str) -> HeaderValue {
    set(name, "", Duration::ZERO)
}

/// The cookie of this name; none where there are two.
pub fn read<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter_map(|(found, value)| (found == name).then_some(value));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_read_where_there_is_one() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; __Host-session=x=y"));
        headers.append(COOKIE, HeaderValue::from_static("b=2; a=3"));
        assert_eq!(read(&headers, SESSION), Some("x=y"));
        assert_eq!(read(&headers, "b"), Some("2"));
        assert_eq!(read(&headers, "a"), None);
        assert_eq!(read(&headers, "session"), None);
    }
}

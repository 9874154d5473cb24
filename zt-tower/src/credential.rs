//! The one credential of a request.
//!
//! A request carries a bearer token when, in this order:
//!
//! 1. it has at most one `Authorization` header (T-42);
//! 2. the scheme is `Bearer`, in any case (RFC 9110 §11.1);
//! 3. what follows is one token in the alphabet of b64token (RFC 6750 §2.1);
//! 4. the token has at most [`MAX_TOKEN`] bytes.
//!
//! A token in a form or in the query is not looked for (RFC 6750 §2.2, §2.3; RFC 9700 §4.3.2). No
//! other header names anyone (H-09).

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::denial::{Denial, Refusal};

/// The longest token that is handed to a verifier: what a signed token may have (T-01).
pub const MAX_TOKEN: usize = zt_identity::jws::MAX_LEN;

/// The one `Authorization` header, if there is any.
pub(crate) fn authorization(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Refusal> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    match (all.next(), all.next()) {
        (_, Some(_)) => Err(Refusal::new(Denial::TwoCredentials, "two_credentials")),
        (one, None) => Ok(one),
    }
}

/// The bearer token in an `Authorization` header.
pub(crate) fn bearer(authorization: &HeaderValue) -> Result<&str, Refusal> {
    const SCHEME: &[u8] = b"Bearer";
    let value = authorization.as_bytes();
    let scheme_ends = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at_checked(scheme_ends).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(Refusal::new(Denial::NoCredential, "unsupported_scheme"));
    }
    str::from_utf8(rest)
        .ok()
        .map(|token| token.trim_start_matches(' '))
        .filter(|token| token.len() <= MAX_TOKEN && is_b64token(token))
        .ok_or(Refusal::new(Denial::InvalidToken, "token_malformed"))
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
fn is_b64token(token: &str) -> bool {
    let symbols = token.trim_end_matches('=');
    let symbol = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
    };
    !symbols.is_empty() && symbols.bytes().all(symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<String, Denial> {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        bearer(&value).map(str::to_owned).map_err(Refusal::into_denial)
    }

    #[test]
    fn the_scheme_counts_in_any_case() {
        for value in
            ["Bearer a.b-c_d~e+f/g==", "bearer a.b-c_d~e+f/g==", "BEARER   a.b-c_d~e+f/g=="]
        {
            assert_eq!(read(value).as_deref(), Ok("a.b-c_d~e+f/g=="), "{value}");
        }
    }

    #[test]
    fn another_scheme_is_no_credential_as_it_proves_nothing_here() {
        for value in
            ["", "Basic YTpi", "DPoP abc", "Bearerabc", "Bearer\tabc", "Bear abc", " Bearer a"]
        {
            assert_eq!(read(value), Err(Denial::NoCredential), "{value:?}");
        }
    }

    #[test]
    fn a_token_outside_of_its_alphabet_is_invalid() {
        for value in [
            "Bearer",
            "Bearer ",
            "Bearer =",
            "Bearer a b",
            "Bearer a, Bearer b",
            "Bearer a=b",
            "Bearer \"a\"",
            "Bearer a\tb",
            "Bearer ä",
            "Bearer a,b",
            "Bearer Bearer a",
        ] {
            assert_eq!(read(value), Err(Denial::InvalidToken), "{value:?}");
        }
    }

    #[test]
    fn a_token_has_a_cap() {
        let longest = "a".repeat(MAX_TOKEN);
        assert_eq!(read(&format!("Bearer {longest}")), Ok(longest.clone()));
        assert_eq!(read(&format!("Bearer {longest}a")), Err(Denial::InvalidToken));
    }

    #[test]
    fn two_authorization_headers_are_an_error_even_when_they_are_equal() {
        let mut headers = HeaderMap::new();
        assert_eq!(authorization(&headers), Ok(None));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        assert!(authorization(&headers).unwrap().is_some());
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        assert_eq!(authorization(&headers).unwrap_err().denial(), &Denial::TwoCredentials);
    }
}

//! The one credential of a request.
//!
//! A request carries a token under the scheme of its route when, in this order:
//!
//! 1. it has at most one `Authorization` header (T-42);
//! 2. the scheme is that of the route, `Bearer` or `DPoP`, in any case (RFC 9110 §11.1): a token
//!    that is bound to a key is not one for bearers, nor the other way round (RFC 9449 §7.1, §7.2);
//! 3. what follows is one token in the alphabet of b64token (RFC 6750 §2.1, RFC 9449 §7.1);
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

/// How a token is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Bearer,
    Dpop,
}

impl Scheme {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Bearer => b"Bearer",
            Self::Dpop => b"DPoP",
        }
    }
}

/// What an `Authorization` header of this scheme holds where a token has to be: rules 1 and 2. It is
/// as good as a token where it is the same as one.
pub(crate) fn sent(authorization: &HeaderValue, expected: Scheme) -> Result<&[u8], Refusal> {
    let value = authorization.as_bytes();
    let scheme_ends = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at_checked(scheme_ends).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(expected.name()) {
        return Err(Refusal::new(Denial::NoCredential, "unsupported_scheme"));
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    Ok(rest.get(spaces..).unwrap_or_default())
}

/// The token in an `Authorization` header of this scheme.
pub(crate) fn token(authorization: &HeaderValue, expected: Scheme) -> Result<&str, Refusal> {
    let sent = sent(authorization, expected)?;
    str::from_utf8(sent)
        .ok()
        .filter(|token| token.len() <= MAX_TOKEN && is_b64token(token))
        .ok_or(Refusal::new(Denial::InvalidToken, "token_malformed"))
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
fn is_b64token(token: &str) -> bool {
    let symbols = token.trim_end_matches('=');
    let symbol = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
    };
    // To the end whatever comes: without a way out the bytes are looked at many at a time.
    !symbols.is_empty() && symbols.bytes().fold(true, |all, byte| all & symbol(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<String, Denial> {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        token(&value, Scheme::Bearer).map(str::to_owned).map_err(Refusal::into_denial)
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
    fn a_token_is_sent_under_the_scheme_of_the_route_and_no_other() {
        for value in ["DPoP a.b.c", "dpop a.b.c"] {
            let value = HeaderValue::from_static(value);
            assert_eq!(token(&value, Scheme::Dpop), Ok("a.b.c"));
            assert!(token(&value, Scheme::Bearer).is_err());
        }
        assert!(token(&HeaderValue::from_static("Bearer a.b.c"), Scheme::Dpop).is_err());
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

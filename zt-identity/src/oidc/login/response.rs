//! What a browser brings back from the provider: the query of a redirect (RFC 6749 §4.1.2).
//!
//! A query is read when:
//!
//! 1. it has at most [`MAX_LEN`] bytes;
//! 2. no parameter that counts is in it twice (RFC 6749 §3.1): two readers might take different
//!    ones. Parameters that are not known are not looked at.

use openidconnect::url::form_urlencoded;
use zt_core::fault::Fault;

/// The longest query, in bytes: what servers take as a line of a request.
pub const MAX_LEN: usize = 8192;

/// The parameters that count.
#[derive(Default)]
pub(super) struct Response {
    pub(super) state: Option<String>,
    pub(super) iss: Option<String>,
    pub(super) code: Option<String>,
    pub(super) error: Option<String>,
}

impl Response {
    pub(super) fn parse(query: &str) -> Result<Self, ResponseError> {
        if query.len() > MAX_LEN {
            return Err(ResponseError::TooLong);
        }
        let mut response = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let (name, place) = match &*name {
                "state" => ("state", &mut response.state),
                "iss" => ("iss", &mut response.iss),
                "code" => ("code", &mut response.code),
                "error" => ("error", &mut response.error),
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(ResponseError::Repeated { parameter: name });
            }
        }
        Ok(response)
    }
}

/// Why what a browser brings back cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The query is longer than [`MAX_LEN`].
    #[error("the response is longer than {MAX_LEN} bytes")]
    TooLong,
    /// A parameter is there twice.
    #[error("the response has the parameter {parameter:?} twice")]
    Repeated {
        /// The parameter.
        parameter: &'static str,
    },
    /// A parameter is missing.
    #[error("the response has no parameter {parameter:?}")]
    Missing {
        /// The parameter.
        parameter: &'static str,
    },
}

impl ResponseError {
    /// Whose fault it is: that of whoever sent the browser.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_decoded_and_unknown_ones_left_out() {
        let query = "code=a%2Bb+c&x=1&x=2&session_state=&iss=https%3A%2F%2Fa&state=";
        let response = Response::parse(query).unwrap();
        assert_eq!(response.code.as_deref(), Some("a+b c"));
        assert_eq!(response.iss.as_deref(), Some("https://a"));
        assert_eq!(response.state.as_deref(), Some(""));
        assert_eq!(response.error, None);
    }

    #[test]
    fn a_parameter_that_counts_is_there_once() {
        for parameter in ["state", "iss", "code", "error"] {
            let refused = Response::parse(&format!("{parameter}=a&{parameter}=a"));
            assert_eq!(refused.err(), Some(ResponseError::Repeated { parameter }));
        }
        let refused = Response::parse("code=a&c%6fde=a");
        assert_eq!(refused.err(), Some(ResponseError::Repeated { parameter: "code" }));
    }

    #[test]
    fn a_query_that_is_too_long_is_not_read() {
        assert!(Response::parse(&"x".repeat(MAX_LEN)).is_ok());
        let refused = Response::parse(&"x".repeat(MAX_LEN + 1));
        assert_eq!(refused.err(), Some(ResponseError::TooLong));
    }

    proptest! {
        #[test]
        fn no_query_panics(query in ".{0,200}") {
            let _ = Response::parse(&query);
        }
    }
}

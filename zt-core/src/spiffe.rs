//! SPIFFE IDs and trust domains, spelled in exactly one way.
//!
//! [`SpiffeIdRef::parse`] accepts a string when, in this order:
//!
//! 1. it is not empty and at most [`MAX_URI_LEN`] bytes long (SPIFFE-ID §2.3);
//! 2. it begins with `spiffe://`, in lower case (§2.1; see below);
//! 3. a trust domain follows: 1 to [`MAX_TRUST_DOMAIN_LEN`] bytes of `a`–`z`, `0`–`9`, `.`, `-`
//!    and `_`, hence no port, no user, no percent-encoding (§2.1, §2.3);
//! 4. then nothing, or a path of segments that are neither empty nor `.` nor `..`, made of
//!    letters, digits, `.`, `-` and `_`, without a slash at its end (§2.2). Query and fragment
//!    fall to the same rule.
//!
//! The standard calls scheme and trust domain case-insensitive (§2.4) and demands lower case of
//! whoever writes them (§2.1). Upper case is refused here, as go-spiffe does, so equality of IDs
//! is equality of bytes and no two spellings name one workload.

mod error;
mod id;
mod path;
mod trust_domain;

pub use error::SpiffeIdError;
pub use id::{SpiffeId, SpiffeIdRef};
pub use path::check_segment;
pub use trust_domain::{TrustDomain, TrustDomainRef};

/// The longest SPIFFE ID that is accepted, in bytes (SPIFFE-ID §2.3).
pub const MAX_URI_LEN: usize = 2048;
/// The longest trust domain that is accepted, in bytes (SPIFFE-ID §2.3).
pub const MAX_TRUST_DOMAIN_LEN: usize = 255;

const SCHEME: &str = "spiffe://";

fn char_at(text: &str, at: usize) -> char {
    text.get(at..).and_then(|rest| rest.chars().next()).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_trust_domain_alone_is_an_id_and_a_slash_behind_it_is_not() {
        assert_eq!(SpiffeId::parse("spiffe://td").unwrap().path(), "");
        assert_eq!(SpiffeId::parse("spiffe://td/"), Err(SpiffeIdError::TrailingSlash));
    }

    #[test]
    fn shapes_that_no_dns_name_has_are_legal() {
        for name in ["a..b", ".a", "a.", "-a", ".", "..", "_", "127.0.0.1"] {
            assert_eq!(TrustDomain::from_name(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn errors_say_what_and_where() {
        let shown = |uri: &str| SpiffeId::parse(uri).unwrap_err().to_string();
        assert_eq!(
            shown("spiffe://Example.org/a"),
            "'E' at byte 0 of the trust domain is not one of a-z, 0-9, '.', '-', '_'"
        );
        assert_eq!(
            shown("spiffe://td/a/%2e"),
            "'%' at byte 3 of the path is not one of A-Z, a-z, 0-9, '.', '-', '_'"
        );
        assert_eq!(shown("spiffe://td/a//b"), "the path segment at byte 3 is empty");
        assert_eq!(shown("spiffe://td/a/../b"), "the path segment at byte 3 is '.' or '..'");
    }

    #[test]
    fn lengths_are_capped() {
        let uri = format!("spiffe://td/{}", "a".repeat(MAX_URI_LEN - 12));
        assert!(SpiffeId::parse(&uri).is_ok());
        assert_eq!(
            SpiffeId::parse(&(uri.clone() + "a")),
            Err(SpiffeIdError::TooLong { len: 2049 })
        );
        assert_eq!(
            SpiffeId::parse(&uri).unwrap().append_segments(["a"]),
            Err(SpiffeIdError::TooLong { len: 2050 })
        );
        assert!(TrustDomain::from_name(&"a".repeat(255)).is_ok());
        assert_eq!(
            TrustDomain::from_name(&"a".repeat(256)),
            Err(SpiffeIdError::TrustDomainTooLong { len: 256 })
        );
    }

    #[test]
    fn within_is_by_whole_segments_and_by_trust_domain() {
        let id = |uri| SpiffeIdRef::parse(uri).unwrap();
        let prefix = id("spiffe://td/ns/shop");
        assert!(id("spiffe://td/ns/shop").is_within(prefix));
        assert!(id("spiffe://td/ns/shop/sa/cart").is_within(prefix));
        assert!(!id("spiffe://td/ns/shopping").is_within(prefix));
        assert!(!id("spiffe://td/ns").is_within(prefix));
        assert!(!id("spiffe://other/ns/shop").is_within(prefix));
        assert!(id("spiffe://td/a").is_within(id("spiffe://td")));
        assert!(!id("spiffe://td2/a").is_within(id("spiffe://td")));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(
            SpiffeIdRef::from_bytes(b"spiffe://td/\xff"),
            Err(SpiffeIdError::NotUtf8 { at: 12 })
        );
    }

    /// The rules again, written for reading: the oracle of the property tests.
    fn is_spiffe_id(uri: &str) -> bool {
        let Some(rest) = uri.strip_prefix("spiffe://") else { return false };
        let mut parts = rest.split('/');
        let domain = parts.next().unwrap();
        let word = |s: &str, upper: bool| {
            !s.is_empty()
                && s.chars().all(|c| {
                    c.is_ascii_lowercase()
                        || c.is_ascii_digit()
                        || ".-_".contains(c)
                        || (upper && c.is_ascii_uppercase())
                })
        };
        uri.len() <= 2048
            && domain.len() <= 255
            && word(domain, false)
            && parts.all(|s| word(s, true) && s != "." && s != "..")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn parsing_agrees_with_the_rules(uri in r"(spiffe|SPIFFE|http)?:?//?[a-z0-9A._:@-]{0,6}(/[a-zA-Z0-9._%?#-]{0,4}){0,4}") {
            prop_assert_eq!(SpiffeIdRef::parse(&uri).is_ok(), is_spiffe_id(&uri));
        }

        #[test]
        fn anything_at_all_is_parsed_or_refused(uri in any::<String>(), bytes in any::<Vec<u8>>()) {
            prop_assert_eq!(SpiffeIdRef::parse(&uri).is_ok(), is_spiffe_id(&uri));
            let _ = SpiffeIdRef::from_bytes(&bytes);
        }

        #[test]
        fn what_is_parsed_comes_back_byte_for_byte(uri in r"spiffe://[a-z0-9._-]{1,8}(/[a-zA-Z0-9_-]{1,8}){0,4}") {
            let id = SpiffeId::parse(&uri).unwrap();
            prop_assert_eq!(id.as_str(), &uri);
            let again = SpiffeId::from_segments(id.trust_domain(), id.borrowed().segments()).unwrap();
            prop_assert_eq!(&again, &id);
            prop_assert_eq!(SpiffeId::from_path(id.trust_domain(), id.path()).unwrap(), id);
        }
    }
}

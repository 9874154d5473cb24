//! base64url, spelled in exactly one way (T-02).
//!
//! There is no padding, no whitespace, no other alphabet, and the bits behind the last byte are
//! zero (RFC 7515 §2, RFC 4648 §3.5), so no two texts decode to the same bytes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Text that is not canonical base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not base64url in its one spelling")]
pub(crate) struct NotCanonical;

pub(crate) fn decode(text: &str) -> Result<Vec<u8>, NotCanonical> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| NotCanonical)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_canonical_spelling_is_decoded() {
        assert_eq!(decode("Zm9vYg").unwrap(), b"foob");
        assert_eq!(decode("").unwrap(), b"");
        for bad in ["Zm9vYg==", "Zm9vYh", "Zm9v Yg", "Zm9v\n", "Zm9+", "Zm9/", "Z", "Zm9vYg=", "é"]
        {
            assert_eq!(decode(bad), Err(NotCanonical), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_text(text in "[A-Za-z0-9_-]{0,40}") {
            if let Ok(bytes) = decode(&text) {
                prop_assert_eq!(URL_SAFE_NO_PAD.encode(bytes), text);
            }
        }
    }
}

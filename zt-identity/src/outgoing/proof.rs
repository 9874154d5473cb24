//! That a token is ours to use: a proof for each request (RFC 9449 §4.2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderName, HeaderValue};
use zt_core::time::Timestamp;

use crate::algorithm::{NoRandomness, random_text, sha256};
use crate::json::Value;
use crate::signing_key::SigningKey;

pub(super) const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// The longest nonce that is taken, in bytes.
const MAX_NONCE_LEN: usize = 256;

/// Makes proofs with one key.
#[derive(Clone, Debug)]
pub(super) struct Proofs {
    key: SigningKey,
    header: String,
}

/// What a proof is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proven<'p> {
    pub(super) method: &'p str,
    pub(super) url: &'p str,
    pub(super) token: Option<&'p str>,
    pub(super) nonce: Option<&'p str>,
}

impl Proofs {
    pub(super) fn new(key: SigningKey) -> Self {
        let header = format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{}}}"#, key.jwk());
        Self { key, header }
    }

    pub(super) fn proof(
        &self,
        proven: &Proven<'_>,
        now: Timestamp,
    ) -> Result<HeaderValue, NoRandomness> {
        let (jti, at) = (random_text()?, now.as_secs());
        let (method, url) = (quoted(proven.method), quoted(proven.url));
        let mut claims = format!(r#"{{"jti":"{jti}","htm":{method},"htu":{url},"iat":{at}"#);
        if let Some(token) = proven.token {
            let digest = URL_SAFE_NO_PAD.encode(sha256(token.as_bytes()));
            claims.push_str(&format!(r#","ath":"{digest}""#));
        }
        if let Some(nonce) = proven.nonce {
            claims.push_str(&format!(r#","nonce":{}"#, quoted(nonce)));
        }
        claims.push('}');
        let proof = self.key.sign(&self.header, &claims)?;
        // A compact JWS is always a header's value.
        let mut proof = HeaderValue::try_from(proof).map_err(|_| NoRandomness)?;
        proof.set_sensitive(true);
        Ok(proof)
    }
}

fn quoted(text: &str) -> String {
    Value::String(text.into()).to_string()
}

/// The nonce for the next proof (RFC 9449 §8.1); one that could not be a nonce is not looked at.
pub(super) fn nonce_of(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(DPOP_NONCE).iter();
    let (Some(nonce), None) = (all.next(), all.next()) else { return None };
    let nonce = nonce.to_str().ok()?;
    let is_nonce = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    (1..=MAX_NONCE_LEN).contains(&nonce.len()).then_some(nonce)?;
    nonce.bytes().all(is_nonce).then_some(nonce)
}

/// Whether a challenge is one for want of a nonce (RFC 9449 §9).
pub(super) fn wants_nonce(headers: &HeaderMap) -> bool {
    headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        let challenge = value.to_ascii_lowercase();
        challenge.split([' ', ',']).any(|word| word == "dpop")
            && challenge.contains(r#"error="use_dpop_nonce""#)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confirmation::Confirmation;
    use crate::json::Object;
    use crate::possession::dpop::{DpopVerifier, ProvenRequest};
    use crate::possession::nonce::DpopNonces;
    use crate::possession::target::PublicBase;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn confirmation(key: &SigningKey) -> Confirmation {
        let claims = format!(r#"{{"cnf":{{"jkt":"{}"}}}}"#, key.thumbprint());
        Confirmation::read(&Object::parse(claims.as_bytes()).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn a_proof_is_what_our_own_verifier_accepts_for_this_request_and_no_other() {
        let key = SigningKey::generate().unwrap();
        let nonces = DpopNonces::random().unwrap();
        let nonce = nonces.current(NOW);
        let proven = Proven {
            method: "POST",
            url: "https://api.example.com/a%20b/\u{e9}",
            token: Some("token"),
            nonce: Some(&nonce),
        };
        let proven = Proven { url: "https://api.example.com/orders", ..proven };
        let proof = Proofs::new(key.clone()).proof(&proven, NOW).unwrap();
        assert!(proof.is_sensitive());
        let proof = proof.to_str().unwrap();
        let base = PublicBase::parse("https://api.example.com").unwrap();
        let bound = confirmation(&key);
        let verifier = DpopVerifier::default().with_nonces(nonces);
        let verify = |method, path, token| {
            let request = ProvenRequest::new(method, &base, path).with_token(token, Some(&bound));
            verifier.verify(proof, &request, NOW).is_ok()
        };
        assert!(verify("POST", "/orders", "token"));
        assert!(!verify("GET", "/orders", "token"));
        assert!(!verify("POST", "/bills", "token"));
        assert!(!verify("POST", "/orders", "other"));
        let again = Proofs::new(key).proof(&proven, NOW).unwrap();
        assert_ne!(proof, again.to_str().unwrap());
    }

    fn headers(values: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_nonce_is_one_word_of_visible_characters() {
        assert_eq!(nonce_of(&headers(&[("dpop-nonce", "a-1.~=")])), Some("a-1.~="));
        for bad in ["", "a b", "a\"b", "a\\b", "a\tb"] {
            assert_eq!(nonce_of(&headers(&[("dpop-nonce", bad)])), None, "{bad:?}");
        }
        assert_eq!(nonce_of(&headers(&[])), None);
        assert_eq!(nonce_of(&headers(&[("dpop-nonce", "a"), ("dpop-nonce", "b")])), None);
        let mut long = HeaderMap::new();
        long.insert(DPOP_NONCE, HeaderValue::try_from("a".repeat(257)).unwrap());
        assert_eq!(nonce_of(&long), None);
    }

    #[test]
    fn only_a_challenge_for_want_of_a_nonce_is_one() {
        let wants = |value| wants_nonce(&headers(&[("www-authenticate", value)]));
        assert!(wants(r#"DPoP realm="a", error="use_dpop_nonce", error_description="b""#));
        assert!(wants(r#"Bearer, dpop error="use_dpop_nonce""#));
        for other in [
            "DPoP",
            r#"DPoP error="invalid_token""#,
            r#"Bearer error="use_dpop_nonce""#,
            r#"DPoP error="use_dpop_nonce_2""#,
        ] {
            assert!(!wants(other), "{other}");
        }
    }
}

//! A key on P-256 that signs tokens.

use super::error::AuthorityError;
use crate::json::Object;
use crate::signing_key;

pub(super) struct SigningKey {
    key: signing_key::SigningKey,
    kid: String,
}

impl SigningKey {
    pub(super) fn generate() -> Result<Self, AuthorityError> {
        let key = signing_key::SigningKey::generate()
            .map_err(|error| AuthorityError::Issue(error.to_string()))?;
        let mut kid = key.thumbprint();
        kid.truncate(16);
        Ok(Self { key, kid })
    }

    /// The public key as the JWK that it is published as, for this use.
    pub(super) fn jwk(&self, key_use: &str) -> String {
        let (jwk, kid) = (self.key.jwk(), &self.kid);
        let members = jwk.strip_prefix('{').unwrap_or_default();
        format!(r#"{{"alg":"ES256","use":"{key_use}","kid":"{kid}",{members}"#)
    }

    /// A token of this type with these claims, once they are known to be a JSON object.
    pub(super) fn sign(&self, typ: &str, claims: &str) -> Result<String, AuthorityError> {
        Object::parse(claims.as_bytes())?;
        let header = format!(r#"{{"alg":"ES256","typ":{},"kid":"{}"}}"#, quoted(typ), self.kid);
        self.key.sign(&header, claims).map_err(|error| AuthorityError::Issue(error.to_string()))
    }
}

/// A JSON string.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quoted_text_is_read_back_as_it_was(text in any::<String>()) {
            let document = format!(r#"{{"a":{}}}"#, quoted(&text));
            let object = Object::parse(document.as_bytes()).unwrap();
            prop_assert_eq!(object.get("a").unwrap().as_str(), Some(text.as_str()));
        }
    }
}

//! An OIDC issuer on loopback: discovery, a key set that rotates, and tokens minted by
//! `jsonwebtoken`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::Outcome;

/// The issuer. A clone is the same one.
#[derive(Clone)]
pub struct Issuer {
    url: String,
    keys: Arc<Mutex<Vec<Key>>>,
}

struct Key {
    kid: String,
    pair: KeyPair,
}

impl Key {
    fn new(kid: &str) -> Outcome<Self> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(Self { kid: kid.to_owned(), pair })
    }

    /// RFC 7518 §6.2.1: the point behind the byte that says "uncompressed".
    fn public(&self) -> Value {
        let point = self.pair.der_bytes();
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid,
            "x": base64url(&point[1..33]), "y": base64url(&point[33..65]),
        })
    }
}

impl Issuer {
    /// Starts the issuer on a port that the system chooses.
    pub async fn start() -> Outcome<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let issuer = Self { url, keys: Arc::new(Mutex::new(vec![Key::new("key-1")?])) };

        let (discovery, keys) = (issuer.clone(), issuer.clone());
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(async move || discovery.discovery()))
            .route("/keys", get(async move || keys.key_set()));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(issuer)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on signs with a new key, and publishes no other.
    pub fn rotate(&self, kid: &str) -> Outcome<()> {
        *self.keys.lock().expect("no holder panics") = vec![Key::new(kid)?];
        Ok(())
    }

    /// A token with these claims and those that every token has.
    pub fn mint(&self, claims: Value) -> Outcome<String> {
        let keys = self.keys.lock().expect("no holder panics");
        let key = keys.last().expect("there is always a key");
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".into());
        header.kid = Some(key.kid.clone());
        let mut all = json!({ "iss": self.url, "client_id": "web-shop" });
        for (name, value) in claims.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        let signer = EncodingKey::from_ec_pem(key.pair.serialize_pem().as_bytes())?;
        Ok(jsonwebtoken::encode(&header, &all, &signer)?)
    }

    fn discovery(&self) -> Json<Value> {
        Json(json!({
            "issuer": self.url,
            "jwks_uri": format!("{}/keys", self.url),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }))
    }

    fn key_set(&self) -> Json<Value> {
        let keys = self.keys.lock().expect("no holder panics");
        Json(json!({ "keys": keys.iter().map(Key::public).collect::<Vec<_>>() }))
    }
}

/// RFC 4648 §5 without padding.
pub fn base64url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

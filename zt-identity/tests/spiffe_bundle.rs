//! SPIFFE bundles and bundle maps: what is taken of a document, and what we publish.

#![cfg(test)]

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use zt_core::fault::Fault;
use zt_core::spiffe::TrustDomain;
use zt_core::time::Timestamp;
use zt_identity::authority::{Authority, ROOT_LIFETIME};
use zt_identity::bundle::{
    BundleError, BundleMap, BundleMapError, BundleSet, DEFAULT_REFRESH_HINT, IgnoredKeyReason,
    MAX_BUNDLE_LEN, MAX_REFRESH_HINT, MIN_REFRESH_HINT, RootError, SpiffeBundle, SpiffeBundleError,
    X509Bundle,
};
use zt_identity::json::JsonError;
use zt_identity::jwt_bundle::JwtBundle;
use zt_identity::profile::IssuerError;
use zt_identity::x509_svid::{X509SvidError, X509SvidVerifier};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn domain(name: &str) -> TrustDomain {
    TrustDomain::from_name(name).unwrap()
}

fn authority(name: &str) -> Authority {
    Authority::new(domain(name), NOW).unwrap()
}

fn read(json: &str) -> Result<SpiffeBundle, SpiffeBundleError> {
    SpiffeBundle::from_json(json.as_bytes())
}

fn read_map(json: &str) -> Result<BundleMap, BundleMapError> {
    BundleMap::from_json(json.as_bytes())
}

/// Why the one key of a bundle is ignored.
fn ignored(key: &str) -> IgnoredKeyReason {
    let bundle = read(&format!(r#"{{"keys":[{key}]}}"#)).unwrap();
    assert!(bundle.x509_certificates().is_empty() && bundle.jwt_keys().is_empty());
    let [ignored] = bundle.ignored() else { panic!("{bundle:?}") };
    assert_eq!(ignored.index, 0);
    ignored.reason.clone()
}

fn x509(x5c: &str) -> String {
    format!(r#"{{"use":"x509-svid","kty":"EC"{x5c}}}"#)
}

#[test]
fn what_is_published_is_what_is_read() {
    let authority = authority("example.org");
    let jwt = r#"{"keys":[{"use":"jwt-svid","kty":"EC","kid":"a\"b"}]}"#;
    let published = SpiffeBundle::of_roots(&authority.bundle())
        .with_sequence(u64::MAX)
        .with_refresh_hint(Duration::from_millis(60_500))
        .with_token_keys_of(&read(jwt).unwrap());
    let fetched = read(&published.to_json()).unwrap();
    assert_eq!(fetched, published);
    assert_eq!(fetched.sequence(), Some(u64::MAX));
    assert_eq!(fetched.refresh_hint(), Duration::from_secs(60));
    assert_eq!(fetched.jwt_key_set(), jwt);
    let (bundle, left_out) = fetched.x509_bundle(domain("example.org"), NOW);
    assert_eq!((bundle, left_out), (authority.bundle(), vec![]));
}

#[test]
fn what_is_published_has_the_members_of_a_jwk_and_no_kid() {
    let authority = authority("example.org");
    let published = SpiffeBundle::of_roots(&authority.bundle()).to_json();
    let document: serde_json::Value = serde_json::from_str(&published).unwrap();
    let [key] = document["keys"].as_array().unwrap().as_slice() else { panic!("{document}") };
    assert_eq!(
        (&key["use"], &key["kty"], &key["crv"]),
        (&"x509-svid".into(), &"EC".into(), &"P-256".into())
    );
    assert_eq!(key.get("kid"), None);
    let der = authority.bundle().roots()[0].certificate().clone();
    assert_eq!(key["x5c"], serde_json::json!([STANDARD.encode(&der)]));
    for coordinate in ["x", "y"] {
        let bytes = URL_SAFE_NO_PAD.decode(key[coordinate].as_str().unwrap()).unwrap();
        assert!(der.windows(32).any(|window| window == bytes), "{coordinate}");
    }
    assert_eq!(document.get("spiffe_sequence"), None);
}

#[test]
fn an_svid_is_believed_by_a_bundle_that_was_fetched() {
    let authority = authority("example.org");
    let published = SpiffeBundle::of_roots(&authority.bundle()).to_json();
    let (bundle, _) = read(&published).unwrap().x509_bundle(domain("example.org"), NOW);
    let bundles = BundleSet::new().with(bundle);
    let identity = authority.svid("/a").unwrap();
    assert!(X509SvidVerifier::new().verify(identity.chain(), &bundles, NOW).is_ok());
}

#[test]
fn one_document_holds_the_keys_for_certificates_and_for_tokens() {
    let authority = authority("example.org");
    let tokens = read(&authority.jwt_bundle_document()).unwrap();
    let published = SpiffeBundle::of_roots(&authority.bundle()).with_token_keys_of(&tokens);
    let document = published.to_json();
    let from_document =
        |text: &str| JwtBundle::from_spiffe_bundle(domain("example.org"), text.as_bytes()).unwrap();
    assert_eq!(from_document(&document).len(), authority.jwt_bundle().len());
    assert_eq!(from_document(&published.jwt_key_set()).len(), 1);
    let (bundle, _) = read(&document).unwrap().x509_bundle(domain("example.org"), NOW);
    assert_eq!(bundle, authority.bundle());
}

#[test]
fn a_bundle_without_keys_vouches_for_nobody() {
    let (bundle, left_out) =
        read(r#"{"keys":[]}"#).unwrap().x509_bundle(domain("example.org"), NOW);
    assert_eq!((&bundle, left_out.len()), (&X509Bundle::empty(domain("example.org")), 0));
    let identity = authority("example.org").svid("/a").unwrap();
    let bundles = BundleSet::new().with(bundle);
    let refused = X509SvidVerifier::new().verify(identity.chain(), &bundles, NOW).unwrap_err();
    assert!(matches!(refused, X509SvidError::Path(_)), "{refused:?}");
}

#[test]
fn a_document_that_is_too_long_is_not_read() {
    let long = vec![b' '; MAX_BUNDLE_LEN + 1];
    let len = long.len();
    assert_eq!(SpiffeBundle::from_json(&long), Err(SpiffeBundleError::TooLong { len }));
    assert_eq!(BundleMap::from_json(&long), Err(BundleMapError::TooLong { len }));
}

#[test]
fn a_document_that_is_not_strict_json_is_refused() {
    for text in ["", "[]", r#"{"keys":[],}"#] {
        assert!(matches!(read(text), Err(SpiffeBundleError::Json(_))), "{text:?}");
    }
    let twice = JsonError::Duplicate { name: "keys".into() };
    assert_eq!(read(r#"{"keys":[],"\u006beys":[]}"#), Err(SpiffeBundleError::Json(twice)));
}

#[test]
fn a_document_without_an_array_of_keys_is_refused() {
    for text in ["{}", r#"{"keys":{}}"#, r#"{"keys":null}"#] {
        let refused = read(text).unwrap_err();
        assert_eq!(refused, SpiffeBundleError::NoKeys, "{text}");
        assert_eq!(refused.fault(), Fault::Authority);
    }
}

#[test]
fn a_sequence_is_an_integer_of_64_bits() {
    let of = |text: &str| read(&format!(r#"{{"spiffe_sequence":{text},"keys":[]}}"#));
    assert_eq!(of("18446744073709551615").unwrap().sequence(), Some(u64::MAX));
    assert_eq!(of("0").unwrap().sequence(), Some(0));
    assert_eq!(read(r#"{"keys":[]}"#).unwrap().sequence(), None);
    for text in ["-1", "-0", "1.0", "1e3", "18446744073709551616", "\"1\"", "null", "[]"] {
        assert_eq!(of(text), Err(SpiffeBundleError::Sequence), "{text}");
    }
}

#[test]
fn a_refresh_hint_is_whole_seconds_within_reason() {
    let of = |text: &str| read(&format!(r#"{{"spiffe_refresh_hint":{text},"keys":[]}}"#));
    for (text, hint) in [
        ("60", Duration::from_secs(60)),
        ("0", MIN_REFRESH_HINT),
        ("1000000000000000000", MAX_REFRESH_HINT),
        ("100000000000000000000000000", MAX_REFRESH_HINT),
    ] {
        assert_eq!(of(text).unwrap().refresh_hint(), hint, "{text}");
    }
    assert_eq!(read(r#"{"keys":[]}"#).unwrap().refresh_hint(), DEFAULT_REFRESH_HINT);
    for text in ["-1", "1.5", "1e3", "\"60\"", "null"] {
        assert_eq!(of(text), Err(SpiffeBundleError::RefreshHint), "{text}");
    }
}

#[test]
fn an_entry_that_is_no_public_key_is_ignored() {
    assert_eq!(ignored("7"), IgnoredKeyReason::NotAnObject);
    let private = r#"{"use":"jwt-svid","kty":"EC","kid":"k","d":""}"#;
    assert_eq!(ignored(private), IgnoredKeyReason::Private);
}

#[test]
fn an_entry_of_no_or_an_unknown_type_is_ignored() {
    assert_eq!(ignored(r#"{"use":"jwt-svid","kid":"k"}"#), IgnoredKeyReason::NoKeyType);
    for kty in ["AKP", "ec", ""] {
        let key = format!(r#"{{"use":"jwt-svid","kid":"k","kty":"{kty}"}}"#);
        assert_eq!(ignored(&key), IgnoredKeyReason::KeyType { found: kty.into() });
    }
}

#[test]
fn an_entry_of_no_or_an_unknown_use_is_ignored() {
    assert_eq!(ignored(r#"{"kty":"EC","kid":"k"}"#), IgnoredKeyReason::NoUse);
    for other in ["sig", "X509-SVID", "jwt-svid ", ""] {
        let key = format!(r#"{{"use":"{other}","kid":"k","kty":"EC"}}"#);
        assert_eq!(ignored(&key), IgnoredKeyReason::Use { found: other.into() });
    }
}

#[test]
fn an_entry_without_a_certificate_is_ignored() {
    assert_eq!(ignored(&x509("")), IgnoredKeyReason::NoX5c);
    assert_eq!(ignored(&x509(r#","x5c":[]"#)), IgnoredKeyReason::NoX5c);
    assert_eq!(ignored(&x509(r#","x5c":"MAA=""#)), IgnoredKeyReason::NoX5c);
    for bad in ["[7]", r#"["-_8"]"#, r#"["MAA"]"#, r#"["MAB="]"#, r#"["MA A="]"#] {
        assert_eq!(ignored(&x509(&format!(r#","x5c":{bad}"#))), IgnoredKeyReason::X5c, "{bad}");
    }
}

#[test]
fn all_but_the_first_certificate_of_an_entry_is_ignored() {
    let bundle = format!(r#"{{"keys":[{}]}}"#, x509(r#","x5c":["MAA=","*"]"#));
    let bundle = read(&bundle).unwrap();
    assert_eq!(bundle.x509_certificates().len(), 1);
    assert!(bundle.ignored().is_empty());
}

#[test]
fn a_key_for_tokens_without_a_name_is_ignored() {
    for kid in ["", r#","kid":"""#, r#","kid":7"#] {
        for kind in ["jwt-svid", "wit-svid"] {
            let key = format!(r#"{{"use":"{kind}","kty":"EC"{kid}}}"#);
            assert_eq!(ignored(&key), IgnoredKeyReason::NoKid, "{key}");
        }
    }
}

#[test]
fn a_certificate_that_cannot_be_a_root_is_left_out_and_the_others_stay() {
    let (ours, other) = (authority("example.org"), authority("other.test"));
    let expired = NOW.saturating_sub(ROOT_LIFETIME).saturating_sub(Duration::from_secs(3600));
    let old = Authority::new(domain("example.org"), expired).unwrap();
    let root = |authority: &Authority| authority.bundle().roots()[0].certificate().clone();
    let leaf = ours.svid("/a").unwrap().chain()[0].clone();
    let keys: Vec<_> = [root(&other), root(&ours), leaf, root(&old)]
        .map(|der| x509(&format!(r#","x5c":["{}"]"#, STANDARD.encode(der))))
        .into();
    let bundle = read(&format!(r#"{{"keys":[{}]}}"#, keys.join(","))).unwrap();
    let (bundle, left_out) = bundle.x509_bundle(domain("example.org"), NOW);
    assert_eq!(bundle, ours.bundle());
    let profile =
        |position, error| BundleError::Root { position, source: RootError::Profile(error) };
    let foreign = IssuerError::OtherTrustDomain {
        found: domain("other.test"),
        expected: domain("example.org"),
    };
    assert_eq!(
        left_out,
        [
            (0, profile(0, foreign)),
            (2, profile(2, IssuerError::NotCa)),
            (3, BundleError::NoRoots { expired: 1 })
        ]
    );
}

#[test]
fn a_map_keeps_each_bundle_with_its_trust_domain() {
    let (ours, other) = (authority("example.org"), authority("other.test"));
    let json = |authority: &Authority| SpiffeBundle::of_roots(&authority.bundle()).to_json();
    let map = format!(
        r#"{{"trust_domains":{{"other.test":{},"example.org":{},"empty.test":{{"keys":[]}}}}}}"#,
        json(&other),
        json(&ours)
    );
    let map = read_map(&map).unwrap();
    assert_eq!(map.get(domain("other.test").borrowed()).unwrap().x509_certificates().len(), 1);
    let (bundles, left_out) = map.x509_bundles(NOW);
    let empty = X509Bundle::empty(domain("empty.test"));
    let expected = BundleSet::new().with(ours.bundle()).with(other.bundle()).with(empty);
    assert_eq!((bundles, left_out), (expected, vec![]));

    // The right roots under the wrong name vouch for nobody.
    let crossed = format!(r#"{{"trust_domains":{{"example.org":{}}}}}"#, json(&other));
    let (bundles, left_out) = read_map(&crossed).unwrap().x509_bundles(NOW);
    assert_eq!(bundles, BundleSet::new().with(X509Bundle::empty(domain("example.org"))));
    assert_eq!(left_out.len(), 1);
}

#[test]
fn a_map_without_trust_domains_is_refused_and_an_empty_one_is_not() {
    assert_eq!(read_map("{}"), Err(BundleMapError::NoTrustDomains));
    assert_eq!(read_map(r#"{"trust_domains":[]}"#), Err(BundleMapError::NoTrustDomains));
    assert_eq!(read_map(r#"{"trust_domains":{}}"#), Ok(BundleMap::default()));
}

#[test]
fn a_trust_domain_that_occurs_twice_refuses_the_map_however_it_is_spelled() {
    let twice = r#"{"trust_domains":{"a.test":{"keys":[]},"\u0061.test":{"keys":[]}}}"#;
    let duplicate = JsonError::Duplicate { name: "a.test".into() };
    assert_eq!(read_map(twice), Err(BundleMapError::Json(duplicate)));
}

#[test]
fn a_map_with_a_name_that_is_no_trust_domain_is_refused() {
    for name in ["", "a test", "A.test", "spiffe://a.test", "a.test/b"] {
        let refused = read_map(&format!(r#"{{"trust_domains":{{"{name}":{{"keys":[]}}}}}}"#));
        assert!(matches!(refused, Err(BundleMapError::TrustDomain { .. })), "{name:?}");
    }
}

#[test]
fn one_bad_bundle_refuses_the_whole_map() {
    for bad in ["{}", "[]", r#"{"keys":[],"spiffe_sequence":-1}"#] {
        let map = format!(r#"{{"trust_domains":{{"a.test":{{"keys":[]}},"b.test":{bad}}}}}"#);
        let refused = read_map(&map).unwrap_err();
        let BundleMapError::Bundle { trust_domain, .. } = &refused else { panic!("{refused:?}") };
        assert_eq!(trust_domain.as_str(), "b.test");
        assert_eq!(refused.fault(), Fault::Authority);
    }
}

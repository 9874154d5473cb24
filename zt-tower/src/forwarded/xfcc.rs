//! `X-Forwarded-Client-Cert`, as Envoy writes it and stricter than Envoy reads it.
//!
//! A value is accepted when, in this order:
//!
//! 1. it has at most [`MAX_LEN`] bytes;
//! 2. it is one element, of at most [`MAX_PAIRS`] pairs of a key and a value, with `;` between them:
//!    one that several proxies have added to does not say who vouches for what;
//! 3. a key is one of Envoy's, in any case, and occurs once, but for `DNS`;
//! 4. a value stands between quotes, in which `\` escapes a quote or a backslash, or has no quote,
//!    comma, semicolon, equals sign or space;
//! 5. `Hash`, where it is there, is 64 hexadecimal digits; `By`, where it is there, and `URI`, which
//!    has to be there, are SPIFFE IDs of workloads.

use zt_core::fault::Fault;
use zt_core::spiffe::{SpiffeId, SpiffeIdError, SpiffeIdRef};

/// The longest value that is read, in bytes: two certificates and what is said of them.
pub const MAX_LEN: usize = 16 * 1024;
/// The most pairs of an element: every key of Envoy, and ten names of DNS.
pub const MAX_PAIRS: usize = 16;

/// What one proxy says about the certificate of its client.
///
/// ```
/// use zt_tower::forwarded::xfcc::ForwardedClientCert;
///
/// let client = ForwardedClientCert::parse(
///     "By=spiffe://example.org/gateway;Subject=\"CN=cart,O=shop\";URI=spiffe://example.org/cart",
/// )?;
/// assert_eq!(client.id().as_str(), "spiffe://example.org/cart");
/// assert!(ForwardedClientCert::parse("URI=spiffe://example.org/a,URI=spiffe://example.org/b").is_err());
/// # Ok::<(), zt_tower::forwarded::xfcc::XfccError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedClientCert<'h> {
    by: Option<&'h str>,
    uri: SpiffeIdRef<'h>,
}

impl<'h> ForwardedClientCert<'h> {
    /// Reads the value of a header.
    ///
    /// # Errors
    ///
    /// [`XfccError`] names the first rule that it breaks.
    pub fn parse(value: &'h str) -> Result<Self, XfccError> {
        if value.len() > MAX_LEN {
            return Err(XfccError::TooLong { len: value.len() });
        }
        let (mut by, mut uri, mut seen) = (None, None, 0_u8);
        let mut rest = value;
        for _ in 0..MAX_PAIRS {
            let pair = Pair::read(rest)?;
            let key = Key::of(pair.key)?;
            if key != Key::Dns && seen & key.bit() != 0 {
                return Err(XfccError::Twice);
            }
            seen |= key.bit();
            match key {
                Key::By => by = Some(workload(pair.value)?.as_str()),
                Key::Uri => uri = Some(workload(pair.value)?),
                Key::Hash => check_hash(pair.value)?,
                Key::Cert | Key::Chain | Key::Subject | Key::Dns => {}
            }
            match pair.rest {
                None => return Ok(Self { by, uri: uri.ok_or(XfccError::NoUri)? }),
                Some(more) => rest = more,
            }
        }
        Err(XfccError::TooManyPairs)
    }

    /// The SPIFFE ID of the proxy that says so: `By`.
    #[must_use]
    pub const fn by(&self) -> Option<&'h str> {
        self.by
    }

    /// The SPIFFE ID of the client: `URI`.
    #[must_use]
    pub fn id(&self) -> SpiffeId {
        self.uri.to_owned()
    }
}

/// A trust domain alone is no workload.
fn workload(uri: &str) -> Result<SpiffeIdRef<'_>, XfccError> {
    let id = SpiffeIdRef::parse(uri)?;
    if id.path().is_empty() { Err(XfccError::NoWorkload) } else { Ok(id) }
}

/// Rule 5.
fn check_hash(value: &str) -> Result<(), XfccError> {
    let is_digest = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest { Ok(()) } else { Err(XfccError::Hash) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    By,
    Hash,
    Cert,
    Chain,
    Subject,
    Uri,
    Dns,
}

impl Key {
    const ALL: [(&'static str, Self); 7] = [
        ("by", Self::By),
        ("hash", Self::Hash),
        ("cert", Self::Cert),
        ("chain", Self::Chain),
        ("subject", Self::Subject),
        ("uri", Self::Uri),
        ("dns", Self::Dns),
    ];

    /// Rule 3.
    fn of(name: &str) -> Result<Self, XfccError> {
        let found = Self::ALL.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        found.map(|(_, key)| *key).ok_or(XfccError::UnknownKey)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::By => 1,
            Self::Hash => 2,
            Self::Cert => 4,
            Self::Chain => 8,
            Self::Subject => 16,
            Self::Uri => 32,
            Self::Dns => 64,
        }
    }
}

/// One pair, and what follows the semicolon behind it.
struct Pair<'h> {
    key: &'h str,
    value: &'h str,
    rest: Option<&'h str>,
}

impl<'h> Pair<'h> {
    /// Rules 2 and 4.
    fn read(text: &'h str) -> Result<Self, XfccError> {
        let (key, after) = text.split_once('=').ok_or(XfccError::Malformed)?;
        let (value, rest) = match after.strip_prefix('"') {
            Some(quoted) => {
                let end = end_of_quoted(quoted).ok_or(XfccError::Malformed)?;
                let (value, rest) = quoted.split_at_checked(end).ok_or(XfccError::Malformed)?;
                (value, rest.strip_prefix('"').ok_or(XfccError::Malformed)?)
            }
            None => {
                let end = after.find([';', ',']).unwrap_or(after.len());
                after.split_at_checked(end).ok_or(XfccError::Malformed)?
            }
        };
        let bare = !after.starts_with('"');
        if bare && value.contains(['"', '=', ' ', '\t']) {
            return Err(XfccError::Malformed);
        }
        let rest = match rest.split_at_checked(1) {
            None => None,
            Some((";", more)) => Some(more),
            Some((",", _)) => return Err(XfccError::TwoElements),
            Some(_) => return Err(XfccError::Malformed),
        };
        Ok(Self { key, value, rest })
    }
}

/// Where the quote is that ends a value.
fn end_of_quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' | b'\\' if escaped => escaped = false,
            _ if escaped => return None,
            b'\\' => escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// Why a value names no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XfccError {
    /// It is longer than [`MAX_LEN`].
    #[error("the value has {len} bytes, and at most {MAX_LEN} are read")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// It is no row of pairs.
    #[error("the value is no row of keys and values")]
    Malformed,
    /// Several proxies have written into it.
    #[error("the value has more than one element")]
    TwoElements,
    /// There are more than [`MAX_PAIRS`] pairs.
    #[error("the element has more than {MAX_PAIRS} pairs")]
    TooManyPairs,
    /// A key is not one of Envoy's.
    #[error("the element has a key that is unknown")]
    UnknownKey,
    /// A key occurs twice.
    #[error("the element has a key twice")]
    Twice,
    /// The digest of the certificate is none.
    #[error("the hash is no sha-256 in hexadecimal")]
    Hash,
    /// It names no client.
    #[error("the element has no uri")]
    NoUri,
    /// It names a trust domain and no workload in it.
    #[error("the uri names a trust domain and no workload")]
    NoWorkload,
    /// A URI is no SPIFFE ID.
    #[error(transparent)]
    Id(#[from] SpiffeIdError),
}

impl XfccError {
    /// Whose fault it is: that of the peer who sent it.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CART: &str = "spiffe://example.org/cart";

    fn read(value: &str) -> Result<(Option<String>, String), XfccError> {
        ForwardedClientCert::parse(value)
            .map(|client| (client.by().map(str::to_owned), client.id().to_string()))
    }

    #[test]
    fn what_envoy_writes_is_read() {
        let hash = "468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688";
        let value = format!(
            "By=spiffe://example.org/gateway;Hash={hash};Cert=\"-----BEGIN%20CERTIFICATE-----%0A\";\
             Subject=\"/C=US/ST=CA,L=\\\"San; Francisco\\\"/OU=a=b\";URI={CART};DNS=a.example;DNS=b.example"
        );
        let gateway = Some(String::from("spiffe://example.org/gateway"));
        assert_eq!(read(&value), Ok((gateway, CART.into())));
        assert_eq!(read(&format!("uri=\"{CART}\"")), Ok((None, CART.into())));
        assert_eq!(read(&format!("Subject=\"\";URI={CART}")), Ok((None, CART.into())));
    }

    #[test]
    fn what_several_proxies_wrote_into_is_refused() {
        for value in [
            format!("URI={CART},URI={CART}"),
            format!("URI={CART},"),
            format!("URI=\"{CART}\", By=x"),
        ] {
            assert_eq!(read(&value), Err(XfccError::TwoElements), "{value}");
        }
    }

    #[test]
    fn what_names_two_clients_or_none_is_refused() {
        let admin = "spiffe://example.org/admin";
        assert_eq!(read(&format!("URI={CART};URI={admin}")), Err(XfccError::Twice));
        assert_eq!(read(&format!("URI={CART};uri={CART}")), Err(XfccError::Twice));
        assert_eq!(read("Hash=;"), Err(XfccError::Hash));
        assert_eq!(read("DNS=a.example"), Err(XfccError::NoUri));
        assert_eq!(read("URI=spiffe://example.org"), Err(XfccError::NoWorkload));
        for uri in [
            "",
            "https://example.org/cart",
            "spiffe://EXAMPLE.org/cart",
            "spiffe://example.org/a/../b",
        ] {
            assert!(matches!(read(&format!("URI={uri}")), Err(XfccError::Id(_))), "{uri}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for value in [
            "",
            ";",
            "URI",
            "URI=spiffe://example.org/cart;",
            "URI= spiffe://example.org/cart",
            "URI=\"spiffe://example.org/cart",
            "URI=\"spiffe://example.org/cart\"x",
            "URI=spiffe://example.org/cart\"",
            "Subject=a=b;URI=spiffe://example.org/cart",
            "Subject=\"a\\nb\";URI=spiffe://example.org/cart",
            "Subject=\"a\";URI=spiffe://example.org/admin\";URI=spiffe://example.org/cart",
        ] {
            assert_eq!(read(value), Err(XfccError::Malformed), "{value}");
        }
        for value in [" URI=x", "User=root;URI=x", "U RI=x"] {
            assert_eq!(read(value), Err(XfccError::UnknownKey), "{value}");
        }
    }

    #[test]
    fn a_value_has_limits() {
        let most = "DNS=a;".repeat(MAX_PAIRS - 1);
        assert!(read(&format!("{most}URI={CART}")).is_ok());
        assert_eq!(read(&format!("DNS=a;{most}URI={CART}")), Err(XfccError::TooManyPairs));
        let long = format!("URI={CART};Subject=\"{}\"", "a".repeat(MAX_LEN));
        assert_eq!(read(&long), Err(XfccError::TooLong { len: long.len() }));
    }

    /// Splits outside of quotes, one character after the other.
    fn naive(value: &str) -> Option<String> {
        let (mut pairs, mut pair, mut quoted, mut escaped) =
            (Vec::new(), String::new(), false, false);
        for c in value.chars() {
            match c {
                ',' if !quoted => return None,
                ';' if !quoted => pairs.push(std::mem::take(&mut pair)),
                '\\' if quoted && !escaped => {
                    escaped = true;
                    pair.push(c);
                    continue;
                }
                '"' if !escaped => {
                    quoted = !quoted;
                    pair.push(c);
                }
                _ => pair.push(c),
            }
            escaped = false;
        }
        pairs.push(pair);
        let uris: Vec<_> = pairs
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .filter(|(key, _)| key.eq_ignore_ascii_case("uri"))
            .map(|(_, value)| value.trim_matches('"').to_owned())
            .collect();
        match &uris[..] {
            [one] => Some(one.clone()),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_names_the_one_client_that_every_reading_names(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "URI=", "uri=", "By=", "Subject=", "DNS=", "Hash=", "spiffe://example.org/cart",
                "spiffe://example.org/admin", "\"", "\"", "\\", ";", ";", ",", "=", "a", " ",
            ]), 0..12)
        ) {
            let value = pieces.concat();
            if let Ok((_, id)) = read(&value) {
                prop_assert_eq!(naive(&value), Some(id), "{}", value);
            }
        }
    }
}

//! The URL that a request was for, as its client knows it.
//!
//! A service does not learn that from a request: proxies end TLS, headers can be made up. Its
//! public URL is configured as a [`PublicBase`], and of the request only the path counts (RFC 9449
//! §4.3, rule 9). A URL is that of a request when, in this order:
//!
//! 1. it is an absolute `http` or `https` URL without user information, of at most [`MAX_LEN`]
//!    bytes, with no character that no URL has (RFC 3986 §2, §3);
//! 2. scheme, host and port are those of the base, once they are normal: case does not count in
//!    scheme and host, an absent or empty port is the default one (RFC 3986 §6.2.2.1, §6.2.3);
//! 3. the path is that of the base followed by that of the request, once both are normal: escapes
//!    of unreserved characters are resolved, others in upper case, dot segments taken out, and an
//!    empty path is `/` (RFC 3986 §6.2.2.2, §6.2.2.3, §6.2.3);
//! 4. query and fragment do not count.
//!
//! Nothing else is the same: an escaped slash is no slash, and a trailing slash is one.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::sync::Arc;

use zt_core::fault::Fault;

/// The longest URL and the longest path that is read, in bytes.
pub const MAX_LEN: usize = 8 * 1024;

/// Where clients find this service: scheme, host, port, and what a proxy in front takes off the
/// path.
///
/// ```
/// use zt_identity::possession::target::PublicBase;
///
/// let base = PublicBase::parse("https://api.example.com/shop")?;
/// assert!(base.is_target("HTTPS://API.example.com:443/shop/%6frders/../orders?page=2", "/orders"));
/// assert!(!base.is_target("https://evil.example.com/shop/orders", "/orders"));
/// # Ok::<(), zt_identity::possession::target::PublicBaseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicBase(Arc<Normal<'static>>);

impl PublicBase {
    /// The base with this URL, such as `https://api.example.com`; no query, no fragment.
    ///
    /// # Errors
    ///
    /// [`PublicBaseError`] when it is none.
    pub fn parse(url: &str) -> Result<Self, PublicBaseError> {
        let normal = Normal::parse(url).filter(|_| !url.contains(['?', '#']));
        let Normal { https, host, port, path } = normal.ok_or(PublicBaseError)?;
        let path = path.strip_suffix('/').unwrap_or(&path).to_owned().into();
        Ok(Self(Arc::new(Normal { https, host: host.into_owned().into(), port, path })))
    }

    /// Whether this is the URL of a request with this path.
    #[must_use]
    pub fn is_target(&self, url: &str, request_path: &str) -> bool {
        let (Some(url), Some(path)) = (Normal::parse(url), normal_path(request_path)) else {
            return false;
        };
        let base = &*self.0;
        (url.https, url.port) == (base.https, base.port)
            && url.host == base.host
            && url.path.strip_prefix(&*base.path) == Some(&*path)
    }
}

/// A URL that no client would know this service by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a public base is an http or https URL without user, query and fragment")]
#[non_exhaustive]
pub struct PublicBaseError;

impl PublicBaseError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// Scheme, host and port of a URL, in their one spelling.
#[cfg(feature = "http")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    https: bool,
    host: Box<str>,
    port: u16,
}

#[cfg(feature = "http")]
impl Origin {
    /// That of this URL; `None` for what is none, and where there is user information.
    pub(crate) fn of(url: &str) -> Option<Self> {
        let Normal { https, host, port, .. } = Normal::parse(url)?;
        Some(Self { https, host: host.into(), port })
    }

    /// The one that this URL is: it has nothing behind the port but a slash.
    pub(crate) fn exactly(url: &str) -> Option<Self> {
        let normal = Normal::parse(url).filter(|_| !url.contains(['?', '#']));
        normal.filter(|normal| normal.path == "/").and_then(|_| Self::of(url))
    }

    pub(crate) const fn is_https(&self) -> bool {
        self.https
    }

    /// Plain HTTP on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        !self.https && matches!(&*self.host, "localhost" | "127.0.0.1" | "[::1]")
    }
}

#[cfg(feature = "http")]
impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// A URL in its one spelling, without query and fragment.
#[derive(Debug, PartialEq, Eq)]
struct Normal<'u> {
    https: bool,
    host: Cow<'u, str>,
    port: u16,
    path: Cow<'u, str>,
}

impl<'u> Normal<'u> {
    fn parse(url: &'u str) -> Option<Self> {
        if url.len() > MAX_LEN {
            return None;
        }
        let (scheme, rest) = url.split_once("://")?;
        let https = scheme.eq_ignore_ascii_case("https");
        if !https && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let rest = rest.split(['?', '#']).next()?;
        let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
        let (host, port) = split_port(authority)?;
        let default = if https { 443 } else { 80 };
        let port = if port.is_empty() { default } else { port_number(port)? };
        Some(Self { https, host: normal_host(host)?, port, path: normal_path(path)? })
    }
}

/// Host and port, which is empty where there is none; an IPv6 address has colons of its own.
fn split_port(authority: &str) -> Option<(&str, &str)> {
    if authority.starts_with('[') {
        let (host, rest) = authority.split_at_checked(authority.find(']')?.checked_add(1)?)?;
        return if rest.is_empty() {
            Some((host, ""))
        } else {
            Some((host, rest.strip_prefix(':')?))
        };
    }
    Some(authority.split_once(':').unwrap_or((authority, "")))
}

fn port_number(port: &str) -> Option<u16> {
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|number| digits && *number != 0)
}

/// A name of letters, digits and the other unreserved characters, or an IP address. Names with
/// escapes or in another script have an ASCII form, which is what clients send.
fn normal_host(host: &str) -> Option<Cow<'_, str>> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().ok()?;
        return Some(Cow::Owned(format!("[{address}]")));
    }
    if host.is_empty() || !host.bytes().all(is_unreserved) {
        return None;
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(Cow::Owned(host.to_ascii_lowercase()));
    }
    Some(Cow::Borrowed(host))
}

/// Rule 3; `None` for what is no path.
fn normal_path(path: &str) -> Option<Cow<'_, str>> {
    if path.is_empty() {
        return Some(Cow::Borrowed("/"));
    }
    if path.len() > MAX_LEN || !path.starts_with('/') || !path.bytes().all(is_path) {
        return None;
    }
    let resolved = resolve_escapes(path)?;
    if resolved.contains("/.") { Some(Cow::Owned(without_dots(&resolved))) } else { Some(resolved) }
}

/// RFC 3986 §6.2.2.1, §6.2.2.2.
fn resolve_escapes(path: &str) -> Option<Cow<'_, str>> {
    let mut pieces = path.split('%');
    let mut resolved = pieces.next()?.to_owned();
    if resolved.len() == path.len() {
        return Some(Cow::Borrowed(path));
    }
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if is_unreserved(byte) {
            resolved.push(char::from(byte));
        } else {
            resolved.push('%');
            resolved.push_str(&digits.to_ascii_uppercase());
        }
        resolved.push_str(rest);
    }
    Some(Cow::Owned(resolved))
}

/// RFC 3986 §5.2.4, of a path that begins with a slash.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    kept.iter().fold(String::with_capacity(path.len()), |path, segment| path + "/" + segment)
}

/// RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar`, `/` and `%` (RFC 3986 §3.3).
const fn is_path(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';')
        || matches!(byte, b'=' | b':' | b'@' | b'/' | b'%')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_target(base: &str, url: &str, path: &str) -> bool {
        PublicBase::parse(base).unwrap().is_target(url, path)
    }

    #[test]
    fn spellings_of_one_url_are_that_url() {
        for url in [
            "https://api.example.com/a/b",
            "HTTPS://API.Example.COM/a/b",
            "https://api.example.com:443/a/b",
            "https://api.example.com:/a/b",
            "https://api.example.com:0443/a/b",
            "https://api.example.com/a/./b",
            "https://api.example.com/a/x/../b",
            "https://api.example.com/../a/b",
            "https://api.example.com/%61/%62",
            "https://api.example.com/a/%2E%2e/a/b",
            "https://api.example.com/a/b?query=1",
            "https://api.example.com/a/b#fragment",
            "https://api.example.com/a/b?x#y",
        ] {
            assert!(is_target("https://api.example.com", url, "/a/b"), "{url}");
        }
    }

    #[test]
    fn other_urls_are_others() {
        for url in [
            "",
            "/a/b",
            "api.example.com/a/b",
            "http://api.example.com/a/b",
            "https://api.example.com:8443/a/b",
            "https://api.example.com:80/a/b",
            "https://api.example.com:+443/a/b",
            "https://api.example.com:0/a/b",
            "https://api.example.com:65979/a/b",
            "https://api.example.com./a/b",
            "https://api.example.org/a/b",
            "https://api.example.com.evil.org/a/b",
            "https://api.example.com@evil.org/a/b",
            "https://evil.org@api.example.com/a/b",
            "https://evil.org/api.example.com/a/b",
            "https://api.example.com/a/b/",
            "https://api.example.com/A/b",
            "https://api.example.com//a/b",
            "https://api.example.com/a//b",
            "https://api.example.com/a%2Fb",
            "https://api.example.com/a/b%",
            "https://api.example.com/a/b%2",
            "https://api.example.com/a/b%zz",
            "https://api.example.com/a/b ",
            " https://api.example.com/a/b",
            "https://api.example.com/a\\b",
            "https://api.example.com\\@evil.org/a/b",
            "https:///a/b",
            "https://%61pi.example.com/a/b",
            "https://api.example.com/a/b;v=1",
            "ftp://api.example.com/a/b",
            "https:api.example.com/a/b",
        ] {
            assert!(!is_target("https://api.example.com", url, "/a/b"), "{url}");
        }
    }

    #[test]
    fn escapes_that_stand_for_something_else_are_kept_in_upper_case() {
        let base = "https://api.example.com";
        assert!(is_target(base, "https://api.example.com/a%2fb", "/a%2Fb"));
        assert!(!is_target(base, "https://api.example.com/a/b", "/a%2Fb"));
        assert!(is_target(base, "https://api.example.com/%c3%a4", "/%C3%A4"));
        assert!(!is_target(base, "https://api.example.com/ä", "/%C3%A4"));
    }

    #[test]
    fn an_empty_path_is_the_root() {
        for (url, path) in [("https://h", "/"), ("https://h/", ""), ("https://h?q", "/")] {
            assert!(is_target("https://h", url, path), "{url} {path}");
            assert!(is_target("https://h/", url, path), "{url} {path}");
        }
        assert!(!is_target("https://h", "https://h", "*"));
    }

    #[test]
    fn what_a_proxy_takes_off_the_path_stands_in_the_base() {
        for base in ["https://h/shop", "https://h/shop/", "https://H/%73hop"] {
            assert!(is_target(base, "https://h/shop/orders", "/orders"), "{base}");
            assert!(!is_target(base, "https://h/orders", "/orders"), "{base}");
            assert!(!is_target(base, "https://h/shoporders", "/orders"), "{base}");
            assert!(!is_target(base, "https://h/shop/../orders", "/orders"), "{base}");
        }
    }

    #[test]
    fn addresses_are_hosts() {
        assert!(is_target("http://127.0.0.1:8080", "http://127.0.0.1:8080/", "/"));
        assert!(is_target("https://[::1]", "https://[0:0:0:0:0:0:0:1]:443/a", "/a"));
        for bad in ["https://[::1", "https://[::1]443/", "https://[::g]/", "https://::1/"] {
            assert!(!is_target("https://[::1]", bad, "/"), "{bad}");
        }
    }

    #[test]
    fn a_url_has_a_maximum_length() {
        let path = |len: usize| format!("/{}", "a".repeat(len));
        let url = format!("https://h{}", path(MAX_LEN - 10));
        assert_eq!(url.len(), MAX_LEN);
        assert!(is_target("https://h", &url, &path(MAX_LEN - 10)));
        assert!(!is_target("https://h", &format!("{url}a"), &path(MAX_LEN - 9)));
    }

    #[test]
    fn a_base_is_a_url_without_query_and_fragment() {
        for bad in ["", "h", "https://h?q", "https://h#f", "https://u@h", "ws://h", "https://h/%"] {
            assert_eq!(PublicBase::parse(bad), Err(PublicBaseError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(path in "/[a-c./%2eE5F]{0,24}") {
            if let Some(once) = normal_path(&path) {
                let twice = normal_path(&once);
                prop_assert_eq!(twice.as_deref(), Some(&*once));
                prop_assert!(!once.split('/').any(|segment| segment == "." || segment == ".."));
            }
        }

        #[test]
        fn any_text_is_a_target_or_not(url in ".{0,60}", path in ".{0,20}") {
            let _ = is_target("https://h", &format!("https://h{url}"), &path);
        }
    }
}

//! Where a bundle is served.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rustls_pki_types::{DnsName, ServerName};
use zt_core::fault::Fault;

/// The longest URL that is read, in bytes: what every client and proxy passes on.
pub const MAX_URL_LEN: usize = 2048;

const SCHEME: &str = "https://";

/// The URL of a bundle endpoint.
///
/// It is taken when, in this order (SPIFFE Federation §5.1.1, §5.2.1; RFC 3986):
///
/// 1. it has at most [`MAX_URL_LEN`] bytes, each of which may stand in a URL, and every escape is
///    one of a byte;
/// 2. it begins with `https://`, in lower case;
/// 3. it names no user, and has no fragment;
/// 4. its host is a DNS name without a dot at the end, an IPv4 address of four decimal numbers, or an
///    IPv6 address in brackets;
/// 5. its port, where there is one, is from 1 to 65535, without zeros in front.
///
/// It is kept as it is written.
///
/// ```
/// use zt_tls::federation::EndpointUrl;
///
/// let url = EndpointUrl::parse("https://partner.test:8443/bundle")?;
/// assert_eq!((url.host(), url.port()), ("partner.test", 8443));
/// assert!(EndpointUrl::parse("http://partner.test/bundle").is_err());
/// assert!(EndpointUrl::parse("https://user@partner.test/bundle").is_err());
/// # Ok::<(), zt_tls::federation::EndpointUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EndpointUrl {
    // INVARIANT: SCHEME, then `host_len` bytes of the host, then the port up to `path_at`.
    text: Arc<str>,
    host_len: usize,
    port: u16,
    path_at: usize,
}

impl EndpointUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// [`EndpointUrlError`] names the first rule that is broken.
    pub fn parse(url: &str) -> Result<Self, EndpointUrlError> {
        if url.len() > MAX_URL_LEN {
            return Err(EndpointUrlError::TooLong { len: url.len() });
        }
        if !is_of_uri_characters(url) {
            return Err(EndpointUrlError::Character);
        }
        let rest = url.strip_prefix(SCHEME).ok_or(EndpointUrlError::NotHttps)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(EndpointUrlError::UserInfo);
        }
        if url.contains('#') {
            return Err(EndpointUrlError::Fragment);
        }
        let (host, port) = split_port(authority)?;
        check_host(host)?;
        Ok(Self {
            text: url.into(),
            host_len: host.len(),
            port: port.map_or(Ok(443), port_number)?,
            path_at: SCHEME.len().saturating_add(authority.len()),
        })
    }

    /// The URL that a redirect from here leads to: `Location` is a URL by the same rules, or a path on
    /// the same server, which begins with one slash (RFC 9110 §10.2.2).
    ///
    /// # Errors
    ///
    /// [`EndpointUrlError`] when it is neither.
    pub fn redirect(&self, location: &str) -> Result<Self, EndpointUrlError> {
        if location.starts_with('/') && !location.starts_with("//") {
            let server = self.text.get(..self.path_at).unwrap_or_default();
            return Self::parse(&format!("{server}{location}"));
        }
        Self::parse(location)
    }

    /// The URL, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host: a name, or an address, without the brackets of one of IPv6.
    #[must_use]
    pub fn host(&self) -> &str {
        let rest = self.text.get(SCHEME.len()..).unwrap_or_default();
        let host = rest.get(..self.host_len).unwrap_or_default();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port, 443 where none is written.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as they are written: the `Host` of a request.
    pub(super) fn authority(&self) -> &str {
        self.text.get(SCHEME.len()..self.path_at).unwrap_or_default()
    }

    /// What is asked of the server.
    pub(super) fn path_and_query(&self) -> String {
        match self.text.get(self.path_at..) {
            Some(rest) if rest.starts_with('/') => rest.to_owned(),
            rest => format!("/{}", rest.unwrap_or_default()),
        }
    }

    /// Whom TLS is told that is wanted.
    pub(super) fn server_name(&self) -> Result<ServerName<'static>, EndpointUrlError> {
        ServerName::try_from(self.host().to_owned()).map_err(|_| EndpointUrlError::Host)
    }
}

/// RFC 3986 §2.
fn is_of_uri_characters(url: &str) -> bool {
    let mut escapes = url.split('%');
    let plain = |text: &str| text.bytes().all(is_uri_character);
    let escape = |text: &str| {
        text.get(..2).is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    escapes.next().is_some_and(plain) && escapes.all(|text| escape(text) && plain(text))
}

fn is_uri_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte)
}

/// Host, brackets included, and port.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), EndpointUrlError> {
    let at = if authority.starts_with('[') {
        let bracket = authority.find(']').ok_or(EndpointUrlError::Host)?;
        bracket.saturating_add(1)
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at_checked(at).ok_or(EndpointUrlError::Host)?;
    if rest.is_empty() {
        return Ok((host, None));
    }
    let port = rest.strip_prefix(':').ok_or(EndpointUrlError::Host)?;
    Ok((host, Some(port)))
}

fn port_number(port: &str) -> Result<u16, EndpointUrlError> {
    let decimal = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    port.parse().ok().filter(|_| decimal).ok_or(EndpointUrlError::Port)
}

fn check_host(host: &str) -> Result<(), EndpointUrlError> {
    let valid = if let Some(rest) = host.strip_prefix('[') {
        rest.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
    } else if ends_in_a_number(host) {
        // Some resolvers take `127.1` and `0x7f.1` for addresses, which no certificate is for.
        host.parse::<Ipv4Addr>().is_ok()
    } else {
        !host.ends_with('.') && DnsName::try_from(host).is_ok()
    };
    if valid { Ok(()) } else { Err(EndpointUrlError::Host) }
}

fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').find(|label| !label.is_empty()).unwrap_or_default();
    let is_hex = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    hex.is_some_and(is_hex)
        || (!last.is_empty() && last.bytes().all(|digit| digit.is_ascii_digit()))
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// Why a bundle cannot be served at a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointUrlError {
    /// It is longer than [`MAX_URL_LEN`].
    #[error("a URL of {len} bytes, and at most {MAX_URL_LEN} are read")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// It has a character that no URL has, or an escape that is none.
    #[error("the URL has a character that no URL has")]
    Character,
    /// It does not begin with `https://`, in lower case.
    #[error("the URL does not begin with https://")]
    NotHttps,
    /// It names a user.
    #[error("the URL names a user")]
    UserInfo,
    /// It has a fragment, which no server is asked for.
    #[error("the URL has a fragment")]
    Fragment,
    /// Its host is neither a DNS name nor an address.
    #[error("the host of the URL is neither a DNS name nor an address")]
    Host,
    /// Its port is not a number from 1 to 65535.
    #[error("the port of the URL is not a number from 1 to 65535")]
    Port,
}

impl EndpointUrlError {
    /// Whose fault it is: that of the embedding program, unless the URL is that of a redirect.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_endpoint_is_at_an_https_url_that_names_a_host_and_no_user() {
        for (good, host, port, asked) in [
            ("https://a.test", "a.test", 443, "/"),
            ("https://a.test/", "a.test", 443, "/"),
            ("https://a.test?b", "a.test", 443, "/?b"),
            ("https://A.test:8443/b/c?d=e@f", "A.test", 8443, "/b/c?d=e@f"),
            ("https://a.test/@", "a.test", 443, "/@"),
            ("https://127.0.0.1:1/%2e", "127.0.0.1", 1, "/%2e"),
            ("https://[::1]", "::1", 443, "/"),
            ("https://[::1]:65535/", "::1", 65535, "/"),
        ] {
            let url = EndpointUrl::parse(good).unwrap();
            assert_eq!((url.host(), url.port(), &*url.path_and_query()), (host, port, asked));
            assert_eq!((url.as_str(), &*format!("{url:?}")), (good, &*format!("{good:?}")));
            assert!(url.server_name().is_ok(), "{good}");
        }
        for (bad, error) in [
            ("", EndpointUrlError::NotHttps),
            ("http://a.test", EndpointUrlError::NotHttps),
            ("HTTPS://a.test", EndpointUrlError::NotHttps),
            ("https:a.test", EndpointUrlError::NotHttps),
            ("//a.test", EndpointUrlError::NotHttps),
            (" https://a.test", EndpointUrlError::Character),
            ("https://a.test\n", EndpointUrlError::Character),
            ("https://a.test/\r\nX: y", EndpointUrlError::Character),
            ("https://a.test\\@b.test", EndpointUrlError::Character),
            ("https://é.test", EndpointUrlError::Character),
            ("https://a.test/%", EndpointUrlError::Character),
            ("https://a.test/%2", EndpointUrlError::Character),
            ("https://a.test/%zz", EndpointUrlError::Character),
            ("https://u@a.test", EndpointUrlError::UserInfo),
            ("https://@a.test", EndpointUrlError::UserInfo),
            ("https://a.test:443@b.test", EndpointUrlError::UserInfo),
            ("https://u:p@a.test/", EndpointUrlError::UserInfo),
            ("https://a.test/#", EndpointUrlError::Fragment),
            ("https://a.test#@b.test", EndpointUrlError::Fragment),
            ("https://", EndpointUrlError::Host),
            ("https:///bundle", EndpointUrlError::Host),
            ("https://:443", EndpointUrlError::Host),
            ("https://a.test.", EndpointUrlError::Host),
            ("https://a..test", EndpointUrlError::Host),
            ("https://%61.test", EndpointUrlError::Host),
            ("https://127.1", EndpointUrlError::Host),
            ("https://0x7f.0.0.1", EndpointUrlError::Host),
            ("https://127.0.0.0x1", EndpointUrlError::Host),
            ("https://2130706433", EndpointUrlError::Host),
            ("https://127.0.0.1.", EndpointUrlError::Host),
            ("https://[::1", EndpointUrlError::Host),
            ("https://[::1]a", EndpointUrlError::Host),
            ("https://[fe80::1%25eth0]", EndpointUrlError::Host),
            ("https://[127.0.0.1]", EndpointUrlError::Host),
            ("https://::1", EndpointUrlError::Host),
            ("https://a.test:", EndpointUrlError::Port),
            ("https://a.test:0", EndpointUrlError::Port),
            ("https://a.test:0443", EndpointUrlError::Port),
            ("https://a.test:+443", EndpointUrlError::Port),
            ("https://a.test:65536", EndpointUrlError::Port),
        ] {
            assert_eq!(EndpointUrl::parse(bad), Err(error), "{bad:?}");
        }
        let long = format!("https://a.test/{}", "b".repeat(MAX_URL_LEN));
        assert_eq!(EndpointUrl::parse(&long), Err(EndpointUrlError::TooLong { len: long.len() }));
    }

    #[test]
    fn a_redirect_leads_to_a_url_by_the_same_rules_or_to_a_path_on_the_same_server() {
        let from = EndpointUrl::parse("https://a.test:8443/old?x").unwrap();
        for (location, to) in [
            ("https://b.test/c", "https://b.test/c"),
            ("/new?y", "https://a.test:8443/new?y"),
            ("/", "https://a.test:8443/"),
        ] {
            assert_eq!(from.redirect(location).unwrap().as_str(), to);
        }
        for (location, error) in [
            ("http://a.test:8443/new", EndpointUrlError::NotHttps),
            ("//b.test/new", EndpointUrlError::NotHttps),
            ("new", EndpointUrlError::NotHttps),
            ("", EndpointUrlError::NotHttps),
            ("file:///etc/passwd", EndpointUrlError::NotHttps),
            ("https://u@b.test/", EndpointUrlError::UserInfo),
            ("/\\b.test", EndpointUrlError::Character),
            ("/#x", EndpointUrlError::Fragment),
        ] {
            assert_eq!(from.redirect(location), Err(error), "{location:?}");
        }
        let long = format!("/{}", "b".repeat(MAX_URL_LEN));
        assert!(matches!(from.redirect(&long), Err(EndpointUrlError::TooLong { .. })));
    }

    /// A part of a URL, and whether an endpoint may have it.
    fn part(good: &'static str, bad: &'static str) -> impl Strategy<Value = (String, bool)> {
        let good = good.prop_map(|text: String| (text, true));
        let bad = bad.prop_map(|text: String| (text, false));
        prop_oneof![6 => good, 1 => bad]
    }

    proptest! {
        #[test]
        fn a_url_is_taken_when_each_of_its_parts_may_be_there(
            scheme in part("https", "http|HTTPS|ftp|Https"),
            user in part("", "[a-z]{0,3}@|[a-z]:[a-z]@"),
            host in part(
                "[a-z]([a-z0-9-]{0,5}[a-z0-9])?(\\.[a-z][a-z0-9]{0,5}){0,3}|[1-9]\\.0\\.0\\.1|\\[::[1-9a-f]\\]",
                "|[0-9]{1,4}|[a-z]\\.\\.[a-z]|-[a-z]|[a-z]\\.|\\[[g-z]\\]|[a-z]%41",
            ),
            port in part("|:[1-9][0-9]{0,3}", ":|:0[0-9]*|:[7-9][0-9]{4}|:[a-z]{1,2}"),
            path in part("(/[a-zA-Z0-9._~!$&'()*+,;=:@-]{0,6}(%[0-9a-f]{2})?){0,3}", "/[ \\\\\"<>^`{|}é\t]"),
            query in part("(\\?[a-z=&/?@]{0,8})?", "\\?%[g-z]"),
            fragment in part("", "#[a-z@]{0,3}"),
        ) {
            let parts = [&user, &host, &port, &path, &query, &fragment];
            let url = format!("{}://", scheme.0)
                + &parts.iter().map(|(text, _)| text.as_str()).collect::<String>();
            let expected = scheme.1 && parts.iter().all(|(_, good)| *good);
            let found = EndpointUrl::parse(&url);
            prop_assert_eq!(found.is_ok(), expected, "{} {:?}", url, found);
            if let Ok(found) = found {
                prop_assert_eq!(found.host(), host.0.trim_matches(['[', ']']));
                let port: u16 = port.0.trim_start_matches(':').parse().unwrap_or(443);
                prop_assert_eq!(found.port(), port);
                let asked = format!("{}{}", path.0, query.0);
                let slash = if asked.starts_with('/') { "" } else { "/" };
                prop_assert_eq!(found.path_and_query(), format!("{slash}{asked}"));
            }
        }

        #[test]
        fn what_is_taken_means_to_others_what_it_means_here(text in "(https://)?[ -~]{0,40}") {
            let base = EndpointUrl::parse("https://a.test/b").unwrap();
            for url in [EndpointUrl::parse(&text), base.redirect(&text)].into_iter().flatten() {
                let uri: http::Uri = url.as_str().parse().unwrap();
                prop_assert_eq!(uri.scheme_str(), Some("https"));
                prop_assert_eq!(uri.host().map(|host| host.trim_matches(['[', ']'])), Some(url.host()));
                prop_assert_eq!(uri.port_u16().unwrap_or(443), url.port());
                // An empty path is `/`, also before a query (RFC 9110 §4.2.3).
                let asked = uri.path_and_query().unwrap().to_string();
                let ours = url.path_and_query();
                prop_assert_eq!(asked.trim_start_matches('/'), ours.trim_start_matches('/'));
                prop_assert!(ours.starts_with('/'));
                prop_assert!(!uri.authority().unwrap().as_str().contains('@'));
            }
        }
    }
}

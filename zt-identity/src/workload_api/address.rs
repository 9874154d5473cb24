//! Where the Workload API is.
//!
//! [`EndpointAddress::parse`] accepts a URI when, in this order (SPIFFE Workload Endpoint §4, E-03):
//!
//! 1. it has at most [`MAX_LEN`] bytes, of those that a URI may have, and none is escaped: a path has
//!    one spelling, and a socket in a folder with other characters can be linked to;
//! 2. its scheme is `unix` or `tcp`, in lower case;
//! 3. it has neither a query nor a fragment, also not an empty one;
//! 4. `unix`: no authority, and an absolute path that names something: `unix:///run/agent.sock` or
//!    `unix:/run/agent.sock`;
//! 5. `tcp`: an authority of an IP address and a port that is not 0, and nothing behind it. A name
//!    would have to be resolved by somebody who is to be trusted before anybody is.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use zt_core::fault::Fault;

use crate::excerpt::excerpt;

/// The longest address, in bytes: more than any system takes for the path of a socket.
pub const MAX_LEN: usize = 1024;
/// The environment variable that holds the address where none is configured (§4, E-02).
pub const ENVIRONMENT_VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";

/// Where the Workload API is.
///
/// ```
/// use zt_identity::workload_api::EndpointAddress;
///
/// let agent = EndpointAddress::parse("unix:///run/spire/agent.sock")?;
/// assert_eq!(agent, EndpointAddress::parse("unix:/run/spire/agent.sock")?);
/// assert!(EndpointAddress::parse("tcp://127.0.0.1:8000").is_ok());
/// assert!(EndpointAddress::parse("tcp://agent.example.org:8000").is_err());
/// # Ok::<(), zt_identity::workload_api::EndpointAddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port, without TLS (E-04): whoever can connect to it is served, so it is to be reached
    /// from this machine alone.
    Tcp(SocketAddr),
}

impl EndpointAddress {
    /// Reads an address.
    ///
    /// # Errors
    ///
    /// [`EndpointAddressError`] names the first rule that is broken.
    pub fn parse(uri: &str) -> Result<Self, EndpointAddressError> {
        check_characters(uri)?;
        let (scheme, rest) = uri.split_once(':').ok_or_else(|| scheme_error(uri))?;
        if rest.contains(['?', '#']) {
            return Err(EndpointAddressError::QueryOrFragment);
        }
        match scheme {
            "unix" => unix(rest),
            "tcp" => tcp(rest),
            _ => Err(scheme_error(scheme)),
        }
    }

    /// The address in [`ENVIRONMENT_VARIABLE`].
    ///
    /// # Errors
    ///
    /// [`EndpointAddressError::Unset`], or as [`EndpointAddress::parse`].
    pub fn from_env() -> Result<Self, EndpointAddressError> {
        match std::env::var(ENVIRONMENT_VARIABLE) {
            Ok(uri) => Self::parse(&uri),
            Err(std::env::VarError::NotPresent) => Err(EndpointAddressError::Unset),
            Err(std::env::VarError::NotUnicode(_)) => Err(EndpointAddressError::Character),
        }
    }

    /// The address of this socket, whatever its path.
    ///
    /// # Errors
    ///
    /// [`EndpointAddressError::Path`] when the path is relative.
    pub fn unix(path: impl Into<PathBuf>) -> Result<Self, EndpointAddressError> {
        let path = path.into();
        if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(EndpointAddressError::Path) }
    }

    /// The Unix socket, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp(_) => None,
        }
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// RFC 3986 §2.2, §2.3, without `%`.
fn check_characters(uri: &str) -> Result<(), EndpointAddressError> {
    if uri.len() > MAX_LEN {
        return Err(EndpointAddressError::TooLong { len: uri.len() });
    }
    let of_uris =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte);
    if uri.bytes().all(of_uris) { Ok(()) } else { Err(EndpointAddressError::Character) }
}

fn unix(rest: &str) -> Result<EndpointAddress, EndpointAddressError> {
    let path = match rest.strip_prefix("//") {
        Some(with_authority) if !with_authority.starts_with('/') => {
            return Err(EndpointAddressError::Authority);
        }
        Some(path) => path,
        None => rest,
    };
    // A folder is no socket.
    if !path.starts_with('/') || path.ends_with('/') || path.contains(['[', ']']) {
        return Err(EndpointAddressError::Path);
    }
    Ok(EndpointAddress::Unix(path.into()))
}

fn tcp(rest: &str) -> Result<EndpointAddress, EndpointAddressError> {
    let authority = rest.strip_prefix("//").ok_or(EndpointAddressError::Host)?;
    let address: SocketAddr = authority.parse().map_err(|_| EndpointAddressError::Host)?;
    // Of several spellings of a port or an address one is taken.
    if address.port() == 0 || address.to_string() != authority {
        return Err(EndpointAddressError::Host);
    }
    Ok(EndpointAddress::Tcp(address))
}

fn scheme_error(found: &str) -> EndpointAddressError {
    EndpointAddressError::Scheme { found: excerpt(found) }
}

/// Why a text is no address of a Workload API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointAddressError {
    /// No address is configured.
    #[error("there is no address: {ENVIRONMENT_VARIABLE} is not set")]
    Unset,
    /// It is longer than [`MAX_LEN`].
    #[error("the address has {len} bytes, more than {MAX_LEN}")]
    TooLong {
        /// How many bytes it has.
        len: usize,
    },
    /// It has a character that a URI does not have, or one that is escaped.
    #[error("the address has a character that is not one of a URI without escapes")]
    Character,
    /// Its scheme is neither `unix` nor `tcp`.
    #[error("the scheme is {found:?}, neither \"unix\" nor \"tcp\"")]
    Scheme {
        /// What is there, cut.
        found: String,
    },
    /// It has a query or a fragment.
    #[error("the address has a query or a fragment")]
    QueryOrFragment,
    /// A Unix socket has no host.
    #[error("the address of a unix socket has an authority; write unix:///path")]
    Authority,
    /// The path of a Unix socket is not an absolute one.
    #[error("the address of a unix socket is not an absolute path")]
    Path,
    /// A TCP address is not `//`, an IP address, `:` and a port.
    #[error("the address of a tcp port is not tcp://ip:port and nothing else")]
    Host,
}

impl EndpointAddressError {
    /// Whose fault it is: that of whoever configures this program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rules once more, by cutting the text into the parts of a URI and looking at each.
    fn naive(uri: &str) -> bool {
        let (mut scheme, mut rest) = (String::new(), uri.to_owned());
        while let Some(first) = rest.chars().next() {
            rest.remove(0);
            if first == ':' {
                break;
            }
            scheme.push(first);
        }
        let plain = uri.chars().all(|c| matches!(c, '!'..='~') && !r#""%<>\^`{|}"#.contains(c));
        if !plain || uri.len() > 1024 || rest.contains('?') || rest.contains('#') {
            return false;
        }
        let parts: Vec<&str> = rest.split('/').collect();
        match (scheme.as_str(), parts.as_slice()) {
            ("unix", ["", "", "", .., last]) => !last.is_empty() && !rest.contains(['[', ']']),
            ("unix", ["", first, others @ ..]) => {
                let last = others.last().unwrap_or(first);
                !first.is_empty() && !last.is_empty() && !rest.contains(['[', ']'])
            }
            ("tcp", ["", "", host]) => {
                let Some((ip, port)) = host.rsplit_once(':') else { return false };
                let canonical_port =
                    port.parse::<u16>().is_ok_and(|p| p > 0 && p.to_string() == port);
                let v6 = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
                let canonical_ip = match v6 {
                    Some(v6) => {
                        v6.parse::<std::net::Ipv6Addr>().is_ok_and(|ip| ip.to_string() == v6)
                    }
                    None => ip.parse::<std::net::Ipv4Addr>().is_ok(),
                };
                canonical_port && canonical_ip
            }
            _ => false,
        }
    }

    #[test]
    fn a_unix_socket_is_an_absolute_path_and_nothing_else() {
        for good in ["unix:///run/agent.sock", "unix:/run/agent.sock"] {
            let address = EndpointAddress::parse(good).unwrap();
            assert_eq!(address, EndpointAddress::Unix("/run/agent.sock".into()));
        }
        use EndpointAddressError as E;
        for (bad, why) in [
            ("unix://", E::Authority),
            ("unix:///", E::Path),
            ("unix:", E::Path),
            ("unix:agent.sock", E::Path),
            ("unix://run/agent.sock", E::Authority),
            ("unix://u:p@/run/agent.sock", E::Authority),
            ("unix:///run/agent.sock?", E::QueryOrFragment),
            ("unix:///run/agent.sock#x", E::QueryOrFragment),
            ("unix:///run/agent.sock/", E::Path),
            ("unix:///run/%61gent.sock", E::Character),
            ("unix:///run/agent.sock\n", E::Character),
            (" unix:///run/agent.sock", E::Character),
            ("UNIX:///run/agent.sock", E::Scheme { found: "UNIX".into() }),
            ("/run/agent.sock", E::Scheme { found: "/run/agent.sock".into() }),
            ("", E::Scheme { found: String::new() }),
        ] {
            assert_eq!(EndpointAddress::parse(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn a_tcp_address_is_an_ip_address_and_a_port() {
        for good in ["tcp://127.0.0.1:8000", "tcp://[::1]:8000"] {
            assert_eq!(EndpointAddress::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "tcp:127.0.0.1:8000",
            "tcp://127.0.0.1",
            "tcp://127.0.0.1:",
            "tcp://127.0.0.1:0",
            "tcp://127.0.0.1:080",
            "tcp://127.0.0.1:65536",
            "tcp://127.0.0.1:8000/",
            "tcp://u@127.0.0.1:8000",
            "tcp://localhost:8000",
            "tcp://::1:8000",
            "tcp://[0::1]:8000",
            "tcp:///127.0.0.1:8000",
        ] {
            assert_eq!(EndpointAddress::parse(bad), Err(EndpointAddressError::Host), "{bad}");
        }
    }

    #[test]
    fn an_address_has_a_length() {
        let longest = format!("unix:///{}", "a".repeat(MAX_LEN - 8));
        assert!(EndpointAddress::parse(&longest).is_ok());
        let refused = EndpointAddress::parse(&format!("{longest}a"));
        assert_eq!(refused, Err(EndpointAddressError::TooLong { len: MAX_LEN + 1 }));
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_the_rules_say(
            uri in "(unix|tcp|Unix|)(:|)(//|/|)(/|)([a\\[\\]%@.:/?#]{0,3})(run|127\\.0\\.0\\.1|\\[::1\\]|)(:|/)?(s|0|80|080|)"
        ) {
            prop_assert_eq!(EndpointAddress::parse(&uri).is_ok(), naive(&uri), "{}", uri);
        }

        #[test]
        fn what_is_taken_is_taken_again_as_it_is_shown(uri in "(unix:/{1,4}|tcp://)[a-z0-9./:\\[\\]]{0,12}") {
            if let Ok(address) = EndpointAddress::parse(&uri) {
                prop_assert_eq!(EndpointAddress::parse(&address.to_string()), Ok(address));
            }
        }
    }
}

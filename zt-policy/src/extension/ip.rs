//! `ipaddr`: an address, or all addresses that share a prefix with it.
//!
//! [`IpNet::parse`] accepts a text when, in this order:
//!
//! 1. it is at most 43 bytes long, the longest that IPv6 with a prefix length can be;
//! 2. it does not write an IPv4 address into an IPv6 address;
//! 3. what stands before an optional `/` is an address, without zeros before a decimal number;
//! 4. what stands behind it is a number without leading zeros, at most 32 or 128.
//!
//! The bits behind the prefix are kept, so `10.0.0.1/8` and `10.0.0.0/8` are not equal, though
//! each lies in the range of the other.

use std::fmt;
use std::net::IpAddr;

use super::{Malformed, digits};

/// The longest text that is accepted, in bytes: 39 for the address, 4 for `/128`.
const MAX_LEN: usize = 43;

/// An IP address with a prefix length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpNet {
    addr: IpAddr,
    // INVARIANT: at most 32 for IPv4, 128 for IPv6.
    prefix: u8,
}

impl IpNet {
    /// Parses an address, with or without a prefix length.
    ///
    /// # Errors
    ///
    /// [`Malformed`] names the rule that is broken.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Self::read(text).map_err(|why| Malformed::new("ipaddr", why, text))
    }

    /// As [`IpNet::parse`], or which rule is broken, without an allocation.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_LEN {
            return Err("it is longer than 43 bytes");
        }
        if text.contains(':') && text.contains('.') {
            return Err("IPv4 inside of IPv6 is not accepted");
        }
        let (addr, prefix) = match text.split_once('/') {
            Some((addr, prefix)) => (addr, Some(prefix)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| "it is not an address")?;
        let Some(prefix) = prefix else {
            return Ok(Self::from(addr));
        };
        if prefix.len() > 1 && prefix.starts_with('0') {
            return Err("the prefix length has leading zeros");
        }
        digits(prefix)
            .and_then(|prefix| u8::try_from(prefix).ok())
            .filter(|prefix| *prefix <= bits(addr))
            .map(|prefix| Self { addr, prefix })
            .ok_or("the prefix length is not a number in range")
    }

    /// Whether it is IPv4.
    #[must_use]
    pub const fn is_ipv4(self) -> bool {
        self.addr.is_ipv4()
    }

    /// Whether it is IPv6.
    #[must_use]
    pub const fn is_ipv6(self) -> bool {
        self.addr.is_ipv6()
    }

    /// Whether all of its addresses are loopback addresses: 127.0.0.0/8, ::1.
    #[must_use]
    pub fn is_loopback(self) -> bool {
        self.addr.is_loopback() && self.prefix >= if self.is_ipv4() { 8 } else { 128 }
    }

    /// Whether all of its addresses are multicast addresses: 224.0.0.0/4, ff00::/8.
    #[must_use]
    pub fn is_multicast(self) -> bool {
        self.addr.is_multicast() && self.prefix >= if self.is_ipv4() { 4 } else { 8 }
    }

    /// Whether all of its addresses belong to `range`.
    #[must_use]
    pub fn is_in_range(self, range: Self) -> bool {
        self.is_ipv4() == range.is_ipv4()
            && self.prefix >= range.prefix
            && leading_bits(self.addr, range.prefix) == leading_bits(range.addr, range.prefix)
    }
}

fn bits(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

/// The first `count` bits of an address, as a number.
fn leading_bits(addr: IpAddr, count: u8) -> u128 {
    let number = match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let dropped = bits(addr).saturating_sub(count);
    // None of the 128 bits of an IPv6 address are left: that shift overflows.
    number.checked_shr(u32::from(dropped)).unwrap_or(0)
}

/// The one address.
impl From<IpAddr> for IpNet {
    fn from(addr: IpAddr) -> Self {
        Self { addr, prefix: bits(addr) }
    }
}

/// In the form that [`IpNet::parse`] reads, except that IPv4-mapped IPv6 addresses, which it does
/// not read, are shown in hexadecimal groups.
impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            IpAddr::V4(v4) => write!(f, "{v4}")?,
            IpAddr::V6(v6) => {
                let shown = v6.to_string();
                if shown.contains('.') {
                    let groups = v6.segments().map(|group| format!("{group:x}"));
                    f.write_str(&groups.join(":"))?;
                } else {
                    f.write_str(&shown)?;
                }
            }
        }
        if self.prefix == bits(self.addr) { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl fmt::Debug for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpNet {
        IpNet::parse(text).unwrap()
    }

    #[test]
    fn an_address_is_written_in_one_of_few_ways() {
        for bad in [
            "",
            "10.0.0",
            "010.0.0.1",
            "10.0.0.1/33",
            "10.0.0.1/",
            "10.0.0.1/+8",
            "10.0.0.1/8/8",
            " 10.0.0.1",
            "::1/01",
            "::1/00",
            "::1/129",
            "::ffff:1.2.3.4",
            "::1/1000",
            "::1%eth0",
            "[::1]",
            "10.0.0.1/٣",
            "0000:0000:0000:0000:0000:0000:0000:0001/1280",
        ] {
            assert!(IpNet::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(ip("10.0.0.1"), ip("10.0.0.1/32"));
        assert_eq!(ip("::1"), ip("0:0:0:0:0:0:0:1"));
        assert!(IpNet::parse("0000:0000:0000:0000:0000:0000:0000:0001/128").is_ok());
    }

    #[test]
    fn bits_behind_the_prefix_count_for_equality_and_not_for_ranges() {
        assert_ne!(ip("10.0.0.0/8"), ip("10.0.0.1/8"));
        assert!(ip("10.0.0.0/8").is_in_range(ip("10.0.0.1/8")));
        assert!(ip("10.0.0.1/8").is_in_range(ip("10.0.0.0/8")));
    }

    #[test]
    fn a_range_holds_what_shares_its_prefix_in_its_family() {
        assert!(ip("10.1.0.0/16").is_in_range(ip("10.0.0.0/8")));
        assert!(!ip("10.0.0.0/8").is_in_range(ip("10.1.0.0/16")));
        assert!(!ip("11.0.0.0").is_in_range(ip("10.0.0.0/8")));
        assert!(ip("1.2.3.4").is_in_range(ip("0.0.0.0/0")));
        assert!(ip("2001:db8::1").is_in_range(ip("::/0")));
        assert!(!ip("::1").is_in_range(ip("0.0.0.0/0")));
    }

    #[test]
    fn a_network_is_loopback_or_multicast_as_a_whole() {
        assert!(ip("127.0.0.0/8").is_loopback());
        assert!(!ip("127.0.0.1/7").is_loopback());
        assert!(!ip("::2").is_loopback());
        assert!(ip("224.0.0.0/4").is_multicast());
        assert!(!ip("224.0.0.0/3").is_multicast());
        assert!(ip("ff00::/8").is_multicast());
    }

    proptest! {
        #[test]
        fn an_address_is_read_back_as_it_is_shown(addr: IpAddr, prefix in 0u8..=128) {
            let net = IpNet { addr, prefix: prefix.min(bits(addr)) };
            prop_assert_eq!(IpNet::parse(&net.to_string()), Ok(net));
        }
    }
}

//! The name of a service account, as `sub` has it.

const PREFIX: &str = "system:serviceaccount:";

/// `system:serviceaccount:<namespace>:<name>`, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AccountName<'s> {
    // INVARIANT: an RFC 1123 label.
    pub(super) namespace: &'s str,
    // INVARIANT: an RFC 1123 subdomain.
    pub(super) name: &'s str,
}

impl<'s> AccountName<'s> {
    /// As `SplitUsername` of the API server does.
    pub(super) fn parse(subject: &'s str) -> Option<Self> {
        let (namespace, name) = subject.strip_prefix(PREFIX)?.split_once(':')?;
        (is_label(namespace) && is_subdomain(name)).then_some(Self { namespace, name })
    }
}

/// RFC 1123 §2.1, as Kubernetes has it: 1 to 63 of `a`–`z`, `0`–`9` and `-`, the last not at an
/// end.
fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_word(text)
}

/// Labels of any length, separated by periods: 253 bytes in all.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_word)
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_a_namespace_and_a_name_as_kubernetes_allows_them() {
        let account = AccountName::parse("system:serviceaccount:shop:cart.v2").unwrap();
        assert_eq!((account.namespace, account.name), ("shop", "cart.v2"));
        let longest =
            format!("{PREFIX}{}:{}", "n".repeat(63), "s.".repeat(126).trim_end_matches('.'));
        assert!(AccountName::parse(&longest).is_some());
        for bad in [
            "",
            "shop",
            ":",
            ":cart",
            "shop:",
            "shop:cart:x",
            "Shop:cart",
            "shop:c_t",
            "sh.op:cart",
            "-shop:cart",
            "shop-:cart",
            "shop:.cart",
            "shop:cart.",
            "shop:ca..rt",
            "shop :cart",
            "shop:cart\n",
            "shöp:cart",
        ] {
            assert_eq!(AccountName::parse(&format!("{PREFIX}{bad}")), None, "{bad:?}");
        }
        let too_long = format!("{PREFIX}{}:cart", "n".repeat(64));
        assert_eq!(AccountName::parse(&too_long), None);
        let too_long = format!("{PREFIX}shop:{}", "s".repeat(254));
        assert_eq!(AccountName::parse(&too_long), None);
        assert_eq!(AccountName::parse("system:serviceaccounts:shop:cart"), None);
        assert_eq!(AccountName::parse("alice"), None);
    }
}

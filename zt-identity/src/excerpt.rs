//! What a peer wrote, cut to a length that fits into an error.

/// The longest excerpt, in bytes: enough for the name of any registered claim or algorithm.
const MAX_LEN: usize = 64;

/// The beginning of `text`; an error quotes it with `{:?}`, so nothing in it is taken for ours.
pub(crate) fn excerpt(text: &str) -> String {
    let cut = (0..=MAX_LEN.min(text.len())).rev().find_map(|end| text.get(..end));
    cut.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_ends_at_a_character() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"é".repeat(64)).len(), 64);
        assert_eq!(excerpt(&format!("a{}", "é".repeat(64))).len(), 63);
    }
}

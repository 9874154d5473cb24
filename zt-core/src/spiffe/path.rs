//! The path of a SPIFFE ID and its segments (SPIFFE-ID §2.2).

use super::{SpiffeIdError, char_at};

/// Checks one segment of a path.
///
/// # Errors
///
/// [`SpiffeIdError`] names the rule that is broken, and where in the segment.
pub fn check_segment(segment: &str) -> Result<(), SpiffeIdError> {
    check_segment_at(segment, 0)
}

pub(super) fn segments_to_path<'s>(
    segments: impl IntoIterator<Item = &'s str>,
) -> Result<String, SpiffeIdError> {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        check_segment_at(segment, path.len())?;
        path.push_str(segment);
    }
    Ok(path)
}

/// ID-07, ID-08: empty, or segments that each follow a slash.
pub(super) fn check_path(path: &str) -> Result<(), SpiffeIdError> {
    let Some(mut rest) = path.strip_prefix('/') else {
        return if path.is_empty() { Ok(()) } else { Err(SpiffeIdError::NoLeadingSlash) };
    };
    let mut at = 1usize;
    while let Some((segment, more)) = split_at_slash(rest) {
        check_segment_at(segment, at)?;
        at = at.saturating_add(segment.len()).saturating_add(1);
        rest = more;
    }
    if rest.is_empty() {
        return Err(SpiffeIdError::TrailingSlash);
    }
    check_segment_at(rest, at)
}

fn split_at_slash(rest: &str) -> Option<(&str, &str)> {
    let at = rest.bytes().position(|byte| byte == b'/')?;
    Some((rest.get(..at)?, rest.get(at.saturating_add(1)..)?))
}

fn check_segment_at(segment: &str, at: usize) -> Result<(), SpiffeIdError> {
    match segment {
        "" => return Err(SpiffeIdError::EmptySegment { at }),
        "." | ".." => return Err(SpiffeIdError::DotSegment { at }),
        _ => {}
    }
    match segment.bytes().position(|byte| !is_segment_byte(byte)) {
        None => Ok(()),
        Some(offset) => Err(SpiffeIdError::BadPathSegmentChar {
            found: char_at(segment, offset),
            at: at.saturating_add(offset),
        }),
    }
}

const fn is_segment_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_')
}

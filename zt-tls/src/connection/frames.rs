//! Where the frames of HTTP/2 begin that a server sends (RFC 9113 §4.1), so that one more can be put
//! between two of them.
//!
//! 1. A frame is a header of nine bytes, which says how long the payload is, and the payload.
//! 2. Nothing comes before the first frame, the settings of the server (§3.4).
//! 3. Nothing comes between the frames of one field block (§4.3).
//! 4. A server that has said GOAWAY never names a later stream in another one (§6.8).

/// The length of a header.
const HEADER: usize = 9;
const HEADERS: u8 = 0x1;
const PUSH_PROMISE: u8 = 0x5;
const GOAWAY: u8 = 0x7;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;

/// Tells the client to open no more streams here, and that all it has opened will be answered: a
/// GOAWAY without an error, for the last stream that there can be (§6.8).
pub(super) const GO_AWAY: [u8; 17] =
    [0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// How far the bytes of a server have come.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; HEADER],
    // INVARIANT: have < HEADER.
    have: usize,
    payload: usize,
    begun: bool,
    block: bool,
    gone: bool,
}

impl Frames {
    /// Takes note of bytes that were sent.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let now = self.payload.min(bytes.len());
                self.payload = self.payload.saturating_sub(now);
                bytes = bytes.get(now..).unwrap_or_default();
            } else if let Some((byte, rest)) = bytes.split_first() {
                self.take(*byte);
                bytes = rest;
            }
        }
    }

    fn take(&mut self, byte: u8) {
        if let Some(place) = self.header.get_mut(self.have) {
            *place = byte;
        }
        self.have = self.have.saturating_add(1);
        if self.have < HEADER {
            return;
        }
        self.have = 0;
        let [a, b, c, kind, flags, ..] = self.header;
        self.payload = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
        self.begun = true;
        self.gone |= kind == GOAWAY;
        if matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
            self.block = flags & END_HEADERS == 0;
        }
    }

    /// How many bytes are left until a frame of ours may follow; none when it may now.
    pub(super) const fn until_next(&self) -> usize {
        if self.payload > 0 {
            self.payload
        } else if self.have > 0 || self.block || !self.begun {
            HEADER.saturating_sub(self.have)
        } else {
            0
        }
    }

    /// Whether the server has said GOAWAY by itself.
    pub(super) const fn have_said_goodbye(&self) -> bool {
        self.gone
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.extend(vec![GOAWAY; payload]);
        bytes
    }

    fn after(bytes: &[u8]) -> Frames {
        let mut frames = Frames::default();
        frames.pass(bytes);
        frames
    }

    #[test]
    fn nothing_comes_before_the_settings() {
        assert_eq!(after(&[]).until_next(), HEADER);
        assert_eq!(after(&frame(4, 0, 6)).until_next(), 0);
    }

    #[test]
    fn nothing_comes_into_a_field_block() {
        let mut bytes = frame(4, 0, 0);
        bytes.extend(frame(HEADERS, 0, 5));
        assert_eq!(after(&bytes).until_next(), HEADER);
        bytes.extend(frame(CONTINUATION, END_HEADERS, 5));
        assert_eq!(after(&bytes).until_next(), 0);
    }

    #[test]
    fn a_goodbye_is_noticed_and_a_payload_that_looks_like_one_is_not() {
        let mut bytes = frame(4, 0, 24);
        assert!(!after(&bytes).have_said_goodbye());
        bytes.extend(GO_AWAY);
        assert!(after(&bytes).have_said_goodbye());
        assert_eq!(after(&bytes).until_next(), 0);
    }

    proptest! {
        #[test]
        fn boundaries_are_found_however_the_bytes_are_cut(
            lengths in prop::collection::vec((0_usize..40, prop::bool::ANY), 0..12),
            cuts in prop::collection::vec(1_usize..30, 1..60),
        ) {
            // Where one may follow, by counting whole frames.
            let mut bytes = frame(4, 0, 6);
            let (mut ends, mut open) = (vec![bytes.len()], false);
            for (length, more) in lengths {
                let kind = if open { CONTINUATION } else { HEADERS };
                bytes.extend(frame(kind, if more { 0 } else { END_HEADERS }, length));
                open = more;
                ends.extend((!open).then_some(bytes.len()));
            }
            let (mut frames, mut passed) = (Frames::default(), 0);
            for cut in cuts {
                let next = bytes.len().min(usize::saturating_add(passed, cut));
                frames.pass(&bytes[passed..next]);
                passed = next;
                prop_assert_eq!(frames.until_next() == 0, ends.contains(&passed));
            }
        }
    }
}

//! Where records end up.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::Record;
use crate::principal::Principal;

/// Of how many callers it is remembered how they are written.
const CALLERS: usize = 1_024;
/// Spreads places, which are addresses.
const MIX: usize = 0x9e37_79b1;

/// Writes records down. It is called by one thread at a time, off the request path.
pub trait RecordSink: Send {
    /// Appends `records` in this order.
    ///
    /// # Errors
    ///
    /// When they could not be written. The queue then offers the same records again, unless it was
    /// told to drop, so a sink that failed half way may write some of them twice and never loses
    /// one.
    fn append(&mut self, records: &[Record]) -> io::Result<()>;
}

/// One JSON object a line, as [`Record`] serializes. Of callers that come again it is remembered how they
/// are written, of 1,024 at most.
///
/// ```
/// use zt_core::record::{JsonLines, Record, RecordSink};
/// use zt_core::request::Context;
/// use zt_core::time::Timestamp;
///
/// let mut lines = JsonLines::new(Vec::new());
/// let arrived = Context::at(Timestamp::from_secs(0));
/// lines.append(&[Record::refusal(&arrived, None, "no_credential")])?;
/// assert!(lines.get_ref().ends_with(b"}\n"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct JsonLines<W> {
    writer: W,
    buffer: Vec<u8>,
    // A write failed, perhaps in the middle of a line: begin the next on a new one.
    torn: bool,
    callers: Callers,
}

/// How callers are written: most of a record, and the same each time that one calls. It is remembered of
/// one who comes a second time with nobody between who has his place here, so that those who come once
/// cost nothing.
struct Callers(Vec<Known>);

#[derive(Default)]
struct Known {
    place: [usize; 3],
    // With whom the place is nobody else's as long as this is kept.
    written: Option<(Principal, Box<RawValue>)>,
}

impl Callers {
    fn written(&mut self, caller: &Principal) -> serde_json::Result<Option<&RawValue>> {
        self.0.resize_with(CALLERS, Known::default);
        let place = caller.place();
        let mixed = place.iter().fold(0, |mixed: usize, part| (mixed ^ part).wrapping_mul(MIX));
        let Some(known) = self.0.get_mut((mixed >> 16) % CALLERS) else { return Ok(None) };
        if known.place != place {
            *known = Known { place, written: None };
            return Ok(None);
        }
        if known.written.is_none() {
            known.written = Some((caller.clone(), to_raw_value(caller)?));
        }
        Ok(known.written.as_ref().map(|(_, written)| &**written))
    }
}

/// A record, whose caller is written already.
struct Line<'a> {
    record: &'a Record,
    caller: &'a RawValue,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.record.serialize_of(Some(&self.caller), serializer)
    }
}

impl<W: Write + Send> JsonLines<W> {
    /// Writes to `writer`, with one `write_all` and one `flush` per batch of records.
    #[must_use]
    pub const fn new(writer: W) -> Self {
        Self { writer, buffer: Vec::new(), torn: false, callers: Callers(Vec::new()) }
    }

    /// The writer.
    #[must_use]
    pub const fn get_ref(&self) -> &W {
        &self.writer
    }
}

impl JsonLines<File> {
    /// Appends to the file at `path`, which is made, readable by its owner alone, where there is
    /// none. If its last line was torn by a crash, the first record begins on a new line.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub fn append_to(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).read(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        let torn = !ends_with_newline(&mut file)?;
        Ok(Self { torn, ..Self::new(file) })
    }
}

fn ends_with_newline(file: &mut File) -> io::Result<bool> {
    use io::{Read, Seek, SeekFrom};
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

impl<W: Write + Send> RecordSink for JsonLines<W> {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        self.buffer.clear();
        if self.torn {
            self.buffer.push(b'\n');
        }
        for record in records {
            let caller = record.principal.as_ref();
            match caller.map(|caller| self.callers.written(caller)).transpose()?.flatten() {
                Some(caller) => serde_json::to_writer(&mut self.buffer, &Line { record, caller })?,
                None => serde_json::to_writer(&mut self.buffer, record)?,
            }
            self.buffer.push(b'\n');
        }
        self.torn = true;
        self.writer.write_all(&self.buffer)?;
        self.writer.flush()?;
        self.torn = false;
        Ok(())
    }
}

impl<W> fmt::Debug for JsonLines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines").field("torn", &self.torn).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::Attributes;
    use crate::principal::{Device, User, Workload};
    use crate::request::Context;
    use crate::spiffe::SpiffeId;
    use crate::time::Timestamp;
    use crate::verified::Verified;

    fn record() -> Record {
        Record::refusal(&Context::at(Timestamp::EPOCH), None, "no_credential")
    }

    /// Takes `room` bytes, then fails once, then takes everything.
    struct FailsOnce {
        written: Vec<u8>,
        room: Option<usize>,
    }

    impl Write for FailsOnce {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Some(room) = self.room else {
                self.written.extend_from_slice(bytes);
                return Ok(bytes.len());
            };
            if room == 0 {
                self.room = None;
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            let taken = room.min(bytes.len());
            self.written.extend_from_slice(&bytes[..taken]);
            self.room = Some(room.saturating_sub(taken));
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_what_its_record_serializes_to_however_often_its_caller_came_before() {
        let id = SpiffeId::parse("spiffe://example.org/web").unwrap();
        let web = Verified::mint(Principal::new(Workload::new(id)));
        let callers: Vec<_> = (0..CALLERS + 10)
            .map(|n| {
                web.clone().on_behalf_of(Verified::mint(User::new("i", format!("u{}", n / 2))))
            })
            .chain([
                web.clone(),
                web.clone().from_device(Verified::mint(Device::new("d", Attributes::new()))),
            ])
            .collect();
        let arrived = Context::at(Timestamp::EPOCH);
        let of = |caller| Record::refusal(&arrived, None, "no_credential").by(caller);
        let thrice = callers.iter().flat_map(|caller| [caller; 3]);
        let again = callers.iter().rev();
        let records: Vec<_> = thrice.chain(again).map(of).chain([record()]).collect();
        let mut lines = JsonLines::new(Vec::new());
        for batch in records.chunks(100) {
            lines.append(batch).unwrap();
            assert_eq!(lines.callers.0.len(), CALLERS);
        }
        assert!(lines.callers.0.iter().any(|known| known.written.is_some()));
        let expected: Vec<_> =
            records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
        assert_eq!(str::from_utf8(lines.get_ref()).unwrap().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_line_that_was_torn_by_a_full_disk_spoils_no_other() {
        let mut lines = JsonLines::new(FailsOnce { written: Vec::new(), room: Some(10) });
        assert!(lines.append(&[record()]).is_err());
        lines.append(&[record()]).unwrap();
        let text = String::from_utf8(lines.get_ref().written.clone()).unwrap();
        let (torn, whole) = text.split_once('\n').unwrap();
        assert_eq!(torn.len(), 10);
        assert!(serde_json::from_str::<serde_json::Value>(whole).is_ok());
    }

    #[test]
    fn a_file_whose_last_line_was_torn_goes_on_with_a_new_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records.jsonl");
        std::fs::write(&path, r#"{"event":"deci"#).unwrap();
        JsonLines::append_to(&path).unwrap().append(&[record()]).unwrap();
        JsonLines::append_to(&path).unwrap().append(&[record()]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 3);
        for line in text.lines().skip(1) {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_is_readable_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records.jsonl");
        JsonLines::append_to(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

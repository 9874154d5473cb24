//! Where records end up.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::Record;
use super::callers::Callers;

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
/// are written, of 1,024 at most and of 4 KiB each.
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

impl<W: Write + Send> JsonLines<W> {
    /// Writes to `writer`, with one `write_all` and one `flush` per batch of records.
    #[must_use]
    pub const fn new(writer: W) -> Self {
        Self { writer, buffer: Vec::new(), torn: false, callers: Callers::new() }
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

impl<W> JsonLines<W> {
    /// The three parts of a record as one object, so that the one in the middle may be a text already.
    fn line(&mut self, record: &Record) -> serde_json::Result<()> {
        let line = &mut self.buffer;
        serde_json::to_writer(&mut *line, &record.head())?;
        line.pop();
        if let Some(caller) = &record.principal {
            line.extend_from_slice(b",\"principal\":");
            self.callers.write(caller, line)?;
        }
        let tail = line.len();
        serde_json::to_writer(&mut *line, &record.tail())?;
        if let Some(brace) = line.get_mut(tail) {
            *brace = b',';
        }
        line.push(b'\n');
        Ok(())
    }
}

impl<W: Write + Send> RecordSink for JsonLines<W> {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        self.buffer.clear();
        if self.torn {
            self.buffer.push(b'\n');
        }
        for record in records {
            self.line(record)?;
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
    use crate::request::Context;
    use crate::time::Timestamp;

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

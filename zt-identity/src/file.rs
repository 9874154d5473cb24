//! Files that others write, read up to a limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The bytes of a file; `None` when it has more than `max_len`.
pub(crate) fn read(path: &Path, max_len: u64) -> io::Result<Option<Vec<u8>>> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    // All at once, as a buffer that grows leaves parts of a key behind.
    let mut bytes = Vec::with_capacity(usize::try_from(len.min(max_len)).unwrap_or(0));
    let read = file.take(max_len.saturating_add(1)).read_to_end(&mut bytes)?;
    let fits = u64::try_from(read).is_ok_and(|read| read <= max_len);
    Ok(fits.then_some(bytes))
}

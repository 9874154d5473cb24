//! What was expected, and what came.

/// What a step found, or what is wrong.
pub type Outcome<T> = Result<T, String>;

/// Rows that are printed as they come.
#[derive(Default)]
pub struct Table {
    failed: usize,
    rows: usize,
}

impl Table {
    /// Notes how a step went, and hands on what it found.
    pub fn row<T>(&mut self, step: &str, outcome: Outcome<(T, String)>) -> Option<T> {
        self.rows += 1;
        match outcome {
            Ok((found, words)) => {
                println!("| {step} | as expected | {words} |");
                Some(found)
            }
            Err(error) => {
                self.failed += 1;
                println!("| {step} | OTHERWISE | {} |", error.replace('\n', " "));
                None
            }
        }
    }

    /// Notes a step that finds nothing but that it is as expected.
    pub fn check(&mut self, step: &str, outcome: Outcome<String>) {
        self.row(step, outcome.map(|words| ((), words)));
    }

    /// How many rows there are, and of them, how many are otherwise than expected.
    pub fn end(self) -> (usize, usize) {
        (self.rows, self.failed)
    }
}

/// An error unless this holds.
pub fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome<()> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

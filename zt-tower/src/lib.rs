//! Tower middleware that authenticates, decides and records every request, and denies by default.

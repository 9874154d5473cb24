//! What a decision leaves behind.

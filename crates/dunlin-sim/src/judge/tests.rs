//! Histories that are right in a tricky way, and histories that are wrong.

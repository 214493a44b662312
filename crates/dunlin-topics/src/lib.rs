//! dunlin-topics

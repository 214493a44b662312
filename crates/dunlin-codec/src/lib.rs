//! dunlin-codec

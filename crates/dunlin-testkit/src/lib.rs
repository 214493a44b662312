//! dunlin-testkit

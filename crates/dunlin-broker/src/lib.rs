//! dunlin-broker

//! Examples, one idea a file: see `examples/`.

#![forbid(unsafe_code)]

//! Examples, one idea a file: see `examples/`.

//! The allocator of the program, and how it gives back to the system what was freed.
#![allow(unsafe_code, reason = "the allocator offers this to C alone")]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives back what was freed, as far as this thread and those without one know of it: by itself the
/// allocator does so only while it is asked for memory.
pub(crate) fn give_back() {
    // SAFETY: it asks nothing of its caller.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

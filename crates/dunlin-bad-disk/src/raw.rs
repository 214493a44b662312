//! The system calls themselves, past the functions that this library stands in for, and what
//! `statx` says of an open file.
#![allow(unsafe_code, reason = "system calls have no safe form in the standard library")]

use libc::{c_int, c_void, iovec, off_t, size_t, ssize_t};

/// Which file it is, through renames and though an inode is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    pub(crate) inode: u64,
    pub(crate) born_secs: i64,
    pub(crate) born_nanos: u32,
}

/// The regular file behind a descriptor, and its length; `None` for everything else. Safe in a
/// signal handler: nothing is locked or allocated.
pub(crate) fn identify(fd: c_int) -> Option<(FileId, u64)> {
    // SAFETY: all bits zero is a valid `statx`, which is made of integers.
    let mut answer: libc::statx = unsafe { std::mem::zeroed() };
    let mask = libc::STATX_TYPE | libc::STATX_INO | libc::STATX_SIZE | libc::STATX_BTIME;
    // SAFETY: the path is a terminated empty string and `answer` outlives the call.
    let result = unsafe { libc::statx(fd, c"".as_ptr(), libc::AT_EMPTY_PATH, mask, &mut answer) };
    if result != 0 || u32::from(answer.stx_mode) & libc::S_IFMT != libc::S_IFREG {
        return None;
    }
    let born = answer.stx_btime;
    let file = FileId { inode: answer.stx_ino, born_secs: born.tv_sec, born_nanos: born.tv_nsec };
    Some((file, answer.stx_size))
}

/// Where the next `write` through this descriptor goes, or after one, where it ended.
pub(crate) fn position(fd: c_int) -> Option<u64> {
    // SAFETY: no memory is handed over.
    let position = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
    u64::try_from(position).ok()
}

/// Fails as a system call does.
pub(crate) fn fail(error: c_int) {
    // SAFETY: the location is this thread's own and always there.
    unsafe { *libc::__errno_location() = error };
}

/// # Safety
/// As for `write(2)`.
pub(crate) unsafe fn write(fd: c_int, buffer: *const c_void, count: size_t) -> ssize_t {
    // SAFETY: the caller answers for the buffer; `syscall` sets `errno` as `write` does.
    unsafe { libc::syscall(libc::SYS_write, fd, buffer, count) as ssize_t }
}

/// # Safety
/// As for `pwrite(2)`.
pub(crate) unsafe fn pwrite(
    fd: c_int,
    buffer: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    // SAFETY: the caller answers for the buffer.
    unsafe { libc::syscall(libc::SYS_pwrite64, fd, buffer, count, offset) as ssize_t }
}

/// # Safety
/// As for `writev(2)`.
pub(crate) unsafe fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: the caller answers for the vector.
    unsafe { libc::syscall(libc::SYS_writev, fd, parts, count) as ssize_t }
}

/// # Safety
/// As for `pwritev(2)`.
pub(crate) unsafe fn pwritev(
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    offset: off_t,
) -> ssize_t {
    // The system call takes the offset in two halves; on 64 bits the first is all of it.
    // SAFETY: the caller answers for the vector.
    unsafe { libc::syscall(libc::SYS_pwritev, fd, parts, count, offset, 0) as ssize_t }
}

/// `ftruncate(2)`.
pub(crate) fn ftruncate(fd: c_int, len: off_t) -> c_int {
    // SAFETY: no memory is handed over.
    unsafe { libc::syscall(libc::SYS_ftruncate, fd, len) as c_int }
}

/// `fsync(2)`, or `fdatasync(2)`.
pub(crate) fn sync(fd: c_int, data_only: bool) -> c_int {
    let number = if data_only { libc::SYS_fdatasync } else { libc::SYS_fsync };
    // SAFETY: no memory is handed over.
    unsafe { libc::syscall(number, fd) as c_int }
}

/// Writes all of it at this offset, past this library.
pub(crate) fn write_all_at(fd: c_int, mut bytes: &[u8], mut offset: u64) -> Option<()> {
    while !bytes.is_empty() {
        let at = off_t::try_from(offset).ok()?;
        // SAFETY: the slice is valid for its length.
        let written = unsafe { pwrite(fd, bytes.as_ptr().cast(), bytes.len(), at) };
        let written = usize::try_from(written).ok().filter(|written| *written > 0)?;
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Some(())
}

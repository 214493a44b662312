//! The functions of the C library that programs reach files by, in its stead. Each tells the disk
//! what it does; the work is done by the system call.
#![allow(unsafe_code, reason = "exporting C functions, and passing on what their callers gave")]

use libc::{c_int, c_void, iovec, off_t, size_t, ssize_t};

use crate::disk::{self, Watched};
use crate::raw;

/// Writes through a descriptor's own position: as much as the disk admits, then told.
fn write_here(
    file: &Watched,
    fd: c_int,
    count: usize,
    write: impl FnOnce(usize) -> ssize_t,
) -> ssize_t {
    let written = match file.admit(count) {
        Ok(admitted) => write(admitted),
        Err(error) => return failed(error),
    };
    // Behind it, not before: with O_APPEND only the system call knows where it writes.
    if let (Ok(count), Some(end)) = (u64::try_from(written), raw::position(fd)) {
        file.wrote(end, count);
    }
    written
}

/// Writes at an offset.
fn write_at(
    file: &Watched,
    count: usize,
    offset: off_t,
    write: impl FnOnce(usize) -> ssize_t,
) -> ssize_t {
    let written = match file.admit(count) {
        Ok(admitted) => write(admitted),
        Err(error) => return failed(error),
    };
    if let (Ok(count), Ok(offset)) = (u64::try_from(written), u64::try_from(offset)) {
        file.wrote(offset + count, count);
    }
    written
}

fn failed(error: c_int) -> ssize_t {
    raw::fail(error);
    -1
}

/// What the parts hold in sum.
///
/// # Safety
/// As for `writev(2)`.
unsafe fn total(parts: *const iovec, count: c_int) -> usize {
    let count = usize::try_from(count).unwrap_or(0);
    if parts.is_null() || count == 0 {
        return 0;
    }
    // SAFETY: the caller of `writev` promises so many parts.
    unsafe { std::slice::from_raw_parts(parts, count) }.iter().map(|part| part.iov_len).sum()
}

/// The first part alone, cut to what is admitted: a short write, as a full disk gives.
///
/// # Safety
/// As for `writev(2)`, with at least one part.
unsafe fn first(parts: *const iovec, admitted: usize) -> (*const c_void, usize) {
    // SAFETY: there is a first part.
    let part = unsafe { *parts };
    (part.iov_base, part.iov_len.min(admitted))
}

// The signatures are those of the C library on a 64 bit Linux, where `off_t` is `off64_t`.

#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, count: size_t) -> ssize_t {
    let Some(file) = disk::watched(fd) else {
        // SAFETY: passed on as it came.
        return unsafe { raw::write(fd, buffer, count) };
    };
    // SAFETY: passed on with no more than the caller's length.
    write_here(&file, fd, count, |admitted| unsafe { raw::write(fd, buffer, admitted) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    let Some(file) = disk::watched(fd) else {
        // SAFETY: passed on as it came.
        return unsafe { raw::writev(fd, parts, count) };
    };
    // SAFETY: the caller's promise about the parts.
    let wanted = unsafe { total(parts, count) };
    write_here(&file, fd, wanted, |admitted| {
        if admitted == wanted {
            // SAFETY: passed on as it came.
            return unsafe { raw::writev(fd, parts, count) };
        }
        // SAFETY: less is admitted than wanted, so there is a part; it is cut, never extended.
        unsafe {
            let (base, len) = first(parts, admitted);
            raw::write(fd, base, len)
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite(
    fd: c_int,
    buffer: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    let Some(file) = disk::watched(fd) else {
        // SAFETY: passed on as it came.
        return unsafe { raw::pwrite(fd, buffer, count, offset) };
    };
    // SAFETY: passed on with no more than the caller's length.
    write_at(&file, count, offset, |admitted| unsafe { raw::pwrite(fd, buffer, admitted, offset) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(
    fd: c_int,
    buffer: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    // SAFETY: the same function under its other name.
    unsafe { pwrite(fd, buffer, count, offset) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwritev(
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    offset: off_t,
) -> ssize_t {
    let Some(file) = disk::watched(fd) else {
        // SAFETY: passed on as it came.
        return unsafe { raw::pwritev(fd, parts, count, offset) };
    };
    // SAFETY: the caller's promise about the parts.
    let wanted = unsafe { total(parts, count) };
    write_at(&file, wanted, offset, |admitted| {
        if admitted == wanted {
            // SAFETY: passed on as it came.
            return unsafe { raw::pwritev(fd, parts, count, offset) };
        }
        // SAFETY: less is admitted than wanted, so there is a part; it is cut, never extended.
        unsafe {
            let (base, len) = first(parts, admitted);
            raw::pwrite(fd, base, len, offset)
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwritev64(
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    offset: off_t,
) -> ssize_t {
    // SAFETY: the same function under its other name.
    unsafe { pwritev(fd, parts, count, offset) }
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate(fd: c_int, len: off_t) -> c_int {
    let Some(file) = disk::watched(fd) else { return raw::ftruncate(fd, len) };
    if let Err(error) = file.admit(0) {
        raw::fail(error);
        return -1;
    }
    let result = raw::ftruncate(fd, len);
    if let (0, Ok(len)) = (result, u64::try_from(len)) {
        file.resized(len);
    }
    result
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate64(fd: c_int, len: off_t) -> c_int {
    ftruncate(fd, len)
}

#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, false)
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, true)
}

fn sync(fd: c_int, data_only: bool) -> c_int {
    let Some(file) = disk::watched(fd) else { return raw::sync(fd, data_only) };
    let begun = match file.begin_sync() {
        Ok(begun) => begun,
        Err(error) => {
            raw::fail(error);
            return -1;
        }
    };
    let result = raw::sync(fd, data_only);
    if let (0, Some(sync)) = (result, begun) {
        file.end_sync(fd, &sync);
    }
    result
}

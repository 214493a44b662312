//! Stands between a program and its files (`LD_PRELOAD`): it knows which bytes a completed sync
//! covers, and lets the disk be slow, full, failing or read-only when it is told to.
//!
//! What it is told, by the environment:
//!
//! | variable | is |
//! |---|---|
//! | `DUNLIN_BAD_DISK_DATA` | the folder, as its real path, whose files are looked after |
//! | `DUNLIN_BAD_DISK_SHADOW` | a folder that gets what a power cut would leave; absent: not kept |
//! | `DUNLIN_BAD_DISK_CONTROL` | a file that names the faults of the moment; absent: none |
//!
//! **The shadow.** A write makes a range of a file dirty. A sync takes the dirty ranges before it
//! begins, and when it has succeeded copies them, and the length that the file had, to a file in
//! the shadow that is named by inode and time of birth: it follows its file through renames, which
//! count as durable at once, as do folders. After `kill -9` the shadow holds at least what a power
//! cut at that moment would have left. What was written before this process began, or by ways that
//! are not seen here (`fwrite`), is dirty when its file is first seen: too little is never taken
//! for durable. Not seen at all are writes through memory maps. `sync_file_range` is no barrier.
//!
//! **The control file** has a line for each fault; one that is not named is over:
//!
//! | line | means |
//! |---|---|
//! | `sync-delay-ms N` | a sync takes at least so long |
//! | `sync-fails` | a sync fails with EIO, and what it was for is lost |
//! | `write-room N` | so many more bytes, then ENOSPC; counted anew when the file changes |
//! | `read-only` | writes and syncs fail with EROFS |
//!
//! Sockets, pipes and files elsewhere go their way: a `statx`, and for files elsewhere a look at
//! their path, is what they pay.

#![deny(unsafe_code)]
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod control;
#[cfg(not(test))]
mod disk;
#[cfg(not(test))]
mod hooks;
mod ranges;
#[cfg(not(test))]
mod raw;
#[cfg(not(test))]
mod shadow;

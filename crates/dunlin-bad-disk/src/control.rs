//! The faults of the moment, as the control file names them.

use std::time::Duration;

/// What is wrong with the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// How long a sync takes at least.
    pub(crate) sync_delay: Duration,
    /// Syncs fail, and what they were for is lost.
    pub(crate) sync_fails: bool,
    /// How many more bytes there is room for; `None` for no end.
    pub(crate) write_room: Option<u64>,
    /// Nothing can be written.
    pub(crate) read_only: bool,
}

impl Faults {
    /// Reads the lines of a control file; what is not understood is left out.
    pub(crate) fn parse(text: &str) -> Self {
        let mut faults = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let name = words.next();
            let number = words.next().and_then(|word| word.parse().ok());
            match (name, number) {
                (Some("sync-delay-ms"), Some(ms)) => faults.sync_delay = Duration::from_millis(ms),
                (Some("sync-fails"), _) => faults.sync_fails = true,
                (Some("write-room"), Some(bytes)) => faults.write_room = Some(bytes),
                (Some("read-only"), _) => faults.read_only = true,
                _ => {}
            }
        }
        faults
    }

    /// How many of these bytes may be written now, or the error number instead. What may be is
    /// taken off the room.
    pub(crate) fn admit(&mut self, count: usize) -> Result<usize, i32> {
        if self.read_only {
            return Err(libc::EROFS);
        }
        let Some(room) = &mut self.write_room else { return Ok(count) };
        let admitted = usize::try_from(*room).unwrap_or(usize::MAX).min(count);
        *room -= admitted as u64;
        if admitted == 0 && count > 0 { Err(libc::ENOSPC) } else { Ok(admitted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_file_names_faults_by_line() {
        let faults = Faults::parse("sync-delay-ms 250\nsync-fails\n");
        assert_eq!(faults.sync_delay, Duration::from_millis(250));
        assert!(faults.sync_fails && !faults.read_only);
        assert_eq!(Faults::parse("what\n\nwrite-room many"), Faults::default());
    }

    #[test]
    fn a_full_disk_takes_what_there_is_room_for_and_then_nothing() {
        let mut faults = Faults::parse("write-room 10");
        assert_eq!(faults.admit(8), Ok(8));
        assert_eq!(faults.admit(8), Ok(2));
        assert_eq!(faults.admit(8), Err(libc::ENOSPC));
    }

    #[test]
    fn nothing_is_written_to_a_read_only_disk() {
        assert_eq!(Faults::parse("read-only").admit(1), Err(libc::EROFS));
    }
}

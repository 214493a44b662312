//! What of a file is not yet covered by a sync.

/// The part of a file that the next sync makes durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dirty {
    /// First byte and end of each range, in the order of writing; neighbours are merged.
    ranges: Vec<(u64, u64)>,
    /// The shortest that the file has been since the last sync.
    shortest: u64,
    /// How long it is, as far as is known.
    len: u64,
}

impl Dirty {
    /// A file that is seen for the first time: nobody knows what of it is durable.
    pub(crate) fn unknown(len: u64) -> Self {
        let ranges = if len > 0 { vec![(0, len)] } else { Vec::new() };
        Self { ranges, shortest: len, len }
    }

    /// A look at the file found it this long.
    pub(crate) fn seen(&mut self, len: u64) {
        if len > self.len {
            // Grown by ways that are not seen here, or by a write that is about to be told.
            self.add(self.len, len);
        }
        self.len = len;
        self.shortest = self.shortest.min(len);
    }

    /// These bytes were written.
    pub(crate) fn add(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        self.len = self.len.max(to);
        match self.ranges.last_mut() {
            Some((first, end)) if from <= *end && to >= *first => {
                *first = from.min(*first);
                *end = to.max(*end);
            }
            _ => self.ranges.push((from, to)),
        }
    }

    /// Takes what a sync that begins now covers.
    pub(crate) fn take(&mut self) -> Self {
        let taken = Self {
            ranges: std::mem::take(&mut self.ranges),
            shortest: self.shortest,
            len: self.len,
        };
        self.shortest = self.len;
        taken
    }

    /// The ranges, cut to the file's length.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        let cut = |(from, to): &(u64, u64)| (*from, (*to).min(self.len));
        self.ranges.iter().map(cut).filter(|(from, to)| from < to)
    }

    /// The shortest that the file has been: what lay behind is gone, whatever came later.
    pub(crate) const fn shortest(&self) -> u64 {
        self.shortest
    }

    /// How long the file was when this was taken.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(dirty: &Dirty) -> Vec<(u64, u64)> {
        dirty.ranges().collect()
    }

    #[test]
    fn a_file_that_nobody_knows_is_dirty_as_a_whole() {
        assert_eq!(ranges(&Dirty::unknown(10)), [(0, 10)]);
        assert_eq!(ranges(&Dirty::unknown(0)), []);
    }

    #[test]
    fn what_is_appended_becomes_one_range() {
        let mut dirty = Dirty::unknown(0);
        dirty.add(0, 4);
        dirty.add(4, 9);
        dirty.add(20, 30);
        assert_eq!(ranges(&dirty), [(0, 9), (20, 30)]);
    }

    #[test]
    fn a_sync_covers_what_was_written_before_it_and_no_more() {
        let mut dirty = Dirty::unknown(0);
        dirty.add(0, 4);
        let taken = dirty.take();
        dirty.add(4, 8);
        assert_eq!((ranges(&taken), taken.len()), (vec![(0, 4)], 4));
        assert_eq!(ranges(&dirty.take()), [(4, 8)]);
    }

    #[test]
    fn what_was_cut_off_stays_cut_off_though_the_file_grows_again() {
        let mut dirty = Dirty::unknown(100);
        dirty.take();
        dirty.seen(10);
        dirty.seen(50);
        let taken = dirty.take();
        assert_eq!((taken.shortest(), taken.len()), (10, 50));
        assert_eq!(ranges(&taken), [(10, 50)]);
        assert_eq!(dirty.take().shortest(), 50);
    }

    #[test]
    fn a_range_behind_the_end_is_not_copied() {
        let mut dirty = Dirty::unknown(0);
        dirty.add(0, 100);
        dirty.seen(40);
        assert_eq!(ranges(&dirty.take()), [(0, 40)]);
    }
}

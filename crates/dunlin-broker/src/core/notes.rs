//! What is known of the messages in flight of a session beyond their exchanges.

use super::session::Note;
use dunlin_protocol::codec::PacketIdentifier;
use std::collections::VecDeque;

/// So many places stay when the last note is taken, for the next message.
const PLACES_KEPT: usize = 4;

/// Notes by Packet Identifier.
///
/// Identifiers are given out in turn, and Clients answer in that order or nearly so. In the order
/// in which they come round, from the first one on, they are looked at where the last one was: at
/// the front, or not far behind it.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// In their order; a note that was taken leaves its place until it is the first.
    places: VecDeque<(PacketIdentifier, Option<Note>)>,
    len: usize,
}

impl Notes {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps a note, in place of an earlier one under this identifier.
    pub(super) fn insert(&mut self, packet_identifier: PacketIdentifier, note: Note) {
        match self.search(packet_identifier) {
            Ok(at) => {
                self.len += usize::from(self.places[at].1.is_none());
                self.places[at].1 = Some(note);
            }
            Err(at) => {
                self.len += 1;
                self.places.insert(at, (packet_identifier, Some(note)));
            }
        }
    }

    pub(super) fn get(&self, packet_identifier: PacketIdentifier) -> Option<&Note> {
        let at = self.search(packet_identifier).ok()?;
        self.places[at].1.as_ref()
    }

    pub(super) fn get_mut(&mut self, packet_identifier: PacketIdentifier) -> Option<&mut Note> {
        let at = self.search(packet_identifier).ok()?;
        self.places[at].1.as_mut()
    }

    /// Takes a note out.
    pub(super) fn remove(&mut self, packet_identifier: PacketIdentifier) -> Option<Note> {
        let at = self.search(packet_identifier).ok()?;
        let note = self.places[at].1.take()?;
        self.len -= 1;
        while self.places.pop_front_if(|(_, note)| note.is_none()).is_some() {}
        if self.places.is_empty() && self.places.capacity() > PLACES_KEPT {
            self.places = VecDeque::new();
        } else if self.places.len() > 2 * self.len + 64 {
            // A Client that leaves its oldest exchange open can't make us keep all that followed.
            self.places.retain(|(_, note)| note.is_some());
        }
        Some(note)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PacketIdentifier, &Note)> {
        self.places.iter().filter_map(|(identifier, note)| Some((*identifier, note.as_ref()?)))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Note> {
        self.places.iter_mut().filter_map(|(_, note)| note.as_mut())
    }

    /// Where the note under this identifier is, or belongs.
    #[inline]
    fn search(&self, packet_identifier: PacketIdentifier) -> Result<usize, usize> {
        let (Some((front, _)), Some((back, _))) = (self.places.front(), self.places.back()) else {
            return Err(0);
        };
        let place = |identifier: PacketIdentifier| identifier.value().wrapping_sub(front.value());
        let wanted = place(packet_identifier);
        if wanted > place(*back) {
            return Err(self.places.len());
        }
        // Without gaps its distance from the first one is its place.
        let guess = usize::from(wanted);
        match self.places.get(guess) {
            Some((identifier, _)) if *identifier == packet_identifier => Ok(guess),
            _ => self.places.binary_search_by_key(&wanted, |(identifier, _)| place(*identifier)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn identifier(value: u16) -> PacketIdentifier {
        PacketIdentifier::new(value).unwrap()
    }

    fn note(number: u64) -> Note {
        Note { number: Some(number), ..Note::default() }
    }

    /// Against a map: in turn and round the end of the numbers, answered in and out of turn.
    #[test]
    fn notes_are_found_whatever_the_order_of_answers() {
        for step in [1, 3, 7, 64, 129] {
            let (mut notes, mut expected) = (Notes::default(), BTreeMap::new());
            let mut next = identifier(65_400);
            for round in 0..400_u64 {
                notes.insert(next, note(round));
                expected.insert(next, round);
                next = next.next();
                if round % 130 < 100 {
                    continue;
                }
                for _ in 0..4 {
                    let open: Vec<PacketIdentifier> = expected.keys().copied().collect();
                    let Some(answered) = open.get(round as usize * step % open.len().max(1)) else {
                        continue;
                    };
                    assert_eq!(
                        notes.get_mut(*answered).unwrap().number,
                        expected.get(answered).copied()
                    );
                    let taken = notes.remove(*answered).unwrap().number;
                    assert_eq!(taken, expected.remove(answered));
                    assert!(notes.remove(*answered).is_none());
                    assert!(notes.get_mut(*answered).is_none());
                }
                assert!(notes.places.len() <= 2 * notes.len() + 64);
            }
            assert_eq!(notes.len(), expected.len());
            let left: BTreeMap<_, _> =
                notes.iter().map(|(identifier, note)| (identifier, note.number.unwrap())).collect();
            assert_eq!(left, expected);
        }
    }

    #[test]
    fn one_note_for_an_identifier_and_little_memory_without_any() {
        let mut notes = Notes::default();
        for (value, number) in [(5, 1), (3, 2), (5, 3), (4, 4)] {
            notes.insert(identifier(value), note(number));
        }
        assert_eq!(notes.len(), 3);
        assert_eq!(notes.remove(identifier(5)).unwrap().number, Some(3));
        // The place is there until those before it are gone.
        notes.insert(identifier(5), note(6));
        assert_eq!(notes.values_mut().filter_map(|note| note.number).sum::<u64>(), 2 + 4 + 6);
        (10..100).for_each(|value| notes.insert(identifier(value), note(7)));
        for value in [3, 4, 5].into_iter().chain(10..100) {
            assert!(notes.remove(identifier(value)).is_some());
        }
        assert!(notes.is_empty());
        assert!(notes.places.capacity() <= PLACES_KEPT);
    }
}
